//! System calls that fail: `strace` makes them, in the running program, one kind after the other.
//!
//! Not injected is what no kernel does: `EAGAIN` from a socket that has just been said to be ready, or a write that
//! fails for a peer that is well.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::peers::client::{Conduct, Outcome, Plan};
use crate::peers::rig::{ROOM_KB, Rig};
use crate::peers::stream::Order;
use crate::scaled;
use crate::support::{comes_true, tools, wait_for};

/// What one failure may cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Nobody notices.
    Nothing,
    /// A dial, and another is begun: only who meets it three times in a row is lost.
    OneDial,
    /// The connection on which it happened, at most.
    OneConnection,
}

/// Bytes of a stream that nobody reads: more than all buffers on the way, so that a pipe of it stays loaded.
const UNREAD: u64 = 10_000_000;

/// Calls of the data path, what they may fail with, and what that may cost.
const FAULTS: [(&str, &[&str], Cost); 15] = [
    (
        "accept4",
        &[
            "ECONNABORTED",
            "EINTR",
            "EMFILE",
            "ENFILE",
            "ENOBUFS",
            "ENOMEM",
            "EPROTO",
        ],
        Cost::Nothing,
    ),
    (
        "socket",
        &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"],
        Cost::Nothing,
    ),
    (
        "connect",
        &[
            "ECONNREFUSED",
            "EADDRNOTAVAIL",
            "ENETUNREACH",
            "EAGAIN",
            "ENOBUFS",
        ],
        Cost::OneDial,
    ),
    ("setsockopt", &["ENOMEM", "ENOBUFS", "EINVAL"], Cost::OneDial),
    ("getpeername", &["ENOBUFS"], Cost::OneDial),
    ("getsockname", &["ENOBUFS"], Cost::OneDial),
    ("epoll_wait", &["EINTR"], Cost::Nothing),
    ("epoll_ctl", &["ENOMEM", "ENOSPC"], Cost::OneConnection),
    ("recvfrom", &["EINTR"], Cost::Nothing),
    (
        "recvfrom",
        &["ENOMEM", "ECONNRESET", "ETIMEDOUT"],
        Cost::OneConnection,
    ),
    ("sendto", &["EINTR"], Cost::Nothing),
    ("sendto", &["ENOBUFS", "ENOMEM"], Cost::OneConnection),
    ("splice", &["EINTR"], Cost::Nothing),
    ("splice", &["ENOMEM"], Cost::OneConnection),
    // At the first call alone, for a kernel that has no `splice` says so then; and the last one, for from then on
    // nothing is spliced.
    ("splice", &["EINVAL"], Cost::OneConnection),
];

/// `strace`, attached to the program; it lets go when it is dropped, while the program stands still: a call that
/// is being made to fail when its tracer leaves returns "function not implemented", which no kernel says.
pub(crate) struct Tracer {
    child: Child,
    program: Pid,
    trace: PathBuf,
}

impl Tracer {
    /// Fails the calls of this name with `error`, counted in each thread: those that `when` says.
    pub(crate) fn attach(rig: &Rig, (name, error): (&str, &str), when: &str, trace: &Path) -> Self {
        Self::inject(rig, (name, &format!("error={error}")), when, trace)
    }

    /// Lets the same calls wait for so long before they begin.
    pub(crate) fn delay(rig: &Rig, (name, time): (&str, Duration), when: &str, trace: &Path) -> Self {
        Self::inject(
            rig,
            (name, &format!("delay_enter={}", time.as_micros())),
            when,
            trace,
        )
    }

    fn inject(rig: &Rig, (name, what): (&str, &str), when: &str, trace: &Path) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-o"])
            .arg(trace)
            .args(["-e", &format!("trace={name}")])
            .args(["-e", &format!("inject={name}:{what}:when={when}")])
            .args(["-p", &rig.forwarder.pid().to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert!(line.contains("attached"), "{line}{}", rig.forwarder.stderr());
        // It must not stop at a pipe that is full.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self {
            child,
            program: rig.forwarder.process(),
            trace: trace.to_owned(),
        }
    }

    /// Whether each thread of the program has stopped, which it does outside of calls only.
    fn has_all_stopped(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.program.as_raw_nonzero());
        let threads = std::fs::read_dir(tasks).map_or(0, Iterator::count);
        let text = std::fs::read_to_string(&self.trace).unwrap_or_default();
        text.matches("--- stopped by SIGSTOP ---").count() >= threads
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if !Path::new(&format!("/proc/{}", self.program.as_raw_nonzero())).exists() {
            // It has ended, and so does its tracer.
            let _ = self.child.wait();
            return;
        }
        // These fail only when who is meant has ended already.
        let _ = kill_process(self.program, Signal::STOP);
        let has_stopped = comes_true(Duration::from_secs(10), || self.has_all_stopped());
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
        let _ = kill_process(self.program, Signal::CONT);
        assert!(
            has_stopped || std::thread::panicking(),
            "the program does not stop to be let go"
        );
    }
}

/// Calls that were made to fail, or to wait, so far.
pub(crate) fn injections(trace: &Path) -> usize {
    let text = std::fs::read_to_string(trace).unwrap();
    text.matches("(INJECTED)").count() + text.matches("(DELAYED)").count()
}

/// Whether processes can be traced here at all.
pub(crate) fn can_trace(rig: &Rig) -> bool {
    if tools::wanted("strace", "system calls that fail").is_none() {
        return false;
    }
    let tried = Command::new("timeout")
        .args(["0.3", "strace", "-p", &rig.forwarder.pid().to_string()])
        .output()
        .unwrap();
    let is_traced = String::from_utf8_lossy(&tried.stderr).contains("attached");
    if !is_traced {
        tools::say("skipped: system calls that fail: processes cannot be traced");
    }
    is_traced
}

/// Enough each way for a pipe.
fn bulk(rig: &mut Rig) -> Plan {
    let bytes = 1_500_000;
    let order = Order {
        seed: rig.rng.u64(..),
        up: bytes,
        down: bytes,
    };
    Plan::new(Conduct::FinishLast, order)
}

/// One fault under load: how often it was injected, and how many connections it cost.
fn inject(rig: &mut Rig, fault: (&str, &str), when: &str) -> (usize, usize) {
    let trace = rig.forwarder.files().path("trace");
    let tracer = Tracer::attach(rig, fault, when, &trace);
    let mut plans = rig.healthy(12);
    plans.extend(rig.plans(Conduct::Trickle(Duration::from_millis(3)), 4, 40));
    plans.push(bulk(rig));
    let count = plans.len();
    let mut crowd = rig.crowd(plans);
    let what = format!("the end of all, with {fault:?} at {when}");
    crowd.drive_until(&what, |crowd| crowd.open() == 0);
    drop(tracer);
    let injected = injections(&trace);
    for client in crowd.clients() {
        let is_told = matches!(client.outcome, Outcome::Whole | Outcome::Reset)
            || client.outcome == Outcome::Empty && client.received == 0;
        assert!(
            is_told,
            "{fault:?} at {when}: {:?} of {:?}",
            client.outcome, client.plan
        );
    }
    (injected, count - crowd.count(Outcome::Whole))
}

/// The same, and no more lost than such a fault may cost; how often it was injected.
fn inject_at_cost(rig: &mut Rig, fault: (&str, &str), when: &str, cost: Cost) -> usize {
    let (injected, lost) = inject(rig, fault, when);
    let most = match cost {
        Cost::Nothing => 0,
        Cost::OneDial => injected / 3,
        Cost::OneConnection => injected,
    };
    assert!(
        lost <= most,
        "{fault:?} at {when}: {injected} injected, {lost} lost"
    );
    injected
}

/// Injected: each fault at the first, at the second, at the third ... call of a thread, and at every fourth.
#[test]
fn each_call_of_the_data_path() {
    let changes = json!({ "server": { "reactors": 1 }, "remotes": { "probing": { "interval": "10s" } } });
    let mut rig = Rig::start(&changes, 3);
    if !can_trace(&rig) {
        return;
    }
    let firsts: Vec<_> = (1..=scaled(0, 4)).map(|place| place.to_string()).collect();
    for (name, errors, cost) in FAULTS {
        let mut met = 0;
        let mut errors = errors.to_vec();
        rig.rng.shuffle(&mut errors);
        let is_once = |error: &str| error == "EINVAL" && name == "splice";
        for error in errors.iter().take(scaled(1, usize::MAX)) {
            let whens = firsts.iter().map(String::as_str).chain(["2+4"]);
            for when in if is_once(error) {
                vec!["1"]
            } else {
                whens.collect()
            } {
                met += inject_at_cost(&mut rig, (name, error), when, cost);
            }
        }
        // After dials that failed, warm connections are not refilled for a while, but serve all of one load.
        for _ in 0..20 {
            if met > 0 {
                break;
            }
            let when = if is_once(errors[0]) { "1" } else { "2+4" };
            met += inject_at_cost(&mut rig, (name, errors[0]), when, cost);
        }
        assert!(met > 0, "{name} was never called");
    }
    wait_for("warm connections again", || {
        rig.forwarder.metric("pool_available_connections") >= 24.0
    });
    rig.aftermath_of_cuts(ROOM_KB);
}

/// Injected: no pipe is to be had, or none of the size that is wanted, for as long as bulk is relayed.
#[test]
fn pipes_for_bulk() {
    let mut faults = [
        ("pipe2", "EMFILE"),
        ("pipe2", "ENFILE"),
        ("fcntl", "EPERM"),
        ("fcntl", "EBUSY"),
        ("fcntl", "ENOMEM"),
    ];
    fastrand::shuffle(&mut faults);
    for fault in faults.into_iter().take(scaled(1, usize::MAX)) {
        // A forwarder that has no pipes yet: what it takes stock with is small.
        let mut rig = Rig::start(&json!({ "server": { "reactors": 1, "splice": "auto" } }), 2);
        if !can_trace(&rig) {
            return;
        }
        let trace = rig.forwarder.files().path("trace");
        let tracer = Tracer::attach(&rig, fault, "1+1", &trace);
        // It may have been started with pipes: those who read nothing keep them.
        let idlers = (0..4).map(|_| {
            let order = Order {
                seed: rig.rng.u64(..),
                up: 0,
                down: UNREAD,
            };
            Plan::new(Conduct::NeverRead, order)
        });
        let idlers: Vec<_> = idlers.collect();
        let mut crowd = rig.crowd(idlers);
        let mut waves = 0;
        while injections(&trace) == 0 {
            waves += 1;
            assert!(waves < 20, "{fault:?} was not met");
            for _ in 0..8 {
                crowd.add(bulk(&mut rig));
            }
            crowd.drive_until("a wave of bulk", |crowd| crowd.open() == 4);
            let whole = crowd.count(Outcome::Whole);
            assert_eq!(whole, waves * 8, "{fault:?}: {}", crowd.outcomes());
        }
        drop(tracer);
        crowd.release();
        crowd.finish();
        assert_eq!(crowd.count(Outcome::Whole), waves * 8 + 4, "{fault:?}");
        rig.aftermath(ROOM_KB);
    }
}

//! A stop in the middle of each fault: who is well finishes, nothing hangs, and the status is 0.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};

use crate::kernel_calls::{Tracer, can_trace};
use crate::peers::backend::{Backend, Behaviour};
use crate::peers::client::{Client, Conduct, Outcome, Plan};
use crate::peers::crowd::Crowd;
use crate::peers::rig::{POOL, Rig, counted, order};
use crate::peers::stream::BANNER;
use crate::scaled;
use crate::support::wait_for;

/// What is going on when the stop comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// One of two backends behaves like this.
    Backend(Behaviour),
    /// Clients beside the good ones do this.
    Clients(Conduct),
    /// This call fails like this, every other time.
    Call(&'static str, &'static str),
    /// The process may not open another descriptor.
    NoDescriptors,
    /// The process stands still, and goes on when it has been told to stop.
    StandsStill,
    /// Others use up all that the limits of bandwidth leave.
    Bandwidth,
}

const DRAIN: Duration = Duration::from_secs(3);

/// Clients that do nothing wrong, and how fast they are: they need a seventh of the drain, on a machine with nothing else to do.
const WELL: usize = 8;
const PACE: Duration = Duration::from_millis(10);

fn faults() -> Vec<Fault> {
    let behaviours = [
        Behaviour::Refuse,
        Behaviour::TimeOut,
        Behaviour::AcceptAndClose,
        Behaviour::AcceptAndReset,
        Behaviour::CloseWarm {
            within: Duration::from_millis(50),
        },
        Behaviour::SpeakFirst,
        Behaviour::NeverRead,
        Behaviour::NeverAnswer,
        Behaviour::AnswerAfterHalfClose,
        Behaviour::Tight { after: 0 },
        Behaviour::ResetAfter { bytes: 10_000 },
        Behaviour::Gone,
        Behaviour::Flap {
            every: Duration::from_millis(50),
        },
    ];
    let conducts = [
        Conduct::FinishLast,
        Conduct::LeaveAtOnce,
        Conduct::ResetAfter(5000),
        Conduct::Trickle(Duration::from_millis(50)),
        Conduct::NeverRead,
        Conduct::Silent,
    ];
    let calls = [
        ("accept4", "ECONNABORTED"),
        ("accept4", "EMFILE"),
        ("connect", "ENETUNREACH"),
        ("epoll_wait", "EINTR"),
        ("recvfrom", "EINTR"),
        ("sendto", "EINTR"),
        ("shutdown", "ENOTCONN"),
    ];
    let others = [Fault::NoDescriptors, Fault::StandsStill, Fault::Bandwidth];
    let backends = behaviours.map(Fault::Backend).into_iter();
    let mut all: Vec<_> = backends
        .chain(conducts.map(Fault::Clients))
        .chain(others)
        .collect();
    // What is traced is slow: not all of it at once.
    for (place, (call, error)) in calls.into_iter().enumerate() {
        all.insert(3 * place, Fault::Call(call, error));
    }
    all
}

impl Fault {
    /// What the configuration says beside the usual.
    fn changes(self) -> Value {
        let mut changes = json!({ "pools": { "common": { "drain_timeout": "3s" } } });
        if self == Self::Bandwidth {
            changes["server"] = json!({ "bandwidth": { "per_connection": "1MiB", "total": "2MiB" } });
        }
        changes
    }

    /// What the others do.
    fn clients(self) -> Conduct {
        match self {
            Self::Clients(conduct) => conduct,
            Self::Backend(_) | Self::Call(..) | Self::NoDescriptors | Self::StandsStill | Self::Bandwidth => {
                Conduct::FinishFirst
            }
        }
    }

    /// What each of them sends and wants at most.
    fn most_bytes(self) -> u64 {
        // Beyond a limit of bandwidth: far more than there is time for.
        if self == Self::Bandwidth {
            3_000_000
        } else {
            200_000
        }
    }

    /// Begins; a tracer keeps it up.
    fn begin(self, rig: &Rig) -> Option<Tracer> {
        match self {
            Self::Clients(_) | Self::StandsStill | Self::Bandwidth => {}
            Self::Backend(behaviour) => rig.backends[0].behave(behaviour),
            Self::Call(call, error) => {
                let trace = rig.forwarder.files().path("trace");
                return Some(Tracer::attach(rig, (call, error), "1+2", &trace));
            }
            Self::NoDescriptors => {
                let limit = Rlimit {
                    current: Some(rig.forwarder.descriptors() as u64),
                    maximum: Some(20_000),
                };
                prlimit(Some(rig.forwarder.process()), Resource::Nofile, limit).unwrap();
            }
        }
        None
    }
}

fn stop_in_the_middle_of(fault: Fault, signal: Signal) {
    let mut rig = Rig::start(&fault.changes(), 2);
    if matches!(fault, Fault::Call(..)) && !can_trace(&rig) {
        return;
    }
    let banner = prepare(&rig, fault);
    let begun = rig.sum_of(|tally| tally.begun.value());
    let mut plans = rig.plans(Conduct::Trickle(PACE), WELL, 10);
    for plan in &mut plans {
        plan.banner = banner;
    }
    let mut crowd = rig.crowd(plans);
    // They are served by what a backend is when it hears their first byte.
    crowd.drive_until("those who are well have begun", |_| {
        rig.sum_of(|tally| tally.begun.value()) == begun + WELL as u64
    });
    let tracer = fault.begin(&rig);
    for mut plan in rig.plans(fault.clients(), 24, fault.most_bytes()) {
        plan.banner = banner;
        crowd.add(plan);
    }
    crowd.drive_until("the others are connected", |crowd| {
        let clients = crowd.clients().iter();
        clients
            .filter(|client| client.outcome == Outcome::Open)
            .all(Client::is_connected)
    });
    crowd.drive_for(Duration::from_millis(30));
    let addr = rig.addr();
    if fault == Fault::StandsStill {
        rig.forwarder.signal(Signal::STOP);
        crowd.drive_for(Duration::from_millis(200));
    }
    rig.forwarder.signal(signal);
    if fault == Fault::StandsStill {
        crowd.drive_for(Duration::from_millis(200));
        rig.forwarder.signal(Signal::CONT);
    }
    let began = Instant::now();
    crowd.drive_until("those who are well finish", |crowd| {
        (0..WELL).all(|place| crowd.client(place).outcome != Outcome::Open)
    });
    let (mut forwarder, backends) = (rig.forwarder, rig.backends);
    crowd.drive_until("the process ends", |_| forwarder.has_ended());
    let took = began.elapsed();
    drop(tracer);
    assert!(took < DRAIN + Duration::from_secs(5), "{fault:?}: {took:?}");
    let ended = forwarder.ended();
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (Some(0), ""),
        "{fault:?}: {ended:?}"
    );
    assert!(ended.stdout.contains("stopped: "), "{fault:?}: {ended:?}");
    assert!(
        std::net::TcpStream::connect(addr).is_err(),
        "{fault:?}: somebody listens"
    );
    expect_unhurt(fault, &mut crowd, &backends[0], &ended.stdout);
    // Whoever was cut sees the end of the process.
    crowd.release();
    crowd.finish();
    assert_eq!(
        crowd.count(Outcome::Corrupt),
        0,
        "{fault:?}: {}",
        crowd.outcomes()
    );
    let corrupt: u64 = backends.iter().map(|one| one.tally().corrupt.value()).sum();
    assert_eq!(corrupt, 0, "{fault:?}");
}

/// Those who are well end whole. Only who was on the first backend when that died can have been hurt, and is told so.
fn expect_unhurt(fault: Fault, crowd: &mut Crowd, first: &Backend, log: &str) {
    let hurt = (0..WELL)
        .filter(|place| crowd.client(*place).outcome != Outcome::Whole)
        .count();
    let told = (0..WELL)
        .filter(|place| crowd.client(*place).outcome == Outcome::Reset)
        .count();
    let died = first.tally().deaths.value() > 0;
    assert!(
        hurt == told && (hurt == 0 || died) && hurt < WELL,
        "{fault:?}: {}\n{}",
        crowd.outcomes(),
        log
    );
}

/// Whether backends speak first is not for one of two to choose; what they say then.
fn prepare(rig: &Rig, fault: Fault) -> &'static [u8] {
    let speaks_first = Behaviour::SpeakFirst;
    if fault != Fault::Backend(speaks_first) {
        return &[];
    }
    for behaviour in [Behaviour::Gone, speaks_first] {
        for backend in &rig.backends {
            backend.behave(behaviour);
        }
    }
    wait_for("warm connections to what speaks first", || {
        counted(&rig.forwarder, "pool_available_connections") == 2 * POOL
    });
    BANNER
}

#[test]
fn in_the_middle_of_each_fault() {
    const AT_ONCE: usize = 8;
    let signals = [Signal::TERM, Signal::INT];
    let mut cases = Vec::new();
    for round in 0..scaled(1, 10) {
        for (place, fault) in faults().into_iter().enumerate() {
            cases.push((fault, signals[(place + round) % 2]));
        }
    }
    let cases = Mutex::new(cases);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((fault, signal)) = cases.lock().unwrap().pop() else {
                        return;
                    };
                    stop_in_the_middle_of(fault, signal);
                }
            });
        }
    });
}

/// Injected once: the poll of a reactor fails for good while its relays are finishing.
#[test]
fn a_reactor_that_fails_is_told() {
    let changes = json!({
        "server": { "reactors": 1 },
        "pools": { "common": { "drain_timeout": "60s" } },
    });
    let mut rig = Rig::start(&changes, 1);
    if !can_trace(&rig) {
        return;
    }
    let mut plan = Plan::new(Conduct::Trickle(PACE), order(&mut rig.rng, 0));
    plan.order.up = 100_000;
    let mut crowd = rig.crowd([plan]);
    crowd.drive_until("it is served", |crowd| crowd.client(0).sent() > 2);
    rig.forwarder.signal(Signal::TERM);
    crowd.drive_until("it is stopping", |_| rig.forwarder.log().contains("stopping: "));
    let trace = rig.forwarder.files().path("trace");
    let tracer = Tracer::attach(&rig, ("epoll_wait", "EBADF"), "1+1", &trace);
    let mut forwarder = rig.forwarder;
    crowd.drive_until("the process ends", |_| forwarder.has_ended());
    drop(tracer);
    let ended = forwarder.ended();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("reactor ended: "), "{ended:?}");
}

#[test]
fn with_every_place_taken() {
    let changes = json!({
        "server": { "max_connections": 20 },
        "pools": { "common": { "drain_timeout": "3s" } },
    });
    let mut rig = Rig::start(&changes, 2);
    let plans = rig.plans(Conduct::Trickle(PACE), 20, 10);
    let mut inside = rig.crowd(plans);
    inside.drive_until("every place is taken", |_| {
        counted(&rig.forwarder, "active_connections") == 20
    });
    let plans = rig.healthy(10);
    let mut outside = rig.crowd(plans);
    outside.drive_until("others are queued", |crowd| {
        crowd.clients().iter().all(Client::is_connected)
    });
    rig.forwarder.signal(Signal::TERM);
    inside.finish();
    assert_eq!(inside.count(Outcome::Whole), 20, "{}", inside.outcomes());
    outside.finish();
    let told = outside.count(Outcome::Whole) + outside.count(Outcome::Reset);
    assert_eq!(told, 10, "{}", outside.outcomes());
    let mut forwarder = rig.forwarder;
    wait_for("the end", || forwarder.has_ended());
    assert_eq!(forwarder.ended().status, Some(0));
}

//! A stop in the middle of each fault: who is well finishes, nothing hangs, and the status is 0.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::peers::backend::Behaviour;
use crate::peers::client::{Client, Conduct, Outcome};
use crate::peers::rig::{POOL, Rig, counted};
use crate::peers::stream::BANNER;
use crate::scaled;
use crate::support::wait_for;

/// What is going on when the stop comes: how one of two backends behaves, and the clients beside the good ones.
#[derive(Debug, Clone, Copy)]
struct Fault {
    backend: Behaviour,
    clients: Conduct,
}

const DRAIN: Duration = Duration::from_secs(3);

/// Clients that do nothing wrong, and how fast they are: they need a tenth of the drain, on a machine with nothing else to do.
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
    let backends = behaviours.map(|backend| Fault {
        backend,
        clients: Conduct::FinishFirst,
    });
    let clients = conducts.map(|clients| Fault {
        backend: Behaviour::Serve,
        clients,
    });
    backends.into_iter().chain(clients).collect()
}

fn stop_in_the_middle_of(fault: Fault, signal: Signal) {
    let changes = json!({ "pools": { "common": { "drain_timeout": "3s" } } });
    let mut rig = Rig::start(&changes, 2);
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
    rig.backends[0].behave(fault.backend);
    for mut plan in rig.plans(fault.clients, 24, 200_000) {
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
    rig.forwarder.signal(signal);
    let began = Instant::now();
    crowd.drive_until("those who are well finish", |crowd| {
        (0..WELL).all(|place| crowd.client(place).outcome != Outcome::Open)
    });
    let (mut forwarder, backends) = (rig.forwarder, rig.backends);
    crowd.drive_until("the process ends", |_| forwarder.has_ended());
    let took = began.elapsed();
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
    // Only who was on a backend that died can have been hurt, and is told so.
    let hurt = (0..WELL)
        .filter(|place| crowd.client(*place).outcome != Outcome::Whole)
        .count();
    let told = (0..WELL)
        .filter(|place| crowd.client(*place).outcome == Outcome::Reset)
        .count();
    let died = backends[0].tally().deaths.value() > 0;
    assert!(
        hurt == told && (hurt == 0 || died) && hurt < WELL,
        "{fault:?}: {}\n{}",
        crowd.outcomes(),
        ended.stdout
    );
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

/// Whether backends speak first is not for one of two to choose; what they say then.
fn prepare(rig: &Rig, fault: Fault) -> &'static [u8] {
    if fault.backend != Behaviour::SpeakFirst {
        return &[];
    }
    for behaviour in [Behaviour::Gone, fault.backend] {
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
    const AT_ONCE: usize = 6;
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

//! The faults: one after another in an order of chance, and which failures of clients each of them explains.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::load::Failure;
use crate::peers::backend::{Backend, Behaviour};
use crate::peers::client::Outcome;
use crate::support::{Forwarder, http_body, pause, wait_for};

/// How long after its end a fault may still be heard of: the forwarder has to see that it is over.
const SETTLE: Duration = Duration::from_secs(2);

/// How long the forwarder keeps a finish from a client whose first bytes may have met it.
const KEPT: Duration = Duration::from_secs(5);

/// How long a reset may come after it was made: a slow reader hears what came before it first.
const HELD: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Refuse,
    FullBacklog,
    AcceptAndClose,
    AcceptAndReset,
    CloseWarm,
    ResetMidStream,
    Hang,
    NeverRead,
    Flap,
    Leave,
    AllGone,
    Stopped,
    ListChanged,
}

impl Fault {
    pub const ALL: [Self; 13] = [
        Self::Refuse,
        Self::FullBacklog,
        Self::AcceptAndClose,
        Self::AcceptAndReset,
        Self::CloseWarm,
        Self::ResetMidStream,
        Self::Hang,
        Self::NeverRead,
        Self::Flap,
        Self::Leave,
        Self::AllGone,
        Self::Stopped,
        Self::ListChanged,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Refuse => "two backends refuse",
            Self::FullBacklog => "two backends do not accept, their queue is full",
            Self::AcceptAndClose => "two backends accept and close",
            Self::AcceptAndReset => "two backends accept and reset",
            Self::CloseWarm => "two backends close warm connections at random",
            Self::ResetMidStream => "two backends reset in the middle of their answer",
            Self::Hang => "two backends do not answer until it is over",
            Self::NeverRead => "two backends do not read until it is over",
            Self::Flap => "one backend dies and returns, again and again",
            Self::Leave => "two backends die, and return at the end",
            Self::AllGone => "all backends die, and return at the end",
            Self::Stopped => "the forwarder is stopped (SIGSTOP), and goes on at the end",
            Self::ListChanged => "two members are taken off the list, and put back at the end",
        }
    }

    /// How a backend behaves that is hit; `None` when none is.
    fn behaviour(self, hold: Duration, rng: &mut fastrand::Rng) -> Option<Behaviour> {
        Some(match self {
            Self::Refuse => Behaviour::Refuse,
            Self::FullBacklog => Behaviour::TimeOut,
            Self::AcceptAndClose => Behaviour::AcceptAndClose,
            Self::AcceptAndReset => Behaviour::AcceptAndReset,
            Self::CloseWarm => Behaviour::CloseWarm { within: hold / 4 },
            Self::ResetMidStream => Behaviour::ResetAfter {
                bytes: rng.u64(1..20_000),
            },
            Self::Hang => Behaviour::NeverAnswer,
            Self::NeverRead => Behaviour::NeverRead,
            Self::Flap => Behaviour::Flap { every: hold / 8 },
            Self::Leave | Self::AllGone => Behaviour::Gone,
            Self::Stopped | Self::ListChanged => return None,
        })
    }

    /// Backends that it hits, of so many.
    fn hits(self, all: usize) -> usize {
        match self {
            Self::AllGone => all,
            Self::Flap => 1,
            Self::Stopped => 0,
            Self::Refuse
            | Self::FullBacklog
            | Self::AcceptAndClose
            | Self::AcceptAndReset
            | Self::CloseWarm
            | Self::ResetMidStream
            | Self::Hang
            | Self::NeverRead
            | Self::Leave
            | Self::ListChanged => 2,
        }
    }
}

/// One fault that was injected.
#[derive(Debug)]
pub struct Injected {
    pub fault: Fault,
    pub from: Instant,
    pub until: Instant,
}

impl Injected {
    pub fn to_json(&self, start: Instant, hurt: usize) -> Value {
        json!({
            "fault": self.fault.words(),
            "from_s": (self.from - start).as_secs_f64(),
            "until_s": (self.until - start).as_secs_f64(),
            "connections_hurt": hurt,
        })
    }

    /// Whether a failure is what this fault does to those who meet it, and came at its time.
    ///
    /// Nothing ever explains bytes that are not right, an end that looks proper but is none, a connection that
    /// does not end, and a client that cannot connect. Refusals, silence, a stop of the process and changes of
    /// the list explain nothing: there is another backend, or all that is lost is time.
    pub fn explains(&self, failure: &Failure) -> bool {
        let is_reset = failure.outcome == Outcome::Reset;
        let is_unanswered = is_reset || failure.outcome == Outcome::Empty;
        let ended_within = |time| failure.ended >= self.from && failure.ended <= self.until + time;
        let met = failure.began <= self.until + SETTLE;
        match self.fault {
            Fault::Refuse
            | Fault::FullBacklog
            | Fault::Hang
            | Fault::NeverRead
            | Fault::Stopped
            | Fault::ListChanged => false,
            // A close that finds bytes which were not read is a reset, too.
            Fault::AcceptAndClose | Fault::CloseWarm => {
                ended_within(SETTLE + KEPT) && is_unanswered && failure.received == 0
            }
            Fault::AcceptAndReset => ended_within(SETTLE + KEPT) && is_reset && failure.received == 0,
            // It comes when so much has been answered, later perhaps.
            Fault::ResetMidStream => is_reset && met && failure.ended >= self.from,
            Fault::Flap | Fault::Leave => is_reset && met && ended_within(SETTLE + HELD),
            Fault::AllGone if is_reset => met && ended_within(SETTLE + HELD),
            Fault::AllGone => ended_within(SETTLE) && is_unanswered && failure.received == 0,
        }
    }
}

/// How long faults last, and what there is between two of them.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    pub hold: Duration,
    pub gap: Duration,
}

impl Rhythm {
    fn vary(time: Duration, rng: &mut fastrand::Rng) -> Duration {
        time.mul_f64(0.6 + 0.8 * rng.f64())
    }
}

/// Injects every fault, in rounds, until `until`; the round that has begun is not finished.
pub fn rotate(
    forwarder: &Forwarder,
    backends: &[Backend],
    rhythm: Rhythm,
    until: Instant,
    rng: &mut fastrand::Rng,
) -> Vec<Injected> {
    let mut injected = Vec::new();
    loop {
        let mut round = Fault::ALL;
        rng.shuffle(&mut round);
        for fault in round {
            pause(Rhythm::vary(rhythm.gap, rng));
            let hold = Rhythm::vary(rhythm.hold, rng);
            if Instant::now() + hold > until {
                return injected;
            }
            injected.push(inject(forwarder, backends, (fault, hold), rng));
        }
    }
}

fn inject(
    forwarder: &Forwarder,
    backends: &[Backend],
    (fault, hold): (Fault, Duration),
    rng: &mut fastrand::Rng,
) -> Injected {
    let hit = choose(forwarder, backends, fault.hits(backends.len()), rng);
    let from = Instant::now();
    if let Some(behaviour) = fault.behaviour(hold, rng) {
        for backend in &hit {
            backend.behave(behaviour);
        }
        pause(hold);
        for backend in &hit {
            backend.behave(Behaviour::Serve);
        }
    } else if fault == Fault::Stopped {
        forwarder.signal(Signal::STOP);
        pause(hold / 2);
        forwarder.signal(Signal::CONT);
    } else {
        let stays = |backend: &&Backend| !hit.iter().any(|other| other.addr == backend.addr);
        write_list(forwarder, backends.iter().filter(stays));
        pause(hold);
        write_list(forwarder, backends.iter());
    }
    Injected {
        fault,
        from,
        until: Instant::now(),
    }
}

/// So many backends, of the active set if two of its members are left well: what is promised is promised of those
/// who have another backend to go to.
fn choose<'a>(
    forwarder: &Forwarder,
    backends: &'a [Backend],
    count: usize,
    rng: &mut fastrand::Rng,
) -> Vec<&'a Backend> {
    let mut seen = String::new();
    wait_for("a scrape", || {
        let scraped = http_body(forwarder.metrics_addr(), "/metrics");
        scraped.map(|text| seen = text).is_ok()
    });
    let is_active = |backend: &&Backend| {
        let series = format!(
            "tcp_forwarder_lb_backend_connections{{server=\"{}\"}}",
            backend.addr
        );
        seen.contains(&series)
    };
    let (mut active, mut others): (Vec<_>, Vec<_>) = backends.iter().partition(is_active);
    rng.shuffle(&mut active);
    rng.shuffle(&mut others);
    let spared = if count < backends.len() { 2 } else { 0 };
    let hit = active.len().saturating_sub(spared).min(count);
    active.truncate(hit);
    active.extend(others.into_iter().take(count - hit));
    active
}

/// Writes the list anew, as a whole.
fn write_list<'a>(forwarder: &Forwarder, backends: impl Iterator<Item = &'a Backend>) {
    let rows: Vec<_> = backends.map(|backend| format!("{}\n", backend.addr)).collect();
    let new = forwarder.files().path("ip_list.new");
    std::fs::write(&new, rows.concat()).unwrap();
    std::fs::rename(new, forwarder.files().path("ip_list.txt")).unwrap();
}

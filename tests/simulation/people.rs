//! Virtual days of clients: what backends are blamed for, and what not.
//!
//! Each client is a script of what its relay meets, played through the real [`Course`]; what that reports goes where a
//! reactor would send it: to the backend's own counts, or to the scorer. All behind that is what runs in a process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tcp_forwarder::backend::Backend;
use tcp_forwarder::base::clock;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::ServiceName;
use tcp_forwarder::relay::course::{Course, Ended, Met, Step};
use tcp_forwarder::scorer::conduct::LEAST_PATIENCE;
use tcp_forwarder::scorer::{Outcome, Source, Unserved, Wordless};
use tcp_forwarder::selector::decide::SwitchReason;
use tcp_forwarder::service::{Candidate, Hub, Live, Service};

use super::core::spec;
use super::process::{Process, Thread};

const DAY: u64 = 86_400;
const CONNECT: Duration = Duration::from_millis(20);

/// What clients and backends do in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A client asks and is answered.
    Answers,
    /// The backend ends without a word, as its protocol has it.
    EndsWordless,
    /// The client says nothing, and goes after a while.
    Silent,
    /// The client asks, and goes before the answer.
    LeavesEarly,
    /// The client asks and finishes; its backend ends in its turn.
    HalfCloses,
    /// The backend resets what it is asked.
    Resets,
    /// The backend never answers; the client goes after a minute and a half.
    Mute,
}

/// One client.
#[derive(Debug)]
struct Person {
    course: Course,
    backend: Arc<Backend>,
    has_finished: bool,
    is_gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Asks,
    Answer,
    /// The backend ends.
    End,
    Finishes,
    Goes,
    /// It may have waited for too long.
    Doubt,
}

/// What becomes of a day.
struct Town {
    process: Process,
    service: Arc<Service>,
    people: Vec<Person>,
    acts: BinaryHeap<Reverse<(Instant, usize, Act)>>,
    rng: fastrand::Rng,
    turn: usize,
    /// Clients that got nothing, by what their backend did to them.
    failed: usize,
}

fn met(asked: bool, answered: bool, ended: Ended) -> Met {
    Met {
        asked,
        answered,
        ended,
    }
}

impl Town {
    fn new(seed: u64) -> Self {
        let hub = Arc::new(Hub::new(1, clock::now()));
        let list = Arc::new(CandidateSet::parse("10.1.0.0/29:80", 80).expect("a list"));
        let spec = spec(|spec| spec.remotes.selector.active_set_size = 4);
        let live = Live::new(list, &spec.remotes.scoring, &hub.bells);
        let name = ServiceName::parse("town").expect("a name");
        let service = Arc::new(Service::new(name, Arc::new(spec), Arc::new(live), hub.started_at));
        let process = Process::new(hub, seed);
        process.publish(&[Arc::clone(&service)]);
        Self {
            process,
            service,
            people: Vec::new(),
            acts: BinaryHeap::new(),
            rng: fastrand::Rng::with_seed(seed),
            turn: 0,
            failed: 0,
        }
    }

    fn active(&self) -> Vec<Arc<Backend>> {
        self.service.live.active.load().backends.clone()
    }

    /// Lets the threads work until then.
    fn pass(&mut self, until: Instant) {
        loop {
            while let Some(thread) = self.process.awake().expect("nobody spins") {
                for probe in self.process.turn(thread) {
                    debug_assert_eq!(thread, Thread::Prober);
                    self.process.connect(
                        probe.candidate,
                        Source::Probe,
                        Outcome::Success(CONNECT),
                        probe.timeout,
                    );
                }
            }
            if !self.process.pass(until) {
                return;
            }
        }
    }

    /// A day of clients whose manner is drawn for each, by whom they meet; about so many an hour at noon.
    fn day(&mut self, an_hour: f64, manner: impl Fn(&SocketAddr, &mut fastrand::Rng) -> Manner) {
        let start = self.process.now;
        self.pass(start + Duration::from_secs(20));
        for second in 20..DAY {
            let at = start + Duration::from_secs(second);
            let daylight =
                (std::f64::consts::PI * f64::from(u32::try_from(second).expect("a day")) / 86_400.0).sin();
            if self.rng.f64() < an_hour / 3_600.0 * (0.1 + 0.9 * daylight * daylight) {
                let at = at + Duration::from_micros(self.rng.u64(0..900_000));
                self.come(at, &manner);
            }
            self.live_until(at + Duration::from_secs(1));
        }
        self.live_until(start + Duration::from_secs(DAY + 200));
    }

    /// A client comes, and what it and its backend will do is known.
    fn come(&mut self, at: Instant, manner: &impl Fn(&SocketAddr, &mut fastrand::Rng) -> Manner) {
        let active = self.active();
        let backend = Arc::clone(&active[self.turn % active.len()]);
        self.turn += 1;
        let manner = manner(&backend.addr, &mut self.rng);
        let mut millis = |most: u64| Duration::from_millis(5 + self.rng.u64(0..most));
        let asks = at + millis(200);
        let then = asks + millis(400);
        let script: Vec<(Instant, Act)> = match manner {
            Manner::Answers => vec![
                (asks, Act::Asks),
                (then, Act::Answer),
                (then + millis(9_000), Act::Goes),
            ],
            Manner::EndsWordless | Manner::Resets => vec![(asks, Act::Asks), (then, Act::End)],
            Manner::Silent => vec![(at + millis(90_000), Act::Goes)],
            Manner::LeavesEarly => vec![(asks, Act::Asks), (then, Act::Goes)],
            Manner::HalfCloses => vec![(asks, Act::Asks), (asks, Act::Finishes), (then, Act::End)],
            Manner::Mute => vec![(asks, Act::Asks), (asks + Duration::from_secs(90), Act::Goes)],
        };
        self.people.push(Person {
            course: Course::default(),
            backend,
            has_finished: false,
            is_gone: false,
        });
        let who = self.people.len() - 1;
        self.acts
            .extend(script.into_iter().map(|(at, act)| Reverse((at, who, act))));
    }

    fn live_until(&mut self, until: Instant) {
        while let Some(Reverse((at, who, act))) = self.acts.peek().copied()
            && at <= until
        {
            self.acts.pop();
            self.pass(at);
            self.act(who, act, at);
        }
        self.pass(until);
    }

    fn act(&mut self, who: usize, act: Act, now: Instant) {
        let patience = self.service.live.patience();
        let person = &mut self.people[who];
        if person.is_gone {
            return;
        }
        let met = match act {
            Act::Goes => {
                // A relay ends with its client: whoever it waits for may only follow.
                person.is_gone = true;
                return;
            }
            Act::Finishes => {
                person.has_finished = true;
                return;
            }
            Act::Doubt => return self.doubt(who, now),
            Act::Asks => met(true, false, Ended::No),
            Act::Answer => met(false, true, Ended::No),
            Act::End if person.has_finished => met(false, false, Ended::Both),
            Act::End => met(false, false, Ended::Backend),
        };
        person.is_gone = act == Act::End;
        if !person.course.is_open() {
            return;
        }
        match person.course.advance(met, now) {
            Some(Step::Asked) => {
                let first = LEAST_PATIENCE.min(patience.unwrap_or(LEAST_PATIENCE));
                self.acts.push(Reverse((now + first, who, Act::Doubt)));
            }
            Some(Step::Answered(waited)) => person.backend.shares[0].service.answered(waited),
            Some(Step::Unserved(asked_at)) => self.report(who, Wordless::Ended, asked_at, now),
            None => {}
        }
    }

    /// Whether a client has waited for too long; if not yet, it is looked at again.
    fn doubt(&mut self, who: usize, now: Instant) {
        let patience = self.service.live.patience();
        let person = &mut self.people[who];
        let (Some(asked_at), Some(patience)) = (person.course.asked_at(), patience) else {
            return;
        };
        if person.has_finished || person.course.is_overdue() {
            return;
        }
        if now < asked_at + patience {
            self.acts.push(Reverse((asked_at + patience, who, Act::Doubt)));
        } else if person.course.becomes_overdue() {
            self.report(who, Wordless::Silent, asked_at, now);
        }
    }

    fn report(&mut self, who: usize, how: Wordless, asked_at: Instant, now: Instant) {
        self.failed += 1;
        let candidate = Candidate {
            service: self.service.live.id,
            addr: self.people[who].backend.addr,
        };
        self.process.hub.samples.unserved(Unserved {
            candidate,
            how,
            asked_at,
            at: now,
        });
    }

    /// How many clients counted against somebody, and how often the set changed.
    fn blamed(&self) -> (u64, u64) {
        let counts = &self.service.live.counts;
        let switches = SwitchReason::ALL.iter().zip(&counts.switches);
        let others = switches.filter(|(reason, _)| **reason != SwitchReason::Initial);
        (
            counts.unserved.load(Ordering::Relaxed),
            others.map(|(_, count)| count.load(Ordering::Relaxed)).sum(),
        )
    }
}

/// A day in which nobody is to blame.
fn nobody_is_blamed(name: &str, manner: impl Fn(&SocketAddr, &mut fastrand::Rng) -> Manner) {
    for seed in [11, 12] {
        let mut town = Town::new(seed);
        town.day(1_200.0, &manner);
        let (blamed, switches) = town.blamed();
        let (clients, failed) = (town.people.len(), town.failed);
        println!(
            "{name}, seed {seed}: {clients} clients, {failed} told of, {blamed} counted, {switches} switches"
        );
        assert!(clients > 10_000, "{clients} clients");
        assert_eq!((blamed, switches), (0, 0), "{name}, seed {seed}");
    }
}

#[test]
fn a_day_of_a_protocol_without_answers_blames_nobody() {
    nobody_is_blamed("wordless", |_, _| Manner::EndsWordless);
}

#[test]
fn a_day_of_silent_clients_blames_nobody() {
    nobody_is_blamed("silent", |_, _| Manner::Silent);
}

#[test]
fn a_day_of_clients_that_leave_early_blames_nobody() {
    nobody_is_blamed("leaving", |_, _| Manner::LeavesEarly);
}

#[test]
fn a_day_of_clients_that_finish_first_blames_nobody() {
    nobody_is_blamed("finishing", |_, _| Manner::HalfCloses);
}

#[test]
fn a_day_of_all_of_them_among_clients_that_are_answered_blames_nobody() {
    nobody_is_blamed("mixed", |_, rng| match rng.u8(0..10) {
        0 => Manner::Silent,
        1 | 2 => Manner::LeavesEarly,
        3 => Manner::HalfCloses,
        _ => Manner::Answers,
    });
}

/// A day in which one of those that are used first is bad; how many clients it failed, and when the last of them.
fn one_is_bad(bad: Manner) -> (usize, bool) {
    let mut town = Town::new(21);
    let start = town.process.now;
    town.pass(start + Duration::from_secs(20));
    let culprit = town.active()[1].addr;
    // Bad from the second hour on.
    let from = start + Duration::from_secs(3_600);
    let at = std::cell::Cell::new(start);
    for second in 20..4 * 3_600_u64 {
        at.set(start + Duration::from_secs(second));
        town.come(at.get(), &|addr: &SocketAddr, _: &mut fastrand::Rng| {
            if *addr == culprit && at.get() >= from {
                bad
            } else {
                Manner::Answers
            }
        });
        town.live_until(at.get() + Duration::from_secs(1));
    }
    let is_used = town.active().iter().any(|backend| backend.addr == culprit);
    (town.failed, is_used)
}

#[test]
fn who_resets_fails_few_of_a_days_clients() {
    let (failed, is_used) = one_is_bad(Manner::Resets);
    println!("resetting: {failed} clients failed");
    assert!(failed < 5 && !is_used, "{failed} failed, used: {is_used}");
}

#[test]
fn who_is_mute_fails_few_of_a_days_clients() {
    let (failed, is_used) = one_is_bad(Manner::Mute);
    println!("mute: {failed} clients failed");
    assert!(failed <= 5 && !is_used, "{failed} failed, used: {is_used}");
}

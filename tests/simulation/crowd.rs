//! The clients of one service, over relays: each is given a backend by the balancer, and follows its script there.
//!
//! The relays are real, on connections in memory; what a reactor makes of their steps is played here, as
//! `reactor/appraisal.rs` has it: answers are counted in the backend's tally, and who is not served is reported.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcp_forwarder::backend::Backend;
use tcp_forwarder::loadbalancer::Seeker;
use tcp_forwarder::relay::course::Step;
use tcp_forwarder::relay::pipe::PipeReserve;
use tcp_forwarder::relay::{Peer, Relay, Replaceable, Tools, Verdict};
use tcp_forwarder::scorer::conduct::LEAST_PATIENCE;
use tcp_forwarder::scorer::{Source, Unserved, Wordless};

use super::core::Core;
use super::line::{self, End, Line};
use super::manners::{Act, Fault, Manners};

/// Clients an hour at the quietest time of the day and at the busiest, twelve hours later.
const PACE: [f64; 2] = [300.0, 3_300.0];

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    Comes,
    /// A client, or its first backend, does this.
    Does(u64, Act),
    /// It is looked whether a client has waited for too long.
    Look(u64),
}

/// A client and its backend.
struct Visit {
    relay: Relay<Line>,
    peer: Peer<Line>,
    backend: Arc<Backend>,
    since: Instant,
    /// Backends that closed on it before anybody spoke.
    failed: Vec<SocketAddr>,
}

/// What became of clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) clients: u64,
    pub(crate) answered: u64,
    pub(crate) ended: u64,
    pub(crate) silent: u64,
    pub(crate) closed_early: u64,
    /// When clients came to the backend that is to blame.
    pub(crate) met: Vec<Instant>,
}

pub(crate) struct Crowd {
    rng: fastrand::Rng,
    manners: Vec<Manners>,
    began_at: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    visits: HashMap<u64, Visit>,
    /// Of events and of clients.
    last_number: u64,
    scratch: Vec<u8>,
    pipes: PipeReserve,
    /// Who is to blame, and for what.
    pub(crate) culprit: Option<(SocketAddr, Fault)>,
    pub(crate) tally: Tally,
}

impl Crowd {
    /// Clients that come from now on, with one of these manners each.
    pub(crate) fn new(seed: u64, manners: &[Manners], now: Instant) -> Self {
        let mut crowd = Self {
            rng: fastrand::Rng::with_seed(seed),
            manners: manners.to_vec(),
            began_at: now,
            events: BTreeMap::new(),
            visits: HashMap::new(),
            last_number: 0,
            scratch: vec![0; 4096],
            pipes: PipeReserve::of(0),
            culprit: None,
            tally: Tally::default(),
        };
        crowd.expect_next(now);
        crowd
    }

    /// One second of the process and of its clients.
    pub(crate) fn second(&mut self, core: &mut Core) -> Result<(), String> {
        let until = core.now() + Duration::from_secs(1);
        while let Some(first) = self.events.first_entry()
            && first.key().0 < until
        {
            let ((at, _), event) = first.remove_entry();
            core.advance(at)?;
            match event {
                Event::Comes => self.come(core)?,
                Event::Does(client, act) => self.act(core, client, act)?,
                Event::Look(client) => self.look(core, client),
            }
        }
        core.advance(until)
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn plan(&mut self, at: Instant, event: Event) {
        let number = self.number();
        self.events.insert((at, number), event);
    }

    fn expect_next(&mut self, now: Instant) {
        let hours = (now - self.began_at).as_secs_f64() / 3_600.0;
        let day = (std::f64::consts::PI * hours / 24.0).sin().powi(2);
        let pace = PACE[0] + (PACE[1] - PACE[0]) * day;
        let gap = -self.rng.f64().max(1e-9).ln() * 3_600.0 / pace;
        self.plan(now + Duration::from_secs_f64(gap), Event::Comes);
    }

    /// A backend for a client that these have failed.
    fn choose(&mut self, core: &mut Core, failed: &[SocketAddr]) -> Result<(Arc<Backend>, Duration), String> {
        let service = Arc::clone(&core.one().service);
        let set = service.live.active.load();
        let seeker = Seeker {
            client: SocketAddr::from(([192, 0, 2, 1], 1024)),
            failed,
            tries: 3,
            reactor: 0,
        };
        let index = service.balancer.choose(&set, &seeker, &mut self.rng, core.now());
        let backend = index
            .map(|index| Arc::clone(&set.backends[index]))
            .ok_or("an empty set")?;
        backend.join();
        let timeout = service.spec.pools.dial_timeout;
        let outcome = core.world.connect(backend.addr, timeout);
        let candidate = core.one().candidate(backend.addr);
        core.process.connect(candidate, Source::Dial, outcome, timeout);
        let latency = outcome.latency().ok_or("in these worlds all connects succeed")?;
        Ok((backend, latency))
    }

    fn come(&mut self, core: &mut Core) -> Result<(), String> {
        let now = core.now();
        self.expect_next(now);
        self.tally.clients += 1;
        let (backend, latency) = self.choose(core, &[])?;
        let culprit = self.culprit.filter(|(addr, _)| *addr == backend.addr);
        let script = if let Some((_, fault)) = culprit {
            self.tally.met.push(now);
            fault.script(&mut self.rng)
        } else {
            let manners = self.rng.choice(&self.manners).ok_or("no manners")?;
            manners.script(&mut self.rng)
        };
        let client = self.number();
        for (after, act) in script {
            self.plan(now + latency + after, Event::Does(client, act));
        }
        let addr = SocketAddr::from(([192, 0, 2, 1], 1024));
        let mut relay = Relay::new(Line::default(), addr, now);
        relay.begin_on_dialled(Replaceable::Yes);
        let visit = Visit {
            relay,
            peer: line::fresh(),
            backend,
            since: now + latency,
            failed: Vec::new(),
        };
        self.visits.insert(client, visit);
        Ok(())
    }

    fn act(&mut self, core: &mut Core, client: u64, act: Act) -> Result<(), String> {
        let Some(visit) = self.visits.get_mut(&client) else {
            return Ok(());
        };
        if act.is_of_backend() && !visit.failed.is_empty() {
            return Ok(());
        }
        let (near, far) = (&mut visit.relay.client, &mut visit.peer);
        match act {
            Act::ClientSpeaks => line::say(near, 200),
            Act::ClientFinishes => line::end(near, End::Finished),
            Act::ClientCloses => line::end(near, End::Closed),
            Act::ClientResets => line::end(near, End::Reset),
            Act::BackendSpeaks => line::say(far, 2_000),
            Act::BackendCloses => line::end(far, End::Closed),
            Act::BackendResets => line::end(far, End::Reset),
            Act::Cut => {
                self.leave(client);
                return Ok(());
            }
        }
        self.drive(core, client)
    }

    /// Gives a relay its turns until it waits.
    fn drive(&mut self, core: &mut Core, client: u64) -> Result<(), String> {
        let now = core.now();
        while let Some(visit) = self.visits.get_mut(&client) {
            let mut tools = Tools {
                scratch: &mut self.scratch,
                pipes: &mut self.pipes,
                bandwidth: None,
                now,
                clock: now,
            };
            let (_, verdict) = visit.relay.drive(&mut visit.peer, &mut tools);
            let step = visit.relay.step.take();
            let is_reset = line::hear(&mut visit.relay.client) | line::hear(&mut visit.peer);
            if let Some(step) = step {
                self.on_step(core, client, step);
            }
            match verdict {
                Verdict::Wait if !is_reset => return Ok(()),
                Verdict::Wait | Verdict::Again => {}
                Verdict::Stale => self.replace(core, client)?,
                Verdict::End(_) => self.leave(client),
                Verdict::Rescue | Verdict::Doubt(_) => {
                    return Err(format!("{verdict:?} on a connection that was dialled"));
                }
            }
        }
        Ok(())
    }

    fn on_step(&mut self, core: &Core, client: u64, step: Step) {
        match step {
            Step::Asked => self.plan(core.now() + LEAST_PATIENCE, Event::Look(client)),
            Step::Answered(waited) => {
                self.tally.answered += 1;
                if let Some(visit) = self.visits.get(&client) {
                    visit.backend.shares[0].service.answered(waited);
                    core.one().service.live.marks.scorer.set();
                }
            }
            Step::Unserved(asked_at) => self.report(core, client, Wordless::Ended, asked_at),
            Step::ClosedUnasked => self.report_if_early(core, client),
        }
    }

    /// Looks whether a client has waited for too long.
    fn look(&mut self, core: &Core, client: u64) {
        let patience = core.one().service.live.patience();
        let Some(visit) = self.visits.get_mut(&client) else {
            return;
        };
        let Some((asked_at, patience)) = visit.relay.waits_since().zip(patience) else {
            return;
        };
        if asked_at + patience > core.now() {
            self.plan(asked_at + patience, Event::Look(client));
        } else if visit.relay.course.becomes_overdue() {
            self.report(core, client, Wordless::Silent, asked_at);
        }
    }

    fn report(&mut self, core: &Core, client: u64, how: Wordless, asked_at: Instant) {
        let counter = match how {
            Wordless::Ended => &mut self.tally.ended,
            Wordless::Silent => &mut self.tally.silent,
            Wordless::ClosedEarly => &mut self.tally.closed_early,
        };
        *counter += 1;
        if let Some(visit) = self.visits.get(&client) {
            core.process.hub.samples.unserved(Unserved {
                candidate: core.one().candidate(visit.backend.addr),
                how,
                asked_at,
                at: core.now(),
            });
        }
    }

    /// A backend has closed a connection that nobody has said anything on.
    fn report_if_early(&mut self, core: &Core, client: u64) {
        let Some(since) = self.visits.get(&client).map(|visit| visit.since) else {
            return;
        };
        let passive = &core.one().spec().remotes.passive;
        if core.now().saturating_duration_since(since) < passive.early_close {
            self.report(core, client, Wordless::ClosedEarly, since);
        }
    }

    /// The backend of a client has closed before anybody spoke: another one takes its place.
    fn replace(&mut self, core: &mut Core, client: u64) -> Result<(), String> {
        let Some(visit) = self.visits.get(&client) else {
            return Ok(());
        };
        let mut failed = visit.failed.clone();
        self.report_if_early(core, client);
        let attempts = core.one().spec().pools.dial_attempts as usize;
        if let Some(visit) = self.visits.get(&client) {
            failed.push(visit.backend.addr);
        }
        if failed.len() >= attempts {
            self.leave(client);
            return Ok(());
        }
        let (backend, latency) = self.choose(core, &failed)?;
        if let Some(visit) = self.visits.get_mut(&client) {
            let before = std::mem::replace(&mut visit.backend, backend);
            before.leave();
            visit.relay.forget_stale();
            let is_last = failed.len() + 1 >= attempts;
            let replaceable = if is_last {
                Replaceable::No
            } else {
                Replaceable::Yes
            };
            visit.relay.begin_on_dialled(replaceable);
            (visit.peer, visit.since, visit.failed) = (line::fresh(), core.now() + latency, failed);
        }
        Ok(())
    }

    fn leave(&mut self, client: u64) {
        if let Some(visit) = self.visits.remove(&client) {
            visit.backend.leave();
        }
    }
}

//! A backend that closes what is idle, as edges of content networks do, in virtual time: how many clients meet a warm
//! connection that it has closed, and how often it is dialled while nobody comes.
//!
//! The pools thread and the pools are the real ones; what a reactor does between them is played here, step by step as
//! `reactor/{pools,seek,upstreams}.rs` do it. A client meets a stale connection if its first bytes arrive after the
//! backend has closed, whether it is rescued or not: those whose end has arrived here before are not in the pool any more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tcp_forwarder::backend::{ActiveSet, Backend};
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{ServiceName, Spec};
use tcp_forwarder::pools::warm::{Pool, SHORTEST_LIFE};
use tcp_forwarder::pools::{Scaler, prepare, sizing};
use tcp_forwarder::selector::decide::Footing;
use tcp_forwarder::service::{Directory, Hub, Live, Service};

const REACTORS: usize = 2;
const TICK: Duration = Duration::from_millis(10);
/// How long a client stays.
const VISIT: Duration = Duration::from_millis(200);
/// When a reactor first looks at a warm connection, and how exactly.
const FIRST_LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

/// How a backend treats what is idle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// It closes a connection that nothing came on for this time, or up to so much longer.
    pub(crate) closes_after: Duration,
    pub(crate) or_later: Duration,
    /// To it and back.
    pub(crate) round_trip: Duration,
}

/// Clients that come at once, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clients {
    pub(crate) at_once: u32,
    pub(crate) every: Duration,
}

/// What was counted since the lifetime was known.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) clients: u32,
    pub(crate) hits: u32,
    /// Clients that met a stale connection.
    pub(crate) stale: u32,
    pub(crate) refills: u32,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.clients += other.clients;
        self.hits += other.hits;
        self.stale += other.stale;
        self.refills += other.refills;
    }
}

#[derive(Debug, Clone, Copy)]
struct Warm {
    since: Instant,
    /// When the backend closes it.
    closes_at: Instant,
    /// When the reactor looks at it, and whether it has done so before.
    look_at: Instant,
    is_looked_at: bool,
}

/// One reactor's side.
struct Side {
    pool: Pool<u32>,
    warm: BTreeMap<u32, Warm>,
    /// When dials for the pool are answered.
    dials: Vec<Instant>,
    leaving: Vec<Instant>,
    /// Nothing happens to a warm connection sooner.
    next_at: Instant,
}

/// A backend behind the pools of two reactors.
pub(crate) struct Edge {
    manners: Manners,
    rng: fastrand::Rng,
    start: Instant,
    now: Instant,
    scaler: Scaler,
    scaled_at: Option<Instant>,
    service: Arc<Service>,
    backend: Arc<Backend>,
    sides: Vec<Side>,
    next: u32,
    /// Who comes next is this reactor's.
    turn: usize,
    pub(crate) count: Count,
}

impl Edge {
    pub(crate) fn new(seed: u64, manners: Manners, spec: Spec) -> Self {
        let start = tcp_forwarder::base::clock::now();
        let hub = Arc::new(Hub::new(REACTORS, start));
        let list = CandidateSet::parse("127.0.0.1", 80).expect("a list");
        let live = Live::new(Arc::new(list), &spec.remotes.scoring, &hub.bells);
        let backend = Arc::new(Backend::new(
            SocketAddr::from(([127, 0, 0, 1], 80)),
            start,
            REACTORS,
        ));
        prepare(&backend, &spec.pools.strategy);
        live.active.publish(Arc::new(ActiveSet::new(
            vec![Arc::clone(&backend)],
            Footing::default(),
        )));
        let name = ServiceName::parse("edge").expect("a name");
        let service = Arc::new(Service::new(name, Arc::new(spec), Arc::new(live), start));
        let present = hub.directory.load();
        hub.directory.publish(Arc::new(Directory {
            services: vec![Arc::clone(&service)],
            ..Directory::empty(present.limits)
        }));
        let side = |reactor| Side {
            pool: Pool::new(Arc::clone(&backend), reactor, 0),
            warm: BTreeMap::new(),
            dials: Vec::new(),
            leaving: Vec::new(),
            next_at: start,
        };
        Self {
            manners,
            rng: fastrand::Rng::with_seed(seed),
            start,
            now: start,
            scaler: Scaler::new(hub),
            scaled_at: Some(start),
            sides: (0..REACTORS).map(side).collect(),
            service,
            backend,
            next: 0,
            turn: 0,
            count: Count::default(),
        }
    }

    pub(crate) fn is_learned(&self) -> bool {
        self.backend.learned.shortened_life().is_some()
    }

    /// Lets time pass with these clients, or with none.
    pub(crate) fn pass(&mut self, time: Duration, clients: Option<Clients>) {
        let until = self.now + time;
        // Not in step with anything else.
        let mut next = clients.map(|clients| self.now + clients.every.mul_f64(self.rng.f64()));
        while self.now < until {
            self.tick();
            let Some((clients, at)) = clients.zip(next).filter(|(_, at)| *at <= self.now) else {
                continue;
            };
            for _ in 0..clients.at_once {
                self.client();
            }
            next = Some(at + clients.every.mul_f64(0.5 + self.rng.f64()));
        }
    }

    fn tick(&mut self) {
        self.now += TICK;
        for reactor in 0..REACTORS {
            let now = self.now;
            self.land(reactor);
            if self.sides[reactor].next_at <= now {
                self.hear_ends(reactor);
                self.look(reactor);
                let way = self.manners.round_trip / 2;
                let side = &mut self.sides[reactor];
                let next = side.warm.values().map(|one| one.look_at.min(one.closes_at + way));
                side.next_at = next.min().unwrap_or(now + Duration::from_secs(3_600));
            }
            let side = &mut self.sides[reactor];
            let before = side.leaving.len();
            side.leaving.retain(|at| *at > now);
            (side.leaving.len()..before).for_each(|_| side.pool.leave());
        }
        if self.scaled_at.is_some_and(|at| at <= self.now) {
            self.scaled_at = self.scaler.step(self.now);
        }
        (0..REACTORS).for_each(|reactor| self.tend(reactor));
    }

    /// Dials that are answered now.
    fn land(&mut self, reactor: usize) {
        let now = self.now;
        let landed = self.sides[reactor].dials.iter().filter(|at| **at <= now).count();
        self.sides[reactor].dials.retain(|at| *at > now);
        for _ in 0..landed {
            let idle = self.manners.closes_after + self.manners.or_later.mul_f64(self.rng.f64());
            let look_at = match self.longest_life() {
                life if life <= FIRST_LOOK.0 => now + life,
                _ => self.on_grid(now + FIRST_LOOK.0, FIRST_LOOK.1),
            };
            let one = Warm {
                since: now,
                closes_at: now + self.manners.round_trip / 2 + idle,
                look_at,
                is_looked_at: false,
            };
            self.next += 1;
            let side = &mut self.sides[reactor];
            side.pool.dial_ended();
            side.pool.add(self.next);
            side.warm.insert(self.next, one);
            side.next_at = side.next_at.min(look_at).min(one.closes_at);
        }
    }

    /// Ends that arrive now.
    fn hear_ends(&mut self, reactor: usize) {
        let (now, way) = (self.now, self.manners.round_trip / 2);
        let side = &mut self.sides[reactor];
        let ended: Vec<u32> = side
            .warm
            .iter()
            .filter(|(_, one)| one.closes_at + way <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            let Some(one) = side.warm.remove(&key) else {
                continue;
            };
            side.pool.remove(key);
            if now - one.since < SHORTEST_LIFE {
                side.pool.refused(now, &mut self.rng);
            } else {
                side.pool.proved();
            }
            note_closed(&side.pool, now - one.since);
        }
    }

    /// Connections that are due to be looked at, or have grown old.
    fn look(&mut self, reactor: usize) {
        let (now, longest) = (self.now, self.longest_life());
        let due: Vec<u32> = self.sides[reactor]
            .warm
            .iter()
            .filter(|(_, one)| one.look_at <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            let Some(mut one) = self.sides[reactor].warm.remove(&key) else {
                continue;
            };
            let life = one.since + longest.mul_f64(1.0 - 0.1 * self.rng.f64());
            if !one.is_looked_at && life > now {
                one.is_looked_at = true;
                one.look_at = self.on_grid(life, longest / 64);
                self.sides[reactor].warm.insert(key, one);
                continue;
            }
            let pool = &mut self.sides[reactor].pool;
            pool.remove(key);
            if let Some(share) = pool.share() {
                share.ages.spared_at(now - one.since);
                if pool.backend.learned.shortened_life().is_some() {
                    share.unused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// A client comes, and speaks at once.
    fn client(&mut self) {
        self.turn = (self.turn + 1) % REACTORS;
        let (now, way) = (self.now, self.manners.round_trip / 2);
        let side = &mut self.sides[self.turn];
        self.count.clients += 1;
        side.pool.join();
        let warm = side.pool.checkout();
        side.pool.count_request(warm);
        let mut wait = self.manners.round_trip;
        if let Some(one) = warm.and_then(|key| side.warm.remove(&key)) {
            let age = now - one.since;
            if age >= SHORTEST_LIFE {
                side.pool.proved();
            }
            self.count.hits += 1;
            if one.closes_at <= now + way {
                self.count.stale += 1;
                note_closed(&side.pool, age + way);
            } else {
                wait = Duration::ZERO;
            }
            if let Some(share) = side.pool.share() {
                share.ages.spared_at(age);
            }
        }
        side.leaving.push(now + wait + VISIT);
    }

    /// Brings a pool to its size.
    fn tend(&mut self, reactor: usize) {
        let now = self.now;
        let answered_at = now + self.manners.round_trip;
        let pools = &self.service.spec.pools;
        let strategy = &pools.strategy;
        let Side {
            pool, warm, dials, ..
        } = &mut self.sides[reactor];
        while pool
            .share()
            .is_some_and(|share| sizing::surplus(strategy, share) > 0)
        {
            let Some(oldest) = pool.remove_oldest() else { break };
            warm.remove(&oldest);
        }
        while pool
            .share()
            .is_some_and(|share| sizing::shortfall(strategy, share) > 0)
        {
            let must_earn = pools.idle_timeout.is_none() && pool.backend.learned.shortened_life().is_some();
            if pool.retry_at(now).is_some() || (must_earn && pool.take_refill(now).is_err()) {
                break;
            }
            pool.dial_begun();
            dials.push(answered_at);
            self.count.refills += 1;
        }
    }

    fn longest_life(&self) -> Duration {
        let fixed = self.service.spec.pools.idle_timeout;
        fixed.unwrap_or_else(|| self.backend.learned.life())
    }

    fn on_grid(&self, at: Instant, grain: Duration) -> Instant {
        let (since, grain) = ((at - self.start).as_nanos(), grain.as_nanos().max(1));
        let late = u64::try_from((grain - since % grain) % grain).expect("less than a grain");
        at + Duration::from_nanos(late)
    }
}

fn note_closed(pool: &Pool<u32>, age: Duration) {
    if let Some(share) = pool.share().filter(|_| age >= SHORTEST_LIFE) {
        share.ages.closed_at(age);
        share.unused.fetch_add(1, Ordering::Relaxed);
    }
}

//! Which backend a connection goes to.
//!
//! Pure but for what backends and reactors share: the live counts of the backends, the times of their answers, and the turn.
//! It knows no sockets and no pools: whether a warm connection is at hand does not sway the choice.
//!
//! A member weighs what its entry of the list says, and less while it is new ([`slow_start`]). With w its weight, W the mean
//! weight of the set, l its live relays and t the time to the first byte of its answers as it was learned:
//!
//! - `round_robin`: in turn, w turns of each round ([`weights`]);
//! - `random`: drawn by w;
//! - `least_connections`: the lowest l / w; among equals the one whose turn it is, by w (as nginx's `least_conn` has it, so that
//!   what is idle gets shares by weight, too);
//! - `least_time`: the lowest t x (l + 1) / w; among equals as above (of the kind of nginx's `least_time first_byte`);
//! - `two_choices`: two members are drawn by w, and the one with the lower t x (1 + l x W / w) is taken, among equals the one
//!   that was drawn first. Two are enough: M. Mitzenmacher, "The power of two choices in randomized load balancing", IEEE
//!   Transactions on Parallel and Distributed Systems 12 (2001); latency times load is what Finagle and linkerd compare. Load
//!   is counted by weight and the connection that comes is not, so that a weight is not counted twice where nobody is busy;
//! - `source_hash`: whoever the client belongs to ([`rendezvous`]).
//!
//! Who is full (`max_connections` of its entry) takes no part, unless a warm connection to it is at hand, which has its place
//! already. Where all are full there is no choice.

pub mod rendezvous;
pub mod slow_start;
pub mod weights;

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use self::rendezvous::Affinity;
use self::slow_start::FULL;
use crate::backend::{ActiveSet, Backend};
use crate::config::Algorithm;

/// Chooses backends for one reactor; clones share the turn, so `round_robin` is exact over all reactors.
#[derive(Debug, Clone)]
pub struct LoadBalancer {
    algorithm: Algorithm,
    turn: Arc<AtomicUsize>,
}

/// Whom a backend is chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Seeker<'a> {
    /// Who the client is: the one that a PROXY header names, where there is one.
    pub client: SocketAddr,
    /// Whom it is not to get while there are others: they have just failed for it.
    pub failed: &'a [SocketAddr],
    /// Tries that it has left, this one included.
    pub tries: usize,
    /// In which reactor: only that one's warm connections are at hand.
    pub reactor: usize,
}

impl Seeker<'_> {
    /// Whether it is to get one of the reserve of a set.
    fn turns_to(&self, reserve: &ActiveSet, set: &ActiveSet) -> bool {
        let is_left = |set: &ActiveSet| set.backends.iter().any(|one| !self.failed.contains(&one.addr));
        !self.failed.is_empty() && (self.tries <= 1 || !is_left(set)) && is_left(reserve)
    }
}

impl LoadBalancer {
    /// A balancer that takes its turns from `turn`.
    #[must_use]
    pub fn new(algorithm: Algorithm, turn: Arc<AtomicUsize>) -> Self {
        Self { algorithm, turn }
    }

    /// The member for the next connection, as an index into [`ActiveSet::everybody`]; `None` only for an empty set, and
    /// where all members are full.
    ///
    /// Whom all members have failed gets one of the reserve that is not full, and so does whoever has one try left and was
    /// failed before. That members are full is no reason to turn to the reserve.
    pub fn choose(
        &self,
        set: &ActiveSet,
        seeker: &Seeker<'_>,
        rng: &mut fastrand::Rng,
        now: Instant,
    ) -> Option<usize> {
        let count = set.backends.len();
        let reserve = set.reserve().filter(|reserve| seeker.turns_to(reserve, set));
        if let Some(behind) = reserve.and_then(|reserve| self.choose(reserve, seeker, rng, now)) {
            return Some(count + behind);
        }
        match &set.backends[..] {
            [] => return None,
            [only] => return (!set.is_limited() || only.has_room(seeker.reactor)).then_some(0),
            _ => {}
        }
        let chosen = self.choose_of(&Field::of(set, seeker, now), seeker.client, rng);
        // One that has failed is better than none.
        chosen.or_else(|| {
            let seeker = Seeker {
                failed: &[],
                ..*seeker
            };
            self.choose_of(&Field::of(set, &seeker, now), seeker.client, rng)
        })
    }

    /// The choice among those who take part; nobody if nobody does.
    fn choose_of(&self, field: &Field<'_>, client: SocketAddr, rng: &mut fastrand::Rng) -> Option<usize> {
        match self.algorithm {
            Algorithm::RoundRobin => self.in_turn(field),
            Algorithm::LeastConnections => {
                let live = |index| u128::from(field.live(index));
                Some(field.cheapest(self.in_turn(field)?, live))
            }
            Algorithm::LeastTime => {
                let cost = |index| u128::from(field.time(index)) * u128::from(field.live(index) + 1);
                Some(field.cheapest(self.in_turn(field)?, cost))
            }
            Algorithm::Random => field.draw(rng.u64(..)),
            Algorithm::TwoChoices => {
                let one = field.draw(rng.u64(..))?;
                let other = field.draw_beside(one, rng.u64(..)).unwrap_or(one);
                Some(field.better(one, other))
            }
            Algorithm::SourceHash => field.home(Affinity::of(client)),
        }
    }

    /// Whose turn it is.
    fn in_turn(&self, field: &Field<'_>) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if field.is_settled {
            let whose = field.set.weights().on_turn(turn);
            if field.is_whole || field.takes_part(whose) {
                return Some(whose);
            }
        }
        // Turns of those who take no part are the others'.
        field.draw(weights::fraction_of_turn(turn))
    }
}

/// The members of a set as they count for one choice.
struct Field<'a> {
    set: &'a ActiveSet,
    failed: &'a [SocketAddr],
    reactor: usize,
    now: Instant,
    /// Whether nobody starts slowly.
    is_settled: bool,
    /// Whether each member takes part with all of its weight: the usual case.
    is_whole: bool,
    /// The mean time of those of whom one is known, once it was needed.
    mean_time: OnceCell<u64>,
}

impl<'a> Field<'a> {
    fn of(set: &'a ActiveSet, seeker: &Seeker<'a>, now: Instant) -> Self {
        let is_settled = set.is_settled(now);
        Self {
            set,
            failed: seeker.failed,
            reactor: seeker.reactor,
            now,
            is_settled,
            is_whole: is_settled && seeker.failed.is_empty() && !set.is_limited(),
            mean_time: OnceCell::new(),
        }
    }

    fn backend(&self, index: usize) -> Option<&Backend> {
        self.set.backends.get(index).map(Arc::as_ref)
    }

    /// What a member weighs now, times [`FULL`]: below 2^26. 0 if it takes no part.
    fn weight(&self, index: usize) -> u64 {
        let own = self.set.weights().weight(index);
        if !self.is_whole && !self.takes_part(index) {
            return 0;
        }
        if self.is_settled {
            own * FULL
        } else {
            own * self.set.growth(index, self.now)
        }
    }

    fn takes_part(&self, index: usize) -> bool {
        let backend = self.backend(index);
        backend.is_some_and(|backend| {
            !self.failed.contains(&backend.addr) && (!self.set.is_limited() || backend.has_room(self.reactor))
        })
    }

    fn live(&self, index: usize) -> u64 {
        self.backend(index).map_or(0, Backend::live).into()
    }

    /// How soon a member answers, in microseconds; of whom that is not known, as soon as the others.
    fn time(&self, index: usize) -> u64 {
        let known = self.backend(index).and_then(Backend::time_micros);
        known.map_or_else(
            || *self.mean_time.get_or_init(|| self.mean_of_times()),
            |time| time.get().into(),
        )
    }

    fn mean_of_times(&self) -> u64 {
        let known = self.set.backends.iter().filter_map(|one| one.time_micros());
        let (sum, count) = known.fold((0_u64, 0_u64), |(sum, count), time| {
            (sum + u64::from(time.get()), count + 1)
        });
        sum.checked_div(count).unwrap_or(1)
    }

    /// Whom a fraction of 2^64 draws.
    fn draw(&self, fraction: u64) -> Option<usize> {
        if self.is_whole {
            return Some(self.set.weights().draw(fraction));
        }
        weights::draw_of(self.set.backends.len(), |index| self.weight(index), fraction)
    }

    /// The same, of the others than one.
    fn draw_beside(&self, one: usize, fraction: u64) -> Option<usize> {
        if self.is_whole {
            return Some(self.set.weights().draw_beside(one, fraction));
        }
        let weight = |index| if index == one { 0 } else { self.weight(index) };
        weights::draw_of(self.set.backends.len(), weight, fraction)
    }

    /// The member with the lowest cost for its weight; `first` among equals, then the next after it.
    fn cheapest(&self, first: usize, cost: impl Fn(usize) -> u128) -> usize {
        let others = (first + 1..self.set.backends.len()).chain(0..first);
        let priced = |index| (cost(index), u128::from(self.weight(index)));
        let mut best = (first, priced(first));
        for other in others {
            let (cost, weight) = priced(other);
            let (least, its_weight) = best.1;
            // A comparison of two quotients; who takes no part has no weight, and would cost nothing.
            if weight > 0 && cost * its_weight < least * weight {
                best = (other, (cost, weight));
            }
        }
        best.0
    }

    /// The one of two that was drawn first, unless the other one is less loaded and sooner.
    fn better(&self, one: usize, other: usize) -> usize {
        let (count, total) = (self.set.backends.len() as u64, self.set.weights().total() * FULL);
        // t (1 + l W / w) with W = total / count, times count x w.
        let cost = |index| {
            let load =
                u128::from(count * self.weight(index)) + u128::from(self.live(index)) * u128::from(total);
            u128::from(self.time(index)) * load
        };
        let weight = |index| u128::from(self.weight(index));
        if cost(other) * weight(one) < cost(one) * weight(other) {
            other
        } else {
            one
        }
    }

    /// The member that a client belongs to, of those who take part.
    fn home(&self, client: Affinity) -> Option<usize> {
        let score = |index: usize| {
            let weight = self.set.weights().weight(index);
            self.backend(index)
                .map_or(0.0, |backend| client.score(&backend.addr, weight))
        };
        (0..self.set.backends.len())
            .filter(|index| self.takes_part(*index))
            .map(|index| (index, score(index)))
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests;

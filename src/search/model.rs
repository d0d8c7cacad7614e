//! The model of one list: what it was told, and whom it would ask next.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arms::{Arm, Arms};
use super::draw::{self, Drawing, Opening, Place};
use super::key::{self, Key, Span};
use super::levels::{self, Levels};
use super::tree::{NONE, Node, Record, Tree};
use crate::candidates::{CandidateSet, Sampler};

/// Nodes of a model unless it is told otherwise; one takes about 80 bytes.
pub const NODES: usize = 16_384;

/// So many are asked evenly over the list before anything else; and so many when something is known already.
const FIRST_LOOK: u32 = 600;
const NEXT_LOOK: u32 = 200;
/// So many members of a set are to be found: the best after them is what others are measured by.
const WANTED: usize = 3;
/// Candidates from one drawing: one for so many nodes, and so many at most.
const NODES_A_PICK: usize = 16;
const MOST_PICKS: usize = 128;
/// Outcomes between two looks at how alike neighbours are, and how many more of them in a large tree.
const SETTLE_EVERY: usize = 32;
const NODES_A_SETTLE: usize = 64;
/// Beside the best is as far as so many bits.
const REACH: u32 = 10;
/// Members of an even sample that are looked at for one that was never asked.
const LOOKS: usize = 64;
/// Of an even sample, who is expected to be so many deviations slower than the best is passed over; and of those of whom less
/// than a third are expected to answer, the more the fewer.
const HOPELESS: f64 = 4.0;
const ALIVE_WEIGHT: f64 = 3.0;
/// But one in so many is asked whatever is expected: a model may be wrong.
const WHATEVER: u8 = 10;
/// What is known ages in so many steps a half-life.
const STEPS_A_HALF_LIFE: u32 = 16;
/// An answer that is so many deviations from what its candidate is known for is of another kind.
const UNLIKE: f64 = 4.0;
/// Mean square of deviations from what was expected above which the world is another one; 1 if all is as expected.
const DOUBTS_ABOVE: f64 = 6.0;
/// Weight of one deviation in that mean: it looks back over some thirty. A single one counts for no more than the other.
const DOUBT_WEIGHT: f64 = 0.03;
const MOST_DEVIATION: f64 = 36.0;
/// Comparisons before there may be a doubt: as many as it takes to know what is usual.
const BEFORE_DOUBT: u32 = 100;
/// What all that is known counts for in another world.
const AFTER_DOUBT: f32 = 0.05;
/// Latencies outside of this are taken for its ends, in seconds.
const LATENCIES: (f64, f64) = (1e-6, 1e3);

/// What is known of one candidate, or of some that are remembered together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leaf {
    /// Who; of several any.
    pub addr: SocketAddr,
    /// Mean latency in seconds; 1 if none was measured.
    pub latency: f64,
    /// What it counts for, in answers.
    pub answers: f32,
    /// Failures, counted alike.
    pub failures: f32,
}

/// What is known of the prefixes of one list.
#[derive(Debug)]
pub struct Model {
    set: Arc<CandidateSet>,
    /// Bits that all candidates have in common.
    top: u32,
    tree: Tree,
    /// By family.
    levels: [Levels; 2],
    arms: Arms,
    /// Of the even looks.
    sampler: Sampler,
    /// How many of the first look are left.
    first_look: u32,
    /// Who promised most in the last drawing, and was not asked yet.
    picks: VecDeque<SocketAddr>,
    /// The best that are known, by log-latency.
    best: Vec<(f64, Key)>,
    openings: Vec<Opening>,
    unsettled: usize,
    /// Mean square deviation of answers from what was expected of them.
    surprise: f64,
    /// Comparisons since the last doubt.
    compared: u32,
    half_life: Duration,
    aged_at: Instant,
}

impl Model {
    /// A model that knows nothing yet, of at most so many nodes; what it learns counts for half after `half_life` (above
    /// 0).
    #[must_use]
    pub fn new(
        set: Arc<CandidateSet>,
        nodes: usize,
        half_life: Duration,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let top = key::common_of_all(&set).unwrap_or(0);
        Self {
            levels: [Levels::new(top.min(49), 49), Levels::new(top, 145)],
            top,
            tree: Tree::new(nodes),
            arms: Arms::new(),
            sampler: Sampler::new(Arc::clone(&set), rng),
            set,
            first_look: FIRST_LOOK,
            picks: VecDeque::new(),
            best: Vec::new(),
            openings: Vec::new(),
            unsettled: 0,
            surprise: 1.0,
            compared: 0,
            half_life,
            aged_at: now,
        }
    }

    /// How many nodes it has.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.tree.len()
    }

    /// Follows another list: whom it does not have is forgotten.
    pub fn relist(&mut self, set: Arc<CandidateSet>, rng: &mut fastrand::Rng) {
        self.top = key::common_of_all(&set).unwrap_or(0);
        for (levels, depth) in self.levels.iter_mut().zip([49, 145]) {
            levels.set_top(self.top.min(depth));
        }
        self.tree.retain(
            |node| Span::of(&set, node.key, node.len.into()).len() > 0,
            &self.levels,
        );
        self.picks.retain(|addr| set.contains(addr));
        self.best.retain(|(_, key)| set.contains(&key.addr()));
        self.sampler = Sampler::new(Arc::clone(&set), rng);
        self.first_look = NEXT_LOOK;
        self.set = set;
    }

    /// What is learned counts for half after so long (above 0).
    pub fn set_half_life(&mut self, half_life: Duration) {
        self.half_life = half_life;
    }

    /// Takes in what a probe came to: a latency, or none. Who is not on the list is none of its business. Whether answers have
    /// become so unlike what was expected of them that all that is known is in doubt.
    pub fn learn(
        &mut self,
        addr: &SocketAddr,
        latency: Option<Duration>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> bool {
        if !self.set.contains(addr) {
            return false;
        }
        self.age(now);
        let key = Key::of(addr);
        let leaf = self.tree.leaf(key, &self.levels);
        let log_latency = latency.map(log_of);
        self.pay_off(leaf, log_latency);
        match log_latency {
            Some(log_latency) => self.take_answer(key, leaf, log_latency, rng),
            None => self.tree.failed(leaf),
        }
        self.tree.refresh_up(leaf, &self.levels);
        self.unsettled += 1;
        if self.unsettled >= SETTLE_EVERY.max(self.tree.len() / NODES_A_SETTLE) {
            self.settle();
        }
        let doubts = self.surprise > DOUBTS_ABOVE && self.compared >= BEFORE_DOUBT;
        if doubts {
            self.doubt();
        }
        doubts
    }

    /// Credits who chose a candidate with what it came to, the first time.
    fn pay_off(&mut self, leaf: u32, log_latency: Option<f64>) {
        let node = self.tree.node_mut(leaf);
        let Some(arm) = node.arm.take() else { return };
        let key = node.key;
        let Some((bound, _)) = self.best.last().copied() else {
            self.best.extend(log_latency.map(|value| (value, key)));
            return;
        };
        let improvement = log_latency.map_or(0.0, |value| bound - value);
        self.arms.learn(arm, improvement);
        if let Some(value) = log_latency {
            insert_best(&mut self.best, value, key);
        }
    }

    /// Brings all up to date with how alike neighbours are.
    fn settle(&mut self) {
        self.unsettled = 0;
        self.levels.iter_mut().for_each(Levels::settle);
        self.tree.refresh_all(&self.levels);
    }

    fn take_answer(&mut self, key: Key, leaf: u32, log_latency: f64, rng: &mut fastrand::Rng) {
        let node = self.tree.node(leaf);
        let (record, len) = (node.record, u32::from(node.len));
        let mut is_like_before = true;
        if record.answers >= 1.0 {
            // The mean of n answers differs from the next by (1 + 1/n) of the variance of one.
            let spread = 1.0 + 1.0 / f64::from(record.answers);
            let deviation = log_latency - f64::from(record.mean);
            let levels = &mut self.levels[key.family()];
            is_like_before = deviation * deviation <= UNLIKE * UNLIKE * levels.within(len) * spread;
            levels.pair(len, deviation * (2.0 / spread).sqrt());
        } else if record.answers <= 0.0 {
            self.compare(key, leaf, log_latency, rng);
        }
        self.tree.answered(leaf, log_latency, is_like_before);
    }

    /// Compares a candidate that answers for the first time with others, one at each level; and with what was expected.
    fn compare(&mut self, key: Key, leaf: u32, log_latency: f64, rng: &mut fastrand::Rng) {
        let mut at = leaf;
        let mut has_neighbour = false;
        while self.tree.node(at).parent != NONE {
            let parent = self.tree.node(at).parent;
            let [a, b] = self.tree.node(parent).children;
            let sibling = if a == at { b } else { a };
            if self.tree.node(sibling).answers > 0.0
                && let Some(other) = self.tree.any_leaf(sibling, rng)
            {
                let difference = log_latency - f64::from(other.record.mean);
                let common = key.common(other.key);
                if !has_neighbour {
                    self.be_surprised(key, (parent, sibling), log_latency);
                    has_neighbour = true;
                }
                self.levels[key.family()].pair(common, difference);
            }
            at = parent;
        }
    }

    /// How far an answer is from what was expected beside its nearest neighbours.
    fn be_surprised(&mut self, key: Key, (parent, sibling): (u32, u32), log_latency: f64) {
        let (parent, sibling) = (self.tree.node(parent), self.tree.node(sibling));
        let levels = &self.levels[key.family()];
        let variance = 1.0 / f64::from(sibling.belief.precision.max(f32::MIN_POSITIVE))
            + levels.between(parent.len.into(), sibling.len.into())
            + levels.within(parent.len.into());
        // No more than what the levels are told of it.
        let difference = log_latency - f64::from(sibling.belief.mean);
        let deviation = difference
            .clamp(-levels::MOST_DIFFERENCE, levels::MOST_DIFFERENCE)
            .powi(2)
            / variance;
        self.compared = self.compared.saturating_add(1);
        self.surprise += DOUBT_WEIGHT * (deviation.min(MOST_DEVIATION) - self.surprise);
    }

    /// Answers have not been what was expected of them for a while: the network is another one, or all that is known
    /// of it is old.
    fn doubt(&mut self) {
        (self.surprise, self.compared) = (1.0, 0);
        self.first_look = NEXT_LOOK;
        self.best.clear();
        self.tree.age(AFTER_DOUBT, &self.levels);
    }

    /// Lets what is known count for less, as time passes.
    fn age(&mut self, now: Instant) {
        let step = (self.half_life / STEPS_A_HALF_LIFE).max(Duration::from_millis(1));
        let passed = now.saturating_duration_since(self.aged_at);
        if passed < step {
            return;
        }
        self.aged_at = now;
        #[expect(clippy::cast_possible_truncation, reason = "a factor below 1")]
        let factor = 0.5_f64.powf(passed.as_secs_f64() / self.half_life.as_secs_f64().max(1e-3)) as f32;
        self.tree.age(factor, &self.levels);
    }

    /// The next candidate to ask, one that was not asked yet; none when nobody is left.
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        let arm = if self.first_look > 0 {
            self.first_look -= 1;
            Arm::Anywhere
        } else {
            let told = self.levels.iter().map(Levels::told).fold(0.0, f64::max);
            self.arms.draw(told, rng)
        };
        let found = match arm {
            Arm::Promise => None,
            Arm::Beside => self.beside_the_best(rng),
            Arm::Anywhere => self.anywhere(rng),
        };
        if let Some(addr) = found {
            self.take(&addr, arm);
            return Some(addr);
        }
        if self.picks.is_empty() {
            self.pick(rng);
        }
        self.picks.pop_front()
    }

    /// Somebody who was never asked, at a random distance from one of the best.
    fn beside_the_best(&self, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        let (_, key) = rng.choice(&self.best)?;
        let reach = rng.u32(1..=REACH.min(key.depth() - self.top).max(1));
        let addr = Span::of(&self.set, *key, key.depth() - reach).pick(&self.set, rng)?;
        self.is_new(&addr).then_some(addr)
    }

    /// The next of an even sample who was never asked, and is not out of the question.
    fn anywhere(&mut self, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        for _ in 0..LOOKS {
            match self.sampler.next(rng) {
                Some(addr) if self.is_new(&addr) && self.is_worth_a_look(&addr, rng) => return Some(addr),
                Some(_) => {}
                None => self.sampler = Sampler::new(Arc::clone(&self.set), rng),
            }
        }
        None
    }

    /// Whether a member of an even sample may be one of the best, for all that is known.
    fn is_worth_a_look(&self, addr: &SocketAddr, rng: &mut fastrand::Rng) -> bool {
        if self.best.len() < WANTED || rng.u8(..WHATEVER) == 0 {
            return true;
        }
        let expected = draw::expected(&self.tree, &self.levels, self.top, Key::of(addr));
        expected.is_none_or(|expected| {
            rng.f64() <= expected.alive * ALIVE_WEIGHT
                && expected.mean - HOPELESS * expected.deviation < self.best[WANTED - 1].0
        })
    }

    /// Whether a candidate is not remembered as one; whoever is remembered with others may have been asked.
    fn is_new(&self, addr: &SocketAddr) -> bool {
        let leaf = self.tree.find(Key::of(addr)).map(|leaf| self.tree.node(leaf));
        leaf.is_none_or(|leaf| u32::from(leaf.len) < leaf.key.depth())
    }

    /// Draws what each prefix is like, and picks who promises most.
    fn pick(&mut self, rng: &mut fastrand::Rng) {
        if self.tree.root == NONE {
            let any = self.sampler.next(rng).or_else(|| self.set.at(0));
            if let Some(addr) = any {
                self.promise(addr);
            }
            return;
        }
        let wanted = (self.tree.len() / NODES_A_PICK).clamp(1, MOST_PICKS);
        // Openings are places between nodes, which must stay.
        self.tree.make_room(wanted, &self.levels);
        self.best = self.best_leaves();
        let mut openings = std::mem::take(&mut self.openings);
        let drawing = Drawing {
            tree: &self.tree,
            levels: &self.levels,
            top: self.top,
            bound: self.best.last().map_or(0.0, |(value, _)| *value),
        };
        drawing.draw(&mut openings, rng);
        // Some of them may turn out to be empty, so others follow.
        let mut rest = openings.as_mut_slice();
        while self.picks.len() < wanted && !rest.is_empty() {
            let count = wanted.min(rest.len());
            if count < rest.len() {
                rest.select_nth_unstable_by(count - 1, |a, b| b.rank.total_cmp(&a.rank));
            }
            let (first, others) = rest.split_at_mut(count);
            first.sort_unstable_by(|a, b| b.rank.total_cmp(&a.rank));
            for opening in first {
                if self.picks.len() < wanted
                    && let Some(addr) = self.materialize(*opening, rng)
                {
                    self.promise(addr);
                }
            }
            rest = others;
        }
        openings.clear();
        self.openings = openings;
    }

    fn promise(&mut self, addr: SocketAddr) {
        self.take(&addr, Arm::Promise);
        self.picks.push_back(addr);
    }

    /// Who is to be asked is remembered as one who was, so that the next goes elsewhere.
    fn take(&mut self, addr: &SocketAddr, arm: Arm) {
        let leaf = self.tree.leaf(Key::of(addr), &self.levels);
        self.tree.node_mut(leaf).arm = Some(arm);
    }

    fn best_leaves(&self) -> Vec<(f64, Key)> {
        let mut best = Vec::with_capacity(WANTED + 1);
        let answering = |leaf: &&Node| leaf.record.answers > leaf.record.failures;
        for leaf in self.tree.leaves().filter(answering) {
            insert_best(&mut best, leaf.record.mean.into(), leaf.key);
        }
        best
    }

    /// Somebody at an opening; none if nobody is there.
    fn materialize(&mut self, opening: Opening, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        let (set, node) = (&self.set, self.tree.node(opening.node));
        let (key, len) = (node.key, u32::from(node.len));
        let from = draw::from(&self.tree, node, self.top);
        let mut beside = |at: u32| Span::beside(set, key, at).pick(set, rng);
        let found = match opening.place {
            Place::Near => (from..len).rev().find_map(&mut beside),
            Place::Far => (from..len).find_map(&mut beside),
            // One after the other, from some place on.
            Place::Within => Span::of(set, key, len).nth(set, node.touched),
        };
        let node = self.tree.node_mut(opening.node);
        match opening.place {
            Place::Within if found.is_some() => node.touched = node.touched.saturating_add(1),
            Place::Within => node.is_full = true,
            Place::Near | Place::Far => node.is_closed |= found.is_none(),
        }
        found
    }

    /// All that it knows, to be told to another one.
    pub fn leaves(&self) -> impl Iterator<Item = Leaf> {
        let known = |node: &&Node| node.record.answers + node.record.failures > 0.0;
        self.tree.leaves().filter(known).map(|node| Leaf {
            addr: node.key.addr(),
            latency: f64::from(node.record.mean).exp(),
            answers: node.record.answers,
            failures: node.record.failures,
        })
    }

    /// Takes in what another model knew of a list, which may have been another one.
    pub fn restore(&mut self, leaves: impl IntoIterator<Item = Leaf>, rng: &mut fastrand::Rng) {
        let set = Arc::clone(&self.set);
        let mut is_any = false;
        for leaf in leaves.into_iter().filter(|leaf| set.contains(&leaf.addr)) {
            let key = Key::of(&leaf.addr);
            let at = self.tree.leaf(key, &self.levels);
            let log_latency = leaf.latency.clamp(LATENCIES.0, LATENCIES.1).ln();
            if leaf.answers > 0.0 && log_latency.is_finite() {
                self.compare(key, at, log_latency, rng);
            }
            self.tree.node_mut(at).record = Record::restored(leaf.answers, log_latency, leaf.failures);
            self.tree.refresh_up(at, &self.levels);
            is_any = true;
        }
        self.surprise = 1.0;
        self.first_look = if is_any { 0 } else { self.first_look };
        self.settle();
        self.best = self.best_leaves();
    }
}

fn log_of(latency: Duration) -> f64 {
    latency.as_secs_f64().clamp(LATENCIES.0, LATENCIES.1).ln()
}

/// Keeps the least [`WANTED`].
fn insert_best(best: &mut Vec<(f64, Key)>, value: f64, key: Key) {
    let place = best.partition_point(|(other, _)| *other <= value);
    if place < WANTED {
        best.insert(place, (value, key));
        best.truncate(WANTED);
    }
}

#[cfg(test)]
mod tests;

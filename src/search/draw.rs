//! One drawing of what every prefix may be like, and the places at which somebody was never asked. Pure.
//!
//! From the root down, each node is drawn from what is known of it given what was drawn for the prefix above it (Thompson
//! sampling); a place is worth what a candidate there would better the bound by, on average, times how often candidates
//! there answer. Among places that are worth nearly the same, larger ones come first: they hold more.

use super::key::Key;
use super::levels::Levels;
use super::normal;
use super::tree::{NONE, Node, Tree};

/// A prefix is believed to answer as often as the one around it, for so many probes.
const ALIVE_PRIOR: f64 = 3.0;
/// A place among its neighbours must be worth so much more than one away from them.
const NEARER: f64 = 1.02;
/// How much more a place must be worth than one that is larger by one bit: a fiftieth. (Drawing by `worth^30 * size`, as
/// the greatest of logarithms with Gumbel noise.)
const SHARPNESS: f64 = 30.0;

/// A place at which somebody was never asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    /// Logarithm of its worth, blurred.
    pub(super) rank: f64,
    /// The node above which it is, or in which.
    pub(super) node: u32,
    pub(super) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Above the node, as near to it as there is anybody.
    Near,
    /// Above it, as far as possible.
    Far,
    /// Within a leaf that stands for many.
    Within,
}

/// What a node is drawn from: what the prefix above it was drawn for.
#[derive(Debug, Clone, Copy)]
struct Above {
    node: u32,
    /// The log-latency that its members have in common.
    value: f64,
    /// Its bits.
    len: u32,
    /// How often they answer.
    alive: f64,
}

/// What a drawing is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawing<'a> {
    pub(super) tree: &'a Tree,
    /// By family.
    pub(super) levels: &'a [Levels; 2],
    /// Bits that all candidates have in common.
    pub(super) top: u32,
    /// The log-latency that is to be bettered.
    pub(super) bound: f64,
}

impl Drawing<'_> {
    /// Draws the tree, which must not be empty, and adds all its openings.
    pub(super) fn draw(&self, openings: &mut Vec<Opening>, rng: &mut fastrand::Rng) {
        let mut stack = vec![self.at_root(rng)];
        while let Some(above) = stack.pop() {
            let (own, alive) = self.draw_node(above, openings, rng);
            let node = self.tree.node(above.node);
            if !node.is_leaf() {
                stack.extend(node.children.map(|child| Above {
                    node: child,
                    value: own,
                    len: node.len.into(),
                    alive,
                }));
            }
        }
    }

    fn at_root(&self, rng: &mut fastrand::Rng) -> Above {
        let root = self.tree.node(self.tree.root);
        let levels = &self.levels[root.key.family()];
        let (mean, variance) =
            known_of_root(root, levels, self.top).unwrap_or((self.bound, levels.within(self.top)));
        Above {
            node: self.tree.root,
            value: mean + variance.sqrt() * normal::draw(rng),
            len: self.top,
            alive: share_alive(root, 0.5, 1.0),
        }
    }

    /// Draws one node: its log-latency, and how often its members answer.
    fn draw_node(&self, above: Above, openings: &mut Vec<Opening>, rng: &mut fastrand::Rng) -> (f64, f64) {
        let node = self.tree.node(above.node);
        let levels = &self.levels[node.key.family()];
        let len = u32::from(node.len);
        let between = levels.between(above.len, len);
        let gain = gain(node, between);
        let mean = above.value + gain * (f64::from(node.belief.mean) - above.value);
        let own = mean + (between * (1.0 - gain)).max(0.0).sqrt() * normal::draw(rng);
        let alive = share_alive(node, ALIVE_PRIOR * above.alive, ALIVE_PRIOR);
        let from = from(self.tree, node, self.top);
        if !node.is_closed && from < len {
            let worth = |at: u32, alive: f64| {
                let (mean, deviation) = between_them(levels, above, (own, len), at);
                alive * normal::improvement(mean, deviation, self.bound)
            };
            let (near, far) = (worth(len - 1, alive), worth(from, above.alive));
            let (worth, bits, place) = if near > far * NEARER {
                (near, node.key.depth() - len, Place::Near)
            } else {
                (far, node.key.depth() - from, Place::Far)
            };
            openings.push(opening(worth, bits, above.node, place, rng));
        }
        if node.is_leaf() && len < node.key.depth() && !node.is_full {
            let worth = alive * normal::improvement(own, levels.within(len).sqrt(), self.bound);
            let bits = node.key.depth() - len;
            openings.push(opening(worth, bits, above.node, Place::Within, rng));
        }
        (own, alive)
    }
}

fn opening(worth: f64, bits: u32, node: u32, place: Place, rng: &mut fastrand::Rng) -> Opening {
    /// Larger than any list is.
    const MOST_BITS: u32 = 30;
    let gumbel = -(-(1.0 - rng.f64()).ln()).max(1e-9).ln();
    let size = f64::from(bits.min(MOST_BITS)) * std::f64::consts::LN_2;
    Opening {
        rank: worth.max(1e-300).ln() + (size + gumbel) / SHARPNESS,
        node,
        place,
    }
}

/// What is to be expected of somebody who was never asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Of the log-latency.
    pub(super) mean: f64,
    pub(super) deviation: f64,
    /// How often such candidates answer.
    pub(super) alive: f64,
}

/// What is to be expected of a candidate; none as long as nobody has answered. The same as a [drawing](Drawing) has it, with means
/// and variances in the place of what is drawn (smoothing after Rauch, Tung and Striebel, 1965).
pub(super) fn expected(tree: &Tree, levels: &[Levels; 2], top: u32, key: Key) -> Option<Expected> {
    let root = (tree.root != NONE).then(|| tree.node(tree.root))?;
    let levels = &levels[key.family()];
    let (mut at, mut from) = (tree.root, top);
    let (mut mean, mut variance) = known_of_root(root, levels, top)?;
    let mut alive = share_alive(root, 0.5, 1.0);
    loop {
        let node = tree.node(at);
        let len = u32::from(node.len);
        let between = levels.between(from, len);
        let gain = gain(node, between);
        let own = mean + gain * (f64::from(node.belief.mean) - mean);
        let left = between * (1.0 - gain);
        let own_variance = (1.0 - gain).powi(2) * variance + left;
        let common = node.key.common(key);
        if common < len || node.is_leaf() {
            let common = common.min(len);
            // Between the two the mean is on a straight line, and the variance a little higher (a Brownian bridge).
            let share = share_of_way(levels, from, common, between).unwrap_or(1.0);
            let bridge = left * share * (1.0 - share);
            let variance = (1.0 - share) * variance + share * own_variance + bridge + levels.within(common);
            return Some(Expected {
                mean: mean + share * (own - mean),
                deviation: variance.sqrt(),
                alive,
            });
        }
        (mean, variance, from) = (own, own_variance, len);
        alive = share_alive(node, ALIVE_PRIOR * alive, ALIVE_PRIOR);
        at = node.children[key.bit(len)];
    }
}

/// Mean and variance of what all candidates have in common, as the samples below the root tell; none while nobody has answered.
fn known_of_root(root: &Node, levels: &Levels, top: u32) -> Option<(f64, f64)> {
    let precision = f64::from(root.belief.precision);
    (precision > 0.0).then(|| {
        let between = levels.between(top, root.len.into());
        let variance = (1.0 / precision + between).min(levels.within(top));
        (f64::from(root.belief.mean), variance)
    })
}

/// How far what is believed of a node goes from the prefix above it to what its own samples say: the steps between the two are
/// N(0, between), and the samples say N(mean, 1 / precision).
fn gain(node: &Node, between: f64) -> f64 {
    let precision = f64::from(node.belief.precision);
    between * precision / (1.0 + between * precision)
}

/// How much of `whole`, what differs from a prefix of `from` bits to one within it, lies before `at` bits; none where nothing
/// differs.
fn share_of_way(levels: &Levels, from: u32, at: u32, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| levels.between(from, at) / whole)
}

/// How often members of a prefix answer, if so many of so many others are believed to.
fn share_alive(node: &Node, answers: f64, counted: f64) -> f64 {
    let (seen, failures) = (f64::from(node.answers), f64::from(node.failures));
    (seen + answers) / (seen + failures + counted)
}

/// The first bit in which somebody between a node and its parent can differ from it.
pub(super) fn from(tree: &Tree, node: &Node, top: u32) -> u32 {
    if node.parent == NONE {
        top
    } else {
        u32::from(tree.node(node.parent).len) + 1
    }
}

/// Mean and deviation of a candidate that parts from a node after `at` bits, between what the prefix above and the node
/// were drawn for.
fn between_them(levels: &Levels, above: Above, (own, len): (f64, u32), at: u32) -> (f64, f64) {
    let whole = levels.between(above.len, len);
    let share = share_of_way(levels, above.len, at, whole).unwrap_or(0.0);
    let mean = above.value + share * (own - above.value);
    let variance = whole * share * (1.0 - share) + levels.within(at);
    (mean, variance.sqrt())
}

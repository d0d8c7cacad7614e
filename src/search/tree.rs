//! The samples, as the leaves of a tree of prefixes.
//!
//! A node is a prefix in which samples part (or a leaf: one candidate, or a prefix whose candidates are remembered
//! together). It knows what its samples tell of it alone: mean and precision of the log-latency that its members have in
//! common, and how many answered. What they tell of their parent passes through the steps between the two, so that many
//! samples of one corner count for little more than one (messages of a Gaussian tree; Pearl, 1988).
//!
//! Invariants: a node has two children or none; at most `capacity` nodes; the sums of a node are those of its leaves.

use super::arms::Arm;
use super::key::Key;
use super::levels::Levels;

/// Index of a node that is none.
pub(super) const NONE: u32 = u32::MAX;

/// What is remembered of a candidate counts for no more than so many samples: it is what it was lately.
const MOST_WEIGHT: f32 = 8.0;
/// What counts for less is forgotten.
const LEAST_WEIGHT: f32 = 0.05;

/// What samples of a leaf say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Record {
    /// Answers.
    pub(super) answers: f32,
    /// Mean of the logarithm of their latencies, in seconds.
    pub(super) mean: f32,
    /// Probes without an answer.
    pub(super) failures: f32,
}

impl Record {
    /// What was remembered elsewhere, within bounds whatever it says.
    pub(super) fn restored(answers: f32, log_latency: f64, failures: f32) -> Self {
        let bounded = |weight: f32| {
            if weight.is_finite() {
                weight.clamp(0.0, MOST_WEIGHT)
            } else {
                0.0
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm of seconds")]
        let mean = if log_latency.is_finite() {
            log_latency as f32
        } else {
            0.0
        };
        Self {
            answers: bounded(answers),
            mean,
            failures: bounded(failures),
        }
    }
}

/// Mean and precision (1 over the variance; 0: nothing is known) of what members of a prefix have in common.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Belief {
    pub(super) mean: f32,
    pub(super) precision: f32,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) key: Key,
    /// Bits of the prefix.
    pub(super) len: u8,
    /// Whether no candidate is left between it and its parent.
    pub(super) is_closed: bool,
    /// Whether all candidates of a leaf that stands for many were asked since it does.
    pub(super) is_full: bool,
    /// Of a leaf whose candidate was chosen and has not answered yet: how.
    pub(super) arm: Option<Arm>,
    pub(super) parent: u32,
    /// Both [`NONE`] in a leaf.
    pub(super) children: [u32; 2],
    /// Of a leaf.
    pub(super) record: Record,
    pub(super) belief: Belief,
    /// Sums over its leaves.
    pub(super) answers: f32,
    pub(super) failures: f32,
    /// Of a leaf that stands for many: candidates that were asked since it does.
    pub(super) touched: u32,
}

impl Node {
    fn leaf(key: Key, len: u32, record: Record) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most 145 bits")]
        let len = len as u8;
        Self {
            key,
            len,
            is_closed: false,
            is_full: false,
            arm: None,
            parent: NONE,
            children: [NONE; 2],
            record,
            belief: Belief::default(),
            answers: record.answers,
            failures: record.failures,
            touched: 0,
        }
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.children[0] == NONE
    }
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    free: Vec<u32>,
    pub(super) root: u32,
    capacity: usize,
}

impl Tree {
    /// An empty tree of at most so many nodes (at least 3).
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            root: NONE,
            capacity: capacity.max(3),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// For how many nodes it holds memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.nodes.capacity()
    }

    pub(super) fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    pub(super) fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    fn add(&mut self, node: Node) -> u32 {
        if let Some(at) = self.free.pop() {
            self.nodes[at as usize] = node;
            return at;
        }
        self.nodes.push(node);
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the capacity")]
        let at = (self.nodes.len() - 1) as u32;
        at
    }

    /// The leaf that remembers a candidate, if one does.
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        let mut at = self.root;
        while at != NONE {
            let node = self.node(at);
            if node.key.common(key) < u32::from(node.len) {
                return None;
            }
            if node.is_leaf() {
                return Some(at);
            }
            at = node.children[key.bit(u32::from(node.len))];
        }
        None
    }

    /// The leaf that remembers a candidate; a new one if none does, so that the tree may be pruned for it.
    pub(super) fn leaf(&mut self, key: Key, levels: &[Levels; 2]) -> u32 {
        if let Some(leaf) = self.find(key) {
            return leaf;
        }
        while self.len() + 2 > self.capacity {
            self.prune(levels);
            // It may have become one of those that are remembered together.
            if let Some(leaf) = self.find(key) {
                return leaf;
            }
        }
        let leaf = self.add(Node::leaf(key, key.depth(), Record::default()));
        let Some((below, common)) = self.parting(key) else {
            self.root = leaf;
            return leaf;
        };
        let parent = self.node(below).parent;
        let mut fork = Node::leaf(key.prefix(common), common, Record::default());
        fork.parent = parent;
        let side = key.bit(common);
        fork.children[side] = leaf;
        fork.children[1 - side] = below;
        let fork = self.add(fork);
        self.node_mut(leaf).parent = fork;
        self.node_mut(below).parent = fork;
        // What was between them lies above the fork now, or beside the new leaf.
        self.node_mut(below).is_closed = false;
        if parent == NONE {
            self.root = fork;
        } else {
            let side = key.bit(u32::from(self.node(parent).len));
            self.node_mut(parent).children[side] = fork;
        }
        self.refresh_up(leaf, levels);
        leaf
    }

    /// The node beside which a key would hang, and how many bits they have in common.
    fn parting(&self, key: Key) -> Option<(u32, u32)> {
        let mut at = self.root;
        while at != NONE {
            let node = self.node(at);
            let common = node.key.common(key);
            if common < u32::from(node.len) {
                return Some((at, common));
            }
            debug_assert!(!node.is_leaf(), "its leaf would have been found");
            at = node.children[key.bit(u32::from(node.len))];
        }
        None
    }

    /// Some answering leaf below a node, or the node itself.
    pub(super) fn any_leaf(&self, mut at: u32, rng: &mut fastrand::Rng) -> Option<&Node> {
        loop {
            let node = self.node(at);
            if node.is_leaf() {
                return (node.record.answers > 0.0).then_some(node);
            }
            let side = usize::from(rng.bool());
            let answers = |side: usize| self.node(node.children[side]).answers > 0.0;
            at = node.children[if answers(side) { side } else { 1 - side }];
        }
    }

    /// Takes an answer of a leaf in.
    pub(super) fn answered(&mut self, leaf: u32, log_latency: f64, is_like_before: bool) {
        let record = &mut self.node_mut(leaf).record;
        if !is_like_before {
            record.answers = record.answers.min(1.0);
        }
        record.answers = (record.answers + 1.0).min(MOST_WEIGHT);
        record.failures *= 0.5;
        #[expect(clippy::cast_possible_truncation, reason = "logarithms of seconds")]
        let log_latency = log_latency as f32;
        record.mean += (log_latency - record.mean) / record.answers;
    }

    /// Takes in that a leaf did not answer.
    pub(super) fn failed(&mut self, leaf: u32) {
        let record = &mut self.node_mut(leaf).record;
        record.failures = (record.failures + 1.0).min(MOST_WEIGHT);
        record.answers *= 0.5;
    }

    /// Brings a node and all above it up to date.
    pub(super) fn refresh_up(&mut self, mut at: u32, levels: &[Levels; 2]) {
        while at != NONE {
            self.refresh(at, levels);
            at = self.node(at).parent;
        }
    }

    /// Brings one node up to date with its children, or a leaf with its record.
    fn refresh(&mut self, at: u32, levels: &[Levels; 2]) {
        let node = self.node(at);
        let levels = &levels[node.key.family()];
        if node.is_leaf() {
            let record = node.record;
            let within = levels.within(node.len.into());
            #[expect(clippy::cast_possible_truncation, reason = "beliefs are kept small")]
            let precision = (f64::from(record.answers) / within) as f32;
            let node = self.node_mut(at);
            node.belief = Belief {
                mean: record.mean,
                precision,
            };
            (node.answers, node.failures) = (record.answers, record.failures);
            return;
        }
        let [a, b] = node.children.map(|child| self.node(child));
        let [m, n] = [a, b].map(|child| {
            let between = levels.between(node.len.into(), child.len.into());
            message(child.belief, between)
        });
        let precision = m.1 + n.1;
        let mean = if precision > 0.0 {
            (m.0 * m.1 + n.0 * n.1) / precision
        } else {
            0.0
        };
        let sums = (a.answers + b.answers, a.failures + b.failures);
        let node = self.node_mut(at);
        #[expect(clippy::cast_possible_truncation, reason = "beliefs are kept small")]
        let belief = Belief {
            mean: mean as f32,
            precision: precision as f32,
        };
        node.belief = belief;
        (node.answers, node.failures) = sums;
    }

    /// All nodes, children before their parents.
    fn upwards(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.len());
        if self.root != NONE {
            order.push(self.root);
        }
        let mut next = 0;
        while let Some(at) = order.get(next).copied() {
            let node = self.node(at);
            if !node.is_leaf() {
                order.extend(node.children);
            }
            next += 1;
        }
        order.reverse();
        order
    }

    /// Brings all up to date, after levels have changed.
    pub(super) fn refresh_all(&mut self, levels: &[Levels; 2]) {
        for at in self.upwards() {
            self.refresh(at, levels);
        }
    }

    /// All that is known counts for so much of what it did; what counts for next to nothing is forgotten.
    pub(super) fn age(&mut self, factor: f32, levels: &[Levels; 2]) {
        for node in &mut self.nodes {
            node.record.answers *= factor;
            node.record.failures *= factor;
            node.is_closed = false;
            node.is_full = false;
        }
        for at in self.upwards() {
            let node = self.node(at);
            if node.is_leaf() && node.record.answers + node.record.failures < LEAST_WEIGHT {
                self.remove(at);
            }
        }
        self.refresh_all(levels);
    }

    /// Forgets all for whom it does not hold.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Node) -> bool, levels: &[Levels; 2]) {
        for at in self.upwards() {
            let node = self.node_mut(at);
            (node.is_closed, node.is_full, node.touched) = (false, false, 0);
            if self.node(at).is_leaf() && !keeps(self.node(at)) {
                self.remove(at);
            }
        }
        self.refresh_all(levels);
    }

    /// Takes a leaf out; its sibling takes the place of their parent. Sums are brought up to date by the caller.
    fn remove(&mut self, leaf: u32) {
        let parent = self.node(leaf).parent;
        self.free.push(leaf);
        if parent == NONE {
            self.root = NONE;
            return;
        }
        let [a, b] = self.node(parent).children;
        let sibling = if a == leaf { b } else { a };
        let above = self.node(parent).parent;
        self.node_mut(sibling).parent = above;
        self.free.push(parent);
        if above == NONE {
            self.root = sibling;
            return;
        }
        let children = &mut self.node_mut(above).children;
        let side = usize::from(children[1] == parent);
        children[side] = sibling;
    }

    /// Makes room for so many more leaves, as far as there can be.
    pub(super) fn make_room(&mut self, leaves: usize, levels: &[Levels; 2]) {
        while self.len() > 1 && self.len() + 2 * leaves > self.capacity {
            self.prune(levels);
        }
    }

    /// Remembers the least promising neighbours together: an eighth of all pairs of leaves.
    fn prune(&mut self, levels: &[Levels; 2]) {
        debug_assert!(self.len() > 1, "there is room for two leaves and their parent");
        let mut pairs: Vec<(f32, u32)> = (self.upwards().into_iter())
            .filter(|at| {
                let children = self.node(*at).children;
                children[0] != NONE && children.iter().all(|child| self.node(*child).is_leaf())
            })
            .map(|at| (self.promise(at), at))
            .collect();
        let count = (pairs.len() / 8).max(1);
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (_, at) in pairs.into_iter().take(count) {
            let children = self.node(at).children.map(|child| self.node(child));
            let record = joined(children[0].record, children[1].record);
            self.free.extend(self.node(at).children);
            let node = self.node_mut(at);
            node.children = [NONE; 2];
            node.record = record;
            // Its gap above may be empty; within it somebody is left.
            (node.touched, node.is_full) = (0, false);
            self.refresh_up(at, levels);
        }
    }

    /// How much would be lost with the details of a node: less, the slower the faster of its leaves is.
    fn promise(&self, at: u32) -> f32 {
        let best = |child: &u32| {
            let record = self.node(*child).record;
            if record.answers > record.failures {
                -record.mean
            } else {
                f32::MIN
            }
        };
        self.node(at).children.iter().map(best).fold(f32::MIN, f32::max)
    }

    /// Every leaf.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &Node> {
        let order = self.upwards();
        order
            .into_iter()
            .map(|at| self.node(at))
            .filter(|node| node.is_leaf())
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let order = self.upwards();
        assert_eq!(order.len(), self.len());
        assert!(order.len() <= self.capacity);
        for at in order {
            let node = self.node(at);
            if node.is_leaf() {
                assert_eq!(node.children, [NONE; 2]);
                continue;
            }
            let mut sums = (0.0, 0.0);
            for (side, child) in node.children.iter().enumerate() {
                let child_node = self.node(*child);
                assert_eq!(child_node.parent, at);
                assert!(child_node.len > node.len);
                assert_eq!(child_node.key.bit(node.len.into()), side);
                assert!(child_node.key.common(node.key) >= node.len.into());
                sums.0 += child_node.answers;
                sums.1 += child_node.failures;
            }
            assert!(
                (node.answers - sums.0).abs() < 1e-3 * (1.0 + sums.0),
                "{} {}",
                node.answers,
                sums.0
            );
            assert!((node.failures - sums.1).abs() < 1e-3 * (1.0 + sums.1));
        }
    }
}

/// What is known of a parent from one child: its mean, and how precise it is behind the steps between the two.
fn message(belief: Belief, between: f64) -> (f64, f64) {
    let precision = f64::from(belief.precision);
    (f64::from(belief.mean), precision / (1.0 + precision * between))
}

fn joined(a: Record, b: Record) -> Record {
    let answers = a.answers + b.answers;
    let mean = if answers > 0.0 {
        (a.mean * a.answers + b.mean * b.answers) / answers
    } else {
        0.0
    };
    Record {
        answers,
        mean,
        failures: a.failures + b.failures,
    }
}

//! Who else there is, as far as exchanges tell. Pure.
//!
//! Invariant: at most [`MOST_NODES`] are known, each of which the Redis has listed among those that live.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::message::{Hello, Notice};
use super::resp::Value;
use crate::service::fleet::{Node, NodeId};

/// The most other nodes that are known.
pub const MOST_NODES: usize = 127;

/// Others up to which it is asked when each of them spoke.
const DATED: usize = 32;

/// Known nodes that are asked once more who they are, when it is time for that.
const ASKED_AGAIN: usize = 4;

/// Another node, as far as it is known.
#[derive(Debug, Default)]
struct Known {
    /// Who it is, once that was read.
    hello: Option<Hello>,
    /// Whether it has said that it is somebody else now.
    is_changed: bool,
    /// When it spoke, in milliseconds of the Redis; 0: that was not asked.
    spoke_ms: u64,
    /// When it said last that its link is down, unless it has taken that back.
    down_ms: Option<u64>,
}

/// Those that live.
#[derive(Debug)]
pub struct Nodes {
    me: NodeId,
    all: BTreeMap<NodeId, Known>,
    /// Who is asked next who it is, though it is known.
    turn: usize,
}

impl Nodes {
    /// Nobody is known to `me`.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self {
            me,
            all: BTreeMap::new(),
            turn: 0,
        }
    }

    /// How many others there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is nobody else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether it is worth being told when each of them spoke.
    #[must_use]
    pub fn are_dated(&self) -> bool {
        self.all.len() < DATED
    }

    /// Whether that many, this process included, are others than those that are known.
    #[must_use]
    pub fn is_other_than(&self, count: i64) -> bool {
        let others = usize::try_from(count).unwrap_or_default().saturating_sub(1);
        others.min(MOST_NODES) != self.all.len()
    }

    /// These live, as the Redis lists them: each with the time at which it spoke, if they are [dated](Self::are_dated). How many have
    /// no number of a node.
    pub fn list(&mut self, list: &Value) -> usize {
        let entries = list.parts().chunks(1 + usize::from(self.are_dated()));
        let count = entries.len();
        let spoke_ms = |entry: &[Value]| entry.get(1).and_then(Value::number).unwrap_or_default();
        let mut living: Vec<(NodeId, u64)> = entries
            .filter_map(|entry| Some((id_of(entry.first()?)?, spoke_ms(entry))))
            .collect();
        let unknown = count - living.len();
        living.retain(|(id, _)| *id != self.me);
        living.truncate(MOST_NODES);
        self.all
            .retain(|id, _| living.iter().any(|(living, _)| living == id));
        for (id, spoke_ms) in living {
            let known = self.all.entry(id).or_default();
            known.spoke_ms = known.spoke_ms.max(spoke_ms);
        }
        unknown
    }

    /// Who is to be asked who it is: those that are not known, or have become others; and `again` some that are known, each in its
    /// turn, for what they have said of that may have been missed.
    pub fn unknown(&mut self, again: bool) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = Vec::new();
        if again {
            let known = self.all.keys().cycle().skip(self.turn);
            ids.extend(known.take(ASKED_AGAIN.min(self.all.len())));
            self.turn = (self.turn + ids.len())
                .checked_rem(self.all.len())
                .unwrap_or_default();
        }
        for (id, known) in &self.all {
            if (known.hello.is_none() || known.is_changed) && !ids.contains(id) {
                ids.push(*id);
            }
        }
        ids
    }

    /// Who a node is, as it says; none if it does not.
    pub fn name(&mut self, id: NodeId, hello: Option<Hello>) {
        if let Some(known) = self.all.get_mut(&id) {
            known.hello = hello;
            known.is_changed = false;
        }
    }

    /// A node has spoken at this time of the Redis; whether it is known.
    pub fn spoke(&mut self, id: NodeId, at_ms: u64) -> bool {
        let known = self.all.get_mut(&id);
        known.is_some_and(|known| {
            known.spoke_ms = known.spoke_ms.max(at_ms);
            true
        })
    }

    /// Takes in what a node says of itself; whether it is known.
    pub fn heed(&mut self, id: NodeId, notice: Notice, at_ms: u64) -> bool {
        if let Some(known) = self.all.get_mut(&id) {
            known.is_changed |= notice.is_changed;
            known.down_ms = notice.is_down.then_some(at_ms);
        }
        self.spoke(id, at_ms)
    }

    /// What was said of links before this time of the Redis is of no account any more.
    pub fn forget_links_before(&mut self, ms: u64) {
        for known in self.all.values_mut() {
            known.down_ms = known.down_ms.filter(|at_ms| *at_ms >= ms);
        }
    }

    /// Those of whom it is known who they are.
    pub fn named(&self) -> impl Iterator<Item = Node> {
        self.all.iter().filter_map(|(id, known)| {
            let hello = known.hello.clone()?;
            Some(Node {
                id: *id,
                name: hello.name,
                vantage: hello.vantage,
                services: hello.services,
                is_down: known.down_ms.is_some(),
            })
        })
    }

    /// When each spoke last, of those of whom that is known, while the Redis's clock says this.
    #[must_use]
    pub fn heard(&self, redis_ms: u64, now: Instant) -> Vec<(NodeId, Instant)> {
        let of = |(id, known): (&NodeId, &Known)| {
            let ago = Duration::from_millis(redis_ms.saturating_sub(known.spoke_ms));
            let at = now.checked_sub(ago).filter(|_| known.spoke_ms > 0)?;
            Some((*id, at))
        };
        self.all.iter().filter_map(of).collect()
    }

    /// Nobody was heard of for too long.
    pub fn forget(&mut self) {
        self.all.clear();
    }
}

/// How a node's number is written.
#[must_use]
pub fn text_of(id: NodeId) -> String {
    format!("{id:016x}")
}

/// The number of a node of which this is how it is written; none if it is no such text.
#[must_use]
pub fn id_of(value: &Value) -> Option<NodeId> {
    let text = std::str::from_utf8(value.bytes()?).ok()?;
    (text.len() == 16).then(|| NodeId::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.as_bytes().to_vec())
    }

    fn list(ids: impl IntoIterator<Item = u64>) -> Value {
        let dated = |id| [bytes(&format!("{id:016x}")), bytes("5000")];
        Value::List(ids.into_iter().flat_map(dated).collect())
    }

    fn hello(name: &str) -> Hello {
        Hello {
            name: name.to_owned(),
            vantage: "v".to_owned(),
            services: Vec::new(),
        }
    }

    #[test]
    fn who_is_listed_is_known_and_nobody_else() {
        let mut nodes = Nodes::new(1);
        assert_eq!(nodes.list(&list([1, 2, 3])), 0);
        assert_eq!(
            (nodes.len(), nodes.is_other_than(3), nodes.is_other_than(2)),
            (2, false, true)
        );
        assert_eq!(nodes.unknown(false), [2, 3]);
        nodes.name(2, Some(hello("two")));
        assert_eq!((nodes.unknown(false), nodes.named().count()), (vec![3], 1));
        nodes.list(&list([2, 4]));
        assert_eq!(
            nodes.named().next().map(|node| node.name).as_deref(),
            Some("two"),
            "it is kept"
        );
        assert!(!nodes.spoke(3, 5) && nodes.spoke(4, 5));
        let nonsense = Value::List(vec![bytes("zz"), bytes("5000")]);
        assert_eq!(nodes.list(&nonsense), 1);
        nodes.list(&list(2..1_000));
        assert_eq!((nodes.len(), nodes.is_other_than(1_000)), (MOST_NODES, false));
        nodes.forget();
        assert!(nodes.is_empty());
    }

    #[test]
    fn each_is_asked_again_in_its_turn_and_at_once_who_has_changed() {
        let mut nodes = Nodes::new(1);
        nodes.list(&list(2..12));
        (2..12).for_each(|id| nodes.name(id, Some(hello("n"))));
        assert!(nodes.unknown(false).is_empty());
        let mut asked: Vec<NodeId> = (0..5).flat_map(|_| nodes.unknown(true)).collect();
        asked.sort_unstable();
        let twice: Vec<NodeId> = (2..12).flat_map(|id| [id, id]).collect();
        assert_eq!(asked, twice);
        let changed = Notice {
            is_down: false,
            is_changed: true,
        };
        assert!(nodes.heed(7, changed, 5) && !nodes.heed(99, changed, 5));
        assert_eq!(nodes.unknown(false), [7]);
        nodes.name(7, Some(hello("m")));
        assert!(nodes.unknown(false).is_empty());
    }

    #[test]
    fn a_link_is_down_until_that_is_taken_back_or_old() {
        let mut nodes = Nodes::new(1);
        nodes.list(&list([2]));
        nodes.name(2, Some(hello("two")));
        let is_down = |nodes: &Nodes| nodes.named().any(|node| node.is_down);
        let notice = |is_down| Notice {
            is_down,
            is_changed: false,
        };
        nodes.heed(2, notice(true), 6_000);
        nodes.forget_links_before(6_000);
        assert!(is_down(&nodes));
        nodes.heed(2, notice(false), 6_500);
        assert!(!is_down(&nodes));
        nodes.heed(2, notice(true), 7_000);
        nodes.forget_links_before(7_001);
        assert!(!is_down(&nodes));
        let now = clock::now();
        let heard = nodes.heard(7_500, now);
        assert_eq!(heard.len(), 1);
        assert_eq!(now - heard[0].1, Duration::from_millis(500));
    }
}

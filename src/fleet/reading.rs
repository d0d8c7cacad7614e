//! How the stream of samples is read: in pieces, which an answer that was too long makes smaller. Pure.
//!
//! Invariants: an exchange takes at most [`MOST_TAKEN`] samples, [`MOST_OF_ONE`] of one node, in at most eight pieces of at most
//! 96 messages; what was read is not read again.

use std::collections::HashMap;

use super::message::MOST_SAMPLES;
use super::resp::Value;
use crate::service::fleet::NodeId;

/// Samples of one node that are taken in one exchange.
pub const MOST_OF_ONE: usize = 4 * MOST_SAMPLES;

/// Messages that are read at once.
const MOST_READ: usize = 96;

/// Pieces that one exchange reads after its first: a hundred nodes that say as much as they can are heard.
const READS_ON: usize = 7;

/// Samples that one exchange takes of all nodes: three quarters of what the scorer's inbox holds. Of more the rest waits.
pub const MOST_TAKEN: usize = MOST_READ * MOST_SAMPLES;

/// How far the stream is read, and how.
#[derive(Debug)]
pub struct Reading {
    /// Up to where.
    pub last_id: String,
    /// Messages of the next piece, and of the largest one since an answer was too long.
    piece: usize,
    most: usize,
    /// Those that were asked for last.
    asked: usize,
    /// Whether there are more of them.
    has_more: bool,
    /// Pieces that may still be read in this exchange.
    left: usize,
    /// Samples that were taken in it, of all nodes and of each.
    taken: usize,
    of_each: HashMap<NodeId, usize>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            last_id: String::new(),
            piece: MOST_READ,
            most: MOST_READ,
            asked: 0,
            has_more: false,
            left: 0,
            taken: 0,
            of_each: HashMap::new(),
        }
    }
}

impl Reading {
    /// The next exchange begins.
    pub fn begin(&mut self) {
        self.left = READS_ON;
        self.taken = 0;
        self.of_each.clear();
        self.has_more = false;
    }

    /// A piece of so many messages was read, from behind this id on; the stream ends there if it is shorter than it could be.
    pub fn has_read(&mut self, messages: usize, from: &str) {
        self.has_more = messages >= self.asked && self.last_id != from;
        if !self.has_more {
            // What was too long is behind.
            self.most = (self.most * 2).min(MOST_READ);
        }
        self.piece = if self.has_more { self.piece * 2 } else { self.most }.min(self.most);
    }

    /// How many messages are asked for now.
    pub fn ask(&mut self) -> usize {
        let room = MOST_TAKEN.saturating_sub(self.taken) / MOST_SAMPLES;
        self.asked = self.piece.min(room).max(1);
        self.asked
    }

    /// Whether there is more than was read, and room for it in this exchange, which it has then.
    pub fn goes_on(&mut self) -> bool {
        let has_room = self.taken + MOST_SAMPLES <= MOST_TAKEN;
        let goes_on = self.has_more && has_room && self.left > 0;
        self.left -= usize::from(goes_on);
        goes_on
    }

    /// So many samples of a node; whether they are not too many of one.
    pub fn is_heard(&mut self, from: NodeId, samples: usize) -> bool {
        let of_one = self.of_each.entry(from).or_default();
        *of_one += samples;
        *of_one <= MOST_OF_ONE
    }

    /// So many samples are taken.
    pub fn takes(&mut self, samples: usize) {
        self.taken += samples;
    }

    /// An answer was too long: smaller pieces from here on. Whether it was a single message.
    pub fn shrink(&mut self) -> bool {
        let is_single = self.asked <= 1;
        self.most = if is_single { MOST_READ } else { self.asked / 2 };
        self.piece = 1;
        is_single
    }
}

/// An entry's id, its time in milliseconds, and the message in it, if it has one field.
#[must_use]
pub fn entry_of(entry: &Value) -> Option<(String, u64, Option<&[u8]>)> {
    const MOST_ID: usize = 41;
    let [id, fields] = entry.parts() else {
        return None;
    };
    let id = std::str::from_utf8(id.bytes()?)
        .ok()
        .filter(|id| id.len() <= MOST_ID)?;
    let (ms, number) = id.split_once('-')?;
    let (ms, number): (u64, u64) = (ms.parse().ok()?, number.parse().ok()?);
    let message = match fields.parts() {
        [_, message] => message.bytes(),
        _ => None,
    };
    Some((format!("{ms}-{number}"), ms, message))
}

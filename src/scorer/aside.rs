//! What was learned of one service on other ways to the network: put aside when the way changes, taken up when it is back.
//!
//! Kept as the state file keeps it, and recalled in the same way: a row is believed until its candidate is asked.

use std::time::Instant;

use super::board::{SavedRow, ScoreBoard};
use crate::service::uplink::{MAX_UPLINKS, Uplink, UplinkId};

/// The most rows that are kept of one way.
const MAX_ROWS: usize = 1024;

/// Rows of boards, by the way to the network on which they were learned.
#[derive(Debug, Default)]
pub(super) struct Aside(Vec<Put>);

#[derive(Debug)]
struct Put {
    uplink: UplinkId,
    at: Instant,
    rows: Vec<SavedRow>,
}

impl Aside {
    /// Has the board follow our way to the network; whether nothing is known on the present one. What is known on the same
    /// one from before is to be confirmed.
    pub(super) fn turn(&mut self, board: &mut ScoreBoard, uplink: &Uplink, now: Instant) -> bool {
        if board.uplink() == uplink.id {
            board.doubt();
            return false;
        }
        self.0.push(Put {
            uplink: board.uplink(),
            at: now,
            rows: board.save(MAX_ROWS, now),
        });
        self.0.retain(|put| uplink.known.contains(&put.uplink));
        board.turn_to(uplink.id);
        let back = self.0.iter().position(|put| put.uplink == uplink.id);
        if let Some(back) = back {
            let put = self.0.remove(back);
            board.recall(&put.rows, now.saturating_duration_since(put.at), now);
        }
        debug_assert!(self.0.len() < MAX_UPLINKS, "what is put aside is bounded");
        board.is_empty()
    }
}

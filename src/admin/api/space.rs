//! The searched space: what is known of a service's list, prefix by prefix.
//!
//! Of a list that is searched the prober publishes it, now and then; of one that is looked at whole it follows from the
//! score board, which is bounded.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Instant;

use serde::Serialize;

use super::shapes::{ago, millis_of, rounded};
use crate::search::{Leaf, MOST_PARTS, Part, Space};
use crate::service::Service;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    service: String,
    /// Addresses on the list.
    listed: u128,
    /// Whether the list is searched by a model; else all of it is looked at, and the score board is told of.
    is_searched: bool,
    /// How old this picture is.
    made_seconds_ago: f64,
    prefixes: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    first: SocketAddr,
    last: SocketAddr,
    network: Option<String>,
    candidates: u128,
    known: usize,
    /// What answers and failures count for: they age.
    answers: f64,
    failures: f64,
    /// The share that answers; none where nobody was asked.
    answering: Option<f64>,
    best_latency_ms: Option<f64>,
}

pub(super) fn page(service: &Service, now: Instant) -> Told {
    let live = &service.live;
    let list = live.candidates.load();
    let published = live.space.load();
    let of_board = || {
        let board = live.board.read().unwrap_or_else(PoisonError::into_inner);
        let touched: Vec<Leaf> = board.touched().map(|touched| touched.leaf()).collect();
        drop(board);
        Space::of(&list, touched, MOST_PARTS, now)
    };
    let (space, is_searched) = match &*published {
        Some(space) => (space.clone(), true),
        None => (of_board(), false),
    };
    Told {
        service: service.name.to_string(),
        listed: list.len(),
        is_searched,
        made_seconds_ago: ago(space.at, now),
        prefixes: space.parts.iter().map(Row::of).collect(),
    }
}

impl Row {
    fn of(part: &Part) -> Self {
        let counted = part.answers + part.failures;
        Self {
            first: part.first,
            last: part.last,
            network: part.network.map(|network| network.to_string()),
            candidates: part.candidates,
            known: part.known,
            answers: rounded(part.answers),
            failures: rounded(part.failures),
            answering: (counted > 0.0).then(|| rounded(part.answers / counted)),
            best_latency_ms: part.best.map(millis_of),
        }
    }
}

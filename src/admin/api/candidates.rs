//! Candidates of which something is known, in the order that somebody wants.
//!
//! The list itself is never gone through: it may have 16 million candidates. Rows come from the score board, which is
//! bounded; its lock is held for a plain copy, and then for a few rows at a time.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLockReadGuard};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde::Serialize;

use super::places::{Occupancy, Places};
use super::query::{MOST_ROWS, Query};
use super::shapes::{Parts, ago, millis, rounded};
use crate::scorer::board::ScoreBoard;
use crate::scorer::sample::Touched;
use crate::service::Service;

/// Rows that are worked out under one lock.
const AT_ONCE: usize = 256;

/// Rows, if nobody says how many.
const DEFAULT_ROWS: usize = 100;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    sort: Sort,
    limit: usize,
    prefix: Option<IpNet>,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// The highest score.
    Score,
    /// The lowest latency.
    Latency,
    /// The youngest sample.
    Age,
    /// The lowest address.
    Addr,
}

impl Asked {
    pub(super) fn of(query: &mut Query) -> Result<Self, String> {
        let names = [
            ("score", Sort::Score),
            ("latency", Sort::Latency),
            ("age", Sort::Age),
            ("addr", Sort::Addr),
        ];
        Ok(Self {
            sort: query.take_name("sort", &names)?.unwrap_or(Sort::Score),
            limit: query.take_limit(DEFAULT_ROWS, MOST_ROWS)?,
            prefix: query.take_prefix()?,
        })
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Candidates {
    service: String,
    /// Addresses on the list.
    listed: u128,
    /// Those of which something is known.
    known: usize,
    /// Those of them that were asked for, of which the first are told.
    matching: usize,
    #[serde(rename = "candidates")]
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    addr: SocketAddr,
    name: Option<String>,
    is_member: bool,
    state: &'static str,
    score: f64,
    parts: Option<Parts>,
    latency_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    jitter_ms: Option<f64>,
    success_rate: f64,
    answers: u16,
    consecutive_failures: u32,
    #[serde(flatten)]
    places: Places,
    is_trusted: bool,
    /// Whether that is known only from before this process, or before something happened.
    is_recalled: bool,
    sample_seconds_ago: f64,
}

pub(super) fn page(service: &Service, asked: &Asked, now: Instant) -> Candidates {
    let matches = |touched: &Touched| {
        asked
            .prefix
            .is_none_or(|prefix| prefix.contains(&touched.addr.ip()))
    };
    let board = board(service);
    let known = board.len();
    let mut rows: Vec<Touched> = board.touched().filter(matches).collect();
    drop(board);
    let matching = rows.len();
    rows.sort_unstable_by(|a, b| order(asked.sort, a, b));
    rows.truncate(asked.limit);
    let occupancy = Occupancy::of(service);
    let candidates = rows
        .chunks(AT_ONCE)
        .flat_map(|some| told(service, &occupancy, some, now));
    Candidates {
        service: service.name.to_string(),
        listed: occupancy.list().len(),
        known,
        matching,
        rows: candidates.collect(),
    }
}

fn told(service: &Service, occupancy: &Occupancy, rows: &[Touched], now: Instant) -> Vec<Row> {
    let (active, admin) = (service.live.active.load(), service.live.admin.load());
    let board = board(service);
    let row = |touched: &Touched| {
        let score = board.score(&touched.addr);
        let score = score.as_ref();
        Row {
            addr: touched.addr,
            name: occupancy.list().name_of(&touched.addr).map(str::to_owned),
            is_member: active.contains(&touched.addr),
            state: admin.of(&touched.addr).label(),
            score: rounded(touched.score),
            parts: score.map(Parts::of),
            latency_ms: touched.latency.map(millis),
            first_byte_ms: score.and_then(|score| score.first_byte).map(millis),
            jitter_ms: score.and_then(|score| score.jitter).map(millis),
            success_rate: score.map_or(0.0, |score| rounded(score.success_rate)),
            answers: touched.successes,
            consecutive_failures: score.map_or(0, |score| score.consecutive_failures),
            places: occupancy.at(&touched.addr),
            is_trusted: score.is_none_or(|score| score.is_trusted),
            is_recalled: !touched.is_fresh,
            sample_seconds_ago: ago(touched.last_sample_at, now),
        }
    };
    rows.iter().map(row).collect()
}

fn board(service: &Service) -> RwLockReadGuard<'_, ScoreBoard> {
    let board = service.live.board.read();
    board.unwrap_or_else(PoisonError::into_inner)
}

fn order(sort: Sort, a: &Touched, b: &Touched) -> Ordering {
    let latency = |touched: &Touched| touched.latency.unwrap_or(Duration::MAX);
    let by_score = || {
        b.score
            .total_cmp(&a.score)
            .then_with(|| latency(a).cmp(&latency(b)))
    };
    match sort {
        Sort::Score => by_score(),
        Sort::Latency => latency(a).cmp(&latency(b)).then_with(by_score),
        Sort::Age => b.last_sample_at.cmp(&a.last_sample_at),
        Sort::Addr => Ordering::Equal,
    }
    .then_with(|| a.addr.cmp(&b.addr))
}

//! Services as they stand: all in short, or one at length.
//!
//! Reads what others publish; owns nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::certificates::Certificate;
use super::places::Places;
use super::providers::Provider;
use super::query::{MOST_ROWS, Query};
use super::shapes::{Parts, Withdrawn, ago, millis, rounded};
use crate::backend::Backend;
use crate::scorer::score::Score;
use crate::selector::decide::{Footing, SwitchReason};
use crate::service::provided::{Place, Standing};
use crate::service::{Directory, Service, ServiceId};

/// A service in short.
#[derive(Debug, Serialize)]
pub(super) struct Short {
    name: String,
    listen_addrs: Vec<SocketAddr>,
    active_set: Vec<SocketAddr>,
    footing: &'static str,
    is_asleep: bool,
    /// It is in the configuration no more, or the process stops: its connections may finish.
    is_leaving: bool,
    connections: u64,
    /// Clients of those that wait for a place at a backend.
    queued: u64,
    /// Members that are full.
    full: usize,
    candidates: u128,
    withdrawn: usize,
}

/// A service at length.
#[derive(Debug, Serialize)]
pub(super) struct Long {
    #[serde(flatten)]
    short: Short,
    members: Vec<Member>,
    withdrawn_candidates: Vec<Withdrawn>,
    /// Candidates of which something is known, and those of them whose last sample was a success.
    known: usize,
    answering: usize,
    switches: BTreeMap<&'static str, u64>,
    providers: Vec<Provider>,
    certificates: Vec<Certificate>,
    evaluated_seconds_ago: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Member {
    addr: SocketAddr,
    name: Option<String>,
    state: &'static str,
    score: f64,
    parts: Option<Parts>,
    latency_ms: Option<f64>,
    connections: u32,
    #[serde(flatten)]
    places: Places,
    warm: u32,
    target: u32,
    requests: u64,
    #[serde(rename = "member_seconds")]
    seconds: f64,
}

/// Which services are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// What their names have in them.
    contains: String,
    offset: usize,
    limit: usize,
}

impl Asked {
    pub(super) fn of(query: &mut Query) -> Result<Self, String> {
        Ok(Self {
            contains: query.take_part_of_name()?,
            offset: query.take_offset()?,
            limit: query.take_limit(MOST_ROWS, MOST_ROWS)?,
        })
    }
}

/// Some services, in short.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    services: Vec<Short>,
    /// All that there are.
    total: usize,
    /// Those that were asked for, of which some are told.
    matching: usize,
}

/// The services that are asked for, by name.
pub(super) fn some(directory: &Directory, asked: &Asked) -> Told {
    let mut listening: HashMap<ServiceId, Vec<SocketAddr>> = HashMap::new();
    for one in &directory.listening {
        listening.entry(one.service.live.id).or_default().push(one.bound);
    }
    let short = |(service, is_leaving): &(Arc<Service>, bool)| {
        let listen_addrs = listening.remove(&service.live.id).unwrap_or_default();
        Short::of(service, listen_addrs, *is_leaving)
    };
    let all = directory.told();
    let matching: Vec<_> = all
        .iter()
        .filter(|(one, _)| one.name.as_str().contains(&asked.contains))
        .collect();
    let told = matching.iter().skip(asked.offset).take(asked.limit);
    Told {
        services: told.copied().map(short).collect(),
        total: all.len(),
        matching: matching.len(),
    }
}

/// One service, at length.
pub(super) fn one(
    (directory, standings): (&Directory, &BTreeMap<Place, Standing>),
    service: &Service,
    now: Instant,
) -> Long {
    let live = &service.live;
    let listens = directory.listening.iter();
    let listens = listens.filter(|one| one.service.live.id == live.id);
    let active = live.active.load();
    let admin = live.admin.load();
    let board = live.board.read().unwrap_or_else(PoisonError::into_inner);
    let list = live.candidates.load();
    let name_of = |addr: &SocketAddr| list.name_of(addr).map(str::to_owned);
    let member = |backend: &Arc<Backend>| Member {
        name: name_of(&backend.addr),
        state: admin.of(&backend.addr).label(),
        ..Member::of(backend, board.score(&backend.addr).as_ref(), now)
    };
    let members = active.backends.iter().map(member).collect();
    let (known, answering) = (board.len(), board.answering());
    drop(board);
    let switches = SwitchReason::ALL.iter().zip(&live.counts.switches);
    let record = live.record.load();
    Long {
        short: Short::of(
            service,
            listens.map(|one| one.bound).collect(),
            !directory.services.iter().any(|one| one.live.id == live.id),
        ),
        members,
        withdrawn_candidates: Withdrawn::all(service),
        known,
        answering,
        switches: switches
            .map(|(reason, count)| (reason.label(), count.load(Ordering::Relaxed)))
            .collect(),
        providers: Provider::all(service, standings, now),
        certificates: Certificate::all(service),
        evaluated_seconds_ago: (*record).as_ref().map(|record| ago(record.at, now)),
    }
}

impl Short {
    fn of(service: &Service, listen_addrs: Vec<SocketAddr>, is_leaving: bool) -> Self {
        let live = &service.live;
        let active = live.active.load();
        Self {
            name: service.name.to_string(),
            listen_addrs,
            active_set: active.backends.iter().map(|backend| backend.addr).collect(),
            footing: footing(active.footing),
            is_asleep: live.slumber.load().is_asleep(),
            is_leaving,
            connections: live.connections(),
            queued: live.queued(),
            full: active.full(),
            candidates: live.candidates.load().len(),
            withdrawn: live.admin.load().len(),
        }
    }
}

impl Member {
    fn of(backend: &Backend, score: Option<&Score>, now: Instant) -> Self {
        let shares = || backend.shares.iter();
        Self {
            addr: backend.addr,
            name: None,
            state: "",
            score: score.map_or(0.0, |score| rounded(score.total)),
            parts: score.map(Parts::of),
            latency_ms: score.and_then(|score| score.latency).map(millis),
            connections: backend.live(),
            places: Places::at(backend),
            warm: shares().map(|share| share.warm.load(Ordering::Relaxed)).sum(),
            target: backend.target.load(Ordering::Relaxed),
            requests: shares().map(|share| share.requests.load(Ordering::Relaxed)).sum(),
            seconds: ago(backend.joined_at, now),
        }
    }
}

/// What a set stands on, in one word.
pub(super) fn footing(footing: Footing) -> &'static str {
    match footing {
        Footing::Good => "good",
        Footing::LastGood => "last_good",
        Footing::BestScored => "best_scored",
    }
}

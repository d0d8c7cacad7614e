//! One run: process, load, faults and samples side by side, then the judgement and what is written of it.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::faults::{Injected, Rhythm, rotate};
use crate::flat::Flatness;
use crate::load::{Account, Failure, KINDS, Lane, Pace};
use crate::peers::backend::Backend;
use crate::peers::rig::list_of;
use crate::peers::standing::whole;
use crate::rest;
use crate::samples::{COLUMNS, Missed, Sample, watch};
use crate::support::{Files, Forwarder, program, settings};

/// More than are active, so that others take the place of those that fail.
const BACKENDS: usize = 6;

const DRAIN: Duration = Duration::from_secs(5);

/// What the figures may have grown by: kB, and descriptors. All descriptors together scatter with the load, by
/// hundreds; those that belong to nobody are the sharper measure.
const MEMORY_BOUND: f64 = 1024.0;
const DESCRIPTOR_BOUND: f64 = 250.0;
const OWN_BOUND: f64 = 3.0;

/// Memory at rest behind the load: what the allocator keeps of read-ahead.
const REST_BOUND_KB: u64 = 6000;

/// Scrapes that may fail: a client of the metrics port that is slower than five seconds is hung up on, and a busy
/// machine may make it that slow.
const MISSED: usize = 1;

/// How long everything takes.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    total: Duration,
    rhythm: Rhythm,
    sample_every: Duration,
    /// Mean pause of an idle relay, which has four of them.
    pause: Duration,
    patience: Duration,
    log_level: &'static str,
}

impl Length {
    pub fn full(total: Duration) -> Self {
        Self {
            total,
            rhythm: Rhythm {
                hold: Duration::from_secs(6),
                gap: Duration::from_secs(3),
            },
            sample_every: Duration::from_secs(if total > Duration::from_secs(1200) { 5 } else { 2 }),
            pause: (total / 60).min(Duration::from_secs(20)),
            patience: Duration::from_secs(240),
            log_level: "info",
        }
    }

    /// Long enough for each fault to come once.
    pub fn smoke() -> Self {
        Self {
            total: Duration::from_millis(2600),
            rhythm: Rhythm {
                hold: Duration::from_millis(110),
                gap: Duration::from_millis(20),
            },
            sample_every: Duration::from_millis(400),
            pause: Duration::from_millis(200),
            patience: Duration::from_secs(30),
            log_level: "debug",
        }
    }
}

/// What the forwarder logs: at `debug` the end of every connection, and so what to look for behind an unexplained one.
fn log_level(default: &str) -> String {
    std::env::var("TCP_FORWARDER_SOAK_LOG").unwrap_or_else(|_| default.to_owned())
}

fn soak_settings(log_level: &str) -> Value {
    settings(&json!({
        "logging": { "level": log_level },
        "remotes": {
            "provider": { "file": { "watch": true } },
            "probing": { "interval": "1s", "timeout": "300ms" },
            // Who is back is active again before the next fault comes.
            "scoring": { "failure_penalty": { "recovery_per_check": 40.0 } },
            "selector": {
                "evaluation_interval": "1s",
                "active_set_size": 4,
                "switching": { "debounce_interval": "5s" },
            },
        },
        "pools": {
            "common": {
                "dial_timeout": "500ms",
                "drain_timeout": format!("{}s", DRAIN.as_secs()),
            },
            "strategy": { "type": "dynamic", "dynamic": { "min_size": 4, "max_size": 40 } },
        },
    }))
}

/// What happened while the load was on.
struct Hour {
    start: Instant,
    accounts: Vec<Account>,
    injected: Vec<Injected>,
    samples: Vec<Sample>,
    missed: Vec<Missed>,
}

fn hour(forwarder: &Forwarder, backends: &[Backend], length: Length, (load, seed): (f64, u64)) -> Hour {
    let start = Instant::now();
    let until = start + length.total;
    let pace = Pace {
        addr: forwarder.addr(),
        until,
        load,
        pause: length.pause,
        patience: length.patience,
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (1..)
            .zip(&KINDS)
            .map(|(place, kind)| {
                let lane = Lane::new(kind, &pace, seed.wrapping_add(place));
                scope.spawn(move || lane.run())
            })
            .collect();
        let mut chance = fastrand::Rng::with_seed(!seed);
        let faults = scope.spawn(move || rotate(forwarder, backends, length.rhythm, until, &mut chance));
        let mut rng = fastrand::Rng::with_seed(seed.rotate_left(32));
        let (samples, missed) = watch(forwarder, length.sample_every, (start, until), &mut rng);
        let injected = faults.join().unwrap();
        let accounts = lanes.into_iter().map(|lane| lane.join().unwrap()).collect();
        Hour {
            start,
            accounts,
            injected,
            samples,
            missed,
        }
    })
}

fn version() -> String {
    let output = program().arg("--version").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn seed() -> u64 {
    let given = std::env::var("TCP_FORWARDER_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap())
}

/// Runs it all, writes `soak.json` and `samples.csv` to `out`, and says what was wrong.
pub fn soak(length: Length, load: f64, out: &Path) -> Vec<String> {
    std::fs::create_dir_all(out).unwrap();
    let seed = seed();
    let version = version();
    let mut rng = fastrand::Rng::with_seed(seed);
    let backends = Backend::several::<BACKENDS>(seed);
    let files = Files::new(&soak_settings(&log_level(length.log_level)), &list_of(&backends));
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command).listening();
    let mut wrong = Vec::new();
    if !rest::serve(&forwarder, &mut rng, 24) {
        wrong.push("it does not serve before the load".to_owned());
    }
    let before = rest::at_rest(&forwarder).expect("it rests before anything is injected");
    let base = whole(&forwarder.scrape(), "new_connections_total");
    let hour = hour(&forwarder, &backends, length, (load, seed));
    write_samples(out, &hour.samples);
    let opened: u64 = hour.accounts.iter().map(|account| account.opened).sum();
    let at_rest = rest::look(&forwarder, before, (base, opened));
    if !rest::serve(&forwarder, &mut rng, 48) {
        wrong.push("it does not serve after the load".to_owned());
    }
    let grown = forwarder.resident_kb().saturating_sub(before.resident_kb);
    if grown > REST_BOUND_KB {
        wrong.push(format!("grown by {grown} kB at rest"));
    }
    let seen = rest::backends(&backends);
    let log = forwarder.log();
    let stop = rest::stop(forwarder, DRAIN);
    let (flatness, failures) = (flatness(&hour.samples), failures(&hour));
    wrong.extend(not_flat(&flatness));
    wrong.extend(unexplained(&failures, &log));
    if hour.missed.len() > MISSED {
        wrong.push(format!("{} scrapes failed: {:?}", hour.missed.len(), hour.missed));
    }
    for rest in [&at_rest, &seen, &stop] {
        wrong.extend(rest.wrong.iter().cloned());
    }
    let summary = json!({
        "version": version,
        "seed": seed,
        "load_percent": load * 100.0,
        "seconds": length.total.as_secs_f64(),
        "backends": BACKENDS,
        "load": hour.accounts.iter().map(Account::to_json).collect::<Vec<_>>(),
        "faults": faults_json(&hour, &failures),
        "failures": failures.iter().map(|one| failure_json(hour.start, one)).collect::<Vec<_>>(),
        "flatness": flatness.iter().map(Flatness::to_json).collect::<Vec<_>>(),
        "seen_by_backends": seen.figures,
        "missed_scrapes": hour.missed.iter().map(|one| missed_json(hour.start, one)).collect::<Vec<_>>(),
        "at_rest": at_rest.figures,
        "grown_at_rest_kb": grown,
        "stop": stop.figures,
        "wrong": wrong,
    });
    let text = serde_json::to_string_pretty(&summary).unwrap();
    std::fs::write(out.join("soak.json"), text).unwrap();
    wrong
}

fn write_samples(out: &Path, samples: &[Sample]) {
    let rows: String = samples.iter().map(Sample::row).collect();
    std::fs::write(out.join("samples.csv"), format!("{COLUMNS}\n{rows}")).unwrap();
}

/// A failure, and the place of the last fault that explains it.
type Explained = (Failure, Option<usize>);

fn failures(hour: &Hour) -> Vec<Explained> {
    let explained = |failure: &Failure| hour.injected.iter().rposition(|one| one.explains(failure));
    let all = hour.accounts.iter().flat_map(|account| &account.failures);
    all.map(|failure| (*failure, explained(failure))).collect()
}

fn missed_json(start: Instant, missed: &Missed) -> Value {
    json!({ "at_s": missed.at.saturating_duration_since(start).as_secs_f64(), "error": missed.error })
}

fn faults_json(hour: &Hour, failures: &[Explained]) -> Vec<Value> {
    let hurt_by = |place| failures.iter().filter(|failure| failure.1 == Some(place)).count();
    let numbered = hour.injected.iter().enumerate();
    numbered
        .map(|(place, one)| one.to_json(hour.start, hurt_by(place)))
        .collect()
}

fn failure_json(start: Instant, (failure, by): &Explained) -> Value {
    json!({
        "kind": failure.kind,
        "outcome": format!("{:?}", failure.outcome),
        "received": failure.received,
        "began_s": failure.began.saturating_duration_since(start).as_secs_f64(),
        "ended_s": failure.ended.saturating_duration_since(start).as_secs_f64(),
        "explained": by.is_some(),
    })
}

fn flatness(samples: &[Sample]) -> Vec<Flatness> {
    type Column = fn(&Sample) -> f64;
    let columns: [(&str, &str, f64, Column); 5] = [
        ("resident memory", "kB", MEMORY_BOUND, |one| {
            f64::from(one.resident_kb)
        }),
        ("proportional share of memory (PSS)", "kB", MEMORY_BOUND, |one| {
            f64::from(one.proportional_kb)
        }),
        ("anonymous memory", "kB", MEMORY_BOUND, |one| {
            f64::from(one.anonymous_kb)
        }),
        ("descriptors", "", DESCRIPTOR_BOUND, |one| {
            f64::from(one.descriptors)
        }),
        ("sockets of no client and no backend", "", OWN_BOUND, |one| {
            f64::from(one.own_sockets)
        }),
    ];
    let judge = |(name, unit, bound, column): (_, _, _, Column)| {
        let rows: Vec<_> = samples.iter().map(|one| (one.seconds, column(one))).collect();
        Flatness::of(name, unit, bound, &rows)
    };
    columns.into_iter().filter_map(judge).collect()
}

fn not_flat(flatness: &[Flatness]) -> Vec<String> {
    flatness
        .iter()
        .filter(|row| !row.is_flat)
        .map(|row| format!("not flat: {row:?}"))
        .collect()
}

/// How far apart a connection's end and a line about it may be.
const NEARBY: Duration = Duration::from_secs(10);

/// The second of the day that a line of the log begins with.
fn second_of(line: &str) -> Option<u64> {
    let (_, time) = line.split_once('T')?;
    let mut parts = time.get(..8)?.split(':').map(|part| part.parse::<u64>().ok());
    Some((parts.next()?? * 60 + parts.next()??) * 60 + parts.next()??)
}

/// Each connection that failed without a fault that explains it, and what the forwarder logged of its client then.
fn unexplained(failures: &[Explained], log: &str) -> Vec<String> {
    const DAY: u64 = 24 * 60 * 60;
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let tell = |failure: &Failure| {
        let Failure {
            kind,
            outcome,
            from,
            ended,
            ..
        } = failure;
        let ended = today.saturating_sub(ended.elapsed()).as_secs() % DAY;
        let is_nearby = |line: &str| second_of(line).is_some_and(|at| at.abs_diff(ended) < NEARBY.as_secs());
        let client = from.map_or_else(|| "nobody".to_owned(), |from| format!("client={from} "));
        let told = log
            .lines()
            .filter(|line| line.contains(&client) && is_nearby(line));
        let told: Vec<_> = told.collect();
        format!("one of {kind} failed without a fault that explains it: {outcome:?} {told:#?}")
    };
    let unexplained = failures.iter().filter(|(_, by)| by.is_none());
    unexplained.map(|(failure, _)| tell(failure)).collect()
}

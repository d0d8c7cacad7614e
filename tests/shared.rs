//! What threads share, used by many at once: snapshots, counters, doorbells, the inbox, the active set.
//!
//! Asserts what must hold under every order of events, so it is worth most where orders are made up:
//! `scripts/proof tsan` runs it under `ThreadSanitizer`, `scripts/proof miri` with many schedules and weak memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, RwLock};
use std::thread;
use std::time::Duration;

use tcp_forwarder::backend::{ActiveSet, Backend};
use tcp_forwarder::base::clock;
use tcp_forwarder::base::doorbell::{Doorbell, Request, listeners};
use tcp_forwarder::base::published::{Published, Reader};
use tcp_forwarder::config::{Algorithm, Scoring};
use tcp_forwarder::loadbalancer::{LoadBalancer, Seeker};
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::scorer::{Outcome, ProbeStats, Report, Sample, SampleInbox, ScoreBoard, Source};
use tcp_forwarder::selector::decide::Footing;
use tcp_forwarder::service::traffic::Traffic;
use tcp_forwarder::service::{Candidate, ServiceId};

/// Threads of one kind.
const THREADS: u16 = if cfg!(miri) { 2 } else { 4 };
/// How often each of them does its part.
const ROUNDS: u64 = if cfg!(miri) { 8 } else { 20_000 };
/// Longer than any wait that ends as it should.
const PATIENCE: Duration = Duration::from_secs(60);

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Begins all threads at once, so that they meet.
fn together<'s>(parts: Vec<Box<dyn FnOnce() + Send + 's>>) {
    let start = Barrier::new(parts.len());
    thread::scope(|scope| {
        for part in parts {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                part();
            });
        }
    });
}

#[test]
fn a_snapshot_is_whole_never_goes_back_and_the_last_one_is_seen() {
    let published = Arc::new(Published::new([0; 4]));
    let mut parts: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..THREADS {
        let published = Arc::clone(&published);
        parts.push(Box::new(move || {
            let mut reader = Reader::new(Arc::clone(&published));
            let mut last = reader[0];
            while last < ROUNDS {
                // The version first: the value may be newer than it, never older.
                let version = published.version();
                reader.refresh();
                assert!(reader.iter().all(|part| *part == reader[0]), "{:?}", *reader);
                assert!(reader[0] >= last, "a snapshot went back");
                assert!(reader[0] >= version, "the value of a version comes before it");
                last = reader[0];
                thread::yield_now();
            }
        }));
    }
    let writer = Arc::clone(&published);
    parts.push(Box::new(move || {
        for number in 1..=ROUNDS {
            writer.publish(Arc::new([number; 4]));
        }
    }));
    together(parts);
    assert_eq!(published.version(), ROUNDS);
}

#[test]
fn no_ring_of_a_doorbell_is_lost() {
    let bell = Arc::new(Doorbell::default());
    let listened = Published::heard_by(listeners([&bell]), 0_u64);
    let request = Request::to(Arc::clone(&bell));
    let asked = AtomicU64::new(0);
    let mut parts: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for _ in 0..THREADS {
        parts.push(Box::new(|| {
            for _ in 0..ROUNDS {
                listened.replace(|value| Some(Arc::new(value + 1)));
                asked.fetch_add(1, Ordering::Relaxed);
                request.ask();
            }
        }));
    }
    parts.push(Box::new(|| {
        let most = u64::from(THREADS) * ROUNDS;
        let mut taken = 0;
        // Whoever sleeps is woken by what comes last, at the latest.
        while *listened.load() < most || asked.load(Ordering::Relaxed) < most {
            assert!(bell.wait(Some(clock::now() + PATIENCE)), "nobody sleeps on");
            taken += u64::from(request.take());
        }
        taken += u64::from(request.take());
        assert!((1..=most).contains(&taken), "{taken}");
    }));
    together(parts);
}

#[test]
fn the_inbox_hands_on_each_sample_once_and_in_order_or_counts_it() {
    let inbox = SampleInbox::new(Arc::default());
    let handed_in = u64::from(THREADS) * ROUNDS;
    let (now, service) = (clock::now(), ServiceId::fresh());
    let mut parts: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for thread in 0..THREADS {
        let inbox = &inbox;
        parts.push(Box::new(move || {
            for number in 0..ROUNDS {
                inbox.push(Sample {
                    candidate: Candidate {
                        service,
                        addr: addr(thread),
                    },
                    outcome: Outcome::Success(Duration::from_nanos(number)),
                    heard: tcp_forwarder::scorer::Heard::NotAsked,
                    source: Source::Dial,
                    began_at: now,
                    at: now,
                });
            }
        }));
    }
    parts.push(Box::new(|| {
        let mut next = HashMap::new();
        let mut batch = Vec::new();
        let mut taken = 0;
        while taken + inbox.dropped() < handed_in {
            inbox.take(&mut batch);
            taken += batch.len() as u64;
            for report in &batch {
                let Report::Sample(sample) = report else { continue };
                let Outcome::Success(number) = sample.outcome else {
                    continue;
                };
                let next = next.entry(sample.candidate.addr).or_insert(Duration::ZERO);
                assert!(number >= *next, "out of order, or twice");
                *next = number + Duration::from_nanos(1);
            }
        }
        assert_eq!(taken + inbox.dropped(), handed_in);
    }));
    together(parts);
}

#[test]
fn live_counts_of_a_backend_come_back_to_nothing() {
    let backend = Backend::new(addr(1), clock::now(), 1);
    let peak = AtomicU64::new(0);
    let mut parts: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for _ in 0..THREADS {
        parts.push(Box::new(|| {
            for _ in 0..ROUNDS {
                backend.join();
                assert!((1..=u32::from(THREADS)).contains(&backend.live()));
                backend.leave();
            }
        }));
    }
    parts.push(Box::new(|| {
        for _ in 0..ROUNDS {
            peak.fetch_max(backend.take_peak().into(), Ordering::Relaxed);
        }
    }));
    together(parts);
    assert_eq!(backend.live(), 0);
    let peak = peak.load(Ordering::Relaxed).max(backend.take_peak().into());
    assert!((1..=u64::from(THREADS)).contains(&peak), "{peak}");
}

#[test]
fn counters_only_grow_under_the_eyes_of_a_reader() {
    let counters = Traffic::default();
    let is_over = AtomicBool::new(false);
    let writer: Box<dyn FnOnce() + Send + '_> = Box::new(|| {
        for _ in 0..ROUNDS {
            counters.accepted.add(1);
            counters.bytes_to_client.add(1000);
            counters.count_close(CloseReason::ALL[0]);
            counters.durations.observe(Duration::from_micros(3));
        }
        is_over.store(true, Ordering::Release);
    });
    let reader: Box<dyn FnOnce() + Send + '_> = Box::new(|| {
        let mut last = [0; 3];
        let mut goes_on = true;
        while goes_on {
            goes_on = !is_over.load(Ordering::Acquire);
            let bytes = counters.bytes_to_client.value();
            let now = [counters.accepted.value(), bytes, counters.durations.totals().0];
            assert!(bytes % 1000 == 0);
            assert!(
                last.iter().zip(&now).all(|(last, now)| last <= now),
                "{last:?} {now:?}"
            );
            last = now;
        }
        assert_eq!(last, [ROUNDS, 1000 * ROUNDS, ROUNDS]);
    });
    together(vec![writer, reader]);
}

#[test]
fn round_robin_is_exact_over_all_threads_while_the_set_is_published_anew() {
    let now = clock::now();
    let backends: Vec<_> = (1..=3)
        .map(|port| Arc::new(Backend::new(addr(port), now, 1)))
        .collect();
    let set = || ActiveSet::new(backends.clone(), Footing::Good);
    let active = Arc::new(Published::new(set()));
    let balancer = LoadBalancer::new(Algorithm::RoundRobin, Arc::default());
    let mut parts: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for seed in 0..THREADS {
        let (balancer, mut reader) = (balancer.clone(), Reader::new(Arc::clone(&active)));
        parts.push(Box::new(move || {
            let mut rng = fastrand::Rng::with_seed(seed.into());
            let seeker = Seeker {
                client: addr(1),
                failed: &[],
                tries: 3,
                reactor: 0,
            };
            for _ in 0..3 * ROUNDS {
                reader.refresh();
                let chosen = balancer.choose(&reader, &seeker, &mut rng, now).unwrap();
                reader.backends[chosen].join();
            }
        }));
    }
    parts.push(Box::new(|| {
        for _ in 0..ROUNDS {
            active.publish(Arc::new(set()));
        }
    }));
    together(parts);
    let live: Vec<_> = backends.iter().map(|backend| u64::from(backend.live())).collect();
    assert_eq!(live, [u64::from(THREADS) * ROUNDS; 3]);
}

#[test]
fn a_score_board_is_read_while_it_is_written() {
    let board = RwLock::new(ScoreBoard::bounded(Scoring::default(), 16));
    let probes = ProbeStats::default();
    let (now, service) = (clock::now(), ServiceId::fresh());
    let mut parts: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
    for _ in 0..THREADS {
        parts.push(Box::new(|| {
            for _ in 0..ROUNDS {
                let board = board.read().unwrap();
                assert!(board.len() <= 16);
                assert!(board.rated().all(|rated| rated.score.is_finite()));
                drop(board);
                assert!(
                    probes
                        .read()
                        .iter()
                        .all(|probe| probe.successes >= probe.durations.count)
                );
            }
        }));
    }
    parts.push(Box::new(|| {
        for number in 0..ROUNDS {
            let addr = addr(u16::try_from(number % 40).unwrap());
            let latency = Duration::from_millis(number % 90);
            board.write().unwrap().record(&Sample {
                candidate: Candidate { service, addr },
                outcome: Outcome::Success(latency),
                heard: tcp_forwarder::scorer::Heard::NotAsked,
                source: Source::Probe,
                began_at: now,
                at: now + latency,
            });
            probes.record(addr, Some(latency));
        }
    }));
    together(parts);
}

//! The scorer's batches: what they write, count and report.

use super::*;
use crate::backend::Backend;
use crate::base::clock;
use crate::base::published::Published;
use crate::config::Scoring;
use std::sync::atomic::AtomicUsize;

struct Bench {
    scorer: Scorer,
    active: Arc<Published<ActiveSet>>,
    candidates: Arc<Published<CandidateSet>>,
    reports: Arc<AtomicUsize>,
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn list(ports: impl Iterator<Item = u16>) -> CandidateSet {
    let lines: Vec<_> = ports.map(|port| addr(port).to_string()).collect();
    CandidateSet::parse(&lines.join("\n"), 80).expect("a list")
}

fn set(ports: &[u16]) -> Arc<ActiveSet> {
    let backend = |port: &u16| Arc::new(Backend::new(addr(*port), clock::now(), 1));
    Arc::new(ActiveSet {
        backends: ports.iter().map(backend).collect(),
    })
}

fn sample(port: u16, source: Source, outcome: Outcome) -> Sample {
    Sample {
        addr: addr(port),
        outcome,
        source,
        began_at: clock::now(),
        at: clock::now(),
    }
}

const OK: Outcome = Outcome::Success(Duration::from_millis(5));

fn bench(bound: usize) -> Bench {
    let active = Arc::new(Published::new(ActiveSet::default()));
    let candidates = Arc::new(Published::new(list(1..=100)));
    let reports = Arc::new(AtomicUsize::new(0));
    let on_news = {
        let reports = Arc::clone(&reports);
        move || {
            reports.fetch_add(1, Ordering::Relaxed);
        }
    };
    let scorer = Scorer {
        inbox: Arc::new(SampleInbox::default()),
        board: Arc::new(RwLock::new(ScoreBoard::bounded(Scoring::default(), bound))),
        counters: Arc::new(ControlCounters::default()),
        probes: Arc::new(ProbeStats::default()),
        active: Reader::new(Arc::clone(&active)),
        candidates: Reader::new(Arc::clone(&candidates)),
        failing: FailingDials::new(3),
        link: LinkDuty::new(
            LinkWatch::new(Duration::from_secs(1)),
            Arc::new(Published::new(LinkView::unknown(clock::now()))),
            Box::new(|_| ()),
        ),
        on_news: Box::new(on_news),
    };
    Bench {
        scorer,
        active,
        candidates,
        reports,
    }
}

impl Bench {
    fn knows(&self, port: u16) -> bool {
        self.scorer
            .board
            .read()
            .expect("not poisoned")
            .score(&addr(port))
            .is_some()
    }

    /// Applies one batch and tells how many reports it made.
    fn reports_of(&mut self, batch: &[Sample]) -> usize {
        self.scorer.apply(batch);
        self.reports.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn probes_are_counted_and_dials_are_not() {
    let mut bench = bench(100);
    bench.scorer.apply(&[
        sample(1, Source::Probe, OK),
        sample(1, Source::Probe, Outcome::Failure),
        sample(2, Source::Dial, OK),
    ]);
    assert_eq!(bench.scorer.counters.probes_ok.load(Ordering::Relaxed), 1);
    assert_eq!(bench.scorer.counters.probes_failed.load(Ordering::Relaxed), 1);
    let shown = bench.scorer.probes.read();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].addr, shown[0].successes), (addr(1), 1));
    assert!(bench.knows(2), "a dial counts for the score");
}

#[test]
fn an_active_backend_that_fails_its_dials_in_a_row_is_reported_with_every_further_failure() {
    let mut bench = bench(100);
    bench.active.publish(set(&[1]));
    let fail = |port| sample(port, Source::Dial, Outcome::Failure);
    assert_eq!(bench.reports_of(&[fail(1), fail(1)]), 0);
    assert_eq!(
        bench.reports_of(&[sample(1, Source::Dial, OK), fail(1), fail(1)]),
        0
    );
    assert_eq!(
        bench.reports_of(&[sample(1, Source::Probe, OK), fail(1), fail(1)]),
        1,
        "coalesced"
    );
    assert_eq!(bench.reports_of(&[fail(1)]), 1);
    assert_eq!(bench.reports_of(&[fail(2), fail(2), fail(2)]), 0, "not active");
    assert_eq!(bench.reports_of(&[]), 0);
    bench.active.publish(set(&[2]));
    bench.reports_of(&[]);
    bench.active.publish(set(&[1, 2]));
    assert_eq!(
        bench.reports_of(&[fail(1)]),
        0,
        "a run ends when the backend leaves"
    );
}

#[test]
fn who_is_active_stays_on_the_board_and_who_is_off_the_list_leaves_it() {
    let mut bench = bench(5);
    bench.active.publish(set(&[1, 2]));
    let flood: Vec<_> = (1..=100).map(|port| sample(port, Source::Probe, OK)).collect();
    bench.scorer.apply(&flood);
    assert!(bench.knows(1) && bench.knows(2) && bench.knows(100) && !bench.knows(50));
    bench.candidates.publish(Arc::new(list(2..=99)));
    bench.active.publish(set(&[2]));
    bench.scorer.apply(&[]);
    assert!(!bench.knows(1) && bench.knows(2) && bench.knows(99) && !bench.knows(100));
}

#[test]
fn the_thread_applies_what_comes_and_ends_at_a_stop() {
    let bench = bench(5);
    let (inbox, board) = (Arc::clone(&bench.scorer.inbox), Arc::clone(&bench.scorer.board));
    let shutdown = Arc::new(Shutdown::default());
    let thread = {
        let shutdown = Arc::clone(&shutdown);
        std::thread::spawn(move || bench.scorer.run(&shutdown))
    };
    inbox.push(sample(7, Source::Probe, OK));
    let deadline = clock::now() + Duration::from_secs(10);
    while board.read().expect("not poisoned").is_empty() {
        assert!(clock::now() < deadline, "no sample within ten seconds");
        std::thread::yield_now();
    }
    shutdown.begin();
    inbox.wake();
    thread.join().expect("the thread does not panic");
}

#[test]
fn an_answer_ends_the_wait_of_a_fallback() {
    let mut bench = bench(10);
    bench.scorer.apply(&[sample(1, Source::Probe, OK)]);
    assert_eq!(bench.reports.load(Ordering::Relaxed), 0, "nothing is wrong");
    bench.scorer.counters.fallback.store(1, Ordering::Relaxed);
    bench.scorer.apply(&[sample(1, Source::Probe, Outcome::Failure)]);
    assert_eq!(bench.reports.load(Ordering::Relaxed), 0, "a failure helps nobody");
    bench.scorer.apply(&[sample(2, Source::Probe, OK)]);
    assert_eq!(bench.reports.load(Ordering::Relaxed), 1);
}

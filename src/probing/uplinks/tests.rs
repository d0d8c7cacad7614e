use proptest::prelude::*;

use super::*;
use crate::base::clock;

struct Bench {
    uplinks: Uplinks,
    now: Instant,
    wall: SystemTime,
}

const LANDMARKS: Landmarks = [
    Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443)),
    None,
];

fn from(last: u8) -> Sources {
    Sources::of([IpAddr::from([10, 0, 0, last])].into_iter())
}

fn v6(prefix: u16, rest: u16) -> Sources {
    Sources::of([IpAddr::from([0x2001, 0xdb8, 0, prefix, 0, 0, 0, rest])].into_iter())
}

impl Bench {
    fn new() -> Self {
        Self {
            uplinks: Uplinks::default(),
            now: clock::now(),
            wall: clock::wall(),
        }
    }

    /// A look as soon as it is due.
    fn look(&mut self, seen: Sources) -> Option<(Change, Uplink)> {
        self.now += LOOK_INTERVAL;
        self.wall += LOOK_INTERVAL;
        assert!(self.uplinks.is_due(self.now));
        let seen = self.uplinks.look(LANDMARKS, seen, (self.now, self.wall));
        assert!(!self.uplinks.is_due(self.now));
        seen
    }

    /// What changes, and which way is in use then.
    fn change(&mut self, seen: Sources) -> Option<(Change, UplinkId)> {
        self.look(seen).map(|(change, uplink)| (change, uplink.id))
    }
}

#[test]
fn another_source_is_another_way_and_the_first_one_comes_back() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.change(from(1)),
        None,
        "the first one has no other before it"
    );
    assert_eq!(bench.change(from(1)), None);
    assert_eq!(bench.change(from(2)), Some((Change::New, 1)));
    assert_eq!(bench.change(Sources::default()), None, "no route is no other way");
    assert_eq!(bench.change(from(2)), None);
    let (change, uplink) = bench.look(from(1)).expect("a change");
    assert_eq!((change, uplink.id, uplink.sweeps), (Change::Back, 0, 2));
    assert_eq!((uplink.known, uplink.since), (vec![1, 0], bench.now));
}

#[test]
fn four_are_remembered() {
    let mut bench = Bench::new();
    for last in 1..=5 {
        bench.look(from(last));
    }
    let (_, uplink) = bench.look(from(2)).expect("a change");
    assert_eq!((uplink.id, uplink.known), (1, vec![2, 3, 4, 1]));
    assert_eq!(
        bench.change(from(1)),
        Some((Change::New, 5)),
        "the first was forgotten"
    );
}

#[test]
fn addresses_of_ipv6_that_change_by_themselves_are_no_change() {
    let mut bench = Bench::new();
    assert_eq!(bench.change(v6(1, 1)), None);
    assert_eq!(bench.change(v6(1, 2)), None);
    assert_eq!(bench.change(v6(2, 2)), Some((Change::New, 1)));
}

#[test]
fn families_that_come_and_go_are_no_change() {
    let mut bench = Bench::new();
    let both = Sources {
        v6: v6(1, 1).v6,
        ..from(1)
    };
    for seen in [from(1), both, v6(1, 1), both, from(1), v6(1, 7)] {
        assert_eq!(bench.change(seen), None, "{seen:?}");
    }
    assert_eq!(bench.change(v6(2, 1)), Some((Change::New, 1)));
    assert_eq!(bench.change(both), Some((Change::Back, 0)));
}

#[test]
fn other_candidates_are_no_other_way() {
    let mut bench = Bench::new();
    bench.change(from(1));
    let others = [Some(SocketAddr::from(([198, 51, 100, 1], 80))), None];
    let clocks = (bench.now, bench.wall);
    assert_eq!(bench.uplinks.look(others, from(2), clocks), None);
    assert_eq!(bench.uplinks.look(others, from(2), clocks), None);
    assert!(bench.uplinks.look(others, from(3), clocks).is_some());
}

#[test]
fn a_sleep_is_a_sweep_and_a_clock_that_steps_back_is_nothing() {
    let mut bench = Bench::new();
    bench.change(from(1));
    bench.wall += SLEEP;
    assert_eq!(bench.change(from(1)), Some((Change::Slept, 0)));
    assert_eq!(bench.change(from(1)), None);
    bench.wall -= Duration::from_secs(3600);
    assert_eq!(bench.change(from(1)), None);
    bench.wall += SLEEP;
    assert_eq!(
        bench.change(from(2)),
        Some((Change::New, 1)),
        "it woke up elsewhere"
    );
    bench.now += Duration::from_secs(3600);
    bench.wall += Duration::from_secs(3600);
    assert_eq!(bench.change(from(2)), None, "rest is no sleep");
}

#[test]
fn without_candidates_beyond_this_machine_nothing_changes() {
    let mut bench = Bench::new();
    for last in 0..9 {
        bench.wall += SLEEP * 2;
        let clocks = (bench.now, bench.wall);
        assert_eq!(bench.uplinks.look(Landmarks::default(), from(last), clocks), None);
    }
    for addr in [
        "127.0.0.1:80",
        "127.9.9.9:80",
        "[::1]:80",
        "169.254.1.1:80",
        "[fe80::1]:80",
    ] {
        assert!(!is_landmark(&addr.parse().expect("an address")), "{addr}");
    }
    for addr in ["10.0.0.1:80", "192.0.2.1:80", "[2001:db8::1]:80"] {
        assert!(is_landmark(&addr.parse().expect("an address")), "{addr}");
    }
}

proptest! {
    #[test]
    fn whatever_is_seen_the_present_way_is_known_and_few_are(seen in prop::collection::vec((0_u8..8, 0_u16..4), 0..60)) {
        let mut bench = Bench::new();
        let mut sweeps = 0;
        for (v4, prefix) in seen {
            let sources = Sources {
                v4: from(v4).v4.filter(|_| v4 > 0),
                v6: v6(prefix, 1).v6.filter(|_| prefix > 0),
            };
            if let Some((_, uplink)) = bench.look(sources) {
                prop_assert!(uplink.known.len() <= MAX_UPLINKS);
                prop_assert_eq!(uplink.known.last(), Some(&uplink.id));
                let mut ids = uplink.known.clone();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), uplink.known.len());
                sweeps += 1;
                prop_assert_eq!(uplink.sweeps, sweeps);
                prop_assert_eq!(bench.look(sources), None, "once");
            }
        }
    }
}

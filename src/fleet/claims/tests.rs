//! Fleets of tables around one written page, in any order of exchanges.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::admission::Seat;
use crate::base::clock;
use crate::config::Server;
use crate::fleet::message::{self, MOST_ROWS, MOST_SAMPLES, Outset, Row, Word};
use crate::fleet::nodes::MOST_NODES;
use crate::fleet::resp::{MOST_BYTES, command};
use crate::scorer::sample::{Heard, Outcome};

const GREEDY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

struct Process {
    admission: Admission,
    claims: Claims,
    /// What it has read of others.
    others: HashMap<u64, u32>,
    seats: Vec<Seat>,
}

/// Processes, and what is written of each.
struct World {
    processes: Vec<Process>,
    page: Vec<Vec<(u64, Portion)>>,
    bell: Arc<Doorbell>,
    now: Instant,
}

impl World {
    fn new(count: usize, server: &Server) -> Self {
        let now = clock::now();
        let process = |_| Process {
            admission: Admission::of(server).expect("a limit"),
            claims: Claims::default(),
            others: HashMap::new(),
            seats: Vec::new(),
        };
        let mut world = Self {
            processes: (0..count).map(process).collect(),
            page: vec![Vec::new(); count],
            bell: Arc::default(),
            now,
        };
        (0..count).for_each(|at| world.exchange(at));
        world
    }

    /// Says what a process claims; nobody has read it yet.
    fn write(&mut self, at: usize) {
        let count = self.processes.len();
        let one = &mut self.processes[at];
        let limited: Vec<_> = Limited::of("web", Some(&one.admission)).into_iter().collect();
        self.page[at] = one
            .claims
            .say(&limited, (&one.others, count), &self.bell, self.now);
    }

    fn read(&mut self, at: usize) {
        let mut others = HashMap::new();
        for (writer, claims) in self.page.iter().enumerate() {
            for (key, share) in claims.iter().filter(|_| writer != at) {
                *others.entry(*key).or_insert(0) += u32::from(share.parts());
            }
        }
        let one = &mut self.processes[at];
        let limited: Vec<_> = Limited::of("web", Some(&one.admission)).into_iter().collect();
        one.claims.use_what_is_left(&limited, &others, self.now);
        one.others = others;
    }

    fn exchange(&mut self, at: usize) {
        self.write(at);
        self.read(at);
    }

    /// A client connects as often as it is let in, up to `most` times; how often that was.
    fn connect(&mut self, at: usize, ip: IpAddr, most: usize) -> usize {
        let one = &mut self.processes[at];
        let admitted =
            (0..most).map_while(|_| one.admission.admit(ip, self.now).ok().flatten().map(|seat| *seat));
        let before = one.seats.len();
        one.seats.extend(admitted);
        one.seats.len() - before
    }

    fn open(&self) -> usize {
        self.processes.iter().map(|one| one.seats.len()).sum()
    }
}

fn connections(most: usize) -> Server {
    Server {
        max_connections_per_ip: most,
        ..Server::default()
    }
}

/// Whatever the order in which ten write and read, and however they are cut off between the two, a greedy client gets no more than a
/// fifth above the limit; and once there has been time, about the limit.
#[test]
fn a_greedy_client_gets_the_limit_over_all_and_no_more_than_a_fifth_above() {
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(10, &connections(100));
        for turn in 0..600 {
            let at = rng.usize(0..10);
            match rng.u8(0..8) {
                0..=3 => drop(world.connect(at, GREEDY, rng.usize(1..60))),
                4 => world.write(at),
                5 => {
                    // Two write before either reads.
                    let other = rng.usize(0..10);
                    world.write(at);
                    world.write(other);
                    world.read(at);
                    world.read(other);
                }
                6 if turn < 400 => {
                    let left = rng.usize(0..=world.processes[at].seats.len());
                    world.processes[at].seats.truncate(left);
                }
                _ => world.exchange(at),
            }
            assert!(world.open() <= 120, "seed {seed}, turn {turn}: {}", world.open());
        }
        assert!(world.open() >= 90, "seed {seed}: {}", world.open());
    }
}

#[test]
fn a_client_of_one_process_has_soon_its_whole_limit() {
    let mut world = World::new(10, &connections(100));
    let mut rounds = Vec::new();
    for _ in 0..5 {
        rounds.push(world.connect(3, GREEDY, 200));
        let is_all = world.open() == 100;
        assert!(world.bell.answer() != is_all, "others are to be told: {rounds:?}");
        world.exchange(3);
    }
    assert_eq!(world.open(), 100, "{rounds:?}");
    assert!(rounds[0] + rounds[1] >= 50, "{rounds:?}");
    // Elsewhere it has what is left unclaimed, and others have theirs.
    assert_eq!(world.connect(4, GREEDY, 200), 2);
    assert_eq!(world.connect(4, Ipv4Addr::new(192, 0, 2, 2).into(), 2), 2);
    // What it gives back there is free here.
    world.processes[3].seats.truncate(5);
    for _ in 0..8 {
        world.exchange(3);
        world.exchange(4);
        world.connect(4, GREEDY, 200);
    }
    assert!(
        world.processes[4].seats.len() >= 85,
        "{}",
        world.processes[4].seats.len()
    );
    assert!(world.open() <= 120);
}

/// Five seconds of connects as fast as can be, with an exchange each second.
#[test]
fn a_rate_holds_over_all() {
    let server = Server {
        connection_rate_per_ip: 20.0,
        connection_burst_per_ip: 40,
        ..Server::default()
    };
    for (count, hosts) in [(10, 10), (10, 1), (3, 3)] {
        let mut world = World::new(count, &server);
        let mut admitted = 0;
        for millis in 0..10_000_u64 {
            world.now += Duration::from_millis(1);
            for at in 0..hosts {
                admitted += world.connect(at, GREEDY, 3);
                world.processes[at].seats.clear();
            }
            if millis % 100 == 0 {
                world.exchange(usize::try_from(millis / 100).expect("small") % count);
            }
        }
        // A burst, and ten seconds.
        println!("{hosts} of {count}: {admitted}");
        assert!(admitted <= 288, "{hosts} of {count}: {admitted}");
        assert!(admitted >= 150, "{hosts} of {count}: {admitted}");
    }
}

#[test]
fn who_is_alone_counts_by_itself() {
    let mut world = World::new(1, &connections(100));
    assert_eq!(world.connect(0, GREEDY, 200), 100);
    assert!(world.page[0].is_empty() && !world.bell.answer(), "nobody is told");
    let mut world = World::new(2, &connections(100));
    assert_eq!(world.connect(0, GREEDY, 200), 19);
    let one = &mut world.processes[0];
    let limited: Vec<_> = Limited::of("web", Some(&one.admission)).into_iter().collect();
    one.claims.alone(&limited, &world.bell);
    assert_eq!(world.connect(0, GREEDY, 200), 81, "up to the limit");
}

/// More clients than can be told of: those beyond have their limits here, and nobody is refused what it has.
#[test]
fn nobody_is_refused_because_too_many_are_near_their_limits() {
    let mut world = World::new(10, &connections(10));
    let client = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
    let mut got = 0;
    for number in 0..2_000 {
        got += world.connect(0, client(number), 10);
    }
    assert!(got >= 2_000, "each at least one");
    world.write(0);
    let told = world.page[0].len();
    assert!(
        (1..=crate::admission::MOST_TOLD).contains(&told),
        "{told} are told of"
    );
    assert_eq!(
        world.connect(0, client(5_000), 10),
        10,
        "no place is left to claim for it"
    );
}

/// All that a Redis answers at once, at its longest: whoever asks for more hears nothing.
#[test]
fn what_any_fleet_claims_is_heard_at_once() {
    let server = connections(2);
    for processes in [2, 10, 50, 100, MOST_NODES + 1] {
        let now = clock::now();
        let admission = Admission::of(&server).expect("a limit");
        let names = ["a", "b", "c", "d"];
        let limited: Vec<_> = names
            .iter()
            .filter_map(|name| Limited::of(name, Some(&admission)))
            .collect();
        let (mut claims, bell) = (Claims::default(), Arc::default());
        let none = HashMap::new();
        let mut seats = Vec::new();
        for _ in 0..2 {
            drop(claims.say(&limited, (&none, processes), &bell, now));
            for number in 0..4_000 {
                let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
                seats.extend(admission.admit(client, now).ok().flatten());
            }
        }
        let said = claims.say(&limited, (&none, processes), &bell, now);
        assert!(said.len() >= 16, "{} of {processes}", said.len());
        let total = longest_answers(processes, &message::write_claims(u64::MAX, &said));
        println!(
            "{processes} nodes: {} claims each, {total} bytes of answers",
            said.len()
        );
        assert!(total <= MOST_BYTES, "{total} bytes of {processes}");
    }
}

/// Bytes of all answers to one batch, where so many claim that, say all that they may of IPv6 candidates, and all that is known of
/// services is asked for. Lists are written as commands are.
fn longest_answers(processes: usize, claims: &[u8]) -> usize {
    let addr = "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
        .parse()
        .expect("an address");
    let word = Word {
        service: u32::MAX,
        addr,
        outcome: Outcome::Success(Duration::from_secs(1)),
        heard: Heard::Answer(Duration::from_secs(1)),
        age: Duration::ZERO,
    };
    let row = Row {
        addr,
        age: Duration::ZERO,
        connect: Duration::from_secs(1),
        first_byte: Some(Duration::from_secs(1)),
    };
    let outset = Outset {
        sent_ms: 0,
        members: 1,
        rows: vec![row; MOST_ROWS],
    };
    let id = b"0123456789abcdef".as_slice();
    let mut out = Vec::new();
    command(&mut out, &[id, claims].repeat(processes));
    command(&mut out, &[id, b"1770000000000"].repeat(MOST_NODES + 1));
    command(
        &mut out,
        &[message::write_outset(1, &outset).as_slice()].repeat(16),
    );
    for _ in 0..96 {
        out.extend_from_slice(b"*2\r\n");
        command(
            &mut out,
            &[b"d", &message::write_samples(1, &[word; MOST_SAMPLES])],
        );
        command(&mut out, &[b"1770000000000-10"]);
    }
    // And what tells that it was heard: the clock, numbers, the ids of what was said.
    out.len() + 1_000
}

/// What is given back is told of no more.
#[test]
fn who_has_left_is_forgotten() {
    let mut world = World::new(3, &connections(100));
    assert_eq!(world.connect(0, GREEDY, 200), 9);
    world.exchange(0);
    assert_eq!(world.page[0].len(), 1);
    world.processes[0].seats.clear();
    world.exchange(0);
    assert!(world.page[0].is_empty());
    assert_eq!(world.connect(0, GREEDY, 3), 3);
    assert!(world.connect(0, GREEDY, 200) <= 6, "it begins anew");
}

/// Between two exchanges it leaves wholly and comes again: others are told at once, as of anybody.
#[test]
fn who_comes_again_is_told_of_at_once() {
    let mut world = World::new(3, &connections(100));
    assert_eq!(world.connect(0, GREEDY, 200), 9);
    world.exchange(0);
    assert!(world.bell.answer());
    world.processes[0].seats.clear();
    assert_eq!(world.connect(0, GREEDY, 200), 9, "it begins anew");
    assert!(world.bell.answer(), "it is told of");
    world.exchange(0);
    assert_eq!(world.page[0].len(), 1, "once");
    assert!(world.connect(0, GREEDY, 200) >= 40);
}

/// Who has all that can be had does not make others be told by being refused.
#[test]
fn who_can_be_given_no_more_makes_no_news() {
    let mut world = World::new(3, &connections(100));
    for at in [0, 1, 0, 1, 0, 1, 0, 1, 0, 1] {
        world.connect(at, GREEDY, 200);
        world.exchange(at);
    }
    for at in [0, 1] {
        world.connect(at, GREEDY, 200);
        world.exchange(at);
    }
    assert!(world.open() >= 90, "{}", world.open());
    world.bell.answer();
    let mut news = 0;
    for _ in 0..20 {
        for at in [0, 1] {
            world.connect(at, GREEDY, 200);
            if world.bell.answer() {
                news += 1;
                world.exchange(at);
            }
        }
    }
    assert!(news <= 2, "{news} exchanges that gave nothing");
    // What the other gives back is there with the next exchange, and from then on more is asked for.
    world.processes[1].seats.clear();
    world.exchange(1);
    for _ in 0..2 {
        world.exchange(0);
    }
    assert!(world.connect(0, GREEDY, 200) > 0);
    assert!(world.bell.answer(), "there is more to be had");
}

#[test]
fn limits_are_to_be_divided_as_soon_as_others_are_known() {
    let now = clock::now();
    let admission = Admission::of(&connections(100)).expect("a limit");
    let limited: Vec<_> = Limited::of("web", Some(&admission)).into_iter().collect();
    let (mut claims, bell) = (Claims::default(), Arc::default());
    assert!(claims.are_due(&limited, 2));
    assert!(!claims.are_due(&limited, 1), "nobody else is there");
    assert!(!claims.are_due(&[], 2), "nobody has a limit");
    drop(claims.say(&limited, (&HashMap::new(), 2), &bell, now));
    assert!(!claims.are_due(&limited, 2), "they are");
    assert!(claims.are_due(&limited, 3), "among fewer");
    claims.divide(&limited, 3, &bell);
    assert!(!claims.are_due(&limited, 3));
    let client = |_: &usize| admission.admit(GREEDY, now).ok().flatten();
    let seats: Vec<_> = (0..100).map_while(|number| client(&number)).collect();
    assert_eq!(seats.len(), 9, "a fifth, of two others");
    claims.alone(&limited, &bell);
    assert!(claims.are_due(&limited, 2));
}

//! Somebody who may write into the Redis, and writes what no forwarder does.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tcp_forwarder::admission::Portion;
use tcp_forwarder::base::clock;
use tcp_forwarder::base::hash::{fnv1a, mix};
use tcp_forwarder::fleet::message::{self, Hello, Notice, Outset, Row, Word};
use tcp_forwarder::fleet::resp::Value;
use tcp_forwarder::scorer::sample::{Heard, Outcome};

use crate::clients::{Clients, end_all};
use crate::gate::{Gate, Way};
use crate::redis::{Redis, Talk};
use crate::server::free_addr;
use crate::support::{Forwarder, comes_true, echo_on, pause, wait_for};
use crate::{AGAIN, ALONE, NONSENSE, heard, is_long, members, of_fleet, one_more, probes, refused};

const NODES: &str = "tcp-forwarder:default:nodes";

fn key_of(id: u64) -> String {
    format!("tcp-forwarder:default:node:{id:016x}")
}

/// Three candidates that answer, and one that refuses.
fn list() -> (Vec<SocketAddr>, SocketAddr, String) {
    let good: Vec<SocketAddr> = (1..=3)
        .map(|last| echo_on(Ipv4Addr::new(127, 0, 8, last)))
        .collect();
    let dead = free_addr(7);
    let lines: Vec<String> = good.iter().chain([&dead]).map(ToString::to_string).collect();
    (good, dead, lines.join("\n"))
}

struct Poisoner {
    talk: Talk,
    stream: String,
    /// Those that live, and what one of them is.
    ids: Vec<u64>,
    hello: Hello,
}

impl Poisoner {
    /// One that has looked at a fleet of so many.
    fn among(redis: &Redis, nodes: usize) -> Self {
        let mut talk = redis.talk();
        wait_for("those who live", || {
            talk.texts(&["ZRANGE", NODES, "0", "-1"]).len() == nodes
        });
        wait_for("what they see", || {
            talk.texts(&["KEYS", "tcp-forwarder:default:samples:*"]).len() == 1
        });
        let ids: Vec<u64> = talk
            .texts(&["ZRANGE", NODES, "0", "-1"])
            .iter()
            .map(|id| u64::from_str_radix(&id[..16], 16).unwrap())
            .collect();
        let value = talk.ask(&["GET", &key_of(ids[0])]);
        Self {
            hello: message::read_hello(value.bytes().unwrap()).unwrap(),
            stream: talk.texts(&["KEYS", "tcp-forwarder:default:samples:*"]).remove(0),
            ids,
            talk,
        }
    }

    fn now_ms(&mut self) -> u64 {
        let parts = self.talk.texts(&["TIME"]);
        let (seconds, micros): (u64, u64) = (parts[0].parse().unwrap(), parts[1].parse().unwrap());
        seconds * 1000 + micros / 1000
    }

    /// Pretends that a node of this number lives, and is what the others are.
    fn haunt(&mut self, id: u64) {
        let hello = Hello {
            name: format!("ghost-{id}"),
            ..self.hello.clone()
        };
        self.haunt_as(id, &message::write_hello(&hello));
    }

    fn haunt_as(&mut self, id: u64, hello: &[u8]) {
        let now = self.now_ms().to_string();
        self.talk.ask(&["ZADD", NODES, &now, &format!("{id:016x}")]);
        let key = key_of(id);
        self.talk.ask(&["DEL", &key]);
        self.talk.tell(&[b"SET", key.as_bytes(), hello, b"PX", b"60000"]);
    }

    /// Whatever it is, as a message.
    fn say(&mut self, fields: &[&[u8]]) {
        let mut words: Vec<&[u8]> = vec![b"XADD", self.stream.as_bytes(), b"*"];
        words.extend(fields);
        let answer = self.talk.tell(&words);
        assert!(!matches!(answer, Value::Error(_)), "{answer:?}");
    }

    fn claim(&mut self, from: u64, words: &[Word]) {
        self.say(&[b"d", &message::write_samples(from, words)]);
    }

    fn word(&self, addr: SocketAddr, outcome: Outcome) -> Word {
        Word {
            service: self.hello.services[0],
            addr,
            outcome,
            heard: Heard::NotAsked,
            age: Duration::ZERO,
        }
    }

    /// The key of what those are told that begin.
    fn outset(&self) -> String {
        let service = self.hello.services[0].to_be_bytes();
        let text = self.hello.vantage.bytes().chain([0]).chain(service);
        format!("tcp-forwarder:default:set:{:016x}", fnv1a(text))
    }

    /// Claims all that the clients of the test may have.
    fn claim_all(&mut self, id: u64) {
        let client = mix(fnv1a(*b"default") ^ mix(u32::from(Ipv4Addr::LOCALHOST).into()));
        let bytes = message::write_claims(self.now_ms(), &[(client, Portion::WHOLE)]);
        let id = format!("{id:016x}");
        let hash = b"tcp-forwarder:default:claims";
        self.talk.tell(&[b"HSET", hash, id.as_bytes(), &bytes]);
    }

    /// Claims all that other clients may have, in the names of all, and says what no claim or notice is.
    fn grasp(&mut self, ids: &[u64], rng: &mut fastrand::Rng) {
        let now = self.now_ms();
        let claims: Vec<(u64, Portion)> = (0..512).map(|_| (rng.u64(..), Portion::WHOLE)).collect();
        let hash = b"tcp-forwarder:default:claims";
        for (number, id) in ids.iter().enumerate() {
            let sent_ms = [now, 0, u64::MAX][number % 3];
            let bytes = message::write_claims(sent_ms, &claims);
            let id = format!("{id:016x}");
            self.talk.tell(&[b"HSET", hash, id.as_bytes(), &bytes]);
        }
        for (field, value) in [
            (&b"zz"[..], &b"1"[..]),
            (b"000000000000dead", &[1; 400]),
            (b"", b""),
        ] {
            self.talk.tell(&[b"HSET", hash, field, value]);
        }
        for id in ids {
            for (is_down, is_changed) in [(true, true), (true, false), (false, true)] {
                let notice = Notice { is_down, is_changed };
                self.say(&[b"d", &message::write_notice(*id, notice)]);
            }
        }
        self.say(&[b"d", &[0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]]);
        self.say(&[b"d", &[0x41]]);
        let noise: Vec<u8> = (0..200).map(|_| rng.u8(..)).collect();
        let key = self.outset();
        self.talk.tell(&[b"SET", key.as_bytes(), &noise]);
    }

    /// Every absurdity once.
    fn rave(&mut self, good: &[SocketAddr], dead: SocketAddr, rng: &mut fastrand::Rng) {
        const GHOST: u64 = 0x6057;
        self.haunt(GHOST);
        let mut words: Vec<Word> = Vec::new();
        for addr in good {
            words.push(self.word(*addr, Outcome::Failure));
            words.push(self.word(*addr, Outcome::Success(Duration::from_secs(16))));
        }
        words.push(self.word(dead, Outcome::Success(Duration::from_micros(1))));
        words.push(self.word("192.0.2.1:80".parse().unwrap(), Outcome::Success(Duration::ZERO)));
        words.push(Word {
            service: self.hello.services[0] ^ 1,
            age: Duration::from_secs(3600),
            ..words[0]
        });
        let all: Vec<u64> = self.ids.iter().copied().chain([GHOST, 0xdead]).collect();
        for from in &all {
            self.claim(*from, &words);
        }
        self.grasp(&all, rng);
        let sound = message::write_samples(GHOST, &words);
        let (mut foreign, mut portless, mut long) = (sound.clone(), sound.clone(), sound.clone());
        foreign[0] = 77;
        // Behind the version and the node: what it is, the service, the address, its port.
        portless[18..20].fill(0);
        for _ in 0..20 {
            long.extend(&sound[9..]);
        }
        let noise: Vec<u8> = (0..300).map(|_| rng.u8(..)).collect();
        let (half, kind) = (&sound[..sound.len() - 3], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff]);
        for message in [&foreign[..], &portless, &long, &noise, half, &kind, b"", b"\x01"] {
            self.say(&[b"d", message]);
        }
        self.say(&[b"a", b"b", b"c", b"d"]);
        for score in ["nan", "-inf", "inf", "-1", "1e300", "0"] {
            let score = score.as_bytes();
            self.talk
                .tell(&[b"ZADD", NODES.as_bytes(), score, b"0000000000000bad"]);
        }
        let now = self.now_ms().to_string();
        for member in [&b""[..], b"zz", b"-000000000000001", &[0xff; 16], &[b'a'; 1000]] {
            self.talk
                .tell(&[b"ZADD", NODES.as_bytes(), now.as_bytes(), member]);
        }
        let mut hello = message::write_hello(&self.hello);
        self.haunt_as(0xb0, &hello[..hello.len() - 1]);
        self.haunt_as(0xb1, &[&hello[..], &[0; 4 * 65]].concat());
        hello[0] = 77;
        self.haunt_as(0xb2, &hello);
        self.haunt_as(0xb3, b"");
        self.haunt_as(0xb4, &[1, 255, b'x']);
        self.haunt_as(0xb5, &[1, 1, b'\n', 1, b' ']);
        self.haunt_as(0xb6, b"");
        self.talk.ask(&["DEL", &key_of(0xb6)]);
        self.talk.ask(&["LPUSH", &key_of(0xb6), "a list"]);
    }
}

/// A poisoner says that members fail, that who is dead is the best, and what is nothing at all, in everybody's name. Members stay, who is
/// dead does not become one, clients do not notice, and the log says once that there is one.
#[test]
fn a_poisoner_who_writes_absurd_values_changes_nothing() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let (good, dead, list) = list();
    let start = |node: &str| {
        let mut config = of_fleet(&redis.url(), node, "here");
        // Of which each client has some without a claim, however many ghosts there are.
        config["server"] = serde_json::json!({ "max_connections_per_ip": 10_000 });
        Forwarder::start(&config, &list)
    };
    let fleet = [start("a"), start("b")];
    let mut poisoner = Poisoner::among(&redis, 2);
    for one in &fleet {
        wait_for("a set", || members(one).len() == 2);
    }
    let before = fleet.each_ref().map(members);
    let memory = fleet.each_ref().map(Forwarder::resident_kb);
    let clients = fleet.each_ref().map(|one| Clients::of(one.addr()));
    let (begun, asked) = (clock::now(), fleet.each_ref().map(probes));
    let mut rng = fastrand::Rng::with_seed(5);
    let seconds = if is_long() { 60 } else { 4 };
    while clock::now() - begun < Duration::from_secs(seconds) {
        poisoner.rave(&good, dead, &mut rng);
        for one in &fleet {
            assert!(!members(one).contains(&dead.to_string()), "nobody is believed");
        }
        pause(Duration::from_millis(50));
    }
    let took = (clock::now() - begun).as_secs_f64();
    for (at, one) in fleet.iter().enumerate() {
        let log = one.log();
        let rate = (probes(one) - asked[at]) / took;
        println!(
            "{:.0} words refused, {:.0} heard, {rate:.1} probes a second",
            refused(one),
            heard(one)
        );
        assert!(refused(one) > 100.0);
        assert!(
            one.metric("cluster_up") > 0.5 && one.metric("cluster_failures_total") < 0.5,
            "{log}"
        );
        assert_eq!(members(one), before[at], "{log}");
        // Those of a round, each member once in an exchange, of which there are four a second at most, and a look at our own link.
        assert!(rate < 5.0 + 2.0 * 4.0 + 1.0, "{rate} probes a second");
        assert_eq!(log.matches(NONSENSE).count(), 1, "{log}");
        assert!(one.resident_kb() < memory[at] + 8 * 1024);
    }
    end_all(clients);
    drop(poisoner);
    for one in &fleet {
        wait_for("ghosts are gone", || {
            (one.metric("cluster_nodes") - 1.0).abs() < 0.1
        });
    }
    let mut talk = redis.talk();
    wait_for("nothing is left of them", || talk.count(&["ZCARD", NODES]) == 2);
}

/// Two hundred ghosts live, serve the same and say nothing: candidates that are theirs to ask are asked here, also by a forwarder that
/// starts among them.
#[test]
fn a_crowd_of_ghosts_keeps_nobody_from_asking_for_itself() {
    const GHOSTS: u64 = 200;
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let (good, dead, list) = list();
    let start = |node: &str| Forwarder::start(&of_fleet(&redis.url(), node, "here"), &list);
    let old = start("old");
    wait_for("a set", || members(&old).len() == 2);
    let mut poisoner = Poisoner::among(&redis, 1);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ends = &ends;
        scope.spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                (1..=GHOSTS).for_each(|id| poisoner.haunt(id));
                pause(Duration::from_millis(100));
            }
        });
        wait_for("they are believed", || old.metric("cluster_nodes") > 100.0);
        let most = old.metric("cluster_nodes");
        let probed = probes(&old);
        let goes_on = comes_true(Duration::from_secs(15), || probes(&old) > probed + 3.5);
        let new = start("new");
        let clients = Clients::of(new.addr());
        let is_served = comes_true(Duration::from_secs(15), || {
            let set = members(&new);
            set.len() == 2 && !set.contains(&dead.to_string()) && probes(&new) > 1.5
        });
        pause(Duration::from_secs(2));
        ends.store(true, Ordering::Relaxed);
        println!("{most} nodes at most");
        assert!(most <= 127.0, "{most}");
        assert!(goes_on, "members are asked: {} of {good:?}", probes(&old));
        assert!(
            is_served,
            "{:?} of {good:?}, {} probes",
            members(&new),
            probes(&new)
        );
        clients.end();
    });
}

/// A crowd of ghosts has nearly all members to ask, and says all the time that they are well, though one has died that no client uses. Each
/// forwarder looks for itself all the same, and is rid of it soon.
#[test]
fn ghosts_who_praise_a_dead_member_do_not_keep_it() {
    const GHOSTS: u64 = 130;
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    // Whoever listens answers connects, whether they are accepted or not.
    let mut peers: HashMap<SocketAddr, TcpListener> = (1..=4)
        .map(|last| TcpListener::bind((Ipv4Addr::new(127, 0, 8, last), 0)).unwrap())
        .map(|peer| (peer.local_addr().unwrap(), peer))
        .collect();
    let list: Vec<String> = peers.keys().map(ToString::to_string).collect();
    let mut config = of_fleet(&redis.url(), "a", "here");
    // No dial tells of it.
    config["pools"] = serde_json::json!({ "strategy": { "type": "off" } });
    config["remotes"]["selector"]["active_set_size"] = 3.into();
    // Ten rounds at most between two looks.
    config["remotes"]["probing"] = serde_json::json!({ "interval": "500ms", "probe_candidate_count": 100 });
    let one = Forwarder::start(&config, &list.join("\n"));
    wait_for("a set", || members(&one).len() == 3);
    let mut poisoner = Poisoner::among(&redis, 1);
    let (ends, praises) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (ends, praises, all) = (&ends, &praises, &list);
        scope.spawn(move || {
            let well = Outcome::Success(Duration::from_micros(300));
            while !ends.load(Ordering::Relaxed) {
                (1..=GHOSTS).for_each(|id| poisoner.haunt(id));
                for id in 1..=GHOSTS / 10 {
                    let words: Vec<Word> = all
                        .iter()
                        .map(|addr| poisoner.word(addr.parse().unwrap(), well))
                        .collect();
                    poisoner.claim(id, &words);
                }
                praises.fetch_add(1, Ordering::Relaxed);
                pause(Duration::from_millis(100));
            }
        });
        let is_believed = comes_true(Duration::from_secs(15), || one.metric("cluster_nodes") > 100.0);
        let heard_before = heard(&one);
        let is_heard = comes_true(Duration::from_secs(15), || heard(&one) > heard_before + 100.0);
        let dead: SocketAddr = members(&one).pop_first().unwrap().parse().unwrap();
        drop(peers.remove(&dead));
        let died = clock::now();
        let is_out = comes_true(Duration::from_secs(20), || {
            !members(&one).contains(&dead.to_string())
        });
        println!(
            "out after {:?}, of {} praises",
            clock::now() - died,
            praises.load(Ordering::Relaxed)
        );
        ends.store(true, Ordering::Relaxed);
        assert!(is_believed && is_heard, "{}", one.log());
        assert!(is_out, "{:?}, {}", members(&one), one.log());
    });
}

/// Hundreds of thousands of messages and nodes: what is new is heard soon, nobody's memory grows, and the Redis's shrinks again.
#[test]
fn a_flood_of_entries_is_passed_over() {
    const AT_ONCE: u32 = 100_000;
    let rounds = if is_long() { 30 } else { 1 };
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let (_, _, list) = list();
    let start = |node: &str| Forwarder::start(&of_fleet(&redis.url(), node, "here"), &list);
    let fleet = [start("a"), start("b")];
    let mut poisoner = Poisoner::among(&redis, 2);
    let memory = fleet.each_ref().map(Forwarder::resident_kb);
    let clients = fleet.each_ref().map(|one| Clients::of(one.addr()));
    let script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'd', 'nonsense')
        redis.call('ZADD', KEYS[2], ARGV[2], string.format('%016x', ARGV[3] * ARGV[1] + i))
        if i % 10 == 0 then redis.call('ZADD', KEYS[2], '+inf', string.format('%015xf', i)) end end";
    let stream = poisoner.stream.clone();
    let mut talk = redis.talk();
    for round in 0..rounds {
        let now = poisoner.now_ms().to_string();
        let (many, round) = (AT_ONCE.to_string(), round.to_string());
        talk.ask(&["EVAL", script, "2", &stream, NODES, &many, &now, &round]);
    }
    let least = fleet.each_ref().map(heard);
    let patience = if is_long() { 120 } else { 15 };
    let patience = Duration::from_secs(patience);
    for (one, least) in fleet.iter().zip(least) {
        let hears = comes_true(patience, || {
            heard(one) > least + 0.5 && one.metric("cluster_up") > 0.5
        });
        assert!(hears, "{} {}", heard(one), one.log());
    }
    for (one, memory) in fleet.iter().zip(memory) {
        println!("{} kB more", one.resident_kb().saturating_sub(memory));
        assert!(one.resident_kb() < memory + 8 * 1024);
    }
    end_all(clients);
    assert!(
        comes_true(patience, || talk.count(&["ZCARD", NODES]) == 2),
        "of nodes {}",
        talk.count(&["ZCARD", NODES])
    );
    assert!(
        comes_true(patience * 4, || talk.count(&["XLEN", &stream]) < 2_000),
        "of messages {}",
        talk.count(&["XLEN", &stream])
    );
}

/// What many have said takes longer to read than one exchange may, for the way is slow: it is read with the next ones, and none of them has
/// failed.
#[test]
fn what_there_is_no_time_to_read_is_read_with_the_next_exchange() {
    const GHOSTS: u64 = 8;
    const PIECE: u16 = 96;
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let gate = Gate::before(redis.addr);
    let (good, _, list) = list();
    let mut config = of_fleet(&gate.url(), "a", "here");
    config["cluster"]["interval"] = "2s".into();
    let one = Forwarder::start(&config, &list);
    let mut poisoner = Poisoner::among(&redis, 1);
    (1..=GHOSTS).for_each(|id| poisoner.haunt(id));
    gate.set(Way::Slow(Duration::from_millis(250)));
    let before = heard(&one);
    let well = Outcome::Success(Duration::from_micros(300));
    // As many as are kept.
    for number in 0..120_u16 {
        for id in 1..=GHOSTS {
            let addr = good[usize::from(number) % good.len()];
            let word = poisoner.word(addr, well);
            poisoner.claim(id, &[word]);
        }
    }
    wait_for("two pieces are read", || {
        heard(&one) > before + 1.5 * f64::from(PIECE)
    });
    let first = heard(&one);
    wait_for("and more", || heard(&one) > first + 2.0 * f64::from(PIECE));
    // What is under way counts once it has ended.
    let received = || one.metric("cluster_bytes_total{direction=\"received\"}");
    let counted = received();
    wait_for("an exchange has ended", || received() > counted);
    assert!(one.metric("cluster_up") > 0.5, "{}", one.log());
    assert!(one.metric("cluster_failures_total") < 0.5, "{}", one.log());
}

/// A message, a name or a node of more bytes than anybody reads: the fleet is not heard of while it is there, and that is all.
#[test]
fn what_is_too_long_to_be_read_is_forgotten() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let (_, _, list) = list();
    let one = Forwarder::start(&of_fleet(&redis.url(), "a", "here"), &list);
    let mut poisoner = Poisoner::among(&redis, 1);
    let clients = Clients::of(one.addr());
    let giant = vec![b'x'; 1 << 20];
    poisoner.say(&[b"d", &giant]);
    poisoner.haunt_as(0x61, &giant);
    let now = poisoner.now_ms().to_string();
    poisoner
        .talk
        .tell(&[b"ZADD", NODES.as_bytes(), now.as_bytes(), &giant]);
    wait_for("it is too long", || one.metric("cluster_up") < 0.5);
    wait_for("it is passed over", || one.metric("cluster_up") > 0.5);
    wait_for("the log says so", || one.log().contains(AGAIN));
    assert_eq!(one.log().matches(ALONE).count(), 1, "{}", one.log());
    clients.end();
}

/// Whoever begins is told that the best two are those that refuse: it has the others as soon as its own probes have come back, and until
/// then a client is refused at worst.
#[test]
fn who_begins_with_what_a_poisoner_says_knows_better_soon() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let (good, dead, list) = list();
    let worse = free_addr(6);
    let list = format!("{list}\n{worse}");
    let start = |node: &str| Forwarder::start(&of_fleet(&redis.url(), node, "here"), &list);
    let old = start("old");
    wait_for("a set", || members(&old).len() == 2);
    let mut poisoner = Poisoner::among(&redis, 1);
    let row = |addr: SocketAddr, micros| Row {
        addr,
        age: Duration::ZERO,
        connect: Duration::from_micros(micros),
        first_byte: None,
    };
    let nobody = "192.0.2.1:80".parse().unwrap();
    let outset = Outset {
        sent_ms: poisoner.now_ms(),
        members: 3,
        rows: vec![
            row(dead, 1),
            row(worse, 1),
            row(nobody, 1),
            row(good[0], 16_000_000),
        ],
    };
    let (key, bytes) = (poisoner.outset(), message::write_outset(0x6057, &outset));
    poisoner
        .talk
        .tell(&[b"SET", key.as_bytes(), &bytes, b"PX", b"60000"]);
    let new = start("new");
    let begun = clock::now();
    wait_for("those that answer", || {
        let set = members(&new);
        set.len() == 2
            && set
                .iter()
                .all(|server| good.iter().any(|addr| addr.to_string() == *server))
    });
    println!("the right set after {:?}", clock::now() - begun);
    let clients = Clients::of(new.addr());
    pause(Duration::from_secs(1));
    clients.end();
    assert!(!new.log().contains("192.0.2.1"), "{}", new.log());
}

/// A ghost claims all that a client may have: what needs no claim is left to it, and all of it once the ghost has gone.
#[test]
fn a_poisoner_who_claims_all_of_a_limit_leaves_a_part_of_it() {
    const LIMIT: usize = 100;
    const GHOST: u64 = 0x6057;
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let (_, _, list) = list();
    let mut config = of_fleet(&redis.url(), "a", "here");
    config["server"] = serde_json::json!({ "max_connections_per_ip": LIMIT });
    let one = Forwarder::start(&config, &list);
    let mut poisoner = Poisoner::among(&redis, 1);
    let mut open = Vec::new();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let told = &ends;
        scope.spawn(move || {
            while !told.load(Ordering::Relaxed) {
                poisoner.haunt(GHOST);
                poisoner.claim_all(GHOST);
                pause(Duration::from_millis(100));
            }
        });
        let lives = comes_true(Duration::from_secs(10), || one.metric("cluster_nodes") > 0.5);
        // An exchange divides the limit among those of the one before; what was taken until then stays.
        pause(Duration::from_millis(1_500));
        for _ in 0..20 {
            while open.len() < LIMIT
                && let Some(stream) = one_more(&one)
            {
                open.push(stream);
            }
            pause(Duration::from_millis(100));
        }
        ends.store(true, Ordering::Relaxed);
        println!("{} of {LIMIT} while all is claimed", open.len());
        assert!(lives && (10..LIMIT).contains(&open.len()), "{}", open.len());
    });
    wait_for("the ghost is gone, and all is there", || {
        open.extend(one_more(&one));
        open.len() == LIMIT
    });
    assert!(one.metric("cluster_failures_total") < 0.5, "{}", one.log());
}

//! What is asked beside samples, against answers that a test makes up.

use std::net::SocketAddr;

use super::*;
use crate::admission::Portion;
use crate::base::clock;
use crate::fleet::message::{Outset, Row};
use crate::fleet::resp::parse;

const NOW_MS: u64 = 1_764_000_000_000;
const INTERVAL: Duration = Duration::from_secs(5);

fn bytes(text: impl AsRef<[u8]>) -> Value {
    Value::Bytes(text.as_ref().to_vec())
}

fn hello(vantage: &str) -> Hello {
    Hello {
        name: "me".to_owned(),
        vantage: vantage.to_owned(),
        services: vec![7],
    }
}

/// What a Redis has in it, as far as these tests go.
struct Page {
    now_ms: u64,
    nodes: Vec<NodeId>,
    stream: Vec<Value>,
    claims: Vec<Value>,
    add: Value,
}

impl Page {
    fn new() -> Self {
        Self {
            now_ms: NOW_MS,
            nodes: vec![1],
            stream: Vec::new(),
            claims: Vec::new(),
            add: bytes("1-0"),
        }
    }

    fn listed(&self) -> Value {
        let dated = |id: &NodeId| [bytes(format!("{id:016x}")), bytes(self.now_ms.to_string())];
        Value::List(self.nodes.iter().flat_map(dated).collect())
    }

    fn answer(&self, command: &[Value]) -> Value {
        let seconds = Value::List(vec![
            bytes((self.now_ms / 1000).to_string()),
            bytes((self.now_ms % 1000 * 1000).to_string()),
        ]);
        match command.first().and_then(Value::bytes) {
            Some(b"TIME") => seconds,
            Some(b"ZCOUNT") => Value::Number(i64::try_from(self.nodes.len()).expect("few")),
            Some(b"ZRANGEBYSCORE") => self.listed(),
            Some(b"XRANGE") => Value::List(self.stream.clone()),
            Some(b"HGETALL") => Value::List(self.claims.clone()),
            Some(b"XADD") => self.add.clone(),
            _ => Value::Number(1),
        }
    }

    fn say(&mut self, at_ms: u64, message: &[u8]) {
        let fields = Value::List(vec![bytes("d"), bytes(message)]);
        self.stream
            .push(Value::List(vec![bytes(format!("{at_ms}-0")), fields]));
    }
}

/// The commands in some bytes, in words where they are words.
fn commands(mut out: &[u8]) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    while let Some((value, length)) = parse(out).expect("commands") {
        all.push(value.parts().to_vec());
        out = &out[length..];
    }
    all
}

fn names(commands: &[Vec<Value>]) -> Vec<String> {
    let name =
        |command: &Vec<Value>| String::from_utf8_lossy(command[0].bytes().expect("a word")).into_owned();
    commands.iter().map(name).collect()
}

struct Bench {
    exchange: Exchange,
    page: Page,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            exchange: Exchange::new(1, "edges", INTERVAL, hello("home")),
            page: Page::new(),
            now: clock::now(),
        };
        let answer = bench.page.answer(&[bytes("TIME")]);
        bench.exchange.set_clock(&answer, bench.now).expect("a clock");
        bench
    }

    /// One exchange: what was asked, and what was told.
    fn turn(&mut self) -> (Vec<Vec<Value>>, Result<Vec<Told>, Fault>) {
        let (out, count) = self.exchange.ask(&[], self.now);
        let asked = commands(&out);
        assert_eq!(asked.len(), count);
        let answers: Vec<Value> = asked.iter().map(|command| self.page.answer(command)).collect();
        let told = self.exchange.take(&answers, self.now);
        self.now += INTERVAL;
        self.page.now_ms += 5_000;
        (asked, told)
    }
}

#[test]
fn nodes_are_listed_when_there_are_others_than_before() {
    let mut bench = Bench::new();
    let (asked, _) = bench.turn();
    assert!(names(&asked).contains(&"ZRANGEBYSCORE".to_owned()));
    let (asked, told) = bench.turn();
    let rest = ["TIME", "ZADD", "ZCOUNT", "XRANGE"];
    assert_eq!(names(&asked), rest, "at rest no more is asked");
    assert!(told.is_ok_and(|told| told.is_empty()) && bench.exchange.ask_nodes(bench.now).is_none());
    let word = Word {
        service: 7,
        addr: SocketAddr::from(([192, 0, 2, 1], 80)),
        outcome: crate::scorer::sample::Outcome::Refused,
        heard: crate::scorer::sample::Heard::NotAsked,
        age: Duration::ZERO,
    };
    bench.page.nodes.push(9);
    bench
        .page
        .say(bench.page.now_ms, &message::write_samples(9, &[word]));
    let (_, told) = bench.turn();
    assert!(
        told.is_ok_and(|told| told.is_empty()),
        "nobody knows yet who that is"
    );
    let asked = bench.exchange.ask_nodes(bench.now).expect("one more");
    assert_eq!(names(&commands(&asked)), ["ZRANGEBYSCORE"]);
    let told = bench.exchange.take_nodes(&bench.page.listed(), bench.now);
    assert_eq!(told.expect("a list").len(), 1, "nothing of it is lost");
    assert!(bench.exchange.ask_nodes(bench.now).is_none());
    assert_eq!((bench.exchange.processes(), bench.exchange.refused), (2, 0));
}

#[test]
fn a_stream_from_the_future_is_begun_anew() {
    let mut bench = Bench::new();
    drop(bench.turn());
    bench.page.say(NOW_MS * 2, b"poison");
    let (asked, told) = bench.turn();
    assert!(told.is_ok() && !names(&asked).contains(&"DEL".to_owned()));
    assert_eq!(bench.exchange.refused, 1);
    bench.page.stream.clear();
    let (asked, _) = bench.turn();
    let del = asked
        .iter()
        .find(|one| one[0] == bytes("DEL"))
        .expect("it is removed");
    let stream = asked.last().expect("some")[1].clone();
    assert!(del[1..].contains(&stream) && del.len() == 3, "{del:?}");
    let (asked, _) = bench.turn();
    assert!(!names(&asked).contains(&"DEL".to_owned()), "once");
}

#[test]
fn what_will_be_refused_again_and_again_is_removed() {
    for (why, removed) in [
        (
            "ERR The stream has exhausted the last possible ID, unable to add more items",
            3,
        ),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            4,
        ),
        ("OOM command not allowed when used memory > 'maxmemory'.", 0),
    ] {
        let mut bench = Bench::new();
        bench.exchange.set_link(true);
        bench.page.add = Value::Error(why.to_owned());
        assert!(bench.turn().1.is_err());
        bench.page.add = bytes("1-0");
        bench.exchange.begin();
        let answer = bench.page.answer(&[bytes("TIME")]);
        bench.exchange.set_clock(&answer, bench.now).expect("a clock");
        let (asked, told) = bench.turn();
        let del = asked.iter().find(|one| one[0] == bytes("DEL"));
        assert_eq!(del.map_or(0, Vec::len), removed, "{why}");
        assert!(told.is_ok());
    }
}

#[test]
fn links_and_new_names_are_told_of_and_heard() {
    let mut bench = Bench::new();
    let notices = |asked: &[Vec<Value>]| {
        let added = asked.iter().filter(|one| one[0] == bytes("XADD"));
        added
            .filter_map(|one| message::read_notice(one.last()?.bytes()?))
            .map(|(_, notice)| (notice.is_down, notice.is_changed))
            .collect::<Vec<_>>()
    };
    assert!(notices(&bench.turn().0).is_empty());
    bench.exchange.set_link(true);
    assert_eq!(notices(&bench.turn().0), [(true, false)]);
    assert_eq!(notices(&bench.turn().0), [(true, false)], "as long as it is");
    bench.exchange.set_link(false);
    assert_eq!(notices(&bench.turn().0), [(false, false)]);
    assert!(notices(&bench.turn().0).is_empty());
    bench.exchange.introduce(hello("away"));
    assert_eq!(notices(&bench.turn().0), [(false, true); 2], "here and there");
    assert!(notices(&bench.turn().0).is_empty());

    bench.page.nodes.push(9);
    drop(bench.turn());
    let _held = bench.exchange.take_nodes(&bench.page.listed(), bench.now);
    bench
        .exchange
        .take_names(
            &[9],
            &Value::List(vec![bytes(message::write_hello(&hello("home")))]),
        )
        .expect("a name");
    assert!(bench.exchange.ask_names().is_none());
    let notice = Notice {
        is_down: true,
        is_changed: true,
    };
    bench
        .page
        .say(bench.page.now_ms, &message::write_notice(9, notice));
    assert!(bench.turn().1.is_ok());
    assert!(bench.exchange.view(true).others[0].is_down);
    assert_eq!(bench.exchange.ask_names().map(|(_, ids)| ids), Some(vec![9]));
    bench.page.stream.clear();
    for _ in 0..4 {
        drop(bench.turn());
    }
    assert!(
        !bench.exchange.view(true).others[0].is_down,
        "nobody has said so for long"
    );
}

#[test]
fn claims_are_summed_over_those_that_live() {
    let mut bench = Bench::new();
    drop(bench.turn());
    let (half, least) = (Portion::WHOLE.times(0.5), Portion::LEAST);
    bench.exchange.set_claims(Some(vec![(3, half)]));
    let claim = |page: &mut Page, id: &str, sent_ms: u64, claims: &[(u64, Portion)]| {
        page.claims
            .extend([bytes(id), bytes(message::write_claims(sent_ms, claims))]);
    };
    let now_ms = bench.page.now_ms;
    claim(&mut bench.page, "0000000000000001", now_ms, &[(3, half)]);
    claim(
        &mut bench.page,
        "0000000000000002",
        now_ms,
        &[(3, half), (4, least)],
    );
    claim(
        &mut bench.page,
        "0000000000000003",
        now_ms - 14_000,
        &[(3, least)],
    );
    claim(&mut bench.page, "0000000000000004", now_ms - 16_000, &[(3, half)]);
    claim(&mut bench.page, "0000000000000005", now_ms + 9_000, &[(3, half)]);
    bench
        .page
        .claims
        .extend([bytes("0000000000000006"), bytes("nonsense")]);
    let (asked, told) = bench.turn();
    assert!(told.is_ok() && names(&asked).contains(&"HSET".to_owned()));
    let sums = bench.exchange.others_claims();
    assert_eq!(sums.get(&3), Some(&(u32::from(half.parts()) + 1)));
    assert_eq!((sums.get(&4), sums.len()), (Some(&1), 2));
    assert_eq!(bench.exchange.refused, 2, "of the future, and nonsense");
    bench.exchange.set_claims(Some(Vec::new()));
    let (asked, _) = bench.turn();
    let removed: Vec<_> = asked.iter().filter(|one| one[0] == bytes("HDEL")).collect();
    assert_eq!(removed.len(), 2, "ours, and whose node has gone");
    assert!(removed[1].contains(&bytes("0000000000000004")), "{removed:?}");
    bench.exchange.set_claims(None);
    assert!(!names(&bench.turn().0).contains(&"HGETALL".to_owned()));
}

#[test]
fn outsets_of_others_are_as_old_as_they_are() {
    let mut bench = Bench::new();
    let row = Row {
        addr: SocketAddr::from(([192, 0, 2, 1], 80)),
        age: Duration::from_secs(3),
        connect: Duration::from_millis(20),
        first_byte: None,
    };
    let outset = |sent_ms| Outset {
        sent_ms,
        members: 1,
        rows: vec![row],
    };
    let said = |from, sent_ms| bytes(message::write_outset(from, &outset(sent_ms)));
    let take = |exchange: &mut Exchange, value, now| {
        let taken = exchange.take_outsets(&[7], &Value::List(vec![value]), now);
        taken
            .expect("an answer")
            .pop()
            .map(|(_, outset)| outset.rows[0].age.as_secs())
    };
    let (exchange, now) = (&mut bench.exchange, bench.now);
    assert_eq!(take(exchange, said(2, NOW_MS - 60_000), now), Some(63));
    assert_eq!(take(exchange, said(2, NOW_MS - 601_000), now), None);
    assert_eq!(take(exchange, said(1, NOW_MS), now), None, "our own");
    assert_eq!(take(exchange, Value::Null, now), None);
    assert_eq!(exchange.refused, 0);
    assert_eq!(take(exchange, said(2, NOW_MS + 60_000), now), None);
    assert_eq!(take(exchange, bytes("nonsense"), now), None);
    assert_eq!(exchange.refused, 2);
    let set = commands(&exchange.tell_outset(7, &outset(NOW_MS)));
    let get = commands(&exchange.ask_outsets(&[7]));
    assert_eq!(set[0][1], get[0][1]);
    exchange.introduce(hello("away"));
    assert_ne!(
        commands(&exchange.ask_outsets(&[7]))[0][1],
        get[0][1],
        "of another vantage"
    );
}

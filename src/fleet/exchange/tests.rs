//! Tests: fleets in virtual time, around a model of a Redis and around answers of all kinds.

use std::net::{IpAddr, SocketAddr};

use std::collections::BTreeMap;

use super::*;
use crate::base::clock;
use crate::fleet::reading::{MOST_OF_ONE, MOST_TAKEN};
use crate::fleet::resp;
use crate::scorer::sample::{Heard, Outcome};

const INTERVAL: Duration = Duration::from_secs(5);

/// When the Redis begins: some millisecond of 2026.
const EPOCH_MS: u64 = 1_770_000_000_000;

/// A Redis, as far as forwarders ask it.
#[derive(Default)]
struct Model {
    ms: u64,
    sets: BTreeMap<String, Vec<(f64, String)>>,
    texts: BTreeMap<String, Vec<u8>>,
    streams: BTreeMap<String, Vec<(u64, u64, Vec<u8>)>>,
    expire_at: BTreeMap<String, u64>,
}

fn text(words: &[Value], at: usize) -> String {
    let bytes = words[at].bytes().expect("a word");
    String::from_utf8(bytes.to_vec()).expect("a text")
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

/// The end of a range of scores.
fn bound(word: &str) -> (f64, bool) {
    let (number, is_open) = match word.strip_prefix('(') {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    (number.parse().expect("a number"), is_open)
}

fn is_within(score: f64, (least, most): (&str, &str)) -> bool {
    let ((least, no_least), (most, no_most)) = (bound(least), bound(most));
    (score > least || (score >= least && !no_least)) && (score < most || (score <= most && !no_most))
}

impl Model {
    fn new() -> Self {
        Self {
            ms: EPOCH_MS,
            ..Self::default()
        }
    }

    /// Answers all commands of an exchange.
    fn answer(&mut self, mut commands: &[u8]) -> Vec<Value> {
        let mut answers = Vec::new();
        while !commands.is_empty() {
            let (words, length) = resp::parse(commands).expect("a command").expect("a whole one");
            commands = &commands[length..];
            answers.push(self.one(words.parts()));
        }
        answers
    }

    /// Forgets what has expired.
    fn expire(&mut self) {
        let now = self.ms;
        self.expire_at.retain(|key, at| {
            let stays = *at > now;
            if !stays {
                self.sets.remove(key);
                self.texts.remove(key);
                self.streams.remove(key);
            }
            stays
        });
    }

    fn one(&mut self, words: &[Value]) -> Value {
        self.expire();
        let now = self.ms;
        match text(words, 0).as_str() {
            "TIME" => Value::List(vec![
                bytes(&(now / 1000).to_string()),
                bytes(&(now % 1000 * 1000).to_string()),
            ]),
            "ZADD" => {
                let (score, member) = (text(words, 2).parse().expect("a score"), text(words, 3));
                let set = self.sets.entry(text(words, 1)).or_default();
                set.retain(|(_, other)| *other != member);
                set.push((score, member));
                set.sort_by(|(a, _), (b, _)| a.total_cmp(b));
                Value::Number(1)
            }
            "ZREMRANGEBYSCORE" => {
                let (from, to) = (text(words, 2), text(words, 3));
                let set = self.sets.entry(text(words, 1)).or_default();
                set.retain(|(score, _)| !is_within(*score, (&from, &to)));
                Value::Number(0)
            }
            "ZRANGEBYSCORE" => {
                let (from, to) = (text(words, 2), text(words, 3));
                let most = text(words, words.len() - 1).parse().expect("a count");
                let is_dated = text(words, 4) == "WITHSCORES";
                let set = self.sets.get(&text(words, 1)).into_iter().flatten();
                let some = set.filter(|(score, _)| is_within(*score, (&from, &to)));
                let entry = |(score, member): &(f64, String)| {
                    let score = is_dated.then(|| bytes(&score.to_string()));
                    std::iter::once(bytes(member)).chain(score)
                };
                Value::List(some.take(most).flat_map(entry).collect())
            }
            "ZCOUNT" => {
                let (from, to) = (text(words, 2), text(words, 3));
                let set = self.sets.get(&text(words, 1)).into_iter().flatten();
                let some = set.filter(|(score, _)| is_within(*score, (&from, &to)));
                Value::Number(i64::try_from(some.count()).expect("few"))
            }
            "DEL" => {
                for at in 1..words.len() {
                    self.sets.remove(&text(words, at));
                    self.streams.remove(&text(words, at));
                }
                Value::Number(1)
            }
            "PEXPIRE" => {
                let at = now + text(words, 2).parse::<u64>().expect("a time");
                self.expire_at.insert(text(words, 1), at);
                Value::Number(1)
            }
            "SET" => {
                let value = words[2].bytes().expect("bytes").to_vec();
                self.texts.insert(text(words, 1), value);
                let at = now + text(words, 4).parse::<u64>().expect("a time");
                self.expire_at.insert(text(words, 1), at);
                bytes("OK")
            }
            "MGET" => {
                let keys = (1..words.len()).map(|at| text(words, at));
                let value = |key: String| self.texts.get(&key).cloned().map_or(Value::Null, Value::Bytes);
                Value::List(keys.map(value).collect())
            }
            _ => self.one_of_a_stream(words),
        }
    }

    fn one_of_a_stream(&mut self, words: &[Value]) -> Value {
        let now = self.ms;
        match text(words, 0).as_str() {
            "XADD" => {
                let message = words.last().and_then(Value::bytes).expect("bytes").to_vec();
                let stream = self.streams.entry(text(words, 1)).or_default();
                let last = stream.last().map_or((0, 0), |(ms, number, _)| (*ms, *number));
                let id = if last.0 >= now {
                    (last.0, last.1 + 1)
                } else {
                    (now, 0)
                };
                stream.push((id.0, id.1, message));
                bytes(&format!("{}-{}", id.0, id.1))
            }
            "XRANGE" => {
                let from = text(words, 2);
                let from = from.strip_prefix('(').expect("without it");
                let (ms, number) = from.split_once('-').unwrap_or((from, "0"));
                let from: (u64, u64) = (ms.parse().expect("ms"), number.parse().expect("a number"));
                let most = text(words, 5).parse().expect("a count");
                let stream = self.streams.get(&text(words, 1)).into_iter().flatten();
                let some = stream.filter(|(ms, number, _)| (*ms, *number) > from);
                let entry = |(ms, number, message): &(u64, u64, Vec<u8>)| {
                    let fields = vec![bytes("d"), Value::Bytes(message.clone())];
                    Value::List(vec![bytes(&format!("{ms}-{number}")), Value::List(fields)])
                };
                Value::List(some.take(most).map(entry).collect())
            }
            other => panic!("the model knows no {other}"),
        }
    }
}

/// A Redis and time.
struct World {
    redis: Model,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            redis: Model::new(),
            now: clock::now(),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.redis.ms += u64::try_from(time.as_millis()).expect("short");
    }

    /// One exchange, as the thread makes it.
    fn turn(&mut self, exchange: &mut Exchange, words: &[Word]) -> Vec<Told> {
        let mut told = Vec::new();
        self.try_turn(exchange, words, &mut told).expect("sound");
        told
    }

    /// The same, in which an answer may be too long: what was told before that counts.
    fn try_turn(
        &mut self,
        exchange: &mut Exchange,
        words: &[Word],
        told: &mut Vec<Told>,
    ) -> Result<(), Fault> {
        if exchange.needs_clock() {
            let answers = self.redis.answer(&Exchange::ask_clock());
            exchange.set_clock(&answers[0], self.now).expect("a clock");
        }
        let (commands, asked) = exchange.ask(words, self.now);
        let answers = self.answer(exchange, &commands)?;
        assert_eq!(answers.len(), asked, "as many answers as are awaited");
        told.extend(exchange.take(&answers, self.now)?);
        if let Some(commands) = exchange.ask_nodes(self.now) {
            let answers = self.redis.answer(&commands);
            told.extend(exchange.take_nodes(&answers[0], self.now)?);
        }
        while let Some(commands) = exchange.ask_more() {
            let answers = self.answer(exchange, &commands)?;
            told.extend(exchange.take_more(&answers[0], self.now)?);
        }
        if let Some((commands, ids)) = exchange.ask_names() {
            let answers = self.redis.answer(&commands);
            exchange.take_names(&ids, &answers[0])?;
        }
        Ok(())
    }

    fn answer(&mut self, exchange: &mut Exchange, commands: &[u8]) -> Result<Vec<Value>, Fault> {
        let answers = self.redis.answer(commands);
        if answers.iter().map(size).sum::<usize>() > resp::MOST_BYTES {
            exchange.too_long();
            return Err(Fault::NoAnswer);
        }
        Ok(answers)
    }
}

/// About how many bytes an answer takes.
fn size(value: &Value) -> usize {
    8 + value.bytes().map_or(0, <[u8]>::len) + value.parts().iter().map(size).sum::<usize>()
}

fn node(id: NodeId, vantage: &str) -> Exchange {
    let hello = Hello {
        name: format!("node-{id}"),
        vantage: vantage.to_owned(),
        services: vec![7],
    };
    Exchange::new(id, "test", INTERVAL, hello)
}

fn reached(number: u16) -> Word {
    let [high, low] = number.to_be_bytes();
    Word {
        service: 7,
        addr: SocketAddr::from(([192, 0, high, low], 443)),
        outcome: Outcome::Success(Duration::from_millis(20)),
        heard: Heard::NotAsked,
        age: Duration::ZERO,
    }
}

fn others(exchange: &Exchange) -> Vec<NodeId> {
    exchange.view(true).others.iter().map(|node| node.id).collect()
}

fn words(told: &[Told]) -> Vec<Word> {
    told.iter().map(|told| told.word).collect()
}

#[test]
fn those_who_live_know_one_another_and_hear_each_word_once() {
    let mut world = World::new();
    let mut fleet = [node(1, "here"), node(2, "here"), node(3, "there")];
    for exchange in &mut fleet {
        assert!(world.turn(exchange, &[]).is_empty());
    }
    let mut heard = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..40 {
        world.pass(INTERVAL);
        for (at, exchange) in fleet.iter_mut().enumerate() {
            let own = u16::try_from(at).expect("few") * 100 + number;
            let told = world.turn(exchange, &[reached(own)]);
            assert!(told.iter().all(|told| told.age <= INTERVAL));
            heard[at].extend(words(&told));
        }
        for (at, exchange) in fleet.iter().enumerate() {
            let mut expected = vec![1, 2, 3];
            expected.remove(at);
            assert_eq!(others(exchange), expected);
            let view = exchange.view(true);
            assert!(
                view.others
                    .iter()
                    .all(|node| node.name == format!("node-{}", node.id))
            );
        }
    }
    let said = |numbers: std::ops::Range<u16>| numbers.map(reached).collect::<Vec<_>>();
    assert_eq!(heard[0], said(100..139), "all but the last, which comes after it");
    assert_eq!(heard[1], said(0..40));
    assert!(heard[2].is_empty(), "of another vantage nothing is heard");
    assert!(fleet.iter().all(|exchange| exchange.refused == 0));
}

#[test]
fn who_says_nothing_for_three_intervals_is_gone_and_expires() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "here"));
    world.turn(&mut other, &[reached(1)]);
    world.turn(&mut one, &[]);
    assert_eq!(others(&one), [2]);
    for passed in 1..=4 {
        world.pass(INTERVAL);
        world.turn(&mut one, &[]);
        assert_eq!(
            others(&one).len(),
            usize::from(passed <= 3),
            "after {passed} intervals"
        );
    }
    for _ in 0..30 {
        world.pass(INTERVAL);
        world.turn(&mut one, &[]);
    }
    let keys: Vec<&String> = world.redis.texts.keys().collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(world.redis.sets["tcp-forwarder:test:nodes"].len(), 1);
    world.pass(one.horizon() * 10);
    world.redis.answer(&Exchange::ask_clock());
    assert!(world.redis.texts.is_empty() && world.redis.sets.is_empty() && world.redis.streams.is_empty());
}

#[test]
fn a_redis_that_has_forgotten_all_is_told_again() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "here"));
    for exchange in [&mut one, &mut other] {
        world.turn(exchange, &[reached(1)]);
    }
    world.redis = Model {
        ms: world.redis.ms,
        ..Model::new()
    };
    for exchange in [&mut one, &mut other] {
        exchange.begin();
        world.turn(exchange, &[reached(2)]);
    }
    assert_eq!(words(&world.turn(&mut one, &[])), [reached(2)]);
    assert_eq!((others(&one), others(&other)), (vec![2], vec![1]));
}

#[test]
fn who_was_away_for_long_says_again_who_it_is_and_expires_again() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "here"));
    for exchange in [&mut one, &mut other] {
        world.turn(exchange, &[]);
    }
    world.pass(Duration::from_secs(3600));
    for _ in 0..2 {
        for exchange in [&mut one, &mut other] {
            world.turn(exchange, &[]);
        }
    }
    assert_eq!((others(&one), others(&other)), (vec![2], vec![1]));
    world.pass(Duration::from_secs(3600));
    world.redis.answer(&Exchange::ask_clock());
    assert!(world.redis.sets.is_empty(), "nothing stays for ever");
}

#[test]
fn from_another_vantage_another_stream_is_read() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "there"));
    world.turn(&mut one, &[]);
    world.turn(&mut other, &[reached(1)]);
    world.pass(INTERVAL);
    assert!(world.turn(&mut one, &[]).is_empty());
    let mut hello = one.hello.clone();
    "there".clone_into(&mut hello.vantage);
    one.introduce(hello);
    assert_eq!(
        words(&world.turn(&mut one, &[])),
        [reached(1)],
        "which is young enough"
    );
    for _ in 0..CARE {
        world.turn(&mut other, &[]);
    }
    assert_eq!(other.view(true).others[0].vantage, "there");
}

#[test]
fn ages_are_of_the_redis_and_what_is_too_old_is_passed_over() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "here"));
    world.turn(&mut other, &[]);
    world.turn(&mut one, &[]);
    let age = Duration::from_millis(700);
    world.turn(&mut other, &[Word { age, ..reached(1) }]);
    world.pass(Duration::from_secs(2));
    let told = world.turn(&mut one, &[]);
    assert_eq!(told[0].age, Duration::from_millis(2_700));
    // Thousands that nobody has read are older than the horizon; what is new is read at once.
    for number in 0..3_000 {
        world.turn(&mut other, &[reached(number)]);
    }
    world.pass(one.horizon() * 2);
    world.turn(&mut other, &[reached(7)]);
    let told = world.turn(&mut one, &[]);
    assert_eq!((words(&told), one.refused), (vec![reached(7)], 0));
}

#[test]
fn a_clock_that_jumps_costs_no_more_than_a_few_exchanges() {
    let jumps = [86_400_000_i64, -86_400_000, 3_000, -3_000];
    for (jump, is_empty) in jumps.into_iter().flat_map(|jump| [(jump, false), (jump, true)]) {
        let mut world = World::new();
        let mut fleet = [node(1, "here"), node(2, "here")];
        for _ in 0..3 {
            for one in &mut fleet {
                world.turn(one, &[reached(1)]);
            }
            world.pass(INTERVAL);
        }
        world.redis.ms = world.redis.ms.checked_add_signed(jump).expect("some year");
        if is_empty {
            // It is another one.
            let ms = world.redis.ms;
            world.redis = Model { ms, ..Model::new() };
            fleet.iter_mut().for_each(Exchange::begin);
        }
        for _ in 0..=CARE {
            for one in &mut fleet {
                world.turn(one, &[]);
            }
            world.pass(INTERVAL);
        }
        let known = fleet.each_ref().map(others);
        assert_eq!(known, [vec![2], vec![1]], "after {jump} ms");
        let [one, other] = &mut fleet;
        world.turn(one, &[reached(7)]);
        let told = words(&world.turn(other, &[]));
        assert_eq!(told, [reached(7)], "after {jump} ms, of an empty one: {is_empty}");
        let nodes = &world.redis.sets["tcp-forwarder:test:nodes"];
        assert_eq!(nodes.len(), 2, "after {jump} ms: {nodes:?}");
    }
}

#[test]
fn whoever_says_too_much_or_lives_nowhere_is_not_heard() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "here"));
    world.turn(&mut one, &[]);
    world.turn(&mut other, &[]);
    let all: Vec<Word> = (0..64).map(reached).collect();
    let key = one.stream();
    let mut say = |bytes: &[u8]| {
        let mut out = Vec::new();
        command(&mut out, &[b"XADD", key.as_bytes(), b"*", b"d", bytes]);
        world.redis.answer(&out);
    };
    for _ in 0..10 {
        say(&message::write_samples(2, &all));
    }
    say(&message::write_samples(1, &all));
    say(&message::write_samples(9, &all));
    say(&[77; 40]);
    say(b"");
    let told = world.turn(&mut one, &[]);
    assert_eq!(told.len(), MOST_OF_ONE, "of one node");
    let too_many = 10 * all.len() - MOST_OF_ONE;
    assert_eq!(one.refused, u64::try_from(too_many + all.len() + 2).expect("few"));
    assert_eq!(one.unreadable, 2, "of another version, and nothing");
}

/// More messages than one answer tells are read on, all of them, each once.
#[test]
fn of_many_nodes_that_say_much_all_is_heard() {
    const NODES: u16 = 100;
    let mut world = World::new();
    let mut fleet: Vec<Exchange> = (1..=u64::from(NODES)).map(|id| node(id, "here")).collect();
    for _ in 0..2 {
        for one in &mut fleet {
            world.turn(one, &[]);
        }
    }
    for round in 0..8 {
        world.pass(INTERVAL);
        let mut heard = Vec::new();
        for (number, one) in (0..NODES).zip(&mut fleet) {
            // Two messages of each.
            for half in 0..2 {
                let told = world.turn(one, &[reached(number * 2 + half)]);
                if number == 0 && half == 0 {
                    heard = words(&told);
                }
            }
        }
        let expected: Vec<Word> = (2..NODES * 2).map(reached).collect();
        assert!(
            round == 0 || heard == expected,
            "{} in round {round}",
            heard.len()
        );
    }
    assert!(fleet.iter().all(|one| one.refused == 0));
    // And of samples no more than there is room for; what is more waits.
    world.turn(&mut fleet[0], &[]);
    let many: Vec<Word> = (0..256).map(reached).collect();
    for one in fleet.iter_mut().skip(1) {
        world.turn(one, &many);
    }
    let first = &mut fleet[0];
    let mut told = Vec::new();
    for _ in 0..5 {
        let some = world.turn(first, &[]);
        assert!(some.len() <= MOST_TAKEN, "{}", some.len());
        told.extend(some);
    }
    assert_eq!((told.len(), first.refused), (99 * 256, 0));
}

/// Messages that are too long together are read in smaller pieces: what stands between them is heard, and nothing is removed.
#[test]
fn long_messages_of_somebody_cost_nobody_a_sample() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "here"));
    world.turn(&mut one, &[]);
    world.turn(&mut other, &[]);
    world.turn(&mut one, &[]);
    let key = one.stream();
    let say = |world: &mut World, length: usize| {
        let mut out = Vec::new();
        command(
            &mut out,
            &[b"XADD", key.as_bytes(), b"*", b"d", &vec![77; length]],
        );
        world.redis.answer(&out);
    };
    for number in 0..60 {
        world.turn(&mut other, &[reached(number)]);
        say(&mut world, 7_000);
    }
    let said = world.redis.streams[&key].len();
    let (mut told, mut failures) = (Vec::new(), 0);
    for _ in 0..4 {
        failures += usize::from(world.try_turn(&mut one, &[], &mut told).is_err());
    }
    let expected: Vec<Word> = (0..60).map(reached).collect();
    assert_eq!(
        (words(&told), failures),
        (expected, 1),
        "in smaller pieces all is heard, and once"
    );
    assert_eq!(world.redis.streams[&key].len(), said, "nothing is removed");
    // One that nobody can read by itself is, with what stands behind it.
    world.turn(&mut other, &[reached(70)]);
    say(&mut world, resp::MOST_BYTES);
    let mut told = Vec::new();
    for _ in 0..8 {
        drop(world.try_turn(&mut one, &[], &mut told));
    }
    assert_eq!(words(&told), [reached(70)], "what stands before it is heard");
    world.turn(&mut other, &[reached(71)]);
    assert_eq!(words(&world.turn(&mut one, &[])), [reached(71)]);
    assert!(world.redis.streams[&key].len() < 5, "it is gone");
}

#[test]
fn what_the_nodes_are_is_bounded_and_swept() {
    let mut world = World::new();
    let mut one = node(1, "here");
    world.turn(&mut one, &[]);
    let nodes = world
        .redis
        .sets
        .get_mut("tcp-forwarder:test:nodes")
        .expect("it lives");
    let now = u32::try_from(EPOCH_MS / 1000).map(f64::from).expect("a second") * 1000.0;
    for ghost in 2..1_000 {
        nodes.push((now, format!("{ghost:016x}")));
    }
    for absurd in [f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, now * 1000.0] {
        nodes.push((absurd, format!("{:016x}", 5_000)));
    }
    for member in ["", "zz", "-000000000000001", "00000000000000001"] {
        nodes.push((now, member.to_owned()));
    }
    nodes.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    world.turn(&mut one, &[]);
    assert!(one.nodes.len() <= MOST_NODES, "{}", one.nodes.len());
    assert!(others(&one).is_empty(), "nobody has said who it is");
    for _ in 0..CARE * 2 {
        world.pass(INTERVAL);
        world.turn(&mut one, &[]);
    }
    assert_eq!(world.redis.sets["tcp-forwarder:test:nodes"].len(), 1);
    assert!(one.nodes.is_empty());
}

#[test]
fn a_clock_that_says_nothing_of_the_kind_is_none() {
    let now = clock::now();
    let of = |parts: &[&str]| Value::List(parts.iter().map(|part| bytes(part)).collect());
    for wrong in [
        Value::Null,
        Value::Number(5),
        bytes("1770000000"),
        of(&[]),
        of(&["1770000000"]),
        of(&["-1", "0"]),
        of(&["nan", "0"]),
        of(&["1770000000", "1000000"]),
        of(&["18446744073709551615", "0"]),
        of(&["99999999999999999999", "0"]),
        Value::Error("NOPERM".to_owned()),
    ] {
        let mut one = node(1, "here");
        assert!(one.set_clock(&wrong, now).is_err(), "{wrong:?}");
        assert!(one.needs_clock());
    }
    let mut one = node(1, "here");
    one.set_clock(&of(&["1770000000", "999999"]), now)
        .expect("a clock");
    let later = now + Duration::from_millis(1);
    assert_eq!(one.redis_ms(later), 1_770_000_001_000);
    one.begin();
    assert!(one.needs_clock(), "another connection may be to another Redis");
}

#[test]
fn one_error_in_an_exchange_is_a_failure_of_it_all() {
    let mut world = World::new();
    let (mut one, mut other) = (node(1, "here"), node(2, "here"));
    world.turn(&mut other, &[]);
    world.turn(&mut one, &[]);
    world.turn(&mut other, &[reached(1)]);
    let (commands, asked) = one.ask(&[reached(2)], world.now);
    let answers = world.redis.answer(&commands);
    let before = (others(&one), one.reading.last_id.clone());
    for at in 0..asked {
        let mut wrong = answers.clone();
        wrong[at] = Value::Error("OOM command not allowed".to_owned());
        let outcome = one.take(&wrong, world.now);
        assert!(matches!(outcome, Err(Fault::Refused(_))), "{at}: {outcome:?}");
        assert_eq!(
            (others(&one), one.reading.last_id.clone()),
            before,
            "nothing is taken"
        );
    }
    assert_eq!(
        words(&one.take(&answers, world.now).expect("sound")),
        [reached(1)]
    );
}

/// Changes something in an answer.
fn spoil(value: &mut Value, rng: &mut fastrand::Rng) {
    if let Value::List(parts) = value
        && !parts.is_empty()
        && rng.u8(..) < 200
    {
        let at = rng.usize(0..parts.len());
        return spoil(&mut parts[at], rng);
    }
    if let Value::Bytes(bytes) = value
        && !bytes.is_empty()
        && rng.bool()
    {
        let at = rng.usize(0..bytes.len());
        bytes[at] = if rng.bool() {
            rng.u8(..)
        } else {
            rng.u8(b'0'..=b'9')
        };
        return;
    }
    *value = match rng.u8(0..7) {
        0 => Value::Null,
        1 => Value::Number(i64::MIN),
        2 => Value::Number(i64::MAX),
        3 => Value::List(vec![value.clone(), value.clone()]),
        4 => Value::Bytes(Vec::new()),
        5 => Value::List(Vec::new()),
        _ => bytes("18446744073709551615-18446744073709551615"),
    };
}

#[test]
fn whatever_is_answered_is_refused_or_in_range() {
    let seed = 8;
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..600 {
        let mut world = World::new();
        let mut fleet = [node(1, "here"), node(2, "here"), node(3, "here")];
        for round in 0..2 {
            for one in &mut fleet {
                world.turn(one, &[reached(round)]);
            }
        }
        let one = &mut fleet[0];
        for _ in 0..4 {
            let (commands, _) = one.ask(&[reached(9)], world.now);
            let mut answers = world.redis.answer(&commands);
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(0..answers.len());
                spoil(&mut answers[at], &mut rng);
            }
            match one.take(&answers, world.now) {
                Ok(told) => {
                    taken += told.len();
                    let most = one.horizon() + Duration::from_millis(25_500);
                    assert!(
                        told.iter()
                            .all(|told| told.age <= most && told.word.addr.port() != 0)
                    );
                }
                Err(_) => refused += 1,
            }
            if let Some(commands) = one.ask_nodes(world.now) {
                let mut answer = world.redis.answer(&commands).remove(0);
                spoil(&mut answer, &mut rng);
                drop(one.take_nodes(&answer, world.now));
            }
            assert!(one.nodes.len() <= MOST_NODES && one.reading.last_id.len() <= 41);
            if let Some((commands, ids)) = one.ask_names() {
                let mut answer = world.redis.answer(&commands).remove(0);
                spoil(&mut answer, &mut rng);
                drop(one.take_names(&ids, &answer));
            }
            drop(one.view(true));
            world.pass(INTERVAL);
        }
        one.begin();
        for _ in 0..2 {
            for one in &mut fleet {
                world.turn(one, &[]);
            }
        }
    }
    assert!(refused > 300 && taken > 300, "seed {seed}: {refused}, {taken}");
}

#[test]
fn of_public_addresses_alone_the_network_is_told() {
    for (ip, prefix) in [
        ("203.0.113.9", Some("203.0.113.0/24")),
        ("2001:db8:1:2::3", Some("2001:db8:1::/48")),
        ("10.1.2.3", None),
        ("192.168.1.2", None),
        ("172.16.0.1", None),
        ("169.254.0.1", None),
        ("127.0.0.1", None),
        ("0.0.0.0", None),
        ("100.64.0.1", None),
        ("100.63.0.1", Some("100.63.0.0/24")),
        ("fe80::1", None),
        ("fd00::1", None),
        ("::1", None),
    ] {
        let ip: IpAddr = ip.parse().expect("an address");
        assert_eq!(public_prefix(ip).as_deref(), prefix, "{ip}");
    }
}

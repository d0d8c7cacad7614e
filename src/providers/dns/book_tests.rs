use crate::base::clock;
use crate::candidates::Host;
use crate::config::{ProviderKind, ServiceName};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> DnsName {
    name_of(text).expect("a name")
}

fn host(name: &str) -> Host {
    Host {
        name: name.to_owned(),
        port: 80,
        stated: Stated::default(),
        remark: None,
    }
}

fn question(ask: Ask) -> Arc<Question> {
    Arc::new(Question {
        place: (ServiceName::default_service(), 0),
        kind: ProviderKind::Dns,
        ask,
        dns: Arc::new(Dns {
            min_ttl: 5 * SECOND,
            max_ttl: 100 * SECOND,
            ..Dns::default()
        }),
    })
}

fn hosts(names: &[&str], family: Family) -> Arc<Question> {
    let hosts: Vec<Host> = names.iter().map(|name| host(name)).collect();
    question(Ask::Hosts(hosts.into(), family))
}

#[expect(clippy::unnecessary_wraps, reason = "what a server may answer is a result")]
fn records(addresses: &[&str], ttl: u64) -> Result<Answer, Failure> {
    let data = addresses
        .iter()
        .map(|ip| Data::Address(ip.parse().expect("an address")));
    Ok(Answer::Records(data.collect(), Duration::from_secs(ttl)))
}

const NO_SUCH_NAME: Result<Answer, Failure> = Ok(Answer::Nothing {
    exists: false,
    ttl: None,
});

/// Whatever is due, each with the answer that `answer` gives.
fn answer(
    book: &mut Book,
    now: Instant,
    mut answer: impl FnMut(&Wanted) -> Result<Answer, Failure>,
) -> usize {
    let mut count = 0;
    while let Some(wanted) = book.take(now) {
        let result = answer(&wanted);
        book.end(&wanted, result, now, 0.5);
        count += 1;
    }
    count
}

fn told(book: &mut Book, now: Instant) -> Option<Vec<String>> {
    let mut news = book.news(now);
    let said = news.pop()?;
    assert!(news.is_empty(), "one question");
    let set = said.set;
    Some(
        (0..set.len())
            .filter_map(|i| set.at(i))
            .map(|addr| addr.to_string())
            .collect(),
    )
}

#[test]
fn both_families_of_a_name_are_asked_for_and_told_together() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example"], Family::Any)], now);
    let first = book.take(now).expect("due");
    book.end(&first, records(&["192.0.2.1"], 60), now, 0.5);
    assert_eq!(told(&mut book, now), None, "the other family may come at once");
    assert_eq!(answer(&mut book, now, |_| records(&["2001:db8::1"], 60)), 1);
    let both = ["192.0.2.1:80", "[2001:db8::1]:80"].map(str::to_owned);
    assert_eq!(told(&mut book, now), Some(both.to_vec()));
    assert_eq!(told(&mut book, now), None, "told once");
}

#[test]
fn who_is_asked_again_is_told_of_with_the_time_of_it() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example"], Family::Any)], now);
    let next_at = |book: &Book| {
        let standing = book.standings().into_values().next();
        standing.expect("one provider").next_at
    };
    let [first, other] = [0, 1].map(|_| book.take(now).expect("due"));
    book.end(&first, records(&["192.0.2.1"], 60), now, 0.5);
    assert_eq!(next_at(&book), None, "the other family is asked for right now");
    book.end(&other, Err(Failure::NoServer), now, 0.5);
    assert_eq!(next_at(&book), Some(now + SECOND));
}

#[test]
fn a_server_that_is_silent_for_one_family_holds_the_other_up_for_a_moment_only() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example"], Family::Any)], now);
    let first = book.take(now).expect("due");
    book.end(&first, records(&["192.0.2.1"], 60), now, 0.5);
    let later = book.news_at().expect("to be told");
    assert_eq!(told(&mut book, later), Some(vec!["192.0.2.1:80".to_owned()]));
}

#[test]
fn times_to_live_are_kept_within_bounds() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example"], Family::Ipv4)], now);
    for (ttl, kept) in [(0, 5), (60, 60), (100_000, 100)] {
        let mut at = now;
        while book.take(at).is_none() {
            at += SECOND;
        }
        let wanted = Arc::new(book.wanted_by(0).remove(0));
        book.end(&wanted, records(&["192.0.2.1"], ttl), at, 0.5);
        book.news(at);
        assert_eq!(book.due_at(), Some(at + Duration::from_secs(kept)), "{ttl}");
    }
}

#[test]
fn what_fails_keeps_its_last_answer_and_is_asked_less_and_less() {
    let (mut book, mut now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example"], Family::Ipv4)], now);
    answer(&mut book, now, |_| records(&["192.0.2.1"], 5));
    assert!(told(&mut book, now).is_some());
    let mut pauses = Vec::new();
    for _ in 0..9 {
        now = book.due_at().expect("due");
        let silent = Failure::Silent(SocketAddr::from(([127, 0, 0, 1], 53)));
        assert_eq!(answer(&mut book, now, |_| Err(silent.clone())), 1);
        assert_eq!(told(&mut book, now), None, "the last answer stays");
        pauses.push((book.due_at().expect("due") - now).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let standing = book.standings().into_values().next().expect("one provider");
    assert_eq!((standing.candidates, standing.errors), (1, 9));
    assert_eq!(standing.next_at, book.due_at());
    let error = standing.error.expect("it fails");
    assert_eq!(error, "A a.example: 127.0.0.1:53 does not answer in time");
    // And one good answer makes all good.
    now = book.due_at().expect("due");
    answer(&mut book, now, |_| records(&["192.0.2.2"], 50));
    assert_eq!(told(&mut book, now), Some(vec!["192.0.2.2:80".to_owned()]));
    let standing = book.standings().into_values().next().expect("one provider");
    assert_eq!((standing.error, standing.answered_at), (None, Some(now)));
}

#[test]
fn a_name_that_is_gone_keeps_its_addresses_and_one_without_a_family_has_none_of_it() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example"], Family::Any)], now);
    let both = |wanted: &Wanted| match wanted.kind {
        RecordType::A => records(&["192.0.2.1"], 5),
        RecordType::Aaaa | RecordType::Srv => records(&["2001:db8::1"], 5),
    };
    answer(&mut book, now, both);
    assert_eq!(told(&mut book, now).map(|all| all.len()), Some(2));
    let later = now + 5 * SECOND;
    assert_eq!(answer(&mut book, later, |_| NO_SUCH_NAME), 2);
    assert_eq!(told(&mut book, later), None);
    let standing = book.standings().into_values().next().expect("one provider");
    assert_eq!(standing.error.as_deref(), Some("there is no a.example"));
    let later = later + 5 * SECOND;
    let only_v4 = |wanted: &Wanted| match wanted.kind {
        RecordType::A => records(&["192.0.2.1"], 5),
        RecordType::Aaaa | RecordType::Srv => Ok(Answer::Nothing {
            exists: true,
            ttl: None,
        }),
    };
    assert_eq!(answer(&mut book, later, only_v4), 2);
    assert_eq!(told(&mut book, later), Some(vec!["192.0.2.1:80".to_owned()]));
    let standing = book.standings().into_values().next().expect("one provider");
    assert_eq!(standing.error, None, "a name needs no address of each family");
}

#[test]
fn a_service_has_the_addresses_of_its_places_with_tier_and_weight() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(
        &[question(Ask::Service(
            "_http._tcp.example".to_owned(),
            Family::Ipv4,
        ))],
        now,
    );
    let target = |host: &str, priority, weight, port| {
        let name = name(host);
        Data::Service(Target {
            priority,
            weight,
            port,
            name,
        })
    };
    let targets = vec![target("a.example", 0, 3, 8080), target("b.example", 10, 0, 8081)];
    let reply = |wanted: &Wanted| match shown(&wanted.name).as_str() {
        "a.example" => records(&["192.0.2.1", "192.0.2.2"], 50),
        "b.example" => records(&["192.0.2.3"], 50),
        _ => Ok(Answer::Records(targets.clone(), 50 * SECOND)),
    };
    assert_eq!(answer(&mut book, now, reply), 3);
    let said = book.news(now).pop().expect("said");
    let options = |addr: &str| said.set.options_of(&addr.parse().expect("valid"));
    assert_eq!(said.set.len(), 3);
    for first in ["192.0.2.1:8080", "192.0.2.2:8080"] {
        assert_eq!((options(first).tier, options(first).weight.get()), (0, 3));
    }
    assert_eq!(
        (
            options("192.0.2.3:8081").tier,
            options("192.0.2.3:8081").weight.get()
        ),
        (10, 1)
    );
    // A place that leaves is not asked for any more.
    let later = now + 50 * SECOND;
    let only_b = |wanted: &Wanted| match shown(&wanted.name).as_str() {
        "b.example" => records(&["192.0.2.3"], 50),
        "a.example" => Err(Failure::NoServer),
        _ => Ok(Answer::Records(
            vec![target("b.example", 10, 0, 8081)],
            50 * SECOND,
        )),
    };
    answer(&mut book, later, only_b);
    assert_eq!(told(&mut book, later), Some(vec!["192.0.2.3:8081".to_owned()]));
    assert_eq!(book.records.len(), 2);
}

#[test]
fn a_record_that_many_want_is_asked_for_once_and_forgotten_with_the_last() {
    let (mut book, now) = (Book::default(), clock::now());
    let mut other = (*hosts(&["A.example", "b.example"], Family::Ipv4)).clone();
    other.place.1 = 1;
    let questions = [hosts(&["a.example"], Family::Ipv4), Arc::new(other)];
    book.follow(&questions, now);
    assert_eq!(answer(&mut book, now, |_| records(&["192.0.2.1"], 50)), 2);
    assert_eq!(book.news(now).len(), 2);
    book.follow(&questions[..1], now);
    assert_eq!((book.records.len(), book.agenda.len()), (1, 1));
    assert_eq!(answer(&mut book, now, |_| records(&[], 1)), 0, "it is known");
    book.follow(&[], now);
    assert_eq!((book.due_at(), book.records.len()), (None, 0));
}

#[test]
fn an_answer_that_nobody_wants_any_more_is_dropped() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example"], Family::Ipv4)], now);
    let wanted = book.take(now).expect("due");
    book.follow(&[], now);
    book.end(&wanted, records(&["192.0.2.1"], 50), now, 0.5);
    assert!(book.news(now).is_empty() && book.agenda.is_empty());
}

#[test]
fn what_was_said_before_stays_until_every_part_is_known_anew() {
    let (mut book, now) = (Book::default(), clock::now());
    let question = hosts(&["a.example", "b.example"], Family::Ipv4);
    let before = CandidateSet::parse("192.0.2.1:80\n192.0.2.2:80", 80).expect("a list");
    let said = Said {
        question: Arc::clone(&question),
        set: Arc::new(before),
        hosts: Arc::default(),
    };
    // The thread may look before there is anything to ask.
    book.recall(vec![said]);
    book.follow(&[], now);
    book.follow(&[Arc::clone(&question)], now);
    let standing = |book: &Book| book.standings().into_values().next().expect("one provider");
    assert_eq!(
        (standing(&book).candidates, standing(&book).answered_at),
        (2, None)
    );
    let silent = |wanted: &Wanted| match shown(&wanted.name).as_str() {
        "a.example" => records(&["192.0.2.9"], 5),
        _ => Err(Failure::NoServer),
    };
    assert_eq!(answer(&mut book, now, silent), 2);
    let all = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.9:80"].map(str::to_owned);
    assert_eq!(
        told(&mut book, now),
        Some(all.to_vec()),
        "b.example may be what it was"
    );
    let later = now + SECOND;
    assert_eq!(answer(&mut book, later, |_| records(&["192.0.2.8"], 5)), 1);
    let new = ["192.0.2.8:80", "192.0.2.9:80"].map(str::to_owned);
    assert_eq!(told(&mut book, later), Some(new.to_vec()));
    // Asked once more, it is a new question.
    book.follow(&[], later);
    book.follow(&[question], later);
    assert_eq!(standing(&book).candidates, 0);
}

/// Nobody answers.
fn silent(_: &Wanted) -> Result<Answer, Failure> {
    Err(Failure::NoServer)
}

#[test]
fn names_that_stay_in_a_changed_list_are_known_though_nobody_answers_any_more() {
    let (mut book, now) = (Book::default(), clock::now());
    book.follow(&[hosts(&["a.example", "b.example"], Family::Ipv4)], now);
    let each = |wanted: &Wanted| match shown(&wanted.name).as_str() {
        "a.example" => records(&["192.0.2.1"], 5),
        _ => records(&["192.0.2.2"], 5),
    };
    assert_eq!(answer(&mut book, now, each), 2);
    book.news(now);
    let later = now + 10 * SECOND;
    book.follow(&[hosts(&["b.example", "c.example"], Family::Ipv4)], later);
    answer(&mut book, later, silent);
    assert_eq!(told(&mut book, later), Some(vec!["192.0.2.2:80".to_owned()]));
}

#[test]
fn what_other_servers_have_said_stays_until_every_part_is_known_anew() {
    let (mut book, now) = (Book::default(), clock::now());
    let before = hosts(&["a.example", "b.example"], Family::Ipv4);
    book.follow(&[Arc::clone(&before)], now);
    let each = |wanted: &Wanted| match shown(&wanted.name).as_str() {
        "a.example" => records(&["192.0.2.1"], 5),
        _ => records(&["192.0.2.2"], 5),
    };
    assert_eq!(answer(&mut book, now, each), 2);
    book.news(now);
    let mut others = (*hosts(&["a.example", "b.example", "c.example"], Family::Ipv4)).clone();
    others.dns = Arc::new(Dns {
        resolver: vec![SocketAddr::from(([127, 0, 0, 1], 5353))],
        ..Dns::default()
    });
    let others = Arc::new(others);
    book.follow(&[Arc::clone(&others)], now);
    let only_a = |wanted: &Wanted| match shown(&wanted.name).as_str() {
        "a.example" => records(&["192.0.2.9"], 5),
        _ => silent(wanted),
    };
    assert_eq!(answer(&mut book, now, only_a), 3, "others have not been asked");
    let all = ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.9:80"].map(str::to_owned);
    assert_eq!(
        told(&mut book, now),
        Some(all.to_vec()),
        "b.example is what it was"
    );
    // Whoever leaves takes with it what it has said, though the others are not known anew.
    let mut fewer = (*others).clone();
    let Ask::Hosts(hosts, _) = &others.ask else {
        unreachable!("hosts are asked for")
    };
    fewer.ask = Ask::Hosts(hosts[1..].into(), Family::Ipv4);
    book.follow(&[Arc::new(fewer)], now);
    let b = vec!["192.0.2.2:80".to_owned()];
    assert_eq!(told(&mut book, now + COLLECTING), Some(b));
    let later = now + SECOND;
    answer(&mut book, later, |_| records(&["192.0.2.3"], 5));
    assert_eq!(told(&mut book, later), Some(vec!["192.0.2.3:80".to_owned()]));
}

#[test]
fn a_name_that_leaves_takes_with_it_what_it_alone_has_said_to_other_servers_too() {
    let now = clock::now();
    let each = |wanted: &Wanted| match shown(&wanted.name).as_str() {
        "a.example" => records(&["192.0.2.1", "192.0.2.2"], 5),
        _ => records(&["192.0.2.2", "192.0.2.3"], 5),
    };
    // Both are called alike, or each by its name: the address that both have, by the last one's.
    for remark in [Some("hk".to_owned()), None] {
        let named = |name: &str| Host {
            remark: remark.clone(),
            ..host(name)
        };
        let mut book = Book::default();
        let both = [named("a.example"), named("b.example")];
        book.follow(&[question(Ask::Hosts(both.into(), Family::Ipv4))], now);
        assert_eq!(answer(&mut book, now, each), 2);
        book.news(now);
        let mut one = (*question(Ask::Hosts([named("a.example")].into(), Family::Ipv4))).clone();
        one.dns = Arc::new(Dns {
            resolver: vec![SocketAddr::from(([127, 0, 0, 1], 5353))],
            ..Dns::default()
        });
        book.follow(&[Arc::new(one)], now);
        answer(&mut book, now, silent);
        let stays = ["192.0.2.1:80", "192.0.2.2:80"].map(str::to_owned);
        assert_eq!(
            told(&mut book, now + COLLECTING),
            Some(stays.to_vec()),
            "{remark:?}"
        );
    }
}

#[test]
fn who_is_asleep_has_nothing_looked_up_but_at_its_looks_and_soon_after_it_wakes() {
    let (mut book, now) = (Book::default(), clock::now());
    let grid = |seconds| Grid::new(now, Duration::from_secs(seconds));
    let asleep = |name: &str, grid| (ServiceName::parse(name).expect("a name"), grid);
    book.follow(&[hosts(&["a.example"], Family::Ipv4)], now);
    // It is asleep already, and yet learns whom it may use.
    book.rest(&[asleep("default", grid(600))].into());
    assert_eq!(answer(&mut book, now, |_| records(&["192.0.2.1"], 30)), 1);
    assert_eq!(book.due_at(), Some(now + 600 * SECOND));
    let standing = book.standings().into_values().next().expect("one provider");
    assert_eq!(standing.next_at, Some(now + 600 * SECOND));
    let look = now + 600 * SECOND;
    assert_eq!(answer(&mut book, look, |_| records(&["192.0.2.1"], 30)), 1);
    assert_eq!(book.due_at(), Some(look + 600 * SECOND));
    // Who wakes before the answer is old has no use for another one; then it is asked for at once.
    book.rest(&BTreeMap::new());
    assert_eq!(book.due_at(), Some(look + 30 * SECOND));
    book.rest(&[asleep("default", grid(60))].into());
    assert_eq!(book.due_at(), Some(look + 60 * SECOND), "other looks");
    let later = look + 59 * SECOND;
    assert!(book.take(later).is_none());
    book.rest(&BTreeMap::new());
    let wanted = book.take(later).expect("it is woken, and the answer is old");
    // It falls asleep while it is asked for.
    book.rest(&[asleep("default", grid(60))].into());
    book.end(&wanted, Err(Failure::NoServer), later, 0.5);
    assert_eq!(
        book.due_at(),
        Some(look + 120 * SECOND),
        "a failure waits as well"
    );
    assert_eq!(book.agenda.len(), 1);
}

#[test]
fn a_record_that_somebody_wants_who_is_awake_does_not_wait() {
    let (mut book, now) = (Book::default(), clock::now());
    let mut other = (*hosts(&["a.example"], Family::Ipv4)).clone();
    other.place.0 = ServiceName::parse("other").expect("a name");
    let questions = [hosts(&["a.example"], Family::Ipv4), Arc::new(other)];
    book.follow(&questions, now);
    let looks = Grid::new(now, 600 * SECOND);
    book.rest(&[(ServiceName::default_service(), looks)].into());
    assert_eq!(answer(&mut book, now, |_| records(&["192.0.2.1"], 30)), 1);
    assert_eq!(book.due_at(), Some(now + 30 * SECOND));
    book.follow(&questions[..1], now);
    assert_eq!(book.due_at(), Some(now + 600 * SECOND), "who was awake has gone");
    book.follow(&questions, now);
    assert_eq!(book.due_at(), Some(now + 30 * SECOND));
}

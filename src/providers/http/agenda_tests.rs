use super::super::document::tests::list_at;
use super::*;
use crate::base::clock;
use crate::base::grid::Grid;
use crate::config::{ListFormat, ProviderKind, ServiceName};

const SECOND: Duration = Duration::from_secs(1);

fn list(path: &str) -> RemoteList {
    let mut list = list_at(&format!("http://a.example/{path}"), ListFormat::List, "");
    list.http.interval = 100 * SECOND;
    list
}

fn question(index: usize, list: RemoteList) -> Arc<Question> {
    Arc::new(Question {
        place: (ServiceName::default_service(), index),
        kind: ProviderKind::Http,
        ask: Ask::List(Arc::new(list)),
        dns: Arc::new(Dns::default()),
    })
}

fn validators(etag: &str) -> Validators {
    Validators {
        etag: Some(etag.to_owned()),
        last_modified: None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a look brings is a result")]
fn document(text: &str) -> Result<Fetched, Trouble> {
    let url = HttpUrl::parse("http://a.example/x").expect("a URL");
    Ok(Fetched::Document(text.as_bytes().to_vec(), url, validators(text)))
}

fn trouble() -> Result<Fetched, Trouble> {
    Err(Trouble::of("it fails".to_owned()))
}

/// What is told, by provider.
fn told(agenda: &mut Agenda) -> Vec<(usize, Vec<String>)> {
    let said = |news: News| {
        let set = &news.said.set;
        let addresses = (0..set.len()).filter_map(|index| set.at(index));
        let addresses = addresses.map(|addr| addr.to_string()).collect();
        (news.said.question.place.1, addresses)
    };
    agenda.news().into_iter().map(said).collect()
}

fn addresses(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn standing(agenda: &Agenda) -> Standing {
    let all = agenda.standings();
    all.into_values().next().expect("a standing")
}

#[test]
fn a_list_is_looked_at_at_once_and_then_about_once_an_interval() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    agenda.follow(&[question(0, list("x"))], now);
    assert_eq!(agenda.due_at(), Some(now));
    let order = agenda.take(now).expect("due");
    assert!(order.known.is_none() && agenda.due_at().is_none() && agenda.take(now).is_none());
    agenda.end(order.id, document("192.0.2.1"), now, 0.0);
    assert_eq!(told(&mut agenda), [(0, addresses(&["192.0.2.1:443"]))]);
    assert!(told(&mut agenda).is_empty(), "told once");
    assert_eq!(agenda.due_at(), Some(now + 90 * SECOND));
    let later = now + 90 * SECOND;
    let order = agenda.take(later).expect("due");
    let known = order.known.expect("a version");
    assert_eq!(known.validators, validators("192.0.2.1"));
    agenda.end(order.id, Ok(Fetched::Unchanged), later, 1.0);
    assert!(told(&mut agenda).is_empty());
    assert_eq!(standing(&agenda).answered_at, Some(later), "it was confirmed");
    assert_eq!(agenda.due_at(), Some(later + 110 * SECOND));
}

#[test]
fn what_fails_says_what_it_said_and_is_asked_less_and_less() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    agenda.follow(&[question(0, list("x"))], now);
    let order = agenda.take(now).expect("due");
    agenda.end(order.id, document("192.0.2.1"), now, 0.5);
    told(&mut agenda);
    let mut at = now + 100 * SECOND;
    let page = document("<html>192.0.2.66</html>");
    for (count, result) in (1..).zip([trouble(), page, trouble(), document("\n")]) {
        let order = agenda.take(at).expect("due");
        assert!(order.known.is_some(), "the version of the last good list");
        agenda.end(order.id, result, at, 0.5);
        let pause = FIRST_PAUSE * 2_u32.pow(count - 1);
        assert_eq!(agenda.due_at(), Some(at + pause));
        at += pause;
        let standing = standing(&agenda);
        assert_eq!(
            (standing.candidates, standing.errors),
            (1, u64::from(count)),
            "nothing is taken away"
        );
        assert!(standing.error.is_some() && standing.answered_at == Some(now));
        assert!(told(&mut agenda).is_empty());
    }
    for _ in 0..20 {
        let order = agenda.take(at).expect("due");
        agenda.end(order.id, trouble(), at, 0.5);
        at = agenda.due_at().expect("due");
    }
    let order = agenda.take(at).expect("due");
    agenda.end(order.id, trouble(), at, 0.5);
    assert_eq!(agenda.due_at(), Some(at + LONGEST_PAUSE));
    let order = agenda.take(at + LONGEST_PAUSE).expect("due");
    agenda.end(order.id, document("192.0.2.2"), at, 0.5);
    assert_eq!(told(&mut agenda), [(0, addresses(&["192.0.2.2:443"]))]);
    assert_eq!(standing(&agenda).error, None);
}

#[test]
fn whoever_asks_for_patience_gets_it() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    agenda.follow(&[question(0, list("x"))], now);
    let url = HttpUrl::parse("http://a.example/x").expect("a URL");
    let trouble = Trouble::of_answer(&url, &Fault::Status(429, Some(1000 * SECOND)));
    assert_eq!(trouble.why, "a.example answers with status 429");
    let order = agenda.take(now).expect("due");
    agenda.end(order.id, Err(trouble), now, 0.5);
    assert_eq!(agenda.due_at(), Some(now + 1000 * SECOND));
}

#[test]
fn a_list_that_many_want_is_asked_for_once_and_told_to_each() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    let questions = [
        question(0, list("x")),
        question(1, list("x")),
        question(2, list("y")),
    ];
    agenda.follow(&questions, now);
    let first = agenda.take(now).expect("due");
    let second = agenda.take(now).expect("due");
    assert!(agenda.take(now).is_none());
    agenda.end(first.id, document("192.0.2.1"), now, 0.5);
    let both = addresses(&["192.0.2.1:443"]);
    assert_eq!(told(&mut agenda), [(0, both.clone()), (1, both.clone())]);
    // One leaves, another comes: what is known is told at once, and nothing is asked again.
    agenda.follow(&[question(1, list("x")), question(3, list("x"))], now);
    assert_eq!(told(&mut agenda), [(3, both)]);
    assert!(agenda.take(now).is_none());
    assert!(agenda.wants(first.id) && !agenda.wants(second.id));
    agenda.end(second.id, document("192.0.2.2"), now, 0.5);
    assert!(told(&mut agenda).is_empty(), "nobody wants it");
}

#[test]
fn a_list_that_is_asked_for_otherwise_is_looked_at_anew_and_says_what_it_said() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    agenda.follow(&[question(0, list("x"))], now);
    let order = agenda.take(now).expect("due");
    agenda.end(order.id, document("192.0.2.1"), now, 0.5);
    told(&mut agenda);
    let mut hurried = list("x");
    hurried.http.interval = SECOND;
    agenda.follow(&[question(0, hurried)], now + SECOND);
    assert_eq!(standing(&agenda).candidates, 1);
    let order = agenda.take(now + SECOND).expect("due");
    assert!(order.known.is_some());
    agenda.follow(&[question(0, list("other"))], now + SECOND);
    assert_eq!(standing(&agenda).candidates, 0, "another list");
    assert!(!agenda.wants(order.id));
}

#[test]
fn host_names_of_a_list_are_handed_on() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    agenda.follow(&[question(0, list("x"))], now);
    let order = agenda.take(now).expect("due");
    agenda.end(order.id, document("edge.example.org:80\n"), now, 0.5);
    let news = agenda.news();
    let [news] = &news[..] else { panic!("{news:?}") };
    assert!(news.said.set.is_empty());
    assert_eq!(news.said.hosts.len(), 1);
    // The same again is no news.
    let later = agenda.due_at().expect("due");
    let order = agenda.take(later).expect("due");
    agenda.end(order.id, document("edge.example.org:80\n"), later, 0.5);
    assert!(agenda.news().is_empty());
}

/// The default service is asleep and has its looks every so many seconds.
fn asleep(agenda: &mut Agenda, origin: Instant, every: u32) {
    let looks = Grid::new(origin, every * SECOND);
    assert!(
        agenda.rest(&[(ServiceName::default_service(), looks)].into()),
        "news"
    );
}

#[test]
fn who_is_asleep_has_nothing_fetched_but_at_its_looks_and_at_once_when_it_wakes() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    agenda.follow(&[question(0, list("x"))], now);
    asleep(&mut agenda, now, 600);
    // It is asleep already, and yet learns whom it may use.
    let order = agenda.take(now).expect("due");
    agenda.end(order.id, document("192.0.2.1"), now, 0.5);
    let look = now + 600 * SECOND;
    assert_eq!(
        (agenda.due_at(), standing(&agenda).next_at),
        (Some(look), Some(look))
    );
    assert!(agenda.take(now + 599 * SECOND).is_none());
    let order = agenda.take(look).expect("a look");
    agenda.end(order.id, Ok(Fetched::Unchanged), look, 0.5);
    assert_eq!(agenda.due_at(), Some(look + 600 * SECOND));
    // Who wakes before its time has no use for another one; then it is fetched at once.
    assert!(agenda.rest(&BTreeMap::new()) && !agenda.rest(&BTreeMap::new()));
    assert_eq!(agenda.due_at(), Some(look + 100 * SECOND));
    asleep(&mut agenda, now, 60);
    assert_eq!(agenda.due_at(), Some(look + 120 * SECOND), "other looks");
    let woken = look + 119 * SECOND;
    assert!(agenda.take(woken).is_none());
    assert!(agenda.rest(&BTreeMap::new()) && !agenda.rest(&BTreeMap::new()));
    let order = agenda.take(woken).expect("it is woken, and its time is over");
    // It falls asleep while it is fetched.
    asleep(&mut agenda, now, 60);
    agenda.end(order.id, trouble(), woken, 0.5);
    assert_eq!(
        agenda.due_at(),
        Some(look + 180 * SECOND),
        "a failure waits as well"
    );
}

#[test]
fn a_list_that_somebody_wants_who_is_awake_does_not_wait() {
    let (mut agenda, now) = (Agenda::default(), clock::now());
    let mut other = (*question(0, list("x"))).clone();
    other.place.0 = ServiceName::parse("other").expect("a name");
    let questions = [question(0, list("x")), Arc::new(other)];
    agenda.follow(&questions, now);
    asleep(&mut agenda, now, 600);
    let order = agenda.take(now).expect("due");
    agenda.end(order.id, document("192.0.2.1"), now, 0.5);
    assert_eq!(agenda.due_at(), Some(now + 100 * SECOND));
    agenda.follow(&questions[..1], now);
    assert_eq!(
        agenda.due_at(),
        Some(now + 600 * SECOND),
        "who was awake has gone"
    );
    let mut other = list("x");
    other.http.timeout = 7 * SECOND;
    agenda.follow(&[question(0, other)], now);
    assert_eq!(agenda.due_at(), Some(now), "it is fetched otherwise");
}

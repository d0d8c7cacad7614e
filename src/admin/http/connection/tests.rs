//! Time on a connection, with a clock that the test moves.

use super::*;
use crate::admin::desk::Errand;
use crate::admin::site::tests::Place;
use crate::base::clock;
use std::net::TcpListener;

struct Pair {
    place: Place,
    client: std::net::TcpStream,
    connection: Connection,
    start: Instant,
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("an option");
        let (stream, _) = listener.accept().expect("accept");
        stream.set_nonblocking(true).expect("non-blocking");
        let start = clock::now();
        let wire = Wire::Tcp(mio::net::TcpStream::from_std(stream));
        Self {
            // Who may do what is not asked here.
            connection: Connection::new(wire, Door::Control, start),
            place: Place::new(),
            client,
            start,
        }
    }

    /// Lets the connection work until something holds.
    fn work_until(&mut self, now: Instant, holds: impl Fn(&Connection) -> bool) {
        let give_up = clock::now() + Duration::from_secs(10);
        while !holds(&self.connection) {
            assert!(clock::now() < give_up, "{:?}", self.connection);
            let turn = self.connection.advance(&self.place.site, now);
            assert_ne!(turn, Turn::Closed);
            std::thread::yield_now();
        }
    }

    /// Sends bytes and lets the connection work until it has seen them.
    fn send(&mut self, bytes: &[u8], now: Instant) {
        let seen = self.connection.received.len() + bytes.len();
        self.client.write_all(bytes).expect("send");
        self.work_until(now, |connection| connection.received.len() >= seen);
    }

    /// What has come back so far, once it ends with this.
    fn answer(&mut self, end: &str) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.client.read_exact(&mut byte).expect("an answer");
            answer.extend_from_slice(&byte);
        }
        String::from_utf8(answer).expect("text")
    }

    fn bad(&self) -> u64 {
        self.place.bad()
    }

    fn on_deadline(&mut self) -> Turn {
        let deadline = self.connection.deadline();
        self.connection.on_deadline(&self.place.site, deadline)
    }
}

fn waits(connection: &Connection) -> bool {
    matches!(connection.phase, Phase::Waiting { .. })
}

fn takes_body(connection: &Connection) -> bool {
    matches!(connection.phase, Phase::Body { .. })
}

#[test]
fn a_byte_now_and_then_does_not_buy_time() {
    let mut pair = Pair::new();
    let second = Duration::from_secs(1);
    pair.send(b"GET ", pair.start);
    let deadline = pair.connection.deadline();
    assert_eq!(deadline, pair.start + HEAD_TIMEOUT);
    pair.send(b"/", pair.start + second);
    pair.send(b"m", pair.start + 3 * second);
    assert_eq!(pair.connection.deadline(), deadline);
    assert_eq!(pair.on_deadline(), Turn::Closed);
    assert_eq!(pair.bad(), 1);
}

#[test]
fn nor_does_a_byte_of_a_body() {
    let mut pair = Pair::new();
    let head = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
    pair.client.write_all(head.as_bytes()).expect("send");
    pair.work_until(pair.start, takes_body);
    let deadline = pair.connection.deadline();
    assert_eq!(deadline, pair.start + HEAD_TIMEOUT);
    let later = pair.start + Duration::from_secs(2);
    pair.client.write_all(b"abc").expect("send");
    pair.work_until(later, |connection| {
        matches!(connection.phase, Phase::Body { left: 1, .. })
    });
    assert_eq!(pair.connection.deadline(), deadline);
    assert_eq!(pair.on_deadline(), Turn::Closed);
    assert_eq!(pair.bad(), 1);
}

#[test]
fn silence_is_closed_and_not_counted() {
    let mut pair = Pair::new();
    assert_eq!(pair.connection.deadline(), pair.start + HEAD_TIMEOUT);
    assert_eq!(pair.bad(), 0);
    assert_eq!(pair.on_deadline(), Turn::Closed);
    assert_eq!(pair.bad(), 0);
}

#[test]
fn between_requests_there_is_time_and_no_buffer() {
    let mut pair = Pair::new();
    pair.client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
    let later = pair.start + Duration::from_secs(2);
    pair.work_until(later, |connection| connection.deadline() == later + IDLE_TIMEOUT);
    assert_eq!(pair.connection.received.capacity(), 0);
    // The next head has the short time again, from its first byte.
    pair.send(b"GET", later + Duration::from_secs(60));
    let deadline = later + Duration::from_secs(60) + HEAD_TIMEOUT;
    assert_eq!(pair.connection.deadline(), deadline);
}

#[test]
fn without_its_listener_a_connection_has_one_more_answer() {
    let mut pair = Pair::new();
    pair.client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
    let start = pair.start;
    pair.work_until(start, |connection| connection.deadline() == start + IDLE_TIMEOUT);
    pair.connection.retire(start);
    assert_eq!(pair.connection.deadline(), start + HEAD_TIMEOUT);
    pair.answer("</html>\n");
    pair.client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("send");
    pair.work_until(start, |connection| {
        matches!(connection.phase, Phase::Lingering { .. })
    });
    let answer = pair.answer("</html>\n");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[test]
fn an_answer_that_does_not_come_is_a_504() {
    let mut pair = Pair::new();
    let asked = b"POST /api/v1/reload HTTP/1.1\r\n\r\n";
    pair.client.write_all(asked).expect("send");
    pair.work_until(pair.start, waits);
    let Ok(Errand::Reload(Some(ticket))) = pair.place.errands.try_recv() else {
        panic!("a reload was asked for");
    };
    assert_eq!(pair.connection.deadline(), pair.start + ANSWER_TIMEOUT);
    assert_eq!(pair.on_deadline(), Turn::Waits);
    let answer = pair.answer("}\n");
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    // The answer that comes too late is for nobody, not even for the next request of the same client.
    let late = Page::json(200, &"late");
    assert!(pair.connection.deliver(ticket, late, pair.start).is_err());
    pair.client.write_all(asked).expect("send");
    pair.work_until(pair.start, waits);
    let late = Page::json(200, &"late");
    assert!(pair.connection.deliver(ticket, late, pair.start).is_err());
    let Ok(Errand::Reload(Some(ticket))) = pair.place.errands.try_recv() else {
        panic!("a reload was asked for");
    };
    let page = Page::json(200, &"in time");
    assert!(pair.connection.deliver(ticket, page, pair.start).is_ok());
    pair.work_until(pair.start, |connection| {
        matches!(connection.phase, Phase::Reading)
    });
    let answer = pair.answer("\"in time\"\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(pair.bad(), 0, "the client did nothing wrong");
}

#[test]
fn a_body_is_called_for_only_where_it_is_wanted() {
    let mut pair = Pair::new();
    let json = "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let asked = format!("POST /api/v1/reload HTTP/1.1\r\n{json}");
    pair.client.write_all(asked.as_bytes()).expect("send");
    pair.work_until(pair.start, takes_body);
    assert_eq!(pair.answer("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(pair.place.errands.try_recv().is_err(), "the body has not come");
    pair.client.write_all(b"{}").expect("send");
    pair.work_until(pair.start, waits);
    assert!(pair.place.errands.try_recv().is_ok());

    let mut refused = Pair::new();
    let asked = format!("POST /none HTTP/1.1\r\n{json}");
    refused.client.write_all(asked.as_bytes()).expect("send");
    refused.work_until(refused.start, |connection| {
        matches!(connection.phase, Phase::Lingering { .. })
    });
    let answer = refused.answer("404 Not Found\n");
    assert!(
        answer.starts_with("HTTP/1.1 404 Not Found\r\nConnection: close\r\n"),
        "{answer}"
    );
    assert_eq!(refused.bad(), 1);
}

#[test]
fn who_waits_longest_for_a_request_is_worth_least() {
    let mut old = Pair::new();
    let new = Pair::new();
    assert!(old.connection.worth() < new.connection.worth());
    // A reply under way is worth more than any wait.
    old.connection.enter_reply(Reply::go_on(), Then::Close, old.start);
    assert!(old.connection.worth() > new.connection.worth());
    assert_eq!(old.connection.unsent(), Reply::go_on().len());
}

#[test]
fn a_large_answer_has_more_time() {
    let mut pair = Pair::new();
    let large = Page::plain("x".repeat(10 * SLOWEST));
    pair.connection.reply(large, Manner::of_the_unknown(), pair.start);
    let patience = REPLY_TIMEOUT + Duration::from_secs(10);
    assert_eq!(pair.connection.deadline(), pair.start + patience);
}

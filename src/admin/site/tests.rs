//! Which request gets which answer.

use super::super::http::request::{Parsed, parse};
use super::super::page::Manner;
use super::*;
use crate::base::clock;
use crate::metrics::tests::World;
use std::sync::mpsc::Receiver;

/// A site over a world without backends, and the end where its errands come out.
pub(in crate::admin) struct Place {
    pub(in crate::admin) site: Site,
    pub(in crate::admin) errands: Receiver<Errand>,
    world: World,
}

impl Place {
    pub(in crate::admin) fn new() -> Self {
        let world = World::new(&[]);
        let exporter = Exporter::new(world.sources.clone()).expect("valid");
        let hub = Arc::clone(&world.sources.hub);
        let (desk, errands) = Desk::new(Arc::clone(&hub.bells.worker));
        let bad_requests = Arc::clone(&world.sources.bad_requests);
        Self {
            site: Site::new(exporter, bad_requests, hub, desk),
            errands,
            world,
        }
    }

    pub(in crate::admin) fn bad(&self) -> u64 {
        self.world.sources.bad_requests.load(Ordering::Relaxed)
    }

    fn ask(&self, door: Door, head: &str) -> Answer {
        self.site.answer(&request(head), door, clock::now())
    }

    /// The status and the head of an answer that comes at once.
    fn page(&self, door: Door, head: &str) -> (u16, String) {
        match self.ask(door, head) {
            Answer::Page(page) => {
                let status = page.status();
                let reply = page.reply(&Manner::of(&request(head)));
                let mut slices = [std::io::IoSlice::new(&[])];
                reply.left(0, &mut slices);
                let [head] = slices;
                (status, String::from_utf8(head.to_vec()).expect("text"))
            }
            answer @ (Answer::Later(_) | Answer::Follow(_) | Answer::HandOver(_)) => {
                panic!("{head}: {answer:?}")
            }
        }
    }
}

fn request(head: &str) -> Request {
    let head = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
    let parsed = parse(head.as_bytes());
    if let Parsed::Complete(request) = parsed {
        return request;
    }
    panic!("{head:?} is {parsed:?}");
}

#[test]
fn each_path_says_which_methods_it_has() {
    let place = Place::new();
    for (path, allow) in [
        ("/", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/api/v1/status", "GET, HEAD"),
        ("/api/v1/reload", "POST"),
        ("/api/v1/takeover", "POST"),
    ] {
        for method in ["PUT", "DELETE", "OPTIONS", "BREW"] {
            let head = format!("{method} {path} HTTP/1.1");
            let (status, head) = place.page(Door::Control, &head);
            assert_eq!(status, 405, "{method} {path}");
            assert!(head.contains(&format!("\r\nAllow: {allow}\r\n")), "{head}");
        }
        let other = if allow == "POST" { "GET" } else { "POST" };
        let (status, _) = place.page(Door::Control, &format!("{other} {path} HTTP/1.1"));
        assert_eq!(status, 405, "{other} {path}");
    }
    for path in ["/metrics/", "/api/v1", "/api/v1/status/", "/api/v2/status"] {
        let (status, head) = place.page(Door::Control, &format!("GET {path} HTTP/1.1"));
        assert_eq!(status, 404, "{path}");
        assert_eq!(
            head.contains("application/json"),
            path.starts_with("/api/"),
            "{head}"
        );
    }
    assert_eq!(place.bad(), 5 * 5 + 4);
}

#[test]
fn a_scrape_needs_no_name_and_no_token() {
    let place = Place::new();
    for path in ["/", "/page.css", "/page.js", "/icon.svg", "/metrics"] {
        let head = format!("GET {path} HTTP/1.1\nHost: forwarder.example\nSec-Fetch-Site: cross-site");
        assert_eq!(place.page(Door::Metrics, &head).0, 200, "{path}");
    }
    let status = "GET /api/v1/status HTTP/1.1\nHost: forwarder.example";
    assert_eq!(place.page(Door::Metrics, status).0, 403);
    let status = "GET /api/v1/status HTTP/1.1\nHost: localhost:1";
    assert_eq!(place.page(Door::Metrics, status).0, 200);
}

#[test]
fn a_scrape_is_in_the_format_that_is_asked_for() {
    let place = Place::new();
    let ask = |accept: &str| {
        let head = format!("GET /metrics HTTP/1.1\nHost: localhost{accept}");
        let Answer::Page(page) = place.ask(Door::Metrics, &head) else {
            panic!("{head}");
        };
        let body = String::from_utf8(page.body()).expect("text");
        (place.page(Door::Metrics, &head).1, body)
    };
    for accept in ["", "\nAccept: */*", "\nAccept: text/plain\nAccept: */*"] {
        let (head, body) = ask(accept);
        assert!(
            head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{head}"
        );
        assert!(
            !body.contains("# EOF") && body.contains("# TYPE tcp_forwarder_new_connections_total counter\n")
        );
    }
    let (head, body) = ask("\nAccept: text/plain;q=0.5\nAccept: application/openmetrics-text;version=1.0.0");
    assert!(
        head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(body.ends_with("\n# EOF\n") && body.contains("# TYPE tcp_forwarder_new_connections counter\n"));
}

#[test]
fn a_reload_is_left_on_the_desk() {
    let mut place = Place::new();
    let asked = "POST /api/v1/reload HTTP/1.1\nHost: localhost";
    let (status, _) = place.page(Door::Metrics, asked);
    assert_eq!(status, 403, "there is no token");
    place.site.set_token(Some("t".to_owned()));
    let (status, head) = place.page(Door::Metrics, asked);
    assert_eq!(status, 401);
    assert!(head.contains("\r\nWWW-Authenticate: Bearer"), "{head}");
    assert!(place.errands.try_recv().is_err());
    let shown = format!("{asked}\nAuthorization: Bearer t");
    for (door, head) in [(Door::Metrics, shown.as_str()), (Door::Control, asked)] {
        let answer = place.ask(door, head);
        let Answer::Later(ticket) = answer else {
            panic!("{answer:?}");
        };
        let errand = place.errands.try_recv();
        assert!(
            matches!(&errand, Ok(Errand::Reload(Some(other))) if *other == ticket),
            "{errand:?}"
        );
    }
    let listing = "GET /api/v1/connections?limit=7 HTTP/1.1\nHost: localhost";
    assert!(matches!(place.ask(Door::Metrics, listing), Answer::Later(_)));
    assert!(matches!(place.errands.try_recv(), Ok(Errand::Connections(_, 7))));
    let (_, gone) = std::sync::mpsc::channel();
    place.errands = gone;
    assert_eq!(place.page(Door::Control, asked).0, 409);
    assert_eq!(place.page(Door::Metrics, listing).0, 409);
}

#[test]
fn takeovers_come_over_the_control_socket_in_a_known_version() {
    let mut place = Place::new();
    place.site.set_token(Some("t".to_owned()));
    let asked = "POST /api/v1/takeover HTTP/1.1\nHost: localhost\nAuthorization: Bearer t";
    let known = format!("{asked}\nConnection: upgrade\nUpgrade: {TAKEOVER}");
    assert_eq!(place.page(Door::Metrics, &known).0, 403);
    assert!(matches!(
        place.ask(Door::Control, &known),
        Answer::HandOver(page) if page.status() == 101
    ));
    let unknown = known.replace("takeover/1", "takeover/2");
    let unnamed = known.replace("Connection: upgrade\n", "");
    for head in [unknown.as_str(), unnamed.as_str(), asked] {
        let (status, head) = place.page(Door::Control, head);
        assert_eq!(status, 426);
        assert!(head.contains(&format!("\r\nUpgrade: {TAKEOVER}\r\n")), "{head}");
    }
}

#[test]
fn a_refusal_is_known_before_the_body() {
    let place = Place::new();
    let text = request("POST /api/v1/reload HTTP/1.1\nContent-Length: 1\nContent-Type: text/plain");
    let refusal = place.site.refusal(&text, Door::Control).expect("refused");
    assert_eq!(refusal.status(), 415);
    assert_eq!(place.bad(), 1);
    let json = request("POST /api/v1/reload HTTP/1.1\nContent-Length: 1\nContent-Type: application/json");
    assert!(place.site.refusal(&json, Door::Control).is_none());
    assert!(place.errands.try_recv().is_err(), "nothing is asked yet");
}

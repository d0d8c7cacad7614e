//! Answers, right and wrong ones, in pieces of any size.

use proptest::prelude::*;

use super::*;
use crate::config::{HttpCheck, Method, Pattern, Select, Statuses};

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 80))
}

fn http(change: impl FnOnce(&mut Check)) -> Plan {
    let mut check = Check {
        kind: CheckKind::Http,
        ..Check::default()
    };
    change(&mut check);
    Plan::of(&check).expect("something is asked")
}

fn get(body: &str) -> Plan {
    http(|check| {
        check.http = HttpCheck {
            method: Method::Get,
            expect_body: body.to_owned(),
            ..HttpCheck::default()
        };
    })
}

fn send_expect(expect: &str) -> Plan {
    let check = Check {
        kind: CheckKind::SendExpect,
        send: Pattern::of("PING\r\n").expect("text"),
        expect: Pattern::of(expect).expect("text"),
        ..Check::default()
    };
    Plan::of(&check).expect("something is asked")
}

/// The verdict on an answer that comes in pieces of this size and ends.
fn verdict(plan: &Plan, answer: &[u8], piece: usize) -> Verdict {
    let mut reading = Reading::default();
    for bytes in answer.chunks(piece) {
        match reading.feed(plan, bytes) {
            Verdict::Open => {}
            verdict @ (Verdict::Right | Verdict::Wrong(_)) => return verdict,
        }
    }
    reading.end(plan)
}

/// The same for pieces of every size.
fn judge(plan: &Plan, answer: &str) -> Verdict {
    let whole = verdict(plan, answer.as_bytes(), answer.len().max(1));
    for piece in 1..answer.len().min(40) {
        assert_eq!(
            verdict(plan, answer.as_bytes(), piece),
            whole,
            "in pieces of {piece}"
        );
    }
    whole
}

fn is_wrong(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Wrong(_))
}

#[test]
fn the_question_is_what_was_configured() {
    let plan = http(|check| {
        check.http.host = "example.net".to_owned();
        check.http.path = "/up?x=1".to_owned();
    });
    let question = String::from_utf8(plan.question(addr())).expect("text");
    assert!(
        question.starts_with("HEAD /up?x=1 HTTP/1.1\r\nHost: example.net\r\n"),
        "{question}"
    );
    assert!(question.ends_with("\r\n\r\n"));
    let question = String::from_utf8(http(|_| ()).question(addr())).expect("text");
    assert!(question.contains("\r\nHost: 127.0.0.1:80\r\n"), "{question}");
    assert_eq!(send_expect("+PONG").question(addr()), b"PING\r\n");
    assert!(Plan::of(&Check::default()).is_none(), "a connect asks nothing");
}

#[test]
fn who_is_told_of_clients_is_told_that_a_check_is_none() {
    let mut spec = Spec::default();
    spec.remotes.probing.check.kind = CheckKind::SendExpect;
    spec.remotes.probing.check.send = Pattern::of("PING").expect("text");
    let question = |spec: &Spec| {
        let plan = Plan::of_spec(spec).expect("something is asked");
        [plan.introduction(), plan.question(addr())].concat()
    };
    assert_eq!(question(&spec), b"PING");
    let before = spec.clone();
    for (send, expected) in [
        (ProxySend::V1, &b"PROXY UNKNOWN\r\nPING"[..]),
        (ProxySend::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0PING"),
    ] {
        spec.server.proxy_protocol.send = send;
        assert_eq!(question(&spec), expected);
        assert!(!Plan::says_the_same(&before, &spec) && Plan::says_the_same(&spec, &spec));
    }
    spec.remotes.probing.check.port = 8080;
    assert_eq!(question(&spec), b"PING", "another port is another server");
}

#[test]
fn statuses_are_in_their_ranges() {
    let plan = http(|check| {
        check.http.expect_status = vec![Statuses { from: 200, to: 204 }, Statuses { from: 404, to: 404 }];
    });
    for (status, is_right) in [(200, true), (204, true), (205, false), (404, true), (500, false)] {
        let answer = format!("HTTP/1.1 {status} Whatever\r\nServer: x\r\n\r\n");
        assert_eq!(judge(&plan, &answer) == Verdict::Right, is_right, "{status}");
    }
    assert_eq!(
        judge(&plan, "HTTP/1.0 200\n\n"),
        Verdict::Right,
        "old servers, too"
    );
    assert_eq!(
        judge(&plan, "HTTP/1.0 200 OK\nServer: x\n\r\n"),
        Verdict::Right,
        "and careless ones"
    );
    assert!(is_wrong(judge(&plan, "SSH-2.0-OpenSSH_9.2\r\n\r\n")));
    assert!(is_wrong(judge(&plan, "HTTP/1.1 200 OK\r\nServer: x\r\n")));
    assert_eq!(judge(&plan, ""), Verdict::Wrong("it ends without a word"));
}

#[test]
fn what_announces_an_answer_is_none() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let plan = http(|_| ());
    assert_eq!(
        judge(&plan, &format!("{early}{early}HTTP/1.1 200 OK\r\n\r\n")),
        Verdict::Right
    );
    assert!(is_wrong(judge(&plan, &format!("{early}HTTP/1.1 500 No\r\n\r\n"))));
    assert!(is_wrong(judge(&plan, early)));
}

#[test]
fn headers_are_looked_for() {
    let named = |expected: &str| {
        let expected = expected.to_owned();
        http(|check| check.http.expect_header = expected)
    };
    let answer = "HTTP/1.1 200 OK\r\nX-Served-By: cache-fra-1\r\nServer: nginx\r\n\r\n";
    for (expected, is_right) in [
        ("server", true),
        ("Server: nginx", true),
        ("x-served-by: fra", true),
        ("Server: Apache", false),
        ("Via", false),
    ] {
        assert_eq!(
            judge(&named(expected), answer) == Verdict::Right,
            is_right,
            "{expected}"
        );
    }
}

#[test]
fn candidates_are_selected_by_a_header() {
    let plan = http(|check| {
        check.select = Select {
            header: "cf-ray".to_owned(),
            pattern: "-(HKG|NRT)$".to_owned(),
        };
    });
    for (ray, is_right) in [
        ("8a-HKG", true),
        ("8a-NRT", true),
        ("8a-FRA", false),
        ("NRT", false),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nCF-RAY: {ray}\r\n\r\n");
        assert_eq!(judge(&plan, &answer) == Verdict::Right, is_right, "{ray}");
    }
    assert_eq!(
        judge(&plan, "HTTP/1.1 200 OK\r\n\r\n"),
        Verdict::Wrong("it is not selected")
    );
}

#[test]
fn bodies_are_looked_through_however_they_are_framed() {
    let plan = get("all is well");
    let bodies = [
        "Content-Length: 20\r\n\r\nhere all is well now",
        "\r\nhere all is well now",
        "Transfer-Encoding: chunked\r\n\r\n8;a=b\r\nhere all\r\n4\r\n is \r\n4\r\nwell\r\n0\r\n\r\n",
    ];
    for body in bodies {
        let glue = if body.starts_with('\r') { "" } else { "X: y\r\n" };
        assert_eq!(
            judge(&plan, &format!("HTTP/1.1 200 OK\r\n{glue}{body}")),
            Verdict::Right,
            "{body}"
        );
    }
    for body in [
        "Content-Length: 4\r\n\r\nhere all is well now",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: many\r\n\r\nall is well",
        "\r\nhere all is not well",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\nall is well\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nall is well",
    ] {
        assert!(
            is_wrong(judge(&plan, &format!("HTTP/1.1 200 OK\r\n{body}"))),
            "{body}"
        );
    }
}

#[test]
fn bytes_are_looked_for() {
    assert_eq!(judge(&send_expect("+PONG"), "+PONG\r\n"), Verdict::Right);
    assert_eq!(judge(&send_expect("hex:0d0a"), "220 mail\r\n"), Verdict::Right);
    assert!(is_wrong(judge(&send_expect("+PONG"), "-ERR\r\n")));
    assert_eq!(
        judge(&send_expect(""), "x"),
        Verdict::Right,
        "anything is an answer"
    );
    assert!(is_wrong(judge(&send_expect(""), "")), "but nothing");
}

#[test]
fn nothing_is_read_without_end() {
    for plan in [http(|_| ()), get("wanted"), send_expect("wanted")] {
        for answer in ["HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 OK\r\n\r\n"] {
            let mut reading = Reading::default();
            let mut verdict = reading.feed(&plan, answer.as_bytes());
            let mut fed = answer.len();
            while verdict == Verdict::Open {
                verdict = reading.feed(&plan, &[b'a'; 999]);
                fed += 999;
                assert!(reading.kept.len() <= LONGEST_ANSWER);
            }
            assert!(fed < LONGEST_ANSWER + 2_000, "{fed}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_judged_the_same_in_any_pieces(answer in prop::collection::vec(any::<u8>(), 0..300),
        head in "(HTTP/1\\.1 200 OK\r\n(Content-Length: [0-9]{1,3}|Transfer-Encoding: chunked|A: b)\r\n\r\n)?",
        piece in 1_usize..50) {
        let answer = [head.as_bytes(), &answer].concat();
        for plan in [http(|_| ()), get("a"), send_expect("hex:00ff")] {
            let whole = verdict(&plan, &answer, answer.len().max(1));
            let pieces = verdict(&plan, &answer, piece);
            prop_assert_eq!(whole == Verdict::Right, pieces == Verdict::Right);
        }
    }
}

//! Candidates that are asked for more than a connect.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::programs::{self, Server as Program, free_addr, nginx, programs};
use crate::servers::{Conduct, Server, ask_often, failed};
use crate::support::{Forwarder, comes_to_rest, pause, wait_for};

const PATIENCE: Duration = Duration::from_secs(5);

fn changes(check: &Value) -> Value {
    json!({
        "remotes": {
            "probing": { "interval": "300ms", "timeout": "400ms", "check": check },
            "selector": { "evaluation_interval": "300ms", "active_set_size": 8 },
        },
    })
}

/// A server that treats each connection like this, in a thread of its own.
fn server(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// A server by HTTP that answers each request with these bytes and ends.
fn answering(answer: &'static str) -> SocketAddr {
    server(move |mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = [0; 1024];
        if stream.read(&mut request).is_ok_and(|count| count > 0) {
            // Whoever has gone need not hear it.
            let _ = stream.write_all(answer.as_bytes());
        }
    })
}

/// The forwarder over these candidates, and which of them it uses once that is settled.
fn used(check: &Value, candidates: &[SocketAddr]) -> (Forwarder, Vec<SocketAddr>) {
    used_under(&changes(check), candidates)
}

fn used_under(changes: &Value, candidates: &[SocketAddr]) -> (Forwarder, Vec<SocketAddr>) {
    let list: Vec<String> = candidates.iter().map(ToString::to_string).collect();
    let forwarder = Forwarder::start(changes, &list.join("\n"));
    wait_for("a few checks", || forwarder.metric("checks_total") >= 12.0);
    let look = || {
        let text = forwarder.scrape();
        let is_used =
            |addr: &&SocketAddr| text.contains(&format!("lb_backend_connections{{server=\"{addr}\"}}"));
        candidates.iter().filter(is_used).copied().collect::<Vec<_>>()
    };
    let set = comes_to_rest(crate::support::PATIENCE, Duration::from_secs(1), look);
    (forwarder, set.expect("a set that stays"))
}

#[test]
fn a_middlebox_that_accepts_for_others_is_never_used() {
    for source in ["connect", "first_byte"] {
        let good: Vec<_> = (1..4)
            .map(|number| Server::start(number, Conduct::Answer))
            .collect();
        let mute = Server::start(0, Conduct::Mute);
        let mut changes = changes(&json!({ "type": "send_expect", "send": "ask\n", "expect": "" }));
        changes["remotes"]["scoring"] = json!({ "latency": { "source": source } });
        let mut candidates: Vec<_> = good.iter().map(|server| server.addr).collect();
        let expected = candidates.clone();
        candidates.push(mute.addr);
        let (forwarder, set) = used_under(&changes, &candidates);
        let got = ask_often(&forwarder, 60, PATIENCE, Duration::ZERO);
        let log = forwarder.log();
        assert_eq!(set, expected, "{source}: {log}");
        assert_eq!(failed(&got), 0, "{source}: {log}");
        assert!(!log.contains(&format!("in {}", mute.addr)), "{source}: {log}");
    }
}

#[test]
fn answers_by_http_are_judged_by_status_header_body_and_selection() {
    let right = answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncf-ray: 8-HKG\r\n\r\nup\n");
    let wrong = [
        answering("HTTP/1.1 503 Down\r\nContent-Length: 3\r\ncf-ray: 8-HKG\r\n\r\nup\n"),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nup\n"),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncf-ray: 8-FRA\r\n\r\nup\n"),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncf-ray: 8-HKG\r\n\r\ndown\n"),
    ];
    let check = json!({
        "type": "http",
        "http": { "method": "GET", "expect_body": "up" },
        "select": { "header": "CF-Ray", "match": "-(HKG|NRT)$" },
    });
    let candidates: Vec<_> = wrong.into_iter().chain([right]).collect();
    let (forwarder, set) = used(&check, &candidates);
    assert_eq!(set, [right], "{}", forwarder.log());
    let log = forwarder.log();
    for why in [
        "the status is another one",
        "it is not selected",
        "the body is another one",
    ] {
        assert_eq!(log.matches(why).count(), 1, "each reason is told once: {log}");
    }
}

#[test]
fn hostile_answers_cost_their_probe_only() {
    let right = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let endless = |head: &'static str, piece: &'static [u8]| {
        server(move |mut stream| {
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(piece).is_ok() {}
        })
    };
    let drip = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(b"x").is_ok() {
            pause(Duration::from_millis(100));
        }
    });
    let wrong = [
        endless("HTTP/1.1 200 OK\r\n", b"X-Header: again and again\r\n"),
        endless(
            "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
            &[b'.'; 4096],
        ),
        endless(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\n.\r\n",
        ),
        endless("", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip,
        answering("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nok"),
        answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nok"),
        server(drop),
    ];
    let check = json!({ "type": "http", "http": { "method": "GET", "expect_body": "ok" } });
    let candidates: Vec<_> = wrong.into_iter().chain([right]).collect();
    let (forwarder, set) = used(&check, &candidates);
    assert_eq!(set, [right], "{}", forwarder.log());
    let resident = forwarder.resident_kb();
    assert!(resident < 60_000, "{resident} kB");
}

#[test]
fn one_that_begins_to_answer_wrongly_leaves_and_returns() {
    let servers = [
        Server::start(1, Conduct::Answer),
        Server::start(2, Conduct::Answer),
    ];
    let check = json!({ "type": "send_expect", "send": "ask\n", "every": 2 });
    let candidates: Vec<_> = servers.iter().map(|server| server.addr).collect();
    let (forwarder, set) = used(&check, &candidates);
    assert_eq!(set, candidates);
    let series = format!("lb_backend_connections{{server=\"{}\"}}", servers[0].addr);
    servers[0].behave(Conduct::Wordless);
    wait_for("it leaves", || !forwarder.scrape().contains(&series));
    servers[0].behave(Conduct::Answer);
    wait_for("it returns", || forwarder.scrape().contains(&series));
}

#[test]
fn a_check_that_comes_with_a_reload_takes_a_mute_one_out_and_one_that_goes_lets_it_in() {
    let good = Server::start(1, Conduct::Answer);
    let mute = Server::start(2, Conduct::Mute);
    let list = format!("{}\n{}", good.addr, mute.addr);
    let forwarder = Forwarder::start(&changes(&json!({})), &list);
    let uses = |server: &Server| {
        let series = format!("lb_backend_connections{{server=\"{}\"}}", server.addr);
        forwarder.scrape().contains(&series)
    };
    wait_for("both are used", || uses(&good) && uses(&mute));
    let path = forwarder.files().path("config.yaml");
    let before = std::fs::read_to_string(&path).unwrap();
    let mut settings: Value = serde_json::from_str(&before).unwrap();
    settings["remotes"]["probing"]["check"] = json!({ "type": "send_expect", "send": "ask\n" });
    std::fs::write(&path, settings.to_string()).unwrap();
    forwarder.signal(rustix::process::Signal::HUP);
    wait_for("one is out", || uses(&good) && !uses(&mute));
    wait_for("it is told", || {
        forwarder.log().contains("answers checks wrongly")
    });
    std::fs::write(&path, before).unwrap();
    forwarder.signal(rustix::process::Signal::HUP);
    wait_for("it is believed again", || uses(&mute));
}

#[test]
fn nginx_is_asked_by_name() {
    let Some([program]) = programs("nginx_is_asked_by_name", ["nginx"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(3);
    let http = format!(
        "server {{ listen {addr} default_server; return 421; }}
        server {{ listen {addr}; server_name right.example; location / {{ return 200 'it works'; }} }}"
    );
    let server = nginx(&program, addr, &http, folder.path());
    for (host, is_used) in [("right.example", true), ("wrong.example", false)] {
        let check = json!({
            "type": "http",
            "http": { "host": host, "method": "GET", "expect_body": "works", "expect_header": "Server: nginx" },
        });
        let forwarder = Forwarder::start(&changes(&check), &server.list());
        let result = if is_used { "right" } else { "wrong" };
        let series = format!("checks_total{{result=\"{result}\"}}");
        wait_for("checks", || forwarder.metric(&series) >= 3.0);
        let other = if is_used { "wrong" } else { "right" };
        assert_eq!(
            forwarder.metric(&format!("checks_total{{result=\"{other}\"}}")),
            0.0
        );
        let trusted = forwarder.metric("server_trusted");
        assert_eq!(trusted == 1.0, is_used, "{host}: {}", forwarder.log());
    }
}

#[test]
fn redis_is_asked_to_answer() {
    let Some([redis]) = programs("redis_is_asked_to_answer", ["redis-server"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(4);
    let mut command = Command::new(redis);
    command
        .args([
            "--bind",
            &addr.ip().to_string(),
            "--port",
            &addr.port().to_string(),
        ])
        .args(["--save", "", "--dir"])
        .arg(folder.path());
    let server = Program::start(command, addr, folder.path());
    expect_right(
        &json!({ "type": "send_expect", "send": "PING\r\n", "expect": "+PONG" }),
        &server,
    );
    expect_right(
        &json!({ "type": "send_expect", "send": "hex:50494e470d0a", "expect": "hex:2b504f4e47" }),
        &server,
    );
}

#[test]
fn a_mail_server_greets() {
    let Some([python]) = programs("a_mail_server_greets", ["aiosmtpd"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(5);
    let mut command = Command::new(python);
    command.args(["-n", "-l", &addr.to_string()]);
    let server = Program::start(command, addr, folder.path());
    expect_right(&json!({ "type": "send_expect", "expect": "220 " }), &server);
}

/// Every check of a server is answered rightly.
fn expect_right(check: &Value, server: &programs::Server) {
    let forwarder = Forwarder::start(&changes(check), &server.list());
    wait_for("checks", || {
        forwarder.metric("checks_total{result=\"right\"}") >= 3.0
    });
    assert_eq!(
        forwarder.metric("checks_total{result=\"wrong\"}"),
        0.0,
        "{}",
        forwarder.log()
    );
}

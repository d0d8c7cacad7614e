//! The API, with the program as a process: a backend taken out and back in while clients come, and the stream of events.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

mod support;

use support::{Forwarder, patient, wait_for};

/// A backend that answers each byte with its own number.
fn numbered(number: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[number]).is_ok() {}
            });
        }
    });
    addr
}

/// Who answers this client.
fn asked(client: &mut TcpStream) -> u8 {
    let mut byte = [0];
    client.write_all(b"?").unwrap();
    client.read_exact(&mut byte).unwrap();
    byte[0]
}

/// Status and body of an answer.
fn call(forwarder: &Forwarder, request: &str, headers: &str) -> (u16, Value) {
    let addr = forwarder.metrics_addr();
    let mut stream = patient(TcpStream::connect(addr).unwrap());
    write!(stream, "{request} HTTP/1.0\r\nHost: {addr}\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

const TOKEN: &str = "Authorization: Bearer hush\r\n";

fn post(forwarder: &Forwarder, path: &str) -> Value {
    let (status, body) = call(forwarder, &format!("POST /api/v1/{path}"), TOKEN);
    assert!(status < 300, "{path}: {status} {body}");
    body
}

fn members(forwarder: &Forwarder) -> Vec<String> {
    let (status, body) = call(forwarder, "GET /api/v1/services/default", "");
    assert_eq!(status, 200, "{body}");
    let members = body["active_set"].as_array().unwrap().iter();
    members.map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn forwarder(backends: &[SocketAddr]) -> Forwarder {
    let list: Vec<String> = backends.iter().map(ToString::to_string).collect();
    let settings = json!({
        "metrics": { "admin_token": "hush" },
        "pools": { "algorithm": "round_robin" },
    });
    Forwarder::start(&settings, &list.join("\n"))
}

#[test]
fn a_backend_is_drained_while_its_clients_go_on_and_comes_back() {
    let backends = [0, 1, 2].map(numbered);
    let forwarder = forwarder(&backends);
    wait_for("all three are members", || members(&forwarder).len() == 3);
    let first = backends[0].to_string();
    let mut clients: Vec<TcpStream> = (0..6).map(|_| patient(forwarder.connect())).collect();
    let served: Vec<u8> = clients.iter_mut().map(asked).collect();
    assert!(served.contains(&0), "{served:?}");
    let answer = post(&forwarder, &format!("services/default/drain?backend={first}"));
    assert_eq!(
        answer,
        json!({ "service": "default", "backend": first, "name": null, "state": "drain", "was": "ready" })
    );
    wait_for("it is no member", || !members(&forwarder).contains(&first));
    for _ in 0..12 {
        assert_ne!(
            asked(&mut patient(forwarder.connect())),
            0,
            "it gets no new client"
        );
    }
    let again: Vec<u8> = clients.iter_mut().map(asked).collect();
    assert_eq!(again, served, "relays go on");
    assert_eq!(post(&forwarder, "reload")["result"], "success");
    let (_, body) = call(&forwarder, "GET /api/v1/services/default", "");
    assert_eq!(
        body["withdrawn_candidates"],
        json!([{ "addr": first, "name": null, "state": "drain" }])
    );
    assert!(
        !members(&forwarder).contains(&first),
        "a reload changes nothing of it"
    );
    let (_, explained) = call(&forwarder, "GET /api/v1/services/default/explain", "");
    let others = explained["others"].as_array().unwrap();
    assert!(
        others
            .iter()
            .any(|one| one["addr"] == first && one["reason"] == "withdrawn"),
        "{explained}"
    );
    post(&forwarder, &format!("services/default/ready?backend={first}"));
    wait_for("it is a member again", || members(&forwarder).contains(&first));
    wait_for("it gets clients again", || {
        asked(&mut patient(forwarder.connect())) == 0
    });
    drop(clients);
    forwarder.stop();
}

#[test]
fn connections_are_told_of_as_they_stand() {
    let backends = [numbered(0)];
    let forwarder = forwarder(&backends);
    wait_for("warm connections", || {
        let (_, body) = call(&forwarder, "GET /api/v1/services/default", "");
        body["members"][0]["warm"].as_u64() == Some(4)
    });
    // Of two reactors, each has some: what one has none of is dialled for.
    let mut clients: Vec<TcpStream> = (0..9).map(|_| patient(forwarder.connect())).collect();
    for client in &mut clients {
        asked(client);
    }
    let (status, body) = call(&forwarder, "GET /api/v1/connections", "");
    assert_eq!(
        (status, &body["total"], &body["is_complete"]),
        (200, &json!(9), &json!(true))
    );
    let rows = body["connections"].as_array().unwrap();
    assert_eq!(rows.len(), 9);
    for client in &clients {
        let addr = client.local_addr().unwrap().to_string();
        let row = rows
            .iter()
            .find(|row| row["client"] == addr)
            .expect("each client has a row");
        let told = [
            "service",
            "listener",
            "backend",
            "stage",
            "bytes_to_backend",
            "bytes_to_client",
        ]
        .map(|name| &row[name]);
        let expected = [
            json!("default"),
            json!(forwarder.addr().to_string()),
            json!(backends[0].to_string()),
            json!("relaying"),
            json!(1),
            json!(1),
        ];
        assert_eq!(told, expected.each_ref(), "{row}");
        assert!(
            row["age_seconds"].as_f64().unwrap() >= row["idle_seconds"].as_f64().unwrap(),
            "{row}"
        );
    }
    assert!(rows.iter().any(|row| row["via"] == "warm"), "{body}");
    let (_, few) = call(&forwarder, "GET /api/v1/connections?limit=2", "");
    assert_eq!(
        (few["connections"].as_array().map(Vec::len), &few["total"]),
        (Some(2), &json!(9))
    );
    let mut last = clients.pop().unwrap();
    last.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    last.read_to_end(&mut rest).unwrap();
    drop(clients);
    wait_for("they are gone", || {
        call(&forwarder, "GET /api/v1/connections", "").1["total"] == 0
    });
    forwarder.stop();
}

#[test]
fn whoever_follows_hears_what_happens_in_its_order() {
    let backends = [0, 1, 2].map(numbered);
    let forwarder = forwarder(&backends);
    wait_for("all three are members", || members(&forwarder).len() == 3);
    let addr = forwarder.metrics_addr();
    let follow = |number: u64| {
        let mut stream = patient(TcpStream::connect(addr).unwrap());
        write!(
            stream,
            "GET /api/v1/events?follow=1 HTTP/1.1\r\nHost: {addr}\r\nLast-Event-ID: {number}\r\n\r\n"
        )
        .unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(
            head.contains(&"Content-Type: text/event-stream".to_owned()),
            "{head:?}"
        );
        lines.filter_map(|line| Some(serde_json::from_str::<Value>(line.strip_prefix("data: ")?).unwrap()))
    };
    let mut from_the_start = follow(0);
    let first = from_the_start.next().unwrap();
    assert_eq!((&first["number"], &first["kind"]), (&json!(1), &json!("switch")));
    let (_, all) = call(&forwarder, "GET /api/v1/events", "");
    let told = all["events"].as_array().unwrap().len() as u64;
    let mut from_now = follow(told);
    let second = backends[1].to_string();
    post(
        &forwarder,
        &format!("services/default/maintenance?backend={second}"),
    );
    let events: Vec<Value> = from_now.by_ref().take(2).collect();
    assert_eq!(events[0]["kind"], "admin_state");
    assert_eq!(
        events[0]["details"],
        json!({ "backend": second, "name": null, "state": "maintenance" })
    );
    assert_eq!(
        (&events[1]["kind"], &events[1]["details"]["reason"]),
        (&json!("switch"), &json!("withdrawn"))
    );
    assert_eq!(events[1]["number"], told + 2);
    post(&forwarder, "reload");
    assert_eq!(from_now.next().unwrap()["kind"], "reload");
    assert_eq!(
        from_the_start.nth(usize::try_from(told).unwrap()).unwrap()["kind"],
        "switch"
    );
    forwarder.stop();
}

#[test]
fn nothing_changes_without_the_token_or_for_another_site() {
    let backends = [0, 1].map(numbered);
    let forwarder = forwarder(&backends);
    let request = format!("POST /api/v1/services/default/drain?backend={}", backends[0]);
    assert_eq!(call(&forwarder, &request, "").0, 401);
    assert_eq!(
        call(&forwarder, &request, "Authorization: Bearer husk\r\n").0,
        401
    );
    let foreign = format!("{TOKEN}Origin: http://evil.example\r\n");
    assert_eq!(call(&forwarder, &request, &foreign).0, 403);
    assert_eq!(
        call(&forwarder, "GET /api/v1/config", "Sec-Fetch-Site: cross-site\r\n").0,
        403
    );
    let (_, body) = call(&forwarder, "GET /api/v1/services/default", "");
    assert_eq!(body["withdrawn"], 0);
    let (_, config) = call(&forwarder, "GET /api/v1/config", "");
    assert_eq!(config["process"]["metrics.admin_token"], "***");
    assert!(!config.to_string().contains("hush"));
    assert_eq!(post(&forwarder, "loglevel?level=debug")["level"], "debug");
    assert_eq!(call(&forwarder, "GET /api/v1/loglevel", "").1["level"], "debug");
    post(&forwarder, "services/default/probe");
    wait_for("everybody is probed anew, and the log says so", || {
        forwarder.log().contains("sweep begins")
    });
    forwarder.stop();
}

//! Who may talk to the Redis: passwords, users, TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::redis::{Redis, Talk};
use crate::support::{Forwarder, comes_true, merge, ping, wait_for};
use crate::{ALONE, candidates, heard, of_fleet, read};

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(name)
}

/// The line of the document that makes a user of the Redis.
pub fn rule() -> String {
    let document = read("docs/FLEET.md");
    let mut lines = document.lines();
    lines
        .find(|line| line.starts_with("ACL SETUSER "))
        .unwrap()
        .to_owned()
}

/// Makes the user of the document.
pub fn admit(talk: &mut Talk) {
    let rule = rule();
    let words: Vec<&str> = rule.split(' ').collect();
    talk.ask(&words);
}

/// The document gives a user enough, and it is told by its name and password.
#[test]
fn a_user_needs_no_more_than_the_document_says() {
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let mut talk = redis.talk();
    admit(&mut talk);
    let list = candidates(5);
    let start = |node: &str, name: &str| {
        let mut config = of_fleet(&format!("redis://fleet:secret@{}", redis.addr), node, "here");
        config["cluster"]["name"] = name.into();
        Forwarder::start(&config, &list)
    };
    let (a, b) = (start("a", "edges"), start("b", "edges"));
    let other = start("c", "others");
    wait_for("both hear", || heard(&a) > 0.0 && heard(&b) > 0.0);
    assert!(a.metric("cluster_failures_total") + b.metric("cluster_failures_total") < 0.5);
    wait_for("the keys of others are refused", || {
        other.log().contains("NOPERM")
    });
    assert!(other.metric("cluster_up") < 0.5);
    let keys = talk.texts(&["KEYS", "*"]);
    let ours = |key: &String| key.starts_with("tcp-forwarder:edges:");
    assert!(keys.len() >= 4 && keys.iter().all(ours), "{keys:?}");
}

/// A wrong password shares nothing, is said once, and is not told.
#[test]
fn a_wrong_password_shares_nothing() {
    let Some(redis) = Redis::start(&["--requirepass", "hush"]) else {
        return;
    };
    let list = candidates(3);
    let start = |credentials: &str| {
        let url = format!("redis://{credentials}{}", redis.addr);
        Forwarder::start(&of_fleet(&url, "a", "here"), &list)
    };
    let right = start(":hush@");
    let wrong = ["", ":gossip@", "nobody:hush@"].map(start);
    wait_for("the right password", || right.metric("cluster_up") > 0.5);
    for one in &wrong {
        wait_for("it is refused", || one.metric("cluster_failures_total") > 2.5);
        ping(&mut one.connect(), b"forwarding goes on");
        assert!(one.metric("cluster_up") < 0.5);
        let log = one.log();
        assert_eq!(log.matches(ALONE).count(), 1, "{log}");
        assert!(!log.contains("hush") && !log.contains("gossip"), "{log}");
    }
}

/// A Redis that speaks TLS alone, with a certificate of the tests' own authority.
fn behind_tls() -> Option<Redis> {
    let (cert, key, ca) = (
        certificate("server.pem"),
        certificate("server.key"),
        certificate("ca.pem"),
    );
    let mut redis = Redis::start(&[])?;
    redis.stop();
    redis.begin(&[
        "--port",
        "0",
        "--tls-port",
        &redis.addr.port().to_string(),
        "--tls-cert-file",
        cert.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
        "--tls-ca-cert-file",
        ca.to_str().unwrap(),
        "--tls-auth-clients",
        "no",
    ]);
    Some(redis)
}

#[cfg(feature = "tls")]
#[test]
fn tls_is_spoken_with_a_redis_that_the_right_authority_vouches_for() {
    let Some(redis) = behind_tls() else {
        return;
    };
    let list = candidates(3);
    let start = |host: &str, tls: &Value| {
        let url = format!("rediss://{host}:{}", redis.addr.port());
        let mut config = of_fleet(&url, "a", "here");
        merge(&mut config, &json!({ "cluster": { "tls": tls } }));
        Forwarder::start(&config, &list)
    };
    let ca = |name: &str| json!(certificate(name).to_str().unwrap());
    let good = [
        // The certificate names both.
        ("127.0.0.1", json!({ "ca": ca("ca.pem") })),
        (
            "127.0.0.1",
            json!({ "ca": ca("ca.pem"), "sni": "www.example.org" }),
        ),
        ("localhost", json!({ "ca": ca("ca.pem") })),
        ("127.0.0.1", json!({ "verify": false })),
    ];
    let bad = [
        ("127.0.0.1", json!({ "ca": ca("lone.pem") })),
        ("127.0.0.1", json!({})),
        (
            "127.0.0.1",
            json!({ "ca": ca("ca.pem"), "sni": "other.example.org" }),
        ),
    ];
    let start = |(host, tls): &(&str, Value)| start(host, tls);
    let (trusting, doubting) = (good.each_ref().map(start), bad.each_ref().map(start));
    for (one, words) in trusting.iter().zip(&good) {
        let is_up = comes_true(Duration::from_secs(20), || one.metric("cluster_up") > 0.5);
        assert!(is_up, "{words:?}: {}", one.log());
    }
    for (one, words) in doubting.iter().zip(&bad) {
        wait_for("it is refused", || one.metric("cluster_failures_total") > 1.5);
        ping(&mut one.connect(), b"forwarding goes on");
        let log = one.log();
        assert!(one.metric("cluster_up") < 0.5, "{words:?}: {log}");
        assert_eq!(log.matches(ALONE).count(), 1, "{words:?}: {log}");
    }
    let plain = Forwarder::start(&of_fleet(&redis.url(), "p", "here"), &list);
    wait_for("it is not understood", || {
        plain.metric("cluster_failures_total") > 0.5
    });
}

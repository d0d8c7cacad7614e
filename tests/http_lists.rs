//! Lists that stand at URLs, with the program as a process: beside nginx, and beside servers of the test that redirect for ever, lie
//! about lengths, dawdle, send pages instead of lists, or cut the connection.
//!
//! A test whose programs are not installed skips itself and says so.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "support/dns.rs"]
mod dns;
#[path = "support/server.rs"]
mod server;
mod support;

use dns::{Dns, Manner};
#[cfg(feature = "tls")]
use server::Server;
use server::{free_addr, nginx, programs};
use support::{Forwarder, comes_true, echo_on, http_body, ping, wait_for};

/// What a site says to a request: gets its head, and the stream.
type Say = Arc<dyn Fn(&str, &mut TcpStream) + Send + Sync>;

/// An HTTP server of the test.
struct Site {
    addr: SocketAddr,
    say: Arc<Mutex<Say>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    fn start(say: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::on(Ipv4Addr::LOCALHOST, say)
    }

    fn on(ip: Ipv4Addr, say: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let site = Self {
            addr: listener.local_addr().unwrap(),
            say: Arc::new(Mutex::new(Arc::new(say))),
            heads: Arc::default(),
        };
        let (say, heads) = (Arc::clone(&site.say), Arc::clone(&site.heads));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (say, heads) = (Arc::clone(&say), Arc::clone(&heads));
                std::thread::spawn(move || serve(stream, &say, &heads));
            }
        });
        site
    }

    /// Always the same.
    fn saying(text: &str) -> Self {
        let text = text.to_owned();
        Self::start(move |_, stream| tell(stream, text.as_bytes()))
    }

    fn now(&self, say: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) {
        *self.say.lock().unwrap() = Arc::new(say);
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, say: &Mutex<Say>, heads: &Mutex<Vec<String>>) {
    let mut stream = support::patient(stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    let say = Arc::clone(&say.lock().unwrap());
    say(&head, &mut stream);
}

/// The client may have heard enough.
fn tell(stream: &mut TcpStream, bytes: &[u8]) {
    drop(stream.write_all(bytes));
}

/// An answer with this status line and these headers, whose length is right.
fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

fn good(body: &str) -> String {
    answer("200 OK", "", body)
}

/// A forwarder with these providers; short intervals.
fn forwarder(provider: &Value, changes: &Value) -> Forwarder {
    let mut settings = json!({ "remotes": {
        "provider": provider,
        "selector": { "evaluation_interval": "100ms", "min_score_threshold": 0 },
        "probing": { "interval": "200ms" },
    } });
    support::merge(&mut settings, changes);
    Forwarder::start(&settings, "")
}

fn http(url: &str) -> Value {
    json!({ "type": "http", "http": { "url": url, "interval": "1s", "timeout": "2s" } })
}

fn serves(forwarder: &Forwarder) {
    ping(&mut forwarder.connect(), b"hello");
}

/// What the log says first of the failure of this provider.
fn failure(forwarder: &Forwarder, index: usize) -> String {
    let words = format!("provider {index}:http fails");
    forwarder.logs(&words);
    let log = forwarder.log();
    let line = log.lines().find(|line| line.contains(&words));
    line.unwrap().to_owned()
}

fn told_by(forwarder: &Forwarder) -> f64 {
    forwarder.metric("provider_candidates{provider=\"0:http\"}")
}

#[test]
fn a_list_at_nginx_is_followed_and_asked_for_again_only_once_it_has_changed() {
    let Some([program]) = programs(
        "a_list_at_nginx_is_followed_and_asked_for_again_only_once_it_has_changed",
        ["nginx"],
    ) else {
        return;
    };
    let (folder, addr) = (TempDir::new().unwrap(), free_addr(1));
    let backend = echo_on(Ipv4Addr::LOCALHOST);
    std::fs::write(folder.path().join("ips.txt"), format!("{backend} # the first\n")).unwrap();
    let site = format!(
        "log_format said '$status/$sent_http_content_encoding/$http_if_modified_since';
        gzip on; gzip_types *; gzip_min_length 1;
        server {{ listen {addr}; root {}; access_log seen.log said; }}",
        folder.path().display()
    );
    let nginx = nginx(&program, addr, &site, folder.path());
    let forwarder = forwarder(&http(&format!("http://{addr}/ips.txt")), &json!({}));
    let mut client = forwarder.connect();
    ping(&mut client, b"from the first list");
    let seen = || std::fs::read_to_string(folder.path().join("seen.log")).unwrap();
    wait_for("a look that finds nothing new", || seen().contains("\n304/-/"));
    // Once as a whole, and not compressed; then only whether it has changed.
    assert_eq!(seen().matches("200/").count(), 1, "{}", seen());
    assert!(seen().starts_with("200/-/-\n"), "{}", seen());
    let other = echo_on(Ipv4Addr::new(127, 0, 0, 2));
    std::fs::write(folder.path().join("ips.txt"), format!("{backend}\n{other}\n")).unwrap();
    wait_for("both", || told_by(&forwarder) > 1.5);
    ping(&mut client, b"untouched");
    drop(nginx);
    forwarder.logs("provider 0:http fails, what it said last stays in force");
    forwarder.logs(&format!("{addr} cannot be reached"));
    assert!(told_by(&forwarder) > 1.5);
    assert!(forwarder.metric("provider_failing{provider=\"0:http\"}") > 0.5);
    ping(&mut client, b"untouched");
    drop(client);
    serves(&forwarder);
    forwarder.stop();
}

#[test]
fn what_was_said_last_stays_in_force_whatever_comes_and_over_a_reload() {
    let backend = echo_on(Ipv4Addr::LOCALHOST);
    let list = format!("{backend}\n");
    let first = answer("200 OK", "ETag: \"1\"\r\n", &list);
    let site = Site::saying(&first);
    let forwarder = forwarder(&http(&format!("http://{}/ips", site.addr)), &json!({}));
    serves(&forwarder);
    site.now(|_, stream| tell(stream, answer("500 No", "", "127.0.0.66").as_bytes()));
    forwarder.logs("answers with status 500");
    serves(&forwarder);
    // The server is gone, and all but its URL is another one.
    let file = forwarder.files().path("config.yaml");
    let mut settings: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let changes = json!({ "interval": "2s", "headers": { "X-New": "1" } });
    support::merge(&mut settings["remotes"]["provider"]["http"], &changes);
    site.now(|_, _| {});
    std::fs::write(&file, settings.to_string()).unwrap();
    forwarder.signal(Signal::HUP);
    forwarder.logs("reloaded: remotes.provider.http");
    let is_new = |head: &String| head.contains("\r\nX-New: 1\r\n");
    wait_for("another look", || site.heads().iter().any(is_new));
    assert!(told_by(&forwarder) > 0.5, "{}", forwarder.scrape());
    serves(&forwarder);
    assert!(!forwarder.log().contains("127.0.0.66"));
    // It is back, with another version.
    let second = answer("200 OK", "ETag: \"2\"\r\n", &format!("{list}127.0.0.9:9\n"));
    site.now(move |_, stream| tell(stream, second.as_bytes()));
    forwarder.logs("provider 0:http answers again");
    wait_for("both", || told_by(&forwarder) > 1.5);
    let heads = site.heads();
    assert!(heads[0].starts_with("GET /ips HTTP/1.1\r\n"), "{heads:?}");
    assert!(!heads[0].contains("If-None-Match"));
    assert!(heads[1].contains("\r\nIf-None-Match: \"1\"\r\n"));
    assert!(is_new(heads.last().unwrap()));
    forwarder.stop();
}

/// What a server does that never comes to an end, and what is said of it.
fn endless() -> Vec<(Site, &'static str)> {
    fn for_ever(stream: &mut TcpStream, piece: &[u8], pause: u64) {
        while stream.write_all(piece).is_ok() {
            support::pause(Duration::from_millis(pause));
        }
    }
    let head = "HTTP/1.1 200 OK\r\n";
    let redirect = answer("302 There", "Location: /again\r\n", "");
    vec![
        (Site::saying(&redirect), "redirects more than 5 times"),
        (
            Site::start(move |_, stream| {
                tell(stream, format!("{head}Content-Length: 100\r\n\r\n").as_bytes());
                for_ever(stream, b"1", 50);
            }),
            "does not answer as a whole within 1s",
        ),
        (
            Site::start(|_, stream| for_ever(stream, b"H", 50)),
            "does not answer as a whole within 1s",
        ),
        (
            Site::start(move |_, stream| {
                tell(stream, format!("{head}\r\n").as_bytes());
                for_ever(stream, &[b'x'; 64 * 1024], 0);
            }),
            "sends more than 16 MiB",
        ),
    ]
}

/// Answers that are no list, though there is one in them, and what is said of them.
fn wrong(list: &str) -> Vec<(String, &'static str)> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let length = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {text}\r\n\r\n{list}");
    let page = "<!DOCTYPE html>\n<p>\n127.0.0.66\n</p>";
    vec![
        (length("10000000000"), "sends more than 16 MiB"),
        (length("1000"), "ends before the list does"),
        (length("5"), "sends more than it says"),
        (
            format!("{chunked}4\r\n{list}\r\n0\r\n\r\n"),
            "sends broken chunks",
        ),
        (format!("{chunked}ff\r\n{list}"), "ends before the list does"),
        (good(page), "a page of HTML or XML, and no list"),
        (answer("500 No", "", list), "answers with status 500"),
        (String::new(), "ends before the list does"),
        (
            answer("200 OK", "Content-Encoding: gzip\r\n", list),
            "answers compressed",
        ),
        (
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
            "does not answer by HTTP",
        ),
        (
            answer("301 There", "Location: https://127.0.0.1:1/\r\n", ""),
            "write the URL with https://",
        ),
    ]
}

#[test]
fn servers_that_misbehave_cost_nobody_anything() {
    let list = format!("{}\n", echo_on(Ipv4Addr::LOCALHOST));
    let wrong = wrong(&list).into_iter();
    let mut cases = vec![(Site::saying(&good(&list)), "")];
    cases.extend(wrong.map(|(text, words)| (Site::saying(&text), words)));
    cases.extend(endless());
    let provider = |(site, _): &(Site, &str)| {
        let mut provider = http(&format!("http://{}/ips", site.addr));
        support::merge(&mut provider["http"], &json!({ "timeout": "1s" }));
        provider
    };
    let providers: Vec<Value> = cases.iter().map(provider).collect();
    let forwarder = forwarder(&json!(providers), &json!({}));
    let mut client = forwarder.connect();
    for (index, (site, words)) in cases.iter().enumerate().skip(1) {
        let line = failure(&forwarder, index);
        assert!(
            line.contains(words) && line.contains(&site.addr.to_string()),
            "{words}: {line}"
        );
        ping(&mut client, b"untouched");
    }
    drop(client);
    serves(&forwarder);
    let failing = forwarder.metric("provider_failing");
    assert!((failing - 15.0).abs() < 0.1, "{failing}");
    assert!((forwarder.metric("candidates") - 1.0).abs() < 0.1);
    assert!(!forwarder.log().contains("127.0.0.66"));
    forwarder.stop();
}

#[test]
fn secrets_go_to_whom_they_are_meant_for_and_are_shown_nowhere() {
    let backend = echo_on(Ipv4Addr::LOCALHOST);
    let body = json!({ "data": { "ips": [{ "ip": "127.0.0.1", "port": backend.port(), "name": "one" }] } });
    let other = Site::saying(&good(&body.to_string()));
    let location = format!("Location: http://{}/elsewhere\r\n", other.addr);
    let first = Site::start(move |head, stream| {
        let here = answer("302 There", "Location: ../b/list?x=1\r\n", "");
        let there = answer("307 There", &location, "");
        let text = if head.starts_with("GET /a/") { here } else { there };
        tell(stream, text.as_bytes());
    });
    let mut provider = http(&format!("http://{}/a/list?key=hush-query", first.addr));
    let more = json!({
        "headers": { "Authorization": "Bearer hush-header" }, "format": "json", "pointer": "/data/ips",
    });
    support::merge(&mut provider["http"], &more);
    let forwarder = forwarder(&provider, &json!({ "logging": { "level": "debug" } }));
    serves(&forwarder);
    let (heads, others) = (first.heads(), other.heads());
    assert!(
        heads[0].starts_with("GET /a/list?key=hush-query HTTP/1.1\r\n"),
        "{heads:?}"
    );
    assert!(heads[1].starts_with("GET /b/list?x=1 HTTP/1.1\r\n"), "{heads:?}");
    let secret = "\r\nAuthorization: Bearer hush-header\r\n";
    assert!(heads[0].contains(secret) && heads[1].contains(secret));
    assert!(!others[0].contains("hush"), "{others:?}");
    let shown = http_body(forwarder.metrics_addr(), "/api/v1/config").unwrap();
    assert!(
        shown.contains("Authorization") && shown.contains("/a/list?***"),
        "{shown}"
    );
    let check = forwarder.files().command().arg("check").output();
    let check = String::from_utf8_lossy(&check.unwrap().stdout).into_owned();
    // A reload that changes a secret says that, and not which.
    let file = forwarder.files().path("config.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("hush-header", "hush-other")
            .replace("hush-query", "hush-key"),
    )
    .unwrap();
    forwarder.signal(Signal::HUP);
    forwarder.logs("reloaded: remotes.provider.http.url");
    forwarder.logs("remotes.provider.http.headers: from");
    for text in [
        shown,
        check,
        forwarder.log(),
        forwarder.stderr(),
        forwarder.scrape(),
    ] {
        assert!(!text.contains("hush"), "{text}");
    }
    forwarder.stop();
}

#[cfg(feature = "tls")]
fn certificates() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates")
}

/// Its certificate is for `localhost` and 127.0.0.1.
#[cfg(feature = "tls")]
fn secure_nginx(program: &std::path::Path, certificate: &str, list: &str, folder: &TempDir) -> Server {
    let addr = free_addr(1);
    let of = |ending: &str| certificates().join(format!("{certificate}.{ending}"));
    std::fs::write(folder.path().join("ips.txt"), list).unwrap();
    let site = format!(
        "server {{ listen {addr} ssl; listen 127.0.0.2:{} ssl; root {}; ssl_certificate {}; ssl_certificate_key {}; }}",
        addr.port(),
        folder.path().display(),
        of("pem").display(),
        of("key").display()
    );
    nginx(program, addr, &site, folder.path())
}

#[cfg(feature = "tls")]
#[test]
fn https_is_believed_by_a_private_authority_and_by_no_other() {
    let test = "https_is_believed_by_a_private_authority_and_by_no_other";
    let Some([program]) = programs(test, ["nginx"]) else {
        return;
    };
    let backend = echo_on(Ipv4Addr::LOCALHOST);
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let list = format!("{backend}\n");
    let good = secure_nginx(&program, "server", &list, &folders[0]);
    let expired = secure_nginx(&program, "expired", &list, &folders[1]);
    let provider = |host: &str, server: &Server, ca: &str| {
        let mut provider = http(&format!("https://{host}:{}/ips.txt", server.addr.port()));
        let tls = json!({ "tls": { "ca": certificates().join(ca) } });
        support::merge(&mut provider["http"], &tls);
        provider
    };
    let providers = json!([
        // Nobody listens at ::1, which is tried first.
        provider("localhost", &good, "ca.pem"),
        provider("localhost", &good, "issuer.pem"),
        provider("127.0.0.2", &good, "ca.pem"),
        provider("localhost", &expired, "ca.pem"),
    ]);
    let forwarder = forwarder(&providers, &json!({}));
    serves(&forwarder);
    for (index, why) in [(1, "nobody vouches for it"), (2, "not valid for"), (3, "expired")] {
        let line = failure(&forwarder, index);
        assert!(line.contains(why), "{why}: {line}");
    }
    assert!((forwarder.metric("provider_candidates") - 1.0).abs() < 0.1);
    forwarder.stop();
}

#[test]
fn names_of_servers_and_names_in_lists_are_looked_up() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 45));
    let dns = Dns::start(Manner::Silent, backend.port());
    // The server's name leads to the address that all names lead to.
    let other = echo_on(Ipv4Addr::new(127, 0, 0, 46));
    let list = good(&format!("b.example # by name\n{other}\n"));
    let site = Site::on(Ipv4Addr::new(127, 0, 0, 45), move |_, stream| {
        tell(stream, list.as_bytes());
    });
    let provider = http(&format!("http://lists.example:{}/ips", site.addr.port()));
    let forwarder = dns.forwarder(&provider, "");
    let mut early = forwarder.connect();
    forwarder.logs("provider 0:http fails");
    dns.now(Manner::Well(45));
    ping(&mut early, b"early");
    drop(early);
    wait_for("both", || told_by(&forwarder) > 1.5);
    assert!((forwarder.metric("candidates") - 2.0).abs() < 0.1);
    assert!(site.heads()[0].contains(&format!("\r\nHost: lists.example:{}\r\n", site.addr.port())));
    // What is known stays, while neither names nor servers are found.
    dns.now(Manner::NoSuchName);
    forwarder.logs("there is no");
    serves(&forwarder);
    assert!(told_by(&forwarder) > 1.5);
    forwarder.stop();
}

#[test]
fn who_is_asleep_fetches_no_list_until_somebody_comes() {
    let backend = echo_on(Ipv4Addr::LOCALHOST);
    let site = Site::saying(&good(&backend.to_string()));
    let provider = http(&format!("http://{}/list", site.addr));
    let forwarder = forwarder(
        &provider,
        &json!({ "sleep": { "after": "1s", "interval": "1h" } }),
    );
    serves(&forwarder);
    wait_for("it falls asleep", || forwarder.log().contains("falls asleep"));
    // One may be on its way.
    let next = || forwarder.api("services/default")["providers"][0]["next_seconds"].as_f64();
    wait_for("the next look to be told", || {
        next().is_some_and(|seconds| seconds > 60.0)
    });
    // One may be on its way; awake there would be one a second.
    wait_for("nobody asks", || {
        let before = site.heads().len();
        !comes_true(Duration::from_millis(1_600), || site.heads().len() > before)
    });
    let before = site.heads().len();
    serves(&forwarder);
    wait_for("somebody asks", || site.heads().len() > before);
    forwarder.stop();
}

#[test]
fn a_restart_while_neither_url_nor_names_answer_begins_with_what_was_said_last() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 47));
    let dns = Dns::start(Manner::Well(47), backend.port());
    let other = echo_on(Ipv4Addr::new(127, 0, 0, 48));
    let site = Site::saying(&good(&format!("b.example # by name\n{other} # alone\n")));
    let folder = TempDir::new().unwrap();
    let state = json!({ "state": { "path": folder.path().join("state") } });
    let start = |url: &str| {
        let mut settings = dns.settings(&http(url));
        support::merge(&mut settings, &state);
        Forwarder::start(&settings, "")
    };
    let url = format!("http://{}/ips", site.addr);
    let before = start(&url);
    wait_for("both", || told_by(&before) > 1.5);
    before.stop();
    dns.now(Manner::Silent);
    site.now(|_, _| ());
    let after = start(&url);
    serves(&after);
    wait_for("both are known", || after.metric("candidates") > 1.5);
    after.logs("recalled what provider 0:http said last: 1 candidates");
    after.stop();
    // What another URL says is unknown.
    let elsewhere = start(&format!("http://{}/others", site.addr));
    elsewhere.logs("provider 0:http fails");
    assert!(elsewhere.metric("candidates") < 0.1);
    elsewhere.stop();
}

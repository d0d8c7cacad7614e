//! The status page in a browser: Chromium, driven over a pipe, looks at a running process.
//!
//! `AXE` names axe-core's script, by which the page is then examined (`scripts/page` gets it); `SHOTS` a folder for pictures.
//! Where Chromium is not installed a test skips itself and says so.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

#[path = "support/browser.rs"]
mod browser;
#[path = "support/server.rs"]
mod server;
mod support;

use browser::Browser;
use server::{Server, free_addr, programs};
use support::{Forwarder, echo_on, ping, wait_for};

const WIDTHS: [u32; 3] = [360, 800, 1600];
const THEMES: [&str; 2] = ["light", "dark"];

/// A process with two services: three backends that answer, and one that does not.
fn forwarder() -> Forwarder {
    let backends = [1, 2, 3].map(|last| echo_on(std::net::Ipv4Addr::new(127, 0, 0, last)).to_string());
    let settings = json!({
        "metrics": { "admin_token": "open-sesame" },
        "services": {
            "web": { "listen_addr": "127.0.0.1:0" },
            "quiet": { "listen_addr": "127.0.0.1:0", "remotes": { "selector": { "active_set_size": 1 } } },
        },
    });
    let mut all = support::settings(&settings);
    all["server"].as_object_mut().unwrap().remove("listen_addr");
    let files = support::Files::new(&all, &format!("{}\n127.0.0.9:9\n", backends.join("\n")));
    let command = files.command();
    Forwarder::spawn(files, command).listening()
}

/// A port that accepts at each address of this machine, and closes what it has accepted.
fn accepting_everywhere() -> u16 {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(4096).unwrap();
    let listener = std::net::TcpListener::from(listener);
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    port
}

/// What is wrong with the page by axe-core, if that is there.
fn examined(browser: &mut Browser) -> Vec<String> {
    let Ok(axe) = std::env::var("AXE") else {
        return Vec::new();
    };
    browser.run(&std::fs::read_to_string(axe).unwrap());
    let found = browser.run(
        "axe.run(document, { resultTypes: ['violations'] }).then(done => JSON.stringify(done.violations.map(
            one => one.id + ': ' + one.nodes.map(node => node.html.slice(0, 200)).slice(0, 3).join(' | '))))",
    );
    serde_json::from_str(found.as_str().expect("text")).unwrap()
}

#[test]
fn both_views_fit_and_are_in_order_at_every_width_in_both_themes() {
    let test = "both_views_fit_and_are_in_order_at_every_width_in_both_themes";
    let Some([chromium]) = programs(test, ["chromium"]) else {
        return;
    };
    let forwarder = forwarder();
    let url = format!("http://{}/", forwarder.metrics_addr());
    for (language, services) in [("en-US", "Services"), ("zh-CN", "服务")] {
        let mut browser = Browser::start(&chromium, language);
        for (view, words) in [("", services), ("#/web", "127.0.0.2")] {
            browser.open(&format!("{url}{view}"));
            browser.wait_for(&format!(
                "document.body.innerText.includes({words:?}) && !document.querySelector('.say-error')"
            ));
            browser.wait_for("Number(document.documentElement.dataset.rounds) >= 2");
            for theme in THEMES {
                for width in WIDTHS {
                    browser.resize(width, theme);
                    let excess = browser.run("document.documentElement.scrollWidth - innerWidth");
                    assert!(
                        excess.as_i64().unwrap() <= 0,
                        "{view} {language} {width}: {excess} pixels too wide"
                    );
                    if let Ok(folder) = std::env::var("SHOTS") {
                        let name = format!(
                            "{}-{language}-{width}-{theme}.png",
                            if view.is_empty() { "all" } else { "one" }
                        );
                        browser.picture(&Path::new(&folder).join(name));
                    }
                }
                let wrong = examined(&mut browser);
                assert!(wrong.is_empty(), "{view} {language} {theme}: {wrong:#?}");
            }
        }
        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    }
}

/// Two forwarders that share, each of which tells of the other; once their Redis has gone, it says so.
#[test]
fn the_fleet_is_shown_in_both_languages_and_what_is_wrong_with_it() {
    let test = "the_fleet_is_shown_in_both_languages_and_what_is_wrong_with_it";
    let Some([chromium, redis]) = programs(test, ["chromium", "redis-server"]) else {
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let addr = free_addr(1);
    let mut command = std::process::Command::new(redis);
    command
        .current_dir(folder.path())
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &addr.port().to_string()]);
    let redis = Server::start(command, addr, folder.path());
    let backend = echo_on(std::net::Ipv4Addr::LOCALHOST).to_string();
    let node = |name: &str| {
        let cluster = json!({ "url": format!("redis://{addr}"), "name": "edges", "node": name, "vantage": "here", "interval": "1s" });
        Forwarder::start(&json!({ "cluster": cluster }), &backend)
    };
    let (one, _other) = (node("node-a"), node("node-b"));
    wait_for("they know each other", || one.metric("cluster_nodes") > 0.5);
    let mut browsers = [("en-US", "Last spoke", "this one"), ("zh-CN", "上次联络", "本机")].map(|(language, column, me)| {
        let mut browser = Browser::start(&chromium, language);
        browser.open(&format!("http://{}/", one.metrics_addr()));
        browser.wait_for("document.querySelectorAll('#fleet tbody tr').length === 2");
        browser.wait_for("Number(document.documentElement.dataset.rounds) >= 2");
        let text = browser.run("document.getElementById('fleet').innerText");
        let text = text.as_str().unwrap();
        for words in ["edges", "node-a", "node-b", "here", column, me] {
            assert!(text.contains(words), "{language}: {words} in {text}");
        }
        // The one member of the one service is probed by one of both.
        let probed = browser.run("[...document.querySelectorAll('#fleet tbody td:last-child')].map(one => Number(one.innerText)).sort().join()");
        assert_eq!(probed, "0,1", "{language}");
        for (width, theme) in WIDTHS.into_iter().flat_map(|width| THEMES.map(|theme| (width, theme))) {
            browser.resize(width, theme);
            let excess = browser.run("document.documentElement.scrollWidth - innerWidth");
            assert!(excess.as_i64().unwrap() <= 0, "{language} {width}: {excess} pixels too wide");
            if let Ok(folder) = std::env::var("SHOTS") {
                browser.picture(&Path::new(&folder).join(format!("fleet-{language}-{width}-{theme}.png")));
            }
        }
        let wrong = examined(&mut browser);
        assert!(wrong.is_empty(), "{language}: {wrong:#?}");
        browser
    });
    drop(redis);
    for browser in &mut browsers {
        browser.wait_for("document.querySelector('#fleet .tag.bad') !== null");
        browser.wait_for("document.querySelector('#fleet p[lang=en]').innerText !== ''");
        assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    }
}

/// Has the page use this token.
fn unlock(browser: &mut Browser, token: &str) {
    browser.wait_for("document.querySelector('[data-act=token]') !== null");
    browser.run("document.querySelector('[data-act=token]').click()");
    browser.run(&format!("document.getElementById('token').value = {token:?}"));
    browser.run("document.querySelector('#ask form').requestSubmit(document.querySelector('#ask .main'))");
}

#[test]
fn a_backend_is_drained_and_brought_back_with_the_token_and_not_without() {
    let test = "a_backend_is_drained_and_brought_back_with_the_token_and_not_without";
    let Some([chromium]) = programs(test, ["chromium"]) else {
        return;
    };
    let forwarder = forwarder();
    let mut browser = Browser::start(&chromium, "en-US");
    browser.open(&format!("http://{}/#/web", forwarder.metrics_addr()));
    browser.wait_for("document.querySelectorAll('#members tbody tr').length === 3");
    assert_eq!(
        browser.run("document.querySelectorAll('[data-act=steer]').length"),
        0,
        "read-only"
    );
    unlock(&mut browser, "wrong");
    browser.wait_for("document.getElementById('say').innerText.includes('not accepted')");
    unlock(&mut browser, "open-sesame");
    browser.wait_for("document.querySelectorAll('#members [data-act=steer]').length >= 9");
    let addr = browser.run("document.querySelector('#members [data-to=drain]').dataset.addr");
    let addr = addr.as_str().unwrap().to_owned();
    browser.run("document.querySelector('#members [data-to=drain]').click()");
    browser.wait_for(&format!(
        "document.getElementById('events').innerText.includes('{addr} is set to Drain by hand')"
    ));
    browser.wait_for("document.querySelectorAll('#members table').length === 2");
    browser.run("document.querySelector('#members [data-to=ready]').click()");
    browser.wait_for("document.querySelectorAll('#members table').length === 1");
    let state =
        browser.run("fetch('/api/v1/services/web').then(one => one.json()).then(one => one.withdrawn)");
    assert_eq!(state, json!(0));
    browser.run("document.querySelector('[data-act=reload]').click()");
    browser.wait_for("document.getElementById('say').innerText.includes('Reloaded')");
    // Steering goes by keyboard as well: arrows move through the searched space.
    browser.run("document.querySelector('.cell').focus()");
    browser.key("ArrowRight");
    browser.wait_for("document.querySelector('.cell[aria-selected=true]').dataset.cell === '1'");
    assert_eq!(browser.run("document.activeElement.dataset.cell"), "1");
    assert!(
        browser.complaints().iter().all(|one| one.contains("401")),
        "{:#?}",
        browser.complaints()
    );
}

/// The API changes nothing of a service that has left, so the page offers nothing.
#[test]
fn who_leaves_is_shown_and_cannot_be_steered() {
    let Some([chromium]) = programs("who_leaves_is_shown_and_cannot_be_steered", ["chromium"]) else {
        return;
    };
    let forwarder = forwarder();
    let mut browser = Browser::start(&chromium, "en-US");
    browser.open(&format!("http://{}/#/web", forwarder.metrics_addr()));
    browser.wait_for("document.querySelectorAll('#members tbody tr').length === 3");
    unlock(&mut browser, "open-sesame");
    browser.wait_for("document.querySelectorAll('#members [data-act=steer]').length >= 9");
    browser.wait_for("document.querySelector('[data-act=probe-all]') !== null");
    let listener = forwarder.api("services/web")["listen_addrs"][0]
        .as_str()
        .map(str::to_owned);
    let mut client = std::net::TcpStream::connect(listener.unwrap()).unwrap();
    ping(&mut client, b"hello");
    forwarder.signal(Signal::TERM);
    browser.wait_for("document.getElementById('main').innerText.includes('leaving')");
    browser.wait_for("document.querySelectorAll('#members tbody tr').length === 3");
    let offered = "document.querySelectorAll('#main [data-act=steer], #main [data-act=probe-all]').length";
    assert_eq!(browser.run(offered), 0);
    ping(&mut client, b"still here");
    // Only its connections are listed no more; all else goes on being told.
    browser.wait_for("document.getElementById('connections') === null");
    let rounds = browser.run("Number(document.documentElement.dataset.rounds)");
    browser.wait_for(&format!(
        "Number(document.documentElement.dataset.rounds) > {rounds} + 2"
    ));
    assert_eq!(
        browser.run("document.querySelector('.live.off') === null"),
        json!(true)
    );
    let complaints = browser.complaints();
    assert!(
        complaints
            .iter()
            .all(|one| one.contains("409") && one.contains("/connections?")),
        "{complaints:#?}"
    );
    drop(client);
    assert_eq!(forwarder.ended().status, Some(0));
}

#[test]
fn a_thousand_services_are_shown_by_the_page() {
    let Some([chromium]) = programs("a_thousand_services_are_shown_by_the_page", ["chromium"]) else {
        return;
    };
    let backend = echo_on(std::net::Ipv4Addr::LOCALHOST);
    let mut all = support::settings(&json!({ "server": { "reactors": 1 } }));
    all["server"].as_object_mut().unwrap().remove("listen_addr");
    let services: serde_json::Map<String, Value> = (0..1000)
        .map(|at| (format!("s{at:04}"), json!({ "listen_addr": "127.0.0.1:0" })))
        .collect();
    all["services"] = Value::Object(services);
    let files = support::Files::new(&all, &format!("{backend}\n"));
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command).listening();
    wait_for("the port", || forwarder.log().contains("metrics on http://"));
    let mut browser = Browser::start(&chromium, "en-US");
    browser.open(&format!("http://{}/", forwarder.metrics_addr()));
    browser.wait_for("document.querySelectorAll('#services tbody tr').length === 50");
    browser.run("document.querySelector('[data-page=services][data-by=\"1\"]').click()");
    browser.wait_for("document.querySelector('#services tbody a').innerText === 's0050'");
    browser.run("const box = document.getElementById('filter'); box.value = '77'; box.dispatchEvent(new Event('input', { bubbles: true }))");
    browser.wait_for("document.querySelectorAll('#services tbody tr').length === 19");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

/// A thousand members are shown, page by page, and the page stays quick: what it asks for, and what it draws in a round.
#[test]
fn a_thousand_members_are_shown_by_the_page() {
    let Some([chromium]) = programs("a_thousand_members_are_shown_by_the_page", ["chromium"]) else {
        return;
    };
    let port = accepting_everywhere();
    let changes = json!({
        "server": { "reactors": 1 },
        "remotes": { "selector": { "active_set_size": 1000, "confirm_probes": 1 }, "probing": { "interval": "5s" } },
        "pools": { "strategy": { "type": "off" } },
    });
    let list = format!("127.3.0.0-127.3.3.231:{port} max_connections=20\n");
    let forwarder = Forwarder::start(&changes, &list);
    wait_for("the port", || forwarder.log().contains("metrics on http://"));
    // A machine with other work may miss a few.
    wait_for("a thousand members", || {
        let one = forwarder.api("services/default");
        one["members"].as_array().is_some_and(|all| all.len() > 980)
    });
    for path in [
        "services",
        "services/default",
        "services/default/explain",
        "status",
    ] {
        let text = support::http_body(forwarder.metrics_addr(), &format!("/api/v1/{path}")).unwrap();
        println!("{path}: {} bytes", text.len());
    }
    let mut browser = Browser::start(&chromium, "en-US");
    browser.open(&format!("http://{}/", forwarder.metrics_addr()));
    browser.wait_for("document.querySelectorAll('#members tbody tr').length === 50");
    browser.wait_for("Number(document.documentElement.dataset.rounds) >= 3");
    browser.run("document.querySelector('[data-page=members][data-by=\"1\"]').click()");
    browser.wait_for("document.querySelector('#members').innerText.includes('51–100 of ')");
    browser.wait_for("document.querySelector('#members').innerText.includes('0 / 20')");
    // As long as a round of drawing takes: of several the shortest, for this machine has other work.
    let took = browser.run(
        "(() => { const all = [...Array(5)].map(() => { const begun = performance.now(); render(); \
         return performance.now() - begun; }); return Math.min(...all); })()",
    );
    let nodes = browser.run("document.querySelectorAll('*').length");
    println!("drawn in {took} ms, {nodes} nodes");
    assert!(took.as_f64().unwrap() < 1_000.0, "{took} ms to draw");
    assert!(nodes.as_u64().unwrap() < 5_000, "{nodes} nodes");
    if let Ok(folder) = std::env::var("SHOTS") {
        for (width, theme) in [(360, "dark"), (1600, "light")] {
            browser.resize(width, theme);
            browser.picture(&Path::new(&folder).join(format!("thousand-{width}.png")));
        }
    }
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

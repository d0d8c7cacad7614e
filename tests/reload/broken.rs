//! A file with something wrong in it changes nothing, and what is wrong is said, located.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::office::{Office, note, office_settings, own_addr, seed, start};
use crate::support::{echo_on, http_body, ping, sum, wait_for};

/// Broken files in turn.
const FILES: usize = 100;

/// A file that must be refused, and what the refusal must name.
struct Broken {
    config: String,
    list: String,
    /// Part of what is said.
    said: String,
    /// Whether a line is to blame.
    has_line: bool,
}

/// What all files begin with.
fn good() -> Value {
    let mut settings = office_settings(&json!({
        "services": { "web": { "listen_addr": "127.0.0.1:0" }, "redis": { "listen_addr": "127.0.0.1:0" } },
        "remotes": { "probing": { "interval": "1h" }, "selector": { "evaluation_interval": "1h" } },
    }));
    settings["server"].as_object_mut().unwrap().remove("listen_addr");
    settings
}

fn pretty(settings: &Value) -> String {
    serde_json::to_string_pretty(settings).unwrap()
}

/// Sets the value at a path, whatever is there.
fn set(settings: &mut Value, path: &str, value: Value) {
    let mut place = settings;
    for key in path.split('.') {
        place = place
            .as_object_mut()
            .unwrap()
            .entry(key)
            .or_insert_with(|| json!({}));
    }
    *place = value;
}

/// Keys with a value that they cannot have.
fn wrong_value(rng: &mut fastrand::Rng) -> (&'static str, Value) {
    let all = [
        ("server.max_connections", json!(-1)),
        ("server.idle_timeout", json!("0s")),
        ("server.splice", json!("perhaps")),
        ("server.deny", json!(["192.0.2.0/33"])),
        ("server.unknown", json!(1)),
        ("server.keepalive.probes", json!("many")),
        ("logging.level", json!("loud")),
        ("logging.format", json!(7)),
        ("metrics.listen_addr", json!("nowhere")),
        ("metrics.path", json!("metrics")),
        ("remotes.probing.interval", json!("1 parsec")),
        ("remotes.probing.initial.max_concurrency", json!(0)),
        ("remotes.scoring.latency.ewma_alpha", json!(2.5)),
        ("remotes.selector.active_set_size", json!(0)),
        ("remotes.selector.switching", json!([])),
        ("pools.algorithm", json!("fairest")),
        ("pools.common.dial_attempts", json!(0)),
        ("pools.strategy.type", json!("elastic")),
        ("pools.strategy.static.size_per_remote", json!(-5)),
        ("services.web.listen_addr", json!("127.0.0.1")),
        ("services.web.remotes.default_remote_port", json!(70_000)),
        ("services.redis.pools.rescue", json!("never")),
        ("services.redis.max_connections_per_ip", json!("a few")),
    ];
    all[rng.usize(..all.len())].clone()
}

fn broken(place: usize, rng: &mut fastrand::Rng, taken: &str, list: &str) -> Broken {
    let mut settings = good();
    // Something else changes too, which must not be applied.
    set(&mut settings, "pools.strategy.static.size_per_remote", json!(17));
    set(
        &mut settings,
        "services.guest",
        json!({ "listen_addr": "127.0.0.1:0" }),
    );
    let mut broken = Broken {
        config: String::new(),
        list: list.to_owned(),
        said: String::new(),
        has_line: true,
    };
    match place % 8 {
        0..=2 => {
            let (key, value) = wrong_value(rng);
            set(&mut settings, key, value);
            key.clone_into(&mut broken.said);
        }
        3 => {
            let mut text = pretty(&settings);
            // Not within a text, which could be the name of another list then.
            let is_between = |at: &usize| text[..*at].matches('"').count().is_multiple_of(2);
            let places: Vec<usize> = (2..text.len() - 2).filter(is_between).collect();
            let at = places[rng.usize(..places.len())];
            text.insert_str(at, ["\n]{", "\n\t}: ", "\n- - }"][rng.usize(..3)]);
            return Broken {
                config: text,
                said: String::new(),
                ..broken
            };
        }
        4 => {
            set(
                &mut settings,
                "remotes.provider.file.path",
                json!(format!("missing-{place}.txt")),
            );
            broken.said = format!("missing-{place}.txt");
            broken.has_line = false;
        }
        5 => {
            let wrong = [
                "300.1.2.3:80",
                "10.0.0.0/40",
                "not an address",
                "127.0.0.1:0",
                "[::1:80",
            ];
            let before = rng.usize(..20);
            let line = wrong[rng.usize(..wrong.len())];
            broken.list = format!("{}{line}\n{list}", list.repeat(before));
            line.clone_into(&mut broken.said);
        }
        6 => {
            set(&mut settings, "services.web.listen_addr", json!(taken));
            taken.clone_into(&mut broken.said);
            broken.has_line = false;
        }
        _ => {
            set(
                &mut settings,
                "logging.output",
                json!("/nowhere/at/all/forwarder.log"),
            );
            "/nowhere/at/all".clone_into(&mut broken.said);
            broken.has_line = false;
        }
    }
    broken.config = pretty(&settings);
    broken
}

/// All that a reload can change, as it is seen from outside.
fn standing(office: &Office) -> Value {
    let status = office.status();
    let services = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| json!([service["name"], service["listen_addrs"], service["active_set"]]));
    services.collect()
}

#[test]
fn a_hundred_broken_files_change_nothing() {
    let mut rng = fastrand::Rng::with_seed(seed());
    let list = format!("{}\n", echo_on(std::net::Ipv4Addr::LOCALHOST));
    let forwarder = start(&good(), &list);
    let office = Office::of(&forwarder);
    let taken = TcpListener::bind(own_addr()).unwrap();
    let taken_addr = taken.local_addr().unwrap().to_string();
    wait_for("it listens", || {
        forwarder.log().matches("listening on ").count() == 2
    });
    let mut client = forwarder.connect();
    ping(&mut client, b"before");
    let warm = || forwarder.metric("pool_available_connections");
    wait_for("warm connections", || warm() > 15.5);
    let before = standing(&office);
    let descriptors = forwarder.descriptors();
    for place in 0..FILES {
        let broken = broken(place, &mut rng, &taken_addr, &list);
        office.replace("ip_list.txt", &broken.list);
        office.replace("config.yaml", &broken.config);
        let (status, said) = office.ask();
        assert_eq!(status, 422, "{place}: {said}\n{}", broken.config);
        let errors = said["errors"].as_array().unwrap();
        let text = said["errors"].to_string();
        assert!(
            text.contains(&broken.said),
            "{place}: `{}` is not in {text}",
            broken.said
        );
        let is_located = |error: &Value| {
            !broken.has_line
                || (error["line"].as_u64().is_some_and(|line| line > 0) && error["file"].is_string())
        };
        assert!(
            !errors.is_empty() && errors.iter().all(is_located),
            "{place}: {text}"
        );
        let status = office.status();
        assert_eq!(status["last_reload"]["result"], "failure");
        assert_eq!(status["last_reload"]["errors"], said["errors"], "{place}");
        let message = errors[0]["message"].as_str().unwrap();
        let first = message.lines().next().unwrap();
        wait_for("it is in the log", || {
            let log = forwarder.log();
            log.matches("not reloaded: ").count() > place && log.contains(first)
        });
        assert_eq!(standing(&office), before, "{place}");
        ping(&mut client, format!("after file {place}").as_bytes());
        ping(&mut forwarder.connect(), b"a new client");
    }
    let scrape = forwarder.scrape();
    assert_eq!(
        sum(&scrape, "config_reloads_total{result=\"failure\"}").to_string(),
        FILES.to_string()
    );
    assert_eq!(
        sum(&scrape, "config_reloads_total{result=\"success\"}").to_string(),
        "0"
    );
    wait_for("nothing is held by what was refused", || {
        let spare = forwarder.descriptors();
        note(&format!("{spare} descriptors, {descriptors} before"));
        // A client and the request, more or less.
        spare <= descriptors + 2
    });
    office.replace("ip_list.txt", &list);
    office.change(&good());
    assert_eq!(office.status()["last_reload"]["result"], "success");
    drop(taken);
    assert!(http_body(forwarder.metrics_addr(), "/metrics").is_ok());
    assert_eq!(forwarder.stop().status, Some(0));
}

/// What a refusal closes again must not have been open: whoever connects there would be reset.
#[test]
fn nobody_connects_to_a_listener_of_a_reload_that_is_refused() {
    let echo = echo_on(std::net::Ipv4Addr::LOCALHOST).to_string();
    let forwarder = start(&good(), &echo);
    let office = Office::of(&forwarder);
    let addr = own_addr();
    let metrics = own_addr();
    let mut settings = good();
    set(&mut settings, "services.guest", json!({ "listen_addr": addr }));
    let mut unloggable = settings.clone();
    set(
        &mut unloggable,
        "logging.output",
        json!("/nowhere/at/all/forwarder.log"),
    );
    // The metrics port is taken by somebody else.
    let _taken = TcpListener::bind(metrics).unwrap();
    let mut unseen = settings.clone();
    set(&mut unseen, "metrics.listen_addr", json!(metrics));
    let is_over = AtomicBool::new(false);
    let connected = std::thread::scope(|scope| {
        let knocking = scope.spawn(|| {
            let mut connected = 0;
            while !is_over.load(Ordering::Relaxed) {
                connected += usize::from(TcpStream::connect(addr).is_ok());
            }
            connected
        });
        for settings in [&unloggable, &unseen].repeat(100) {
            office.replace("config.yaml", &pretty(settings));
            let (status, said) = office.ask();
            assert_eq!(status, 422, "{said}");
        }
        is_over.store(true, Ordering::Relaxed);
        knocking.join().unwrap()
    });
    assert_eq!(connected, 0, "of what was refused");
    office.change(&settings);
    TcpStream::connect(addr).expect("what was not refused");
    assert_eq!(forwarder.stop().status, Some(0));
}

/// Opening a pipe waits for whoever writes it, and some devices never end: neither may hold up what comes after.
#[cfg(target_os = "linux")]
#[test]
fn pipes_and_devices_are_refused() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    let settings = office_settings(&json!({}));
    let echo = echo_on(std::net::Ipv4Addr::LOCALHOST);
    let forwarder = start(&settings, &echo.to_string());
    let office = Office::of(&forwarder);
    let pipe = forwarder.files().path("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for path in ["pipe", "/dev/zero"] {
        let mut next = settings.clone();
        set(&mut next, "remotes.provider.file.path", json!(path));
        office.replace("config.yaml", &pretty(&next));
        let (status, said) = office.ask();
        assert_eq!(status, 422, "{said}");
        assert!(said.to_string().contains("not a regular file"), "{said}");
    }
    std::fs::rename(&pipe, forwarder.files().path("config.yaml")).unwrap();
    let (status, said) = office.ask();
    assert_eq!(status, 422, "{said}");
    assert!(said.to_string().contains("not a regular file"), "{said}");
    office.change(&settings);
    assert_eq!(forwarder.stop().status, Some(0));
}

/// Whoever asks a hundred times while one reload goes on wants one more.
#[cfg(target_os = "linux")]
#[test]
fn many_signals_are_few_reloads() {
    use rustix::process::{Pid, Signal, kill_process};

    const SIGNALS: usize = 100;
    const HEARD: &str = "asked to reload by a signal";
    let settings = office_settings(&json!({}));
    let echo = echo_on(std::net::Ipv4Addr::LOCALHOST);
    let long = format!("{echo}\n10.0.0.1\n{}", "# nobody\n".repeat(1_000_000));
    let forwarder = start(&settings, &long);
    let office = Office::of(&forwarder);
    let pid = Pid::from_raw(i32::try_from(forwarder.pid()).unwrap()).unwrap();
    for sent in 1..=SIGNALS {
        kill_process(pid, Signal::HUP).unwrap();
        // Those that wait in the kernel are one.
        wait_for("it is heard", || forwarder.log().matches(HEARD).count() >= sent);
    }
    let (status, said) = office.ask();
    assert_eq!(status, 200, "{said}");
    let reloads = forwarder.metric("config_reloads_total");
    note(&format!("{reloads} reloads"));
    // How many there are is a matter of how quick they are; how many are owed after the last signal is not: what was
    // under way, what all the others asked for, and what was asked for over HTTP.
    let log = forwarder.log();
    let (_, after) = log.rsplit_once(HEARD).unwrap();
    let owed = after.matches("reloaded: ").count();
    assert!(
        (1..=3).contains(&owed),
        "{owed} reloads after the last signal:\n{log}"
    );
}

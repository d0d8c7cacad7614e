//! Real servers and real clients with the forwarder between them, on loopback addresses of their own.
//!
//! A test whose programs are not installed skips itself and says so.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline, and metrics count in whole numbers"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, free_addr, nginx, outcome, programs, run};
use support::tools::say;
use support::{Forwarder, PATIENCE, comes_true, http_body, sum, wait_for};

#[test]
fn nginx_with_wrk_and_ab() {
    let Some([program, wrk, ab]) = programs("nginx_with_wrk_and_ab", ["nginx", "wrk", "ab"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(2);
    let http = format!(
        "keepalive_requests 1000000;
        server {{ listen {addr} backlog=2048; location / {{ return 200 'from nginx\\n'; }} }}"
    );
    let server = nginx(&program, addr, &http, folder.path());
    let forwarder = Forwarder::start(&json!({}), &server.list());
    let url = format!("http://{}/", forwarder.addr());
    assert_eq!(http_body(forwarder.addr(), "/").unwrap(), "from nginx\n");

    let said = run(Command::new(wrk).args(["-t1", "-c50", "-d2s", &url]), b"");
    assert!(said.contains("Requests/sec"), "{said}");
    assert!(
        !said.contains("Socket errors") && !said.contains("Non-2xx"),
        "{said}"
    );

    // A connection per request, then connections that are kept.
    for keep in [&[][..], &["-k"]] {
        let said = run(
            Command::new(&ab)
                .args(keep)
                .args(["-n", "2000", "-c", "20", &url]),
            b"",
        );
        for fact in ["Complete requests:      2000", "Failed requests:        0"] {
            assert!(said.contains(fact), "{said}");
        }
    }
    wait_for("all have gone", || forwarder.metric("active_connections") == 0.0);
    let seen = forwarder.scrape();
    assert!(sum(&seen, "new_connections_total") > 2000.0);
    assert!(sum(&seen, "pool_hits_total") > 0.0);
    for lost in ["dial_failed", "backend_reset", "error"] {
        let lost = format!("connections_closed_total{{reason=\"{lost}\"}}");
        assert_eq!(sum(&seen, &lost), 0.0, "{lost}");
    }
}

#[test]
fn redis_with_its_benchmark() {
    let names = ["redis-server", "redis-benchmark"];
    let Some([redis, benchmark]) = programs("redis_with_its_benchmark", names) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(3);
    let mut command = Command::new(redis);
    command.current_dir(folder.path());
    command.args([
        "--bind",
        &addr.ip().to_string(),
        "--port",
        &addr.port().to_string(),
    ]);
    command.args(["--save", "", "--appendonly", "no", "--protected-mode", "no"]);
    let server = Server::start(command, addr, folder.path());
    let forwarder = Forwarder::start(&json!({}), &server.list());
    let target = forwarder.addr();
    for more in [
        &["-c", "50", "-n", "5000"][..],
        &["-c", "10", "-n", "20000", "-P", "16", "-d", "2000"],
    ] {
        let mut command = Command::new(&benchmark);
        command.args([
            "-h",
            &target.ip().to_string(),
            "-p",
            &target.port().to_string(),
            "-q",
        ]);
        let said = run(command.args(["-t", "ping_mbulk,set,get,lpush"]).args(more), b"");
        for test in ["PING_MBULK", "SET", "GET", "LPUSH"] {
            let line = said.lines().flat_map(|line| line.split('\r'));
            let mut line = line.filter(|line| line.starts_with(test) && line.contains("requests per second"));
            assert!(line.next().is_some(), "{test} is missing in\n{said}");
        }
        assert!(!said.to_lowercase().contains("error"), "{said}");
    }
    let mut client = forwarder.connect();
    client.write_all(b"PING\r\nQUIT\r\n").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "+PONG\r\n+OK\r\n");
}

/// Generates a key without a passphrase; its private half.
fn key(ssh_keygen: &Path, file: PathBuf) -> PathBuf {
    let mut command = Command::new(ssh_keygen);
    run(
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file),
        b"",
    );
    file
}

/// An SSH server that lets in whoever has `user_key`; none when this machine is not prepared for one.
fn ssh_server(sshd: &Path, folder: &Path, host_key: &Path, user_key: &Path) -> Option<Server> {
    let addr = free_addr(4);
    let config = format!(
        "ListenAddress {addr}\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 100\nLogLevel ERROR\n",
        host_key.display(),
        user_key.display()
    );
    let file = folder.join("sshd_config");
    std::fs::write(&file, config).unwrap();
    let trial = outcome(Command::new(sshd).args(["-t", "-f"]).arg(&file), b"");
    if !trial.status.success() {
        let why = String::from_utf8_lossy(&trial.stderr);
        say(&format!(
            "skipped: ssh_speaks_first: sshd would not run here: {}",
            why.trim()
        ));
        return None;
    }
    let mut command = Command::new(sshd);
    command.args(["-D", "-e", "-f"]).arg(file);
    Some(Server::start(command, addr, folder))
}

/// `words` as a command on the server at `addr`, for whoever runs this test.
fn login(ssh: &Path, user_key: &Path, addr: SocketAddr, words: &str) -> Command {
    let user = run(Command::new("id").arg("-un"), b"");
    let mut command = Command::new(ssh);
    command
        .args(["-F", "/dev/null", "-q", "-p", &addr.port().to_string(), "-i"])
        .arg(user_key);
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
    ] {
        command.args(["-o", option]);
    }
    command.arg(format!("{}@{}", user.trim(), addr.ip())).arg(words);
    command
}

#[test]
fn ssh_speaks_first() {
    let names = ["sshd", "ssh", "ssh-keygen", "ssh-keyscan"];
    let Some([sshd, ssh, ssh_keygen, ssh_keyscan]) = programs("ssh_speaks_first", names) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let host_key = key(&ssh_keygen, folder.path().join("host_key"));
    let user_key = key(&ssh_keygen, folder.path().join("user_key"));
    let Some(server) = ssh_server(&sshd, folder.path(), &host_key, &user_key) else {
        return;
    };
    let forwarder = Forwarder::start(&json!({}), &server.list());
    wait_for("a full pool", || {
        forwarder.metric("pool_available_connections") == 4.0
    });

    // The greeting was sent to the warm connection long ago; it is there, once, for whoever comes.
    for _ in 0..6 {
        let mut greeting = [0; 8];
        forwarder.connect().read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"SSH-2.0-");
    }
    assert!(forwarder.metric("pool_hits_total") > 0.0);
    let port = forwarder.addr().port().to_string();
    let scan = ["-t", "ed25519", "-p", &port, "127.0.0.1"];
    let keys = run(Command::new(ssh_keyscan).args(scan), b"");
    let public = std::fs::read_to_string(host_key.with_extension("pub")).unwrap();
    let public = public.split(' ').nth(1).unwrap();
    assert!(keys.contains(public), "{keys}");

    let direct = outcome(&mut login(&ssh, &user_key, server.addr, "true"), b"");
    if !direct.status.success() {
        return say("skipped: ssh_speaks_first: the login: sshd lets this user in at no address");
    }
    let mut sent = vec![0; 3_000_000];
    fastrand::Rng::with_seed(4).fill(&mut sent);
    let echoed = outcome(&mut login(&ssh, &user_key, forwarder.addr(), "cat"), &sent);
    assert!(
        echoed.status.success(),
        "{}",
        String::from_utf8_lossy(&echoed.stderr)
    );
    assert!(echoed.stdout == sent, "{} bytes came back", echoed.stdout.len());
}

#[test]
fn iperf3_in_both_directions() {
    let Some([iperf3]) = programs("iperf3_in_both_directions", ["iperf3"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(5);
    let mut command = Command::new(&iperf3);
    command.args(["-s", "-B", &addr.ip().to_string(), "-p", &addr.port().to_string()]);
    let server = Server::start(command, addr, folder.path());
    // Its server takes one test at a time, and each connection for one: none may be warm, none a probe.
    let changes = json!({
        "remotes": { "probing": { "interval": "1h", "initial": { "enabled": false } } },
        "pools": { "strategy": { "type": "off" } },
    });
    let forwarder = Forwarder::start(&changes, &server.list());
    let target = forwarder.addr();
    for more in [&[][..], &["-R"], &["-P", "4"]] {
        let mut command = Command::new(&iperf3);
        command.args(["-c", &target.ip().to_string(), "-p", &target.port().to_string()]);
        command.args(["-n", "300M", "-J"]).args(more);
        let mut reply = Value::Null;
        // The server needs a moment between two tests, in which it sends clients away.
        wait_for("a test that is let in", || {
            let output = outcome(&mut command, b"");
            reply = serde_json::from_slice(&output.stdout).unwrap_or_default();
            // Who is sent away ends with success all the same, now and then.
            output.status.success() && reply["error"].is_null()
        });
        let bytes = reply["end"]["sum_received"]["bytes"]
            .as_f64()
            .unwrap_or_else(|| panic!("{reply}"));
        let speed = reply["end"]["sum_received"]["bits_per_second"].as_f64().unwrap() / 8e9;
        say(&format!("  iperf3 {more:?}: {speed:.2} GB/s"));
        // What is on its way when the sender has sent it all is not counted: some megabytes a stream.
        assert!(bytes >= 150e6, "{bytes} bytes arrived: {}", server.log());
    }
    wait_for("all have gone", || forwarder.metric("active_connections") == 0.0);
    assert!(forwarder.metric("bytes_transferred_total") >= 450e6);
}

#[test]
fn prometheus_scrapes_and_promtool_finds_nothing_to_say() {
    let names = ["prometheus", "promtool"];
    let test = "prometheus_scrapes_and_promtool_finds_nothing_to_say";
    let Some([prometheus, promtool]) = programs(test, names) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let backend = support::echo_on(Ipv4Addr::new(127, 0, 0, 7));
    let forwarder = Forwarder::start(&json!({}), &format!("{backend}\n"));
    for _ in 0..7 {
        support::ping(&mut forwarder.connect(), b"counted");
    }
    run(
        Command::new(promtool).args(["check", "metrics"]),
        forwarder.scrape().as_bytes(),
    );

    let addr = free_addr(6);
    let config = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": [{
            "job_name": "forwarder",
            "static_configs": [{ "targets": [forwarder.metrics_addr().to_string()] }],
        }],
    });
    let config_file = folder.path().join("prometheus.yml");
    std::fs::write(&config_file, config.to_string()).unwrap();
    let mut command = Command::new(prometheus);
    command.arg(format!("--config.file={}", config_file.display()));
    command.arg(format!(
        "--storage.tsdb.path={}",
        folder.path().join("data").display()
    ));
    command.arg(format!("--web.listen-address={addr}"));
    let server = Server::start(command, addr, folder.path());
    let query = |expression: &str| -> Option<String> {
        let path = format!("/api/v1/query?query={expression}");
        let reply: Value = serde_json::from_str(&http_body(addr, &path).ok()?).unwrap();
        reply["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    let arrives = |expression: &str, value: &str| {
        let seen = comes_true(PATIENCE, || query(expression).as_deref() == Some(value));
        assert!(seen, "{expression} is {:?}: {}", query(expression), server.log());
    };
    arrives("up", "1");
    arrives("tcp_forwarder_new_connections_total", "7");
    arrives("sum(tcp_forwarder_lb_requests_total)", "7");
    arrives("tcp_forwarder_candidates", "1");
    // A histogram that Prometheus can work with.
    arrives(
        "count(histogram_quantile(0.5,tcp_forwarder_connection_duration_seconds_bucket))",
        "1",
    );
}

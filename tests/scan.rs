//! `tcp-forwarder scan` as a process, over addresses of this machine.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    clippy::disallowed_methods,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A block of 256 addresses of this machine that no other test has.
fn block() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = std::process::id() % 200 + 20;
    127 << 24 | place << 16 | (200 + NEXT.fetch_add(1, Ordering::Relaxed)) << 8
}

/// Listeners on some hosts of a block, all on one port. Nobody accepts: the kernel answers connects.
fn listeners(block: u32, hosts: &[u32]) -> (Vec<TcpListener>, u16) {
    let first = TcpListener::bind((Ipv4Addr::from(block | hosts[0]), 0)).unwrap();
    let port = first.local_addr().unwrap().port();
    let others = hosts[1..]
        .iter()
        .map(|host| TcpListener::bind((Ipv4Addr::from(block | host), port)).unwrap());
    (std::iter::once(first).chain(others).collect(), port)
}

fn scan(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcp-forwarder"));
    command.arg("scan").args(words);
    command
}

/// Runs to the end, which has to come.
fn outcome(mut command: Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    end_of(&mut child);
    child.wait_with_output().unwrap()
}

fn end_of(child: &mut Child) {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(Instant::now() <= deadline, "it does not end");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn who_answers_is_found_and_nobody_else() {
    let block = block();
    let (_listeners, port) = listeners(block, &[3, 77, 200]);
    let range = format!("{}/24:{port}", Ipv4Addr::from(block));
    let found = outcome(scan(&[&range, "--output", "list", "--seed", "5"]));
    assert!(found.status.success(), "{}", text(&found.stderr));
    let addrs: BTreeSet<SocketAddr> = text(&found.stdout)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let expected = [3, 77, 200].map(|host| SocketAddr::from((Ipv4Addr::from(block | host), port)));
    assert_eq!(addrs, BTreeSet::from(expected));
    assert!(
        text(&found.stderr).contains("every candidate was asked"),
        "{}",
        text(&found.stderr)
    );

    let csv = text(&outcome(scan(&[&range, "--output", "csv", "--top", "2"])).stdout);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "address,sent,received,loss_percent,latency_ms,jitter_ms,throughput_mbit,region,name"
    );
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(
        lines[1..].iter().all(|line| line.contains(",10,10,0.0,")),
        "{csv}"
    );
}

#[test]
fn a_list_file_and_a_configuration_are_sources_too() {
    let block = block();
    let (_listeners, port) = listeners(block, &[9]);
    let folder = tempfile::tempdir().unwrap();
    let addr = format!("{}:{port}", Ipv4Addr::from(block | 9));
    std::fs::write(folder.path().join("list.txt"), format!("# one\n{addr}\n")).unwrap();
    let list = folder.path().join("list.txt");
    let found = outcome(scan(&["--list", list.to_str().unwrap(), "--output", "list"]));
    assert_eq!(text(&found.stdout), format!("{addr}\n"));
    let config = folder.path().join("config.yaml");
    let yaml = "services:\n  one:\n    listen_addr: 127.0.0.1:1\n  two:\n    listen_addr: 127.0.0.1:2\n\
                remotes: { provider: { file: { path: list.txt } } }\n";
    std::fs::write(&config, yaml).unwrap();
    let config = config.to_str().unwrap();
    let found = outcome(scan(&["-c", config, "--service", "two", "--output", "list"]));
    assert_eq!(
        text(&found.stdout),
        format!("{addr}\n"),
        "{}",
        text(&found.stderr)
    );
    let unclear = outcome(scan(&["-c", config]));
    assert_eq!(unclear.status.code(), Some(2));
    assert!(
        text(&unclear.stderr).contains("one, two"),
        "{}",
        text(&unclear.stderr)
    );
    let nobody = outcome(scan(&[&format!("{}:{port}", Ipv4Addr::from(block | 8))]));
    assert_eq!(
        (nobody.status.code(), text(&nobody.stdout).as_str()),
        (Some(1), "")
    );
    assert!(
        text(&nobody.stderr).contains("nobody has answered"),
        "{}",
        text(&nobody.stderr)
    );
    let bad = outcome(scan(&["nonsense"]));
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).contains("nonsense"), "{}", text(&bad.stderr));
}

#[test]
fn who_is_interrupted_tells_what_is_known() {
    let block = block();
    let (_listeners, port) = listeners(block, &(1..=254).collect::<Vec<u32>>());
    let range = format!("{}/24:{port}", Ipv4Addr::from(block));
    let mut command = scan(&[&range, "--rate", "100", "--output", "list", "--top", "3"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once it tells how far it is, it has begun.
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("of at most 254 probes"), "{line}");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let began = Instant::now();
    end_of(&mut child);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "an interruption is heard at once"
    );
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("it was interrupted"), "{rest}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout).lines().count(),
        3,
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn the_rate_is_never_exceeded() {
    let block = block();
    let (_listeners, port) = listeners(block, &(1..=254).collect::<Vec<u32>>());
    let range = format!("{}/24:{port}", Ipv4Addr::from(block));
    let began = Instant::now();
    let found = outcome(scan(&[&range, "--rate", "300", "--top", "1", "--output", "csv"]));
    let took = began.elapsed().as_secs_f64();
    // 254, and nine more of each of the three finalists.
    let probes = 254.0 + 27.0;
    assert!(took >= (probes - 2.0) / 300.0, "{probes} probes in {took} s");
    assert_eq!(text(&found.stdout).lines().count(), 2);
}

#[test]
fn the_best_are_downloaded_from() {
    let block = block();
    let (mut listeners, port) = listeners(block, &[5]);
    let listener = listeners.remove(0);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 2048];
                // Probes are reset.
                if stream.read(&mut request).is_ok_and(|count| count > 0) {
                    let mut answer = b"HTTP/1.1 200 OK\r\ncf-ray: 123-TST\r\n\r\n".to_vec();
                    answer.resize(4_000_000, b'x');
                    drop(stream.write_all(&answer));
                }
            });
        }
    });
    let addr = format!("{}:{port}", Ipv4Addr::from(block | 5));
    let found = outcome(scan(&[
        &addr,
        "--download",
        "http://example.com/file",
        "--output",
        "json",
    ]));
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let best = &json["best"][0];
    assert_eq!(
        (best["address"].as_str(), best["region"].as_str()),
        (Some(addr.as_str()), Some("TST"))
    );
    assert!(best["throughput_mbit"].as_f64().unwrap() > 1.0, "{json}");
}

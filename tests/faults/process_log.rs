//! A log whose output takes nothing, or is full: it costs lines, never a client, a reactor or the process.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::peers::standing::whole;
use crate::support::{Files, Forwarder, comes_true, echo_on, http_body, patient, ping, settings, wait_for};

/// What a pipe of Linux holds.
const PIPE_BYTES: usize = 64 * 1024;

/// Adds to `text` what waits in the pipe.
fn read_on(pipe: &mut PipeReader, text: &mut String) {
    let mut bytes = vec![0; PIPE_BYTES];
    while let Ok(count @ 1..) = pipe.read(&mut bytes) {
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
}

fn addr_after(words: &str, text: &str) -> SocketAddr {
    let (_, rest) = text.split_once(words).unwrap();
    rest.split(|c: char| c.is_whitespace() || c == '/')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn changes(output: &str) -> Value {
    json!({
        "logging": { "level": "trace", "output": output },
        "remotes": { "probing": { "interval": "1h" } },
    })
}

/// Thousands of lines: more than pipe and queue hold.
fn make_it_talk(addr: SocketAddr, survivor: &mut TcpStream, connections: usize) {
    for round in 0..connections {
        let mut short = patient(TcpStream::connect(addr).unwrap());
        if round % 20 == 0 {
            ping(&mut short, b"short");
            ping(survivor, &[7; 9000]);
        }
    }
}

/// Injected once: the reader of the log stops reading for good while thousands of lines are logged; then it
/// reads on.
fn a_reader_that_stops(output: &str) {
    let list = format!("{}\n", echo_on(Ipv4Addr::LOCALHOST));
    let files = Files::new(&settings(&changes(output)), &list);
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let mut command = files.command();
    command.stdout(writer).stdin(Stdio::null());
    let forwarder = Forwarder::around(files, command.spawn().unwrap());
    drop(command);

    let mut log = String::new();
    wait_for("it listens", || {
        read_on(&mut reader, &mut log);
        log.contains("listening on ")
    });
    let addr = addr_after("listening on ", &log);
    let metrics = addr_after("metrics on http://", &log);
    let mut survivor = patient(TcpStream::connect(addr).unwrap());
    ping(&mut survivor, b"before");
    let before = forwarder.descriptors();
    // Several lines a connection, of a hundred bytes and more.
    let connections: usize = 1800;
    make_it_talk(addr, &mut survivor, connections);

    let count = |name: &str| whole(&http_body(metrics, "/metrics").unwrap(), name);
    wait_for("they are gone", || count("active_connections") == 1);
    assert_eq!(count("new_connections_total"), connections + 1);
    wait_for("descriptors are back", || forwarder.descriptors() <= before + 1);
    // Read again: whole lines, then the number of those that were lost.
    wait_for("the loss is told", || {
        read_on(&mut reader, &mut log);
        log.contains("lines of the log were lost")
    });
    ping(&mut survivor, b"after");
    for line in log.lines() {
        assert!(
            line.starts_with("20") && line.matches("Z [").count() == 1,
            "{line}"
        );
    }
    // And with an output that takes nothing again, the end comes in time.
    make_it_talk(addr, &mut survivor, 600);
    drop(survivor);
    let began = Instant::now();
    assert_eq!(forwarder.stop().status, Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_log_file_that_takes_nothing_stops_nobody() {
    // `/dev/stdout` is a file to the forwarder, and opens the same pipe.
    a_reader_that_stops("/dev/stdout");
}

#[test]
fn a_standard_output_that_takes_nothing_stops_nobody() {
    a_reader_that_stops("stdout");
}

/// Injected: each write of the log fails, from the first line on.
#[test]
fn a_full_disk_from_the_beginning_costs_the_log_alone() {
    let list = format!("{}\n", echo_on(Ipv4Addr::LOCALHOST));
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let mut settings = settings(&changes("/dev/full"));
    settings["server"]["listen_addr"] = json!(addr.to_string());
    let files = Files::new(&settings, &list);
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command);
    let mut survivor = None;
    wait_for("it listens", || {
        survivor = TcpStream::connect(addr).ok();
        survivor.is_some()
    });
    let mut survivor = patient(survivor.unwrap());
    make_it_talk(addr, &mut survivor, 200);
    drop(survivor);
    let ended = forwarder.stop();
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

/// Injected once: the disk of the log fills up in the middle of a line, and has room again later.
#[test]
fn a_disk_that_fills_up_and_has_room_again_costs_the_lines_between() {
    let list = format!("{}\n", echo_on(Ipv4Addr::LOCALHOST));
    let folder = "/mnt";
    let files = Files::new(&settings(&changes(&format!("{folder}/log"))), &list);
    let program = files.command();
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size=64k tmpfs {folder} && exec \"$0\" \"$@\"");
    command
        .args(["--mount", "sh", "-c", &script])
        .arg(program.get_program())
        .args(program.get_args());
    let mut forwarder = Forwarder::spawn(files, command);
    let seen = format!("/proc/{}/root{folder}/log", forwarder.pid());
    let log = || std::fs::read_to_string(&seen).unwrap_or_default();
    let mut failed = false;
    wait_for("it listens", || {
        failed = forwarder.has_ended();
        failed || log().contains("listening on ")
    });
    if failed {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: a disk that fills up: no file system of one's own can be mounted here"
        );
        return;
    }
    let addr = addr_after("listening on ", &log());
    let mut survivor = patient(TcpStream::connect(addr).unwrap());
    make_it_talk(addr, &mut survivor, 400);
    let full = log();
    assert!(full.len() > 50_000, "it is full: {} bytes", full.len());
    make_it_talk(addr, &mut survivor, 50);
    assert_eq!(log().len(), full.len());
    // Somebody empties the file, as one does; again when what still waited to be written has filled it up.
    wait_for("it logs again", || {
        File::options().write(true).truncate(true).open(&seen).unwrap();
        make_it_talk(addr, &mut survivor, 20);
        comes_true(Duration::from_secs(1), || {
            log().matches("connection closed").count() >= 20
        })
    });
    let bad: Vec<String> = log()
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("20"))
        .map(ToOwned::to_owned)
        .collect();
    assert!(bad.is_empty(), "a line of its own for each: {bad:?}");
    drop(survivor);
    assert_eq!(forwarder.stop().status, Some(0));
}

//! Sockets passed by a service manager: by hand, and by systemd's own program.
#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, clippy::tests_outside_test_module, reason = "tests")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tcp_forwarder::config::Keepalive;
use tcp_forwarder::net;
use tcp_forwarder::systemd::{Wanted, claim, inherit};

#[path = "support/tools.rs"]
mod tools;
#[path = "support/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, comes_true};

/// Set for the copy of this program that is passed sockets: the addresses that it wants, by service.
const CHILD: &str = "TCP_FORWARDER_TEST_WANTED";

/// Not a test by itself: it is passed sockets when a copy of this program runs it, and serves one client at each.
#[test]
fn child() {
    let Ok(wanted) = std::env::var(CHILD) else {
        return;
    };
    let addrs: Vec<(&str, SocketAddr)> = wanted
        .split(' ')
        .map(|word| {
            let (service, addr) = word.split_once('=').expect("a service and an address");
            (service, addr.parse().expect("an address"))
        })
        .collect();
    let wanted: Vec<Wanted<'_>> = addrs
        .iter()
        .map(|(service, addr)| Wanted { service, addr: *addr })
        .collect();
    let rows = inherit().and_then(|inherited| claim(inherited, &wanted));
    let rows = rows.unwrap_or_else(|error| panic!("refused: {error}"));
    for (row, (service, _)) in rows.into_iter().zip(&addrs) {
        let sockets = row.into_iter().map(|inherited| inherited.socket).collect();
        let adopted = net::adopt(sockets, 2, &Keepalive::default()).expect("adopted");
        let listeners = adopted.listen().expect("listening");
        let accept = || {
            listeners
                .iter()
                .flatten()
                .find_map(|listener| listener.accept().ok())
        };
        let mut accepted = None;
        assert!(
            comes_true(PATIENCE, || {
                accepted = accept();
                accepted.is_some()
            }),
            "nobody comes to {service}"
        );
        let (mut stream, _) = accepted.expect("a client");
        stream.write_all(service.as_bytes()).expect("written");
    }
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program")
}

fn open() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

fn passed(listener: &TcpListener) -> Stdio {
    OwnedFd::from(listener.try_clone().expect("a descriptor")).into()
}

/// A copy of this program that is passed two sockets, as a service manager does it. The shell becomes that program, so its
/// own number is the one that the sockets are for.
fn passing(sockets: [&TcpListener; 2], names: &str, wanted: &str) -> Child {
    let script = "LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" --exact child --nocapture 3<&0 4<&1 1>&2";
    Command::new("sh")
        .args(["-c", script])
        .arg(this_program())
        .env("LISTEN_FDNAMES", names)
        .env(CHILD, wanted)
        .stdin(passed(sockets[0]))
        .stdout(passed(sockets[1]))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a copy")
}

/// What whoever listens there says.
fn told(addr: SocketAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    said
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("the end of the copy")
}

#[test]
fn passed_sockets_are_served_under_their_names() {
    let (web, web_addr) = open();
    let (redis, redis_addr) = open();
    // The order is the service manager's, and need not be ours.
    let child = passing(
        [&redis, &web],
        "redis:unknown",
        &format!("web={web_addr} redis={redis_addr}"),
    );
    assert_eq!(
        (told(web_addr), told(redis_addr)),
        ("web".to_owned(), "redis".to_owned())
    );
    let output = ended(child);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_socket_that_fits_nothing_is_an_error_that_names_it() {
    let (web, web_addr) = open();
    let (other, other_addr) = open();
    let child = passing([&web, &other], "web:wbe", &format!("web={web_addr}"));
    let output = ended(child);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    let told = format!("fit no listen address of their service: wbe ({other_addr})");
    assert!(said.contains(&told), "{said}");
}

#[test]
fn what_is_no_listener_is_an_error_that_names_it() {
    let (web, addr) = open();
    let child = Command::new("sh")
        .args([
            "-c",
            "LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" --exact child --nocapture 3<&0 4</dev/null",
        ])
        .arg(this_program())
        .env("LISTEN_FDNAMES", "web:redis")
        .env(CHILD, format!("web={addr}"))
        .stdin(passed(&web))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a copy");
    let output = ended(child);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("socket 1 of the service manager (redis): "),
        "{said}"
    );
}

/// A child that is killed when the test is over, however it ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn systemd_passes_a_socket() {
    let Some(activate) = tools::wanted("systemd-socket-activate", "socket activation") else {
        return;
    };
    // It binds by itself, and does not say which port; so one that was free a moment ago, and another if it is not any more.
    for _ in 0..5 {
        let (free, addr) = open();
        drop(free);
        let child = Command::new(&activate)
            .args(["--listen", &addr.to_string(), "--fdname", "web"])
            .arg(format!("--setenv={CHILD}=web={addr}"))
            .arg(this_program())
            .args(["--exact", "child", "--nocapture"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-socket-activate");
        let mut child = Killed(child);
        let mut is_gone = false;
        let listens = comes_true(PATIENCE, || {
            is_gone = child.0.try_wait().expect("a status").is_some();
            is_gone || listens(addr)
        });
        if is_gone {
            continue;
        }
        assert!(listens, "it does not listen");
        assert_eq!(told(addr), "web");
        let mut status = None;
        assert!(comes_true(PATIENCE, || {
            status = child.0.try_wait().expect("a status");
            status.is_some()
        }));
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        return;
    }
    panic!("no port was free");
}

/// Whether anybody listens there, without a connection, which would be taken for a client.
fn listens(addr: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
    let port = format!(":{:04X}", addr.port());
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_it = fields.next().is_some_and(|local| local.ends_with(&port));
        is_it && fields.nth(1) == Some("0A")
    })
}

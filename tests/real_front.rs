//! Real proxies before and behind the forwarder, which tell each other who the client is.
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
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, free_addr, nginx, programs, run};
use support::{Forwarder, patient, wait_for};

/// Whose address no program here has by itself.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// An HTTP request from [`CLIENT`]: the body of the answer, and the port that it came from.
fn ask(addr: SocketAddr) -> (String, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    let mut stream = patient(TcpStream::from(socket));
    let port = stream.local_addr().unwrap().port();
    stream
        .write_all(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{reply:?}"));
    assert!(head.contains(" 200 "), "{reply}");
    (body.trim().to_owned(), port)
}

/// A haproxy with these sections.
fn haproxy(program: &Path, addr: SocketAddr, sections: &str, folder: &Path) -> Server {
    let config = format!(
        "global\n  maxconn 200\ndefaults\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n{sections}\n"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    Server::start(command, addr, folder)
}

/// An nginx that expects a PROXY header and says what it learned from that.
fn told_nginx(program: &Path, folder: &Path, last: u8) -> Server {
    let addr = free_addr(last);
    let said =
        "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
    let http = format!("server {{ listen {addr} proxy_protocol; location / {{ return 200 '{said}\\n'; }} }}");
    nginx(program, addr, &http, folder)
}

fn settings(proxy: &Value, pool: &Value) -> Value {
    json!({ "server": { "proxy_protocol": proxy }, "pools": { "strategy": pool } })
}

/// With warm connections, and without.
fn pools() -> [Value; 2] {
    [
        json!({ "type": "static", "static": { "size_per_remote": 2 } }),
        json!({ "type": "off" }),
    ]
}

#[test]
fn nginx_behind_is_told_who_the_client_is() {
    let Some([program]) = programs("nginx_behind_is_told_who_the_client_is", ["nginx"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let server = told_nginx(&program, folder.path(), 11);
    for version in ["v1", "v2"] {
        for pool in pools() {
            let check = json!({ "type": "http", "http": { "path": "/" } });
            let mut changes = settings(&json!({ "send": version }), &pool);
            support::merge(
                &mut changes,
                &json!({ "remotes": { "probing": { "check": check } } }),
            );
            let forwarder = Forwarder::start(&changes, &server.list());
            let us = forwarder.addr();
            for _ in 0..4 {
                let (said, port) = ask(us);
                assert_eq!(
                    said,
                    format!("{CLIENT} {port} {} {}", us.ip(), us.port()),
                    "{version}"
                );
            }
            wait_for("a check that is answered rightly", || {
                forwarder.metric("checks_total{result=\"right\"}") > 0.0
            });
            assert_eq!(
                forwarder.metric("checks_total{result=\"wrong\"}"),
                0.0,
                "{}",
                server.log()
            );
        }
    }
    assert!(!server.log().contains("broken header"), "{}", server.log());
}

#[test]
fn haproxy_behind_is_told_who_the_client_is() {
    let Some([program]) = programs("haproxy_behind_is_told_who_the_client_is", ["haproxy"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let addr = free_addr(12);
    let sections = format!(
        "frontend told\n  mode http\n  bind {addr} accept-proxy\n  \
         http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst] %[dst_port]\""
    );
    let server = haproxy(&program, addr, &sections, folder.path());
    for version in ["v1", "v2"] {
        for pool in pools() {
            let forwarder = Forwarder::start(&settings(&json!({ "send": version }), &pool), &server.list());
            let us = forwarder.addr();
            for _ in 0..4 {
                let (said, port) = ask(us);
                assert_eq!(
                    said,
                    format!("{CLIENT} {port} {} {}", us.ip(), us.port()),
                    "{version}"
                );
            }
        }
    }
}

#[test]
fn haproxy_before_says_who_the_client_is() {
    let names = ["haproxy", "nginx"];
    let Some([program, behind]) = programs("haproxy_before_says_who_the_client_is", names) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let server = told_nginx(&behind, folder.path(), 13);
    let proxy = json!({ "accept": "any", "from": "127.0.0.1", "send": "v2" });
    let forwarder = Forwarder::start(&settings(&proxy, &pools()[0]), &server.list());
    for (last, option) in [
        (14, "send-proxy"),
        (15, "send-proxy-v2"),
        (16, "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    ] {
        let addr = free_addr(last);
        let place = TempDir::new().unwrap();
        let sections = format!(
            "listen before\n  mode tcp\n  unique-id-format %{{+X}}o%ci:%cp\n  bind {addr}\n  \
             server us {} {option} check inter 200ms source 127.0.0.1",
            forwarder.addr()
        );
        let before = haproxy(&program, addr, &sections, place.path());
        for _ in 0..3 {
            let (said, port) = ask(addr);
            assert_eq!(
                said,
                format!("{CLIENT} {port} {} {}", addr.ip(), addr.port()),
                "{option}: {}",
                before.log()
            );
        }
    }
    assert!(forwarder.metric("proxy_connections_total{client=\"named\"}") >= 9.0);
    wait_for("checks, which speak for nobody", || {
        forwarder.metric("proxy_connections_total{client=\"local\"}") > 0.0
    });
    assert_eq!(
        forwarder.metric("handshake_failures_total{reason=\"proxy_malformed\"}"),
        0.0
    );
    assert_eq!(
        forwarder.metric("handshake_failures_total{reason=\"proxy_checksum\"}"),
        0.0
    );
}

#[test]
fn nginx_before_says_who_the_client_is() {
    let Some([program]) = programs("nginx_before_says_who_the_client_is", ["nginx"]) else {
        return;
    };
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    if !module.exists() {
        return server::say("skipped: nginx_before_says_who_the_client_is: nginx has no stream module");
    }
    let (folder, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let server = told_nginx(&program, folder.path(), 17);
    let proxy = json!({ "accept": "v1", "from": ["127.0.0.0/8"], "send": "v1" });
    let forwarder = Forwarder::start(&settings(&proxy, &pools()[0]), &server.list());
    let addr = free_addr(18);
    let config = format!(
        "load_module {}; daemon off; master_process off; pid nginx.pid; error_log stderr;
        events {{ worker_connections 512; }}
        stream {{ server {{ listen {addr}; proxy_pass {}; proxy_protocol on; }} }}",
        module.display(),
        forwarder.addr()
    );
    std::fs::write(place.path().join("nginx.conf"), config).unwrap();
    let mut command = Command::new(&program);
    command
        .arg("-p")
        .arg(place.path())
        .args(["-c", "nginx.conf", "-e", "stderr"]);
    let before = Server::start(command, addr, place.path());
    for _ in 0..3 {
        let (said, port) = ask(addr);
        assert_eq!(
            said,
            format!("{CLIENT} {port} {} {}", addr.ip(), addr.port()),
            "{}",
            before.log()
        );
    }
}

#[test]
fn curl_before_says_who_the_client_is() {
    let names = ["curl", "nginx"];
    let Some([curl, behind]) = programs("curl_before_says_who_the_client_is", names) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let server = told_nginx(&behind, folder.path(), 19);
    let proxy = json!({ "accept": "v1", "from": "127.0.0.0/8", "send": "v2" });
    let forwarder = Forwarder::start(&settings(&proxy, &pools()[0]), &server.list());
    let url = format!("http://{}/", forwarder.addr());
    let mut command = Command::new(curl);
    command.args([
        "-sS",
        "--noproxy",
        "*",
        "--haproxy-protocol",
        "--interface",
        "127.0.0.77",
        &url,
    ]);
    let said = run(&mut command, b"");
    assert!(said.starts_with("127.0.0.77 "), "{said}");
}

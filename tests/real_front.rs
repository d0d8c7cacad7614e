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

use std::io::{BufRead, BufReader, Read, Write};
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

/// A connection from [`CLIENT`].
fn connect(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    patient(TcpStream::from(socket))
}

/// An HTTP request from [`CLIENT`]: the body of the answer, and the port that it came from.
fn ask(addr: SocketAddr) -> (String, u16) {
    let mut stream = connect(addr);
    let port = stream.local_addr().unwrap().port();
    stream
        .write_all(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").expect(&reply);
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
        return support::tools::say(
            "skipped: nginx_before_says_who_the_client_is: nginx has no stream module",
        );
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

/// A Dovecot for IMAP that expects a PROXY header, takes one password from anybody, and keeps no mail.
fn dovecot(program: &Path, folder: &Path, last: u8) -> Server {
    let addr = free_addr(last);
    let at = folder.display();
    let config = format!(
        "base_dir = {at}/run\nstate_dir = {at}/state\nlog_path = /dev/stderr\nprotocols = imap\nssl = no\n\
         disable_plaintext_auth = no\nhaproxy_trusted_networks = 127.0.0.0/8\nmail_location = maildir:{at}/mail\n\
         first_valid_uid = 1\n\
         passdb {{\n driver = static\n args = password=secret\n}}\n\
         userdb {{\n driver = static\n args = uid=www-data gid=www-data home={at}/home\n}}\n\
         service imap-login {{\n inet_listener imap {{\n address = {}\n port = {}\n haproxy = yes\n }}\n\
         inet_listener imaps {{\n port = 0\n }}\n}}\n",
        addr.ip(),
        addr.port()
    );
    std::fs::write(folder.join("dovecot.conf"), config).unwrap();
    // Whoever logs in has a process that is not root, and looks into the folder.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder, everybody).unwrap();
    let mut command = Command::new(program);
    command.arg("-F").arg("-c").arg(folder.join("dovecot.conf"));
    Server::start(command, addr, folder)
}

/// A server that greets, but not before it knows who the client is: the header must not wait for the client's first byte.
#[test]
fn dovecot_behind_greets_whom_it_is_told() {
    let Some([program]) = programs("dovecot_behind_greets_whom_it_is_told", ["dovecot"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let server = dovecot(&program, folder.path(), 31);
    let mut logins = 0;
    for version in ["v1", "v2"] {
        for pool in pools() {
            let forwarder = Forwarder::start(&settings(&json!({ "send": version }), &pool), &server.list());
            let mut stream = BufReader::new(connect(forwarder.addr()));
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            assert!(line.starts_with("* OK"), "{version}: {line}: {}", server.log());
            let mut ask = |words: &str| {
                stream
                    .get_mut()
                    .write_all(format!("a {words}\r\n").as_bytes())
                    .unwrap();
                loop {
                    let mut line = String::new();
                    assert!(
                        stream.read_line(&mut line).unwrap() > 0,
                        "{words}: {}",
                        server.log()
                    );
                    if let Some(answer) = line.strip_prefix("a ") {
                        break answer.to_owned();
                    }
                }
            };
            for words in ["LOGIN me secret", "SELECT INBOX", "LOGOUT"] {
                let answer = ask(words);
                assert!(
                    answer.starts_with("OK"),
                    "{version}: {words}: {answer}: {}",
                    server.log()
                );
            }
            logins += 1;
            wait_for("the login in its log", || {
                server.log().matches(&format!("rip={CLIENT},")).count() == logins
            });
        }
    }
}

/// A certificate for this name and its key, in files of these names.
fn certificate(openssl: &Path, folder: &Path, name: &str) {
    let mut command = Command::new(openssl);
    command.current_dir(folder);
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]);
    command.args([
        "-subj",
        &format!("/CN={name}"),
        "-addext",
        &format!("subjectAltName=DNS:{name}"),
    ]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]);
    run(&mut command, b"");
}

/// An nginx with TLS for this name that says its own, and more if it is told who the client is.
fn tls_nginx(
    nginx_program: &Path,
    openssl: &Path,
    folder: &Path,
    (name, last, more): (&str, u8, &str),
) -> Server {
    certificate(openssl, folder, name);
    let addr = free_addr(last);
    let is_told = if more.is_empty() { "" } else { "proxy_protocol" };
    let http = format!(
        "server {{ listen {addr} ssl http2 {is_told}; ssl_certificate {name}.pem; ssl_certificate_key {name}.key; ssl_protocols TLSv1.2 TLSv1.3;
         location / {{ return 200 '{name} for $ssl_server_name by $server_protocol {more}\\n'; }} }}"
    );
    nginx(nginx_program, addr, &http, folder)
}

/// A forwarder with a door, and services behind it with a server each.
fn door(changes: &Value, behind: &[(&str, &Server, Value)]) -> (Forwarder, SocketAddr) {
    let addr = free_addr(30);
    let mut all = support::settings(&json!({}));
    all["server"] = json!({ "reactors": 2 });
    let mut services = json!({ "door": { "listen_addr": addr.to_string() } });
    support::merge(&mut services["door"], changes);
    for (name, _, more) in behind {
        let list = json!({ "provider": { "file": { "path": format!("{name}.txt") } } });
        services[*name] = json!({ "listen_addr": "127.0.0.1:0", "remotes": list });
        support::merge(&mut services[*name], more);
    }
    all["services"] = services;
    let files = support::Files::new(&all, "127.0.0.1:9\n");
    for (name, server, _) in behind {
        std::fs::write(files.path(&format!("{name}.txt")), server.list()).unwrap();
    }
    let command = files.command();
    (Forwarder::spawn(files, command).listening(), addr)
}

/// What curl gets from this name through the door.
fn curl_of(curl: &Path, name: &str, addr: SocketAddr, more: &[&str]) -> String {
    let mut command = Command::new(curl);
    command
        .args(["-sS", "-k", "--noproxy", "*", "--max-time", "20"])
        .args(more);
    command.args(["--resolve", &format!("{name}:{}:{}", addr.port(), addr.ip())]);
    command.arg(format!("https://{name}:{}/", addr.port()));
    run(&mut command, b"")
}

/// A door with two routes, and a place for what is no TLS.
fn two_names() -> Value {
    let routes = json!([
        { "sni": "a.example", "to": "a" },
        { "sni": ["*.example"], "alpn": ["h2"], "to": "b" },
    ]);
    json!({ "routes": routes, "no_match": "close", "plain": "plain" })
}

/// Whom no route takes, by its name or by what it offers.
fn nobody_takes(curl: &Path, addr: SocketAddr) {
    for (name, more) in [("c.elsewhere", "--http2"), ("b.example", "--http1.1")] {
        let mut command = Command::new(curl);
        command.args(["-sS", "-k", "--noproxy", "*", more, "--resolve"]);
        command.arg(format!("{name}:{}:{}", addr.port(), addr.ip()));
        command.arg(format!("https://{name}:{}/", addr.port()));
        assert!(!server::outcome(&mut command, b"").status.success(), "{name}");
    }
}

#[test]
fn names_lead_to_real_servers() {
    let names = ["nginx", "openssl", "curl"];
    let Some([program, openssl, curl]) = programs("names_lead_to_real_servers", names) else {
        return;
    };
    let folders = [
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
    ];
    let a = tls_nginx(&program, &openssl, folders[0].path(), ("a.example", 21, ""));
    let b = tls_nginx(&program, &openssl, folders[1].path(), ("b.example", 22, ""));
    let plain_addr = free_addr(23);
    let http = format!("server {{ listen {plain_addr}; location / {{ return 200 'plain\\n'; }} }}");
    let plain = nginx(&program, plain_addr, &http, folders[2].path());
    let behind = [
        ("a", &a, json!({})),
        ("b", &b, json!({})),
        ("plain", &plain, json!({})),
    ];
    let (forwarder, addr) = door(&two_names(), &behind);
    wait_for("warm connections", || {
        forwarder.metric("pool_available_connections") >= 12.0
    });
    for (version, more) in [("1.3", &["--tlsv1.3"][..]), ("1.2", &["--tls-max", "1.2"])] {
        let said = curl_of(&curl, "a.example", addr, &[more, &["--http1.1"]].concat());
        assert_eq!(said.trim(), "a.example for a.example by HTTP/1.1", "{version}");
        let said = curl_of(&curl, "deep.b.example", addr, &[more, &["--http2"]].concat());
        assert_eq!(
            said.trim(),
            "b.example for deep.b.example by HTTP/2.0",
            "{version}"
        );
    }
    nobody_takes(&curl, addr);
    assert_eq!(support::http_body(addr, "/").unwrap(), "plain\n");
    // What openssl says and hears, a piece at a time: the request follows once the handshake is over.
    let mut command = Command::new(&openssl);
    command.args([
        "s_client",
        "-quiet",
        "-servername",
        "A.Example",
        "-connect",
        &addr.to_string(),
    ]);
    let said = run(&mut command, b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert!(
        said.contains("a.example for A.Example") || said.contains("a.example for a.example"),
        "{said}"
    );
    let seen = forwarder.scrape();
    assert_eq!(
        support::sum(
            &seen,
            "connections_closed_total{service=\"door\",reason=\"routed\"}"
        ),
        6.0
    );
    assert_eq!(
        support::sum(
            &seen,
            "handshake_failures_total{service=\"door\",reason=\"no_route\"}"
        ),
        2.0
    );
}

#[test]
fn a_header_from_haproxy_goes_along_a_route_to_nginx() {
    let names = ["haproxy", "nginx", "openssl", "curl"];
    let Some([program, behind, openssl, curl]) =
        programs("a_header_from_haproxy_goes_along_a_route_to_nginx", names)
    else {
        return;
    };
    let (folder, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let told = (
        "told.example",
        24,
        "$proxy_protocol_addr $proxy_protocol_server_port",
    );
    let server = tls_nginx(&behind, &openssl, folder.path(), told);
    let believed = json!({ "accept": "any", "from": "127.0.0.1/32" });
    let at_door = json!({ "routes": { "sni": "told.example", "to": "told" }, "proxy_protocol": believed });
    let send = json!({ "proxy_protocol": { "send": "v2" } });
    let (_forwarder, us) = door(&at_door, &[("told", &server, send)]);
    let addr = free_addr(25);
    let sections =
        format!("listen before\n  mode tcp\n  bind {addr}\n  server us {us} send-proxy-v2 source 127.0.0.1");
    let before = haproxy(&program, addr, &sections, place.path());
    for more in [
        &["--interface", "127.0.0.77"][..],
        &["--interface", "127.0.0.77", "--tls-max", "1.2"],
    ] {
        let said = curl_of(&curl, "told.example", addr, more);
        let expected = format!(
            "told.example for told.example by HTTP/2.0 127.0.0.77 {}",
            addr.port()
        );
        assert_eq!(said.trim(), expected, "{}{}", before.log(), server.log());
    }
}

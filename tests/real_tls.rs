//! TLS with real programs: every cipher that openssl knows, HTTP/2 by curl and h2load, a browser.
//!
//! A test whose programs are not installed skips itself and says so.

#![cfg(all(unix, feature = "tls"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and waiting has a deadline"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, free_addr, nginx, outcome, programs, run};
use support::Forwarder;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(name)
}

fn shown(name: &str) -> Value {
    json!({ "cert": file(&format!("{name}.pem")), "key": file(&format!("{name}.key")) })
}

/// What `openssl s_client` says, who has nothing to say itself, and whether it was content.
fn s_client(openssl: &Path, addr: SocketAddr, arguments: &[&str], input: &[u8]) -> (bool, String) {
    let mut command = Command::new("timeout");
    command
        .arg("20")
        .arg(openssl)
        .args(["s_client", "-connect", &addr.to_string()])
        .args(arguments);
    let output = outcome(&mut command, input);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// What openssl knows of these ciphers.
fn ciphers(openssl: &Path, arguments: &[&str]) -> Vec<String> {
    let said = run(Command::new(openssl).arg("ciphers").args(arguments), b"");
    said.trim().split(':').map(str::to_owned).collect()
}

/// Each suite is offered alone, so what is refused is refused for itself.
#[test]
fn suites_that_are_not_modern_are_refused() {
    const OLD: [&str; 6] = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ];
    const NEW: [&str; 3] = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ];
    const ALL_NEW: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:\
                           TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256";
    let Some([openssl]) = programs("suites_that_are_not_modern_are_refused", ["openssl"]) else {
        return;
    };
    // A certificate of each kind, so that no suite is refused for want of one.
    let mut tls = shown("server");
    support::merge(&mut tls, &json!({ "certificates": [shown("rsa")] }));
    let backend = support::echo_on(std::net::Ipv4Addr::LOCALHOST);
    let forwarder = Forwarder::start(&json!({ "server": { "tls": tls } }), &format!("{backend}\n"));
    let is_taken = |arguments: &[&str], suite: &str| {
        let (_, said) = s_client(&openssl, forwarder.addr(), arguments, b"Q\n");
        said.contains(&format!("Cipher is {suite}"))
    };
    let known = ciphers(&openssl, &["-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]);
    assert!(known.len() > 50, "{known:?}");
    let taken: BTreeSet<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|suite| is_taken(&["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")], suite))
        .collect();
    assert_eq!(taken, BTreeSet::from(OLD));
    let taken: BTreeSet<&str> = ALL_NEW
        .split(':')
        .filter(|suite| is_taken(&["-tls1_3", "-ciphersuites", suite], suite))
        .collect();
    assert_eq!(taken, BTreeSet::from(NEW));
}

#[test]
fn old_versions_compression_and_new_handshakes_are_refused() {
    let test = "old_versions_compression_and_new_handshakes_are_refused";
    let Some([openssl]) = programs(test, ["openssl"]) else {
        return;
    };
    let backend = support::echo_on(std::net::Ipv4Addr::LOCALHOST);
    let forwarder = Forwarder::start(
        &json!({ "server": { "tls": shown("server") } }),
        &format!("{backend}\n"),
    );
    let ask = |arguments: &[&str], input: &[u8]| s_client(&openssl, forwarder.addr(), arguments, input);
    for version in ["-tls1", "-tls1_1"] {
        let (is_content, said) = ask(&[version, "-cipher", "ALL:@SECLEVEL=0"], b"Q\n");
        assert!(!is_content, "{version}: {said}");
        let is_refused = |why| said.contains(&format!("alert {why}"));
        assert!(
            is_refused("protocol version") || is_refused("handshake failure"),
            "{version}: {said}"
        );
    }
    let (is_content, said) = ask(&["-tls1_2", "-comp"], b"Q\n");
    assert!(is_content && said.contains("Compression: NONE"), "{said}");
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
    // It asks for another handshake, and hears that there is none; in TLS 1.3 nobody can ask.
    let (is_content, said) = ask(&["-tls1_2"], b"R\nQ\n");
    assert!(!is_content && said.contains("no renegotiation"), "{said}");
}

/// An nginx that speaks HTTP/2, in the clear or by TLS, and says which protocol it was asked by.
fn http2(program: &Path, folder: &Path, last: u8, is_secure: bool) -> Server {
    let addr = free_addr(last);
    let tls = if is_secure {
        let (cert, key) = (file("server.pem"), file("server.key"));
        format!(
            "ssl_certificate {}; ssl_certificate_key {};",
            cert.display(),
            key.display()
        )
    } else {
        String::new()
    };
    let kind = if is_secure { "ssl http2" } else { "http2" };
    let page = "default_type text/html; return 200 '$server_protocol for $host\\n';";
    let http = format!("server {{ listen {addr} {kind}; {tls} location / {{ {page} }} }}");
    nginx(program, addr, &http, folder)
}

/// Settings under which clients speak HTTP/2 by TLS, and the backend in the clear, or by TLS, too.
fn speaks_http2(is_secure: bool) -> Value {
    let mut tls = shown("server");
    support::merge(&mut tls, &json!({ "alpn": ["h2"] }));
    let mut changes = json!({ "server": { "tls": tls } });
    if is_secure {
        let tls = json!({ "enabled": true, "ca": file("ca.pem"), "sni": "localhost", "alpn": ["h2"] });
        support::merge(&mut changes, &json!({ "remotes": { "tls": tls } }));
    }
    changes
}

#[test]
fn curl_and_h2load_speak_http_2_through_us_with_nginx() {
    let test = "curl_and_h2load_speak_http_2_through_us_with_nginx";
    let Some([curl, h2load, program]) = programs(test, ["curl", "h2load", "nginx"]) else {
        return;
    };
    for (is_secure, last) in [(false, 15), (true, 16)] {
        let folder = TempDir::new().unwrap();
        let server = http2(&program, folder.path(), last, is_secure);
        let forwarder = Forwarder::start(&speaks_http2(is_secure), &server.list());
        let url = format!("https://localhost:{}/", forwarder.addr().port());
        let mut command = Command::new(&curl);
        command
            .args(["-sS", "--noproxy", "*", "--max-time", "20", "--http2", "--cacert"])
            .arg(file("ca.pem"))
            .arg(&url);
        assert_eq!(run(&mut command, b""), "HTTP/2.0 for localhost\n");
        let mut command = Command::new("timeout");
        command.arg("60").arg(&h2load);
        command.args(["-n", "2000", "-c", "20", "-m", "10", &url]);
        let said = run(&mut command, b"");
        assert!(said.contains("Application protocol: h2"), "{said}");
        assert!(said.contains("2000 succeeded, 0 failed"), "{said}");
    }
}

/// A browser comes by a route for its name to a service that ends its TLS, and speaks HTTP/2 to what is behind.
#[test]
fn a_browser_gets_its_page_by_a_route_and_by_tls() {
    let test = "a_browser_gets_its_page_by_a_route_and_by_tls";
    let Some([chromium, program]) = programs(test, ["chromium", "nginx"]) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let server = http2(&program, folder.path(), 17, false);
    let mut tls = shown("wild");
    support::merge(&mut tls, &json!({ "alpn": ["h2"] }));
    let addr = free_addr(18);
    let mut all = support::settings(&json!({}));
    all["server"] = json!({ "reactors": 2 });
    all["services"] = json!({
        "door": {
            "listen_addr": addr.to_string(),
            "routes": [{ "sni": "*.example.org", "to": "web" }],
            "no_match": "close",
        },
        "web": { "listen_addr": "127.0.0.1:0", "tls": tls },
    });
    let files = support::Files::new(&all, &server.list());
    let command = files.command();
    let _forwarder = Forwarder::spawn(files, command).listening();
    let home = TempDir::new().unwrap();
    let page = |name: &str| {
        let mut command = Command::new("timeout");
        command.arg("60").arg(&chromium);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .args(["--ignore-certificate-errors", "--disable-background-networking"])
            .args(["--no-proxy-server"])
            .arg(format!("--host-resolver-rules=MAP * {}", addr.ip()))
            .arg(format!("--user-data-dir={}", home.path().display()))
            .arg(format!("https://{name}:{}/", addr.port()))
            .env("HOME", home.path());
        String::from_utf8_lossy(&outcome(&mut command, b"").stdout).into_owned()
    };
    let said = page("www.example.org");
    assert!(said.contains("HTTP/2.0 for www.example.org"), "{said}");
    let said = page("www.example.net");
    assert!(!said.contains("HTTP/2.0"), "no route leads there: {said}");
}

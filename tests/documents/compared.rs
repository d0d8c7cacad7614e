//! What `docs/COMPARED.md` shows is run: `HAProxy` and nginx beside us, in the same shares; of those that no Debian has (a speed
//! test's result, cfnat, realm, Envoy), the counterpart.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::configurations::{Content, content};
use super::markdown::{self, Block};
use crate::waiting::{PATIENCE, comes_true};
use crate::{read, tools};

/// Names of the servers in the page, and the addresses that it gives them.
const SERVERS: [(&str, &str); 3] = [("a", "192.0.2.11"), ("b", "192.0.2.12"), ("c", "192.0.2.13")];
const CLIENTS: usize = 40;

/// A server that tells its name to everybody, and holds the connection until its client goes.
fn server(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    tell(listener, name);
    addr
}

fn tell(listener: TcpListener, name: &'static str) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                drop(stream.write_all(name.as_bytes()));
                while stream.read(&mut [0; 16]).is_ok_and(|count| count > 0) {}
            });
        }
    });
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn run(program: &Path, arguments: &[&str], folder: &Path) -> Running {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG");
    Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

/// A client of whoever listens there, and who serves it; none while nobody does.
fn client(addr: SocketAddr) -> Option<(TcpStream, String)> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b".").ok()?;
    let mut name = [0];
    stream.read_exact(&mut name).ok()?;
    Some((stream, char::from(name[0]).to_string()))
}

/// How many of so many clients at once each server gets.
fn shares(addr: SocketAddr) -> BTreeMap<String, usize> {
    assert!(comes_true(PATIENCE, || client(addr).is_some()), "nobody serves");
    let mut shares = BTreeMap::new();
    let mut held = Vec::new();
    for _ in 0..CLIENTS {
        let (stream, name) = client(addr).expect("served");
        held.push(stream);
        *shares.entry(name).or_default() += 1;
    }
    shares
}

/// The text of a block of the page.
fn shown(wanted: &Content<'_>) -> String {
    let blocks = markdown::blocks(&read("docs/COMPARED.md"));
    let block = blocks.iter().find(|block: &&Block| content(block) == *wanted);
    block.expect("shown").text.clone()
}

fn our_configuration(name: &str) -> String {
    shown(&Content::Configuration(name)) + "metrics: { enabled: false }\n"
}

/// The text with each of these words replaced; every one of them is there.
fn with(text: &str, replaced: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (word, by) in replaced {
        assert!(text.contains(word), "no {word} in {text}");
        text = text.replace(word, by);
    }
    text
}

/// Runs us by a configuration, with a list beside it.
fn run_us(configuration: &str, list: Option<(&str, &str)>) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ours.yaml"), configuration).unwrap();
    if let Some((name, text)) = list {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let us = Path::new(env!("CARGO_BIN_EXE_tcp-forwarder"));
    (run(us, &["--config", "ours.yaml"], folder.path()), folder)
}

/// Serves the same backends by what the page shows for a peer and by its counterpart, and compares.
fn serve_alike(who: &str, shown_as: &Content<'_>, arguments: &[&str], program: &Path, prefix: &str) {
    let mut theirs = prefix.to_owned() + &shown(shown_as);
    let mut list = shown(&Content::List("from-haproxy.txt"));
    for (name, shown) in SERVERS {
        let addr = server(name).to_string();
        theirs = with(&theirs, &[(&format!("{shown}:80"), &addr)]);
        list = with(&list, &[(shown, &addr)]);
    }
    let [their_port, our_port] = [free_port(), free_port()];
    let theirs = with(&theirs, &[("127.0.0.1:8080", &their_port.to_string())]);
    let ours = our_configuration("from-haproxy.yaml");
    let ours = with(&ours, &[("127.0.0.1:8080", &our_port.to_string())]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("theirs.cfg"), &theirs).unwrap();
    let folder_name = folder.path().to_str().unwrap();
    let file = format!("{folder_name}/theirs.cfg");
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|argument| match *argument {
            "FILE" => file.as_str(),
            "FOLDER" => folder_name,
            other => other,
        })
        .collect();
    if who == "nginx" {
        let tested = Command::new(program).args(&arguments).arg("-t").output().unwrap();
        let said = String::from_utf8_lossy(&tested.stderr);
        assert!(tested.status.success(), "{said}");
    }
    let _theirs = run(program, &arguments, folder.path());
    let _ours = run_us(&ours, Some(("from-haproxy.txt", &list)));
    for (who, addr) in [(who, their_port), ("tcp-forwarder", our_port)] {
        let shares = shares(addr);
        assert_eq!(shares.get("c"), None, "{who}: the backup serves: {shares:?}");
        let of = |name: &str| shares.get(name).copied().unwrap_or_default();
        // Three of four by weight; a backend that has just joined starts slowly.
        assert!(of("a") > of("b") && of("b") > 0, "{who}: {shares:?}");
    }
}

#[test]
fn a_configuration_of_haproxy_and_its_counterpart_serve_alike() {
    let Some(haproxy) = tools::wanted("haproxy", "HAProxy and its counterpart in docs/COMPARED.md") else {
        return;
    };
    serve_alike("HAProxy", &Content::HaProxy, &["-db", "-f", "FILE"], &haproxy, "");
}

/// Where Debian keeps the module, which other builds have inside.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

#[test]
fn a_configuration_of_nginx_and_its_counterpart_serve_alike() {
    let Some(nginx) = tools::wanted("nginx", "nginx and its counterpart in docs/COMPARED.md") else {
        return;
    };
    let mut prefix = String::from("daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\n");
    if Path::new(STREAM_MODULE).exists() {
        prefix.push_str("load_module ");
        prefix.push_str(STREAM_MODULE);
        prefix.push_str(";\n");
    }
    let arguments = ["-p", "FOLDER", "-c", "FILE"];
    serve_alike("nginx", &Content::Nginx, &arguments, &nginx, &prefix);
}

/// Listeners of these last octets of 127.0.0.0/24 at one port, for lists that give addresses without one.
fn at_one_port<const N: usize>(octets: [u8; N]) -> ([TcpListener; N], u16) {
    for _ in 0..100 {
        let port = free_port().port();
        let bound = octets.map(|octet| TcpListener::bind((Ipv4Addr::new(127, 0, 0, octet), port)));
        if bound.iter().all(Result::is_ok) {
            return (bound.map(Result::unwrap), port);
        }
    }
    panic!("no port is free on all of them");
}

#[test]
fn a_result_of_a_speed_test_is_a_list() {
    let (listeners, port) = at_one_port([7, 9]);
    for (listener, name) in listeners.into_iter().zip(["a", "b"]) {
        tell(listener, name);
    }
    let addr = free_port();
    let ours = with(
        &our_configuration("from-speedtest.yaml"),
        &[
            ("127.0.0.1:8443", &addr.to_string()),
            (
                "default_remote_port: 443",
                &format!("default_remote_port: {port}"),
            ),
        ],
    );
    let list = with(
        &shown(&Content::List("result.csv")),
        &[("198.51.100.", "127.0.0.")],
    );
    let _us = run_us(&ours, Some(("result.csv", &list)));
    let shares = shares(addr);
    assert!(
        shares.len() == 2 && shares.values().all(|share| *share > 0),
        "{shares:?}"
    );
}

/// What stands in quotes and is an address with its port.
fn addresses(text: &str) -> Vec<&str> {
    let quoted = text.split('"').skip(1).step_by(2);
    let first = quoted.filter_map(|quoted| quoted.split(' ').next());
    let mut addresses: Vec<&str> = first.filter(|word| word.parse::<SocketAddr>().is_ok()).collect();
    addresses.sort_unstable();
    addresses
}

#[test]
fn endpoints_of_realm_have_their_counterpart() {
    let ours = our_configuration("from-realm.yaml");
    assert_eq!(addresses(&shown(&Content::Theirs("realm"))), addresses(&ours));
    let [web, mail] = [free_port(), free_port()];
    let [a, b, c] = ["a", "b", "c"].map(|name| server(name).to_string());
    let ours = with(
        &ours,
        &[
            ("127.0.0.1:5000", &web.to_string()),
            ("127.0.0.1:5001", &mail.to_string()),
            ("192.0.2.21:80", &a),
            ("192.0.2.22:80", &b),
            ("192.0.2.31:25", &c),
        ],
    );
    let _us = run_us(&ours, None);
    let of_web = shares(web);
    let of = |name: &str| of_web.get(name).copied().unwrap_or_default();
    assert!(of("a") > of("b") && of("b") > 0 && of("c") == 0, "{of_web:?}");
    assert_eq!(shares(mail).keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_cluster_of_envoy_has_its_counterpart() {
    let theirs: serde_yaml::Value = serde_yaml::from_str(&shown(&Content::Envoy)).unwrap();
    let groups = &theirs["static_resources"]["clusters"][0]["load_assignment"]["endpoints"];
    let ours = our_configuration("from-envoy.yaml");
    let mut named = Vec::new();
    for group in groups.as_sequence().unwrap() {
        for one in group["lb_endpoints"].as_sequence().unwrap() {
            let address = &one["endpoint"]["address"]["socket_address"];
            let (ip, port) = (&address["address"], &address["port_value"]);
            named.push(format!("{}:{}", ip.as_str().unwrap(), port.as_u64().unwrap()));
        }
    }
    let of_backends = |addr: &&str| addr.starts_with("192.0.2.");
    assert_eq!(
        named,
        addresses(&ours)
            .into_iter()
            .filter(of_backends)
            .collect::<Vec<_>>()
    );
    // With all of them, and with none but the backup: there nobody listens.
    for (others, served_by) in [(true, ["a", "b"].as_slice()), (false, &["c"])] {
        let addr = free_port();
        let mut ours = with(&ours, &[("127.0.0.1:8080", &addr.to_string())]);
        for (name, shown) in SERVERS {
            let is_there = others || name == "c";
            let at = if is_there { server(name) } else { free_port() };
            ours = with(&ours, &[(&format!("{shown}:80"), &at.to_string())]);
        }
        let _us = run_us(&ours, None);
        let shares = shares(addr);
        // Whoever answers sooner gets more: on one machine that may be all of them.
        assert!(
            shares.keys().all(|name| served_by.contains(&name.as_str())),
            "{shares:?}"
        );
    }
}

#[cfg(feature = "tls")]
mod data_centres {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::{at_one_port, free_port, our_configuration, run_us, shares, shown, with};
    use crate::documents::configurations::Content;
    use crate::root;

    /// The first byte of a TLS handshake.
    const HANDSHAKE: u8 = 0x16;

    fn certificate() -> Arc<ServerConfig> {
        let file = root().join("tests/certificates/server");
        let chain = CertificateDer::pem_file_iter(file.with_extension("pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file.with_extension("key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let chain = chain.map(Result::unwrap).collect();
        Arc::new(
            builder
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .unwrap(),
        )
    }

    /// An edge address: it says by HTTPS in which data centre it is, and to whoever speaks something else its name.
    fn edge(listener: TcpListener, name: &'static str, centre: &'static str) {
        let config = certificate();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, config) = (stream.unwrap(), Arc::clone(&config));
                thread::spawn(move || {
                    let mut first = [0];
                    if stream.peek(&mut first).is_ok_and(|count| count > 0) {
                        if first == [HANDSHAKE] {
                            answer(stream, config, centre);
                        } else {
                            drop(stream.write_all(name.as_bytes()));
                            // Until its client goes.
                            while stream.read(&mut [0; 16]).is_ok_and(|count| count > 0) {}
                        }
                    }
                });
            }
        });
    }

    fn answer(stream: TcpStream, config: Arc<ServerConfig>, centre: &str) {
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut heard = Vec::new();
        let mut bytes = [0; 1024];
        while !heard.ends_with(b"\r\n\r\n") {
            match stream.read(&mut bytes) {
                Ok(count @ 1..) => heard.extend_from_slice(&bytes[..count]),
                _ => return,
            }
        }
        let is_right = heard.windows(5).any(|word| word == b" /up ")
            && stream.conn.server_name() == Some("www.example.org");
        let status = if is_right { "200 OK" } else { "404 Not Found" };
        let answer = format!("HTTP/1.1 {status}\r\ncf-ray: 8a0-{centre}\r\nContent-Length: 0\r\n\r\n");
        drop(stream.write_all(answer.as_bytes()));
        stream.conn.send_close_notify();
        drop(stream.flush());
    }

    #[test]
    fn those_that_cfnat_names_are_kept() {
        let (listeners, port) = at_one_port([21, 22, 23]);
        let centres = [("a", "SJC"), ("b", "HKG"), ("c", "LAX")];
        for (listener, (name, centre)) in listeners.into_iter().zip(centres) {
            edge(listener, name, centre);
        }
        let theirs = shown(&Content::Theirs("cfnat"));
        for argument in [
            "-addr 127.0.0.1:1234",
            "-colo SJC,LAX",
            "-port 443",
            "-domain www.example.org/up",
        ] {
            assert!(theirs.contains(argument), "{argument}: {theirs}");
        }
        let addr = free_port();
        let authority = root().join("tests/certificates/ca.pem");
        let ours = with(
            &our_configuration("from-cfnat.yaml"),
            &[
                ("127.0.0.1:1234", &addr.to_string()),
                (
                    "default_remote_port: 443",
                    &format!("default_remote_port: {port}"),
                ),
                ("198.51.100.0/24", "127.0.0.21-22"),
                ("203.0.113.0/24", "127.0.0.23"),
                // Nobody whom this system trusts has signed for these.
                (
                    "type: \"https\"",
                    &format!(
                        "type: \"https\"\n      tls: {{ ca: \"{}\" }}",
                        authority.display()
                    ),
                ),
            ],
        );
        let _us = run_us(&ours, None);
        let shares = shares(addr);
        let names: Vec<&str> = shares.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "c"], "{shares:?}");
    }
}

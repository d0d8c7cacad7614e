//! What `docs/COMPARED.md` shows for `HAProxy`, nginx and us serves the same backends in the same shares.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
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
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                drop(stream.write_all(name.as_bytes()));
                drop(stream.read(&mut [0; 16]));
            });
        }
    });
    addr
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

/// Serves the same backends by what the page shows for a peer and by its counterpart, and compares.
fn serve_alike(who: &str, shown_as: &Content<'_>, arguments: &[&str], program: &Path, prefix: &str) {
    let blocks = markdown::blocks(&read("docs/COMPARED.md"));
    let text = |wanted: &Content<'_>| -> String {
        let block = blocks.iter().find(|block: &&Block| content(block) == *wanted);
        block.expect("shown").text.clone()
    };
    let mut theirs = prefix.to_owned() + &text(shown_as);
    let mut list = text(&Content::List("from-haproxy.txt"));
    for (name, shown) in SERVERS {
        let addr = server(name).to_string();
        theirs = theirs.replace(&format!("{shown}:80"), &addr);
        list = list.replace(shown, &addr);
    }
    let [their_port, our_port] = [free_port(), free_port()];
    let theirs = theirs.replace("127.0.0.1:8080", &their_port.to_string());
    let ours = text(&Content::Configuration("from-haproxy.yaml"))
        .replace("127.0.0.1:8080", &our_port.to_string())
        + "metrics: { enabled: false }\n";
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("theirs.cfg", &theirs),
        ("from-haproxy.yaml", &ours),
        ("from-haproxy.txt", &list),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
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
    let us = Path::new(env!("CARGO_BIN_EXE_tcp-forwarder"));
    let _ours = run(us, &["--config", "from-haproxy.yaml"], folder.path());
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

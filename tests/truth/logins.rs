//! Real servers that time logins: `MariaDB`, which blocks who gives too many of them up, and `OpenSSH`, which turns away
//! who has too many open.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::namespace::is_inside;
use crate::programs::{Server, free_addr, outcome, programs, run};
use crate::support::tools::say;
use crate::support::{Forwarder, pause, wait_for};

/// An address of a host of our own, inside a namespace of our own: a database remembers no errors of loopback.
const HOST: &str = "192.0.2.2";

/// For how long clients come: five times as long in the database's own time, whose login timer is a fifth of its default.
fn time() -> Duration {
    Duration::from_secs(if std::env::var_os("TCP_FORWARDER_LONG").is_some() {
        720
    } else {
        12
    })
}

/// The database, which knows its client by name, and the socket by which it is asked about itself.
fn database(folder: &Path, [unshare, install, mariadbd]: [&PathBuf; 3]) -> (Server, PathBuf) {
    let data = folder.join("data");
    let socket = folder.join("socket");
    let hosts = folder.join("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 localhost\n{HOST} client.example\n")).unwrap();
    run(
        Command::new(install)
            .args(["--no-defaults", "--user=root", "--skip-test-db"])
            .arg("--auth-root-authentication-method=normal")
            .arg(format!("--datadir={}", data.display())),
        b"",
    );
    let addr: SocketAddr = format!("{HOST}:3306").parse().unwrap();
    let mut command = Command::new(unshare);
    command
        .args([
            "--mount",
            "sh",
            "-c",
            "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
        ])
        .arg(&hosts)
        .arg(mariadbd)
        .args([
            "--no-defaults",
            "--user=root",
            "--performance-schema=ON",
            "--connect-timeout=2",
        ])
        .arg(format!("--bind-address={HOST}"))
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()));
    (Server::start(command, addr, folder), socket)
}

#[test]
fn a_database_is_not_made_to_block_its_client() {
    const NAME: &str = "logins::a_database_is_not_made_to_block_its_client";
    let names = ["ip", "unshare", "mariadb-install-db", "mariadbd", "mariadb"];
    let Some([ip, unshare, install, mariadbd, mariadb]) = programs(NAME, names) else {
        return;
    };
    if !is_inside(NAME) {
        return;
    }
    run(Command::new(ip).args(["addr", "add", HOST, "dev", "lo"]), b"");
    let folder = TempDir::new().unwrap();
    let (server, socket) = database(folder.path(), [&unshare, &install, &mariadbd]);
    let ask = |words: &str| {
        let mut command = Command::new(&mariadb);
        command
            .args(["--no-defaults", "--skip-column-names", "-u", "root", "-e", words])
            .arg(format!("--socket={}", socket.display()));
        run(&mut command, b"")
    };
    ask("create user client@'%'");
    assert_eq!(ask("select @@max_connect_errors").trim(), "100");
    let changes = json!({ "pools": { "strategy": { "type": "dynamic" } }, "remotes": { "probing": { "interval": "15s" } } });
    let forwarder = Forwarder::start(&changes, &server.list());
    let (began, port) = (Instant::now(), forwarder.addr().port().to_string());
    while began.elapsed() < time() {
        pause(Duration::from_secs(3));
        let mut client = Command::new(&mariadb);
        client.args([
            "--no-defaults",
            "-h",
            "127.0.0.1",
            "-P",
            &port,
            "-u",
            "client",
            "-e",
            "select 1",
        ]);
        let served = outcome(&mut client, b"");
        let words = String::from_utf8_lossy(&served.stderr);
        assert!(served.status.success(), "{words}\n{}", forwarder.log());
    }
    assert_eq!(forwarder.metric("pool_restrained"), 1.0, "{}", forwarder.log());
    let errors = ask(
        "select coalesce(max(sum_connect_errors + count_handshake_errors), 0) from performance_schema.host_cache",
    );
    let errors: u64 = errors.trim().parse().unwrap();
    assert!(errors < 100, "{errors} logins were given up");
}

#[test]
fn a_shell_server_turns_nobody_away() {
    const NAME: &str = "logins::a_shell_server_turns_nobody_away";
    let names = ["sshd", "ssh-keygen", "ssh-keyscan"];
    let Some([sshd, keygen, keyscan]) = programs(NAME, names) else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let (addr, key) = (free_addr(6), folder.path().join("key"));
    run(
        Command::new(keygen)
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key),
        b"",
    );
    let options = [
        "MaxStartups=10:30:60".to_owned(),
        "LoginGraceTime=3".to_owned(),
        format!("ListenAddress={addr}"),
        format!("HostKey={}", key.display()),
        "PidFile=none".to_owned(),
        "UsePAM=no".to_owned(),
    ];
    let server = |mode| {
        let mut command = Command::new(&sshd);
        command.args([mode, "-e", "-f", "/dev/null"]);
        for option in &options {
            command.args(["-o", option]);
        }
        command
    };
    let trial = outcome(&mut server("-t"), b"");
    if !trial.status.success() {
        let why = String::from_utf8_lossy(&trial.stderr);
        return say(&format!(
            "skipped: {NAME}: sshd would not run here: {}",
            why.trim()
        ));
    }
    let command = server("-D");
    let server = Server::start(command, addr, folder.path());
    let changes = json!({ "pools": { "strategy": { "type": "dynamic" } }, "remotes": { "probing": { "interval": "15s" } } });
    let forwarder = Forwarder::start(&changes, &server.list());
    let port = forwarder.addr().port().to_string();
    let began = Instant::now();
    let (mut clients, mut turned_away) = (0, 0);
    while began.elapsed() < Duration::from_secs(9) {
        pause(Duration::from_secs(1));
        let said = outcome(
            Command::new(&keyscan).args(["-T", "5", "-p", &port, "127.0.0.1"]),
            b"",
        );
        clients += 1;
        turned_away += usize::from(!String::from_utf8_lossy(&said.stdout).contains("ssh-ed25519"));
    }
    assert!(
        turned_away <= 1,
        "{turned_away} of {clients}: {}",
        forwarder.log()
    );
    wait_for("few are open", || {
        forwarder.metric("pool_available_connections") <= 2.0
    });
}

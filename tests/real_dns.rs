//! Providers beside a real DNS server, Debian's dnsmasq: names, aliases, services, times to live, answers that do not fit, and
//! every way of giving none; and beside a real resolver that fails itself, unbound.
//!
//! A test whose program is not installed skips itself and says so.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "support/server.rs"]
mod server;
mod support;

use server::{Server, free_addr, programs, run};
use support::{Forwarder, ping, wait_for};

/// A dnsmasq that knows what its configuration says of names below `example`, and nobody to ask for others.
struct Dnsmasq {
    server: Server,
    folder: TempDir,
}

impl Dnsmasq {
    /// None if there is no dnsmasq, which is said.
    fn start(test: &str, config: &str) -> Option<Self> {
        let [program] = programs(test, ["dnsmasq"])?;
        let (folder, addr) = (TempDir::new().unwrap(), free_addr(53));
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, "").unwrap();
        let path = folder.path().join("dnsmasq.conf");
        let all = format!(
            "port={}\nlisten-address={}\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\nlocal=/example/\nlocal-ttl=1\n\
             addn-hosts={}\nlog-queries\n{config}",
            addr.port(),
            addr.ip(),
            hosts.display()
        );
        std::fs::write(&path, all).unwrap();
        let mut command = Command::new(program);
        command
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", path.display()));
        // As whoever runs the test: files of its folder are nobody else's.
        let user = run(Command::new("id").arg("-un"), b"");
        command.arg(format!("--user={}", user.trim()));
        command.args(["--pid-file=", "--log-facility=-"]);
        let server = Server::start(command, addr, folder.path());
        Some(Self { server, folder })
    }

    /// Who stands in its file of hosts from now on.
    fn host(&self, lines: &str) {
        std::fs::write(self.folder.path().join("hosts"), lines).unwrap();
        self.server.signal(Signal::HUP);
    }

    fn settings(&self, providers: &[Value], port: u16) -> Value {
        settings(&self.server, providers, port)
    }
}

/// Settings with these providers, which ask this server.
fn settings(server: &Server, providers: &[Value], port: u16) -> Value {
    json!({ "remotes": {
        "default_remote_port": port,
        "provider": providers,
        "dns": { "resolver": [server.addr.to_string()], "timeout": "300ms", "min_ttl": "1s" },
        "selector": { "evaluation_interval": "100ms", "min_score_threshold": 1 },
        "probing": { "interval": "200ms", "search": { "enabled": false } },
    } })
}

/// An unbound that resolves by itself, and cannot: whoever it would ask is one whom it never asks.
struct Unbound {
    server: Server,
    folder: TempDir,
}

impl Unbound {
    /// It knows these addresses of names below `known.example`. None if there is no unbound, which is said.
    fn start(test: &str, known: &str) -> Option<Self> {
        let [program] = programs(test, ["unbound"])?;
        let (folder, addr) = (TempDir::new().unwrap(), free_addr(54));
        let path = folder.path().join("unbound.conf");
        Self::write(&folder, addr, known);
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&path);
        let server = Server::start(command, addr, folder.path());
        Some(Self { server, folder })
    }

    /// It knows these from now on; of what it does not know it says that it has failed.
    fn knows(&self, known: &str) {
        Self::write(&self.folder, self.server.addr, known);
        self.server.signal(Signal::HUP);
    }

    fn write(folder: &TempDir, addr: SocketAddr, known: &str) {
        let mut config = format!(
            "server:\n  interface: {}@{}\n  port: {}\n  directory: \"{}\"\n",
            addr.ip(),
            addr.port(),
            addr.port(),
            folder.path().display()
        );
        config += "  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  logfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n";
        config +=
            "  module-config: \"iterator\"\n  num-threads: 1\n  local-zone: \"known.example.\" transparent\n";
        for line in known.lines() {
            writeln!(config, "  local-data: \"{line}\"").unwrap();
        }
        // Servers on its own machine are none for it.
        config += "forward-zone:\n  name: \"example.\"\n  forward-addr: 127.0.0.1@9\n";
        std::fs::write(folder.path().join("unbound.conf"), config).unwrap();
    }
}

fn dns(name: &str) -> Value {
    json!({ "type": "dns", "dns": { "name": name } })
}

/// The service as the API tells of it.
fn service(forwarder: &Forwarder) -> Value {
    forwarder.api("services/default")
}

/// Addresses of the members, in order.
fn members(service: &Value) -> Vec<SocketAddr> {
    let members = service["members"].as_array().unwrap().iter();
    let mut members: Vec<SocketAddr> = members
        .map(|member| member["addr"].as_str().unwrap().parse().unwrap())
        .collect();
    members.sort();
    members
}

/// Echo servers at all of these addresses, on one port.
fn echo_at(ips: &[IpAddr]) -> u16 {
    let bound = (0..100).find_map(|_| {
        let first = TcpListener::bind((ips[0], 0)).ok()?;
        let port = first.local_addr().unwrap().port();
        let others: Option<Vec<_>> = ips[1..]
            .iter()
            .map(|ip| TcpListener::bind((*ip, port)).ok())
            .collect();
        Some((port, std::iter::once(first).chain(others?).collect::<Vec<_>>()))
    });
    let (port, listeners) = bound.expect("a port that is free everywhere");
    listeners.into_iter().for_each(support::echo);
    port
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

#[test]
fn names_of_both_families_and_aliases_lead_to_backends_and_every_failure_is_told() {
    let test = "names_of_both_families_and_aliases_lead_to_backends_and_every_failure_is_told";
    let config = "host-record=a.example,127.0.0.91,9\nhost-record=six.example,::1,60\ncname=one.example,two.example\n\
                  cname=two.example,three.example\nhost-record=three.example,127.0.0.92,60\n\
                  host-record=v4.example,127.0.0.92,60\nserver=/silent.test/127.0.0.1#9\n";
    let Some(dnsmasq) = Dnsmasq::start(test, config) else {
        return;
    };
    let port = echo_at(&[v4(91), v4(92), Ipv6Addr::LOCALHOST.into()]);
    let providers = [
        json!({ "type": "dns", "dns": { "name": "a.example", "family": "ipv4" } }),
        dns("six.example"),
        dns("one.example"),
        dns("nobody.example"),
        dns("elsewhere.test"),
        dns("x.silent.test"),
        json!({ "type": "dns", "dns": { "name": "v4.example", "family": "ipv6" } }),
    ];
    let forwarder = Forwarder::start(&dnsmasq.settings(&providers, port), "");
    ping(&mut forwarder.connect(), b"hello");
    let all = [v4(91), v4(92), Ipv6Addr::LOCALHOST.into()].map(|ip| SocketAddr::new(ip, port));
    wait_for("all members", || members(&service(&forwarder)) == all);
    let failing = || {
        let told = service(&forwarder);
        let providers = told["providers"].as_array().unwrap().iter();
        providers.filter(|one| !one["error"].is_null()).count()
    };
    wait_for("all failures", || failing() == 4);
    let told = service(&forwarder);
    for (place, error) in [
        (0, None),
        (1, None),
        (2, None),
        (3, Some("there is no nobody.example")),
        (4, Some("refuses to answer (REFUSED)")),
        (5, Some("does not answer in time")),
        (6, Some("v4.example has no record AAAA")),
    ] {
        let provider = &told["providers"][place];
        let candidates = u64::from(error.is_none());
        assert_eq!(provider["candidates"], candidates, "{provider}");
        let said = provider["error"].as_str().unwrap_or_default();
        assert_eq!(said.is_empty(), error.is_none(), "{provider}");
        assert!(said.contains(error.unwrap_or_default()), "{provider}");
    }
    // The time to live is the record's, and of an alias the shortest on the way.
    let kept = |place: usize| {
        let provider = &told["providers"][place];
        let seconds = |key: &str| provider[key].as_f64().unwrap_or_default();
        seconds("answered_seconds_ago") + seconds("next_seconds")
    };
    assert!(kept(0) > 1.5 && kept(0) < 9.5, "{told}");
    assert!(kept(2) < 1.5, "{told}");
    forwarder.stop();
}

#[test]
fn an_answer_is_followed_when_its_time_is_over() {
    let Some(dnsmasq) = Dnsmasq::start("an_answer_is_followed_when_its_time_is_over", "") else {
        return;
    };
    let port = echo_at(&[v4(93), v4(94)]);
    dnsmasq.host("127.0.0.93 moving.example\n");
    let forwarder = Forwarder::start(&dnsmasq.settings(&[dns("moving.example")], port), "");
    let at = |last| vec![SocketAddr::new(v4(last), port)];
    wait_for("the first answer", || members(&service(&forwarder)) == at(93));
    dnsmasq.host("127.0.0.94 moving.example\n");
    wait_for("the second answer", || members(&service(&forwarder)) == at(94));
    ping(&mut forwarder.connect(), b"hello");
    // It is gone from DNS, and that alone makes nobody leave.
    dnsmasq.host("");
    wait_for("that it is gone", || {
        forwarder.log().contains("there is no moving.example")
    });
    assert_eq!(members(&service(&forwarder)), at(94));
    ping(&mut forwarder.connect(), b"hello");
    forwarder.stop();
}

#[test]
fn five_hundred_addresses_do_not_fit_and_come_by_tcp() {
    let Some(dnsmasq) = Dnsmasq::start("five_hundred_addresses_do_not_fit_and_come_by_tcp", "") else {
        return;
    };
    let port = echo_at(&[v4(95)]);
    let mut hosts = "127.0.0.95 many.example\n".to_owned();
    for number in 0..499 {
        writeln!(hosts, "127.9.{}.{} many.example", number / 250, number % 250 + 1).unwrap();
    }
    dnsmasq.host(&hosts);
    let provider = json!({ "type": "dns", "dns": { "name": "many.example", "family": "ipv4" } });
    let forwarder = Forwarder::start(&dnsmasq.settings(&[provider], port), "");
    wait_for("all of them", || service(&forwarder)["candidates"] == 500);
    ping(&mut forwarder.connect(), b"hello");
    forwarder.stop();
}

#[test]
fn a_service_has_tiers_weights_and_ports() {
    let ports = [96, 97, 98].map(|last| echo_at(&[v4(last)]));
    let [a, b, c] = ports;
    let config = format!(
        "host-record=a.example,127.0.0.96\nhost-record=b.example,127.0.0.97\nhost-record=c.example,127.0.0.98\n\
         srv-host=_echo._tcp.example,a.example,{a},1,3\nsrv-host=_echo._tcp.example,b.example,{b},1,1\n\
         srv-host=_echo._tcp.example,c.example,{c},2,9\n"
    );
    let Some(dnsmasq) = Dnsmasq::start("a_service_has_tiers_weights_and_ports", &config) else {
        return;
    };
    let provider = json!({ "type": "srv", "srv": { "name": "_echo._tcp.example", "family": "ipv4" } });
    let mut settings = dnsmasq.settings(&[provider], 9);
    settings["pools"] = json!({ "algorithm": "round_robin", "strategy": { "type": "off" } });
    let forwarder = Forwarder::start(&settings, "");
    let first = [(96, a), (97, b)].map(|(last, port)| SocketAddr::new(v4(last), port));
    wait_for("the first tier", || members(&service(&forwarder)) == first);
    let told = service(&forwarder);
    assert_eq!(told["candidates"], 3, "{told}");
    for _ in 0..40 {
        ping(&mut forwarder.connect(), b"hello");
    }
    let told = service(&forwarder);
    let of = |port: u16| {
        let members = told["members"].as_array().unwrap();
        let addr = |one: &&Value| one["addr"].as_str().unwrap().ends_with(&format!(":{port}"));
        members.iter().find(addr).unwrap().clone()
    };
    let requests = |port| of(port)["requests"].as_u64().unwrap();
    assert_eq!(requests(a) + requests(b), 40, "{told}");
    assert!(requests(a) >= 2 * requests(b) && requests(b) > 0, "{told}");
    assert_eq!(of(a)["name"], "a.example", "{told}");
    forwarder.stop();
}

#[test]
fn a_resolver_that_fails_itself_takes_nothing_away() {
    let test = "a_resolver_that_fails_itself_takes_nothing_away";
    let known = "a.known.example. 1 IN A 127.0.0.90";
    let Some(unbound) = Unbound::start(test, known) else {
        return;
    };
    let port = echo_at(&[v4(90)]);
    let providers = [dns("a.known.example"), dns("b.unknown.example")];
    let forwarder = Forwarder::start(&settings(&unbound.server, &providers, port), "");
    let error = |place: usize| {
        let told = service(&forwarder);
        told["providers"][place]["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    wait_for("that it has failed", || {
        error(1).contains("has failed (SERVFAIL)")
    });
    wait_for("the address", || {
        members(&service(&forwarder)) == [SocketAddr::new(v4(90), port)]
    });
    assert_eq!(error(0), "");
    unbound.knows("");
    wait_for("that it fails of all", || error(0).contains("SERVFAIL"));
    let told = service(&forwarder);
    assert_eq!(told["providers"][0]["candidates"], 1, "{told}");
    assert_eq!(members(&told), [SocketAddr::new(v4(90), port)]);
    ping(&mut forwarder.connect(), b"hello");
    unbound.knows(known);
    wait_for("that it answers again", || error(0).is_empty());
    ping(&mut forwarder.connect(), b"hello");
    forwarder.stop();
}

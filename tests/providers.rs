//! Providers that are asked by DNS, with the program as a process beside a DNS server of the test: it answers well, wrongly, by
//! halves, or not at all.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, and every wait has a deadline"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use domain::base::iana::{Class, Rcode};
use domain::base::message_builder::AnswerBuilder;
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::rdata::{A, Cname, Srv};
use serde_json::{Value, json};

mod support;

use support::{Forwarder, echo_on, ping, wait_for};

type Builder = AnswerBuilder<Vec<u8>>;

fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).unwrap()
}

fn address(builder: &mut Builder, owner: &str, ip: Ipv4Addr) {
    let ttl = Ttl::from_secs(1);
    builder.push((name(owner), Class::IN, ttl, A::new(ip))).unwrap();
}

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// With these last bytes of addresses in 127.0.0.0/24.
    Well(u8),
    /// By TCP only.
    ByHalves(u8),
    /// With another id first, and the answer to another question; then well.
    AfterForgeries(u8),
    Failure,
    NoSuchName,
    Silent,
}

/// A DNS server for names below `example`, on one port of loopback by UDP and TCP.
struct Dns {
    addr: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    /// Backends' port, for SRV records.
    port: u16,
}

impl Dns {
    fn start(manner: Manner, port: u16) -> Self {
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
                let udp = UdpSocket::bind(tcp.local_addr().ok()?).ok()?;
                Some((udp, tcp))
            })
            .expect("a port of both");
        let addr = tcp.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(manner));
        let by_udp = Arc::clone(&manner);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((count, peer)) = udp.recv_from(&mut buffer) {
                let manner = *by_udp.lock().unwrap();
                if let Manner::AfterForgeries(_) = manner {
                    let mut forged = answer(&buffer[..count], Manner::Well(66), port, false).unwrap();
                    forged[0] ^= 0xff;
                    udp.send_to(&forged, peer).unwrap();
                    udp.send_to(b"nonsense", peer).unwrap();
                    // From elsewhere, with everything right but the sender.
                    let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
                    let poisoned = answer(&buffer[..count], Manner::Well(66), port, false).unwrap();
                    elsewhere.send_to(&poisoned, peer).unwrap();
                }
                if let Some(answer) = answer(&buffer[..count], manner, port, true) {
                    udp.send_to(&answer, peer).unwrap();
                }
            }
        });
        let by_tcp = Arc::clone(&manner);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut query).unwrap();
                if let Some(answer) = answer(&query, *by_tcp.lock().unwrap(), port, false) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    // In two pieces.
                    stream.write_all(&length).unwrap();
                    stream.write_all(&answer).unwrap();
                }
            }
        });
        Self { addr, manner, port }
    }

    fn now(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// A forwarder with these providers, which asks here.
    fn forwarder(&self, provider: &Value, list: &str) -> Forwarder {
        let dns = json!({
            "resolver": [self.addr.to_string()], "timeout": "100ms", "min_ttl": "1s", "max_ttl": "1s"
        });
        let selector = json!({ "evaluation_interval": "100ms", "min_score_threshold": 0 });
        let remotes = json!({
            "default_remote_port": self.port, "provider": provider, "dns": dns, "selector": selector,
            "probing": { "interval": "200ms" },
        });
        Forwarder::start(&json!({ "remotes": remotes }), list)
    }
}

/// The answer to a query, in this manner.
fn answer(query: &[u8], manner: Manner, port: u16, by_udp: bool) -> Option<Vec<u8>> {
    let query = Message::from_octets(query).unwrap();
    let question = query.sole_question().unwrap();
    let code = match manner {
        Manner::Silent => return None,
        Manner::Failure => Rcode::SERVFAIL,
        Manner::NoSuchName => Rcode::NXDOMAIN,
        Manner::Well(_) | Manner::ByHalves(_) | Manner::AfterForgeries(_) => Rcode::NOERROR,
    };
    let mut builder = MessageBuilder::new_vec().start_answer(&query, code).unwrap();
    let (Manner::Well(last) | Manner::ByHalves(last) | Manner::AfterForgeries(last)) = manner else {
        return Some(builder.finish());
    };
    if by_udp && matches!(manner, Manner::ByHalves(_)) {
        builder.header_mut().set_tc(true);
        return Some(builder.finish());
    }
    let owner = question.qname().to_vec();
    let ttl = Ttl::from_secs(1);
    match question.qtype() {
        Rtype::SRV => {
            let srv = Srv::new(1, 5, port, name("a.example"));
            builder.push((owner, Class::IN, ttl, srv)).unwrap();
        }
        Rtype::A if matches!(manner, Manner::ByHalves(_)) => {
            for ip in 0..500_u16 {
                let [high, low] = ip.to_be_bytes();
                let a = A::new(Ipv4Addr::new(127, 1, high, low));
                builder.push((owner.clone(), Class::IN, ttl, a)).unwrap();
            }
            builder
                .push((owner, Class::IN, ttl, A::new(Ipv4Addr::new(127, 0, 0, last))))
                .unwrap();
        }
        Rtype::A => {
            let alias = Cname::new(name("real.example"));
            builder.push((owner, Class::IN, ttl, alias)).unwrap();
            address(&mut builder, "real.example", Ipv4Addr::new(127, 0, 0, last));
            // What nobody has asked for.
            address(&mut builder, "bank.example", Ipv4Addr::new(127, 0, 0, 66));
        }
        _ => {}
    }
    Some(builder.finish())
}

fn serves(forwarder: &Forwarder) {
    ping(&mut forwarder.connect(), b"hello");
}

#[test]
fn a_name_is_looked_up_and_followed_and_what_fails_stays_what_it_was() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 41));
    let dns = Dns::start(Manner::Silent, backend.port());
    let provider = json!({ "type": "dns", "dns": { "name": "a.example" } });
    let forwarder = dns.forwarder(&provider, "");
    // A client may come before anybody is known, and is served once somebody is.
    let mut early = forwarder.connect();
    dns.now(Manner::AfterForgeries(41));
    ping(&mut early, b"early");
    drop(early);
    serves(&forwarder);
    for manner in [Manner::Failure, Manner::NoSuchName, Manner::Silent] {
        dns.now(manner);
        wait_for("the failure to be told", || {
            forwarder.log().contains("provider 0:dns fails")
        });
        serves(&forwarder);
        assert!(forwarder.metric("provider_failing{provider=\"0:dns\"}") > 0.5);
        assert!((forwarder.metric("provider_candidates{provider=\"0:dns\"}") - 1.0).abs() < 0.1);
    }
    assert!(forwarder.metric("provider_errors_total{provider=\"0:dns\"}") > 0.0);
    dns.now(Manner::Well(41));
    wait_for("the answer", || {
        forwarder.log().contains("provider 0:dns answers again")
    });
    assert!(forwarder.metric("provider_failing{provider=\"0:dns\"}") < 0.5);
    serves(&forwarder);
    assert!(!forwarder.log().contains("127.0.0.66"), "{}", forwarder.log());
    forwarder.stop();
}

/// The limits of all members, in the order of their addresses.
fn limits(forwarder: &Forwarder) -> Vec<u64> {
    let body = support::http_body(forwarder.metrics_addr(), "/api/v1/services/default").unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let members = body["members"].as_array().unwrap().iter();
    let mut limits: Vec<_> = members
        .map(|one| {
            (
                one["addr"].to_string(),
                one["max_connections"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    limits.sort();
    limits.into_iter().map(|(_, max)| max).collect()
}

#[test]
fn five_hundred_addresses_come_by_tcp() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 42));
    let dns = Dns::start(Manner::ByHalves(42), backend.port());
    let provider = json!({ "type": "dns", "dns": { "name": "a.example", "family": "ipv4" } });
    let forwarder = dns.forwarder(&provider, "");
    wait_for("all of them", || forwarder.log().contains("501 candidates"));
    serves(&forwarder);
    forwarder.stop();
}

#[test]
fn services_and_the_host_names_of_a_list_are_looked_up_beside_addresses() {
    let backend = echo_on(Ipv4Addr::new(127, 0, 0, 43));
    let dns = Dns::start(Manner::Well(43), backend.port());
    let srv = json!({ "type": "srv", "srv": { "name": "_echo._tcp.example", "family": "ipv4" }, "max_connections": 7 });
    let forwarder = dns.forwarder(&srv, "");
    serves(&forwarder);
    assert_eq!(limits(&forwarder), [7], "of the provider");
    forwarder.stop();
    let both = json!([
        { "file": { "path": "ip_list.txt" }, "max_connections": 4 },
        { "type": "inline", "inline": { "entries": ["b.example"] }, "max_connections": 9 },
    ]);
    let other = echo_on(Ipv4Addr::new(127, 0, 0, 44));
    let forwarder = dns.forwarder(
        &both,
        &format!("a.example max_connections=3 # by name\n{other}\n"),
    );
    wait_for("both", || forwarder.log().contains("2 candidates"));
    serves(&forwarder);
    wait_for("their limits", || limits(&forwarder) == [3, 4]);
    forwarder.stop();
}

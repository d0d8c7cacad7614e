//! A DNS server of the test: it answers well, wrongly, by halves, or not at all.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use domain::base::iana::{Class, Rcode};
use domain::base::message_builder::AnswerBuilder;
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::rdata::{A, Cname, Srv};
use serde_json::{Value, json};

use crate::support::Forwarder;

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
pub enum Manner {
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
pub struct Dns {
    addr: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    /// Queries by UDP so far.
    queries: Arc<AtomicU64>,
    /// Backends' port, for SRV records.
    port: u16,
}

impl Dns {
    pub fn start(manner: Manner, port: u16) -> Self {
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
        let queries = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&queries);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((count, peer)) = udp.recv_from(&mut buffer) {
                counted.fetch_add(1, Ordering::SeqCst);
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
        Self {
            addr,
            manner,
            queries,
            port,
        }
    }

    /// Queries by UDP so far.
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::SeqCst)
    }

    pub fn now(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// A forwarder with these providers, which asks here.
    pub fn forwarder(&self, provider: &Value, list: &str) -> Forwarder {
        Forwarder::start(&self.settings(provider), list)
    }

    /// Settings with these providers, which ask here.
    pub fn settings(&self, provider: &Value) -> Value {
        let dns = json!({
            "resolver": [self.addr.to_string()], "timeout": "100ms", "min_ttl": "1s", "max_ttl": "1s"
        });
        let selector = json!({ "evaluation_interval": "100ms", "min_score_threshold": 0 });
        let remotes = json!({
            "default_remote_port": self.port, "provider": provider, "dns": dns, "selector": selector,
            "probing": { "interval": "200ms" },
        });
        json!({ "remotes": remotes })
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

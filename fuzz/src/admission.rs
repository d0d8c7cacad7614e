//! Who may connect, against lists looked through one by one, counts, and buckets that are filled drop by drop.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tcp_forwarder::admission::RejectReason;
use tcp_forwarder::admission::{Admission, Seat};
use tcp_forwarder::base::clock;
use tcp_forwarder::config::Server;

use super::choices::Choices;

/// Rates with the time of one token in nanoseconds, which has no rest.
const RATES: [(f64, u64); 4] = [
    (0.0, 0),
    (0.5, 2_000_000_000),
    (8.0, 125_000_000),
    (1000.0, 1_000_000),
];

/// Connects, leaves, and lets time pass.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(mut world) = World::new(&mut choices) else {
        return;
    };
    while world.step(&mut choices).is_some() {}
    // Who has left has a seat again, however often it was refused.
    world.seats.clear();
    world.now += Duration::from_secs(24 * 3600);
    world.clients.clear();
    for address in 0..32 {
        world.connect(address);
    }
}

#[derive(Default)]
struct Client {
    live: usize,
    /// What is missing in the bucket, in nanoseconds of filling, and when that was so.
    missing: u64,
    at: Option<Instant>,
}

struct World {
    server: Server,
    admission: Admission,
    interval: u64,
    clients: HashMap<u128, Client>,
    seats: Vec<(u128, Option<Box<Seat>>)>,
    now: Instant,
}

/// One of 32 addresses: some are neighbours, some of one network of 64 bits.
fn address(number: u8) -> IpAddr {
    let number = number % 32;
    if number < 16 {
        Ipv4Addr::new(10, number & 0b1, number & 0b10, number & 0b100).into()
    } else {
        let (network, host) = (u16::from(number % 4), u16::from(number / 4));
        Ipv6Addr::new(0x2001, 0xdb8, 0, network, host, 0, 0, 1).into()
    }
}

/// Whom connections from an address are counted for.
fn client(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits() >> 64 << 64,
    }
}

/// Up to three networks around addresses that connect.
fn networks(choices: &mut Choices<'_>) -> Option<Vec<IpNet>> {
    let mut networks = Vec::new();
    for _ in 0..choices.byte()? % 4 {
        let ip = address(choices.byte()?);
        let prefix = choices.byte()?;
        let network = match ip {
            IpAddr::V4(ip) => Ipv4Net::new(ip, prefix % 33).map(IpNet::from),
            IpAddr::V6(ip) => Ipv6Net::new(ip, prefix % 129).map(IpNet::from),
        };
        networks.extend(network);
    }
    Some(networks)
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Option<Self> {
        let (rate, interval) = RATES[usize::from(choices.byte()? % 4)];
        let server = Server {
            max_connections_per_ip: usize::from(choices.byte()? % 6),
            connection_rate_per_ip: rate,
            connection_burst_per_ip: u32::from(choices.byte()? % 5),
            allow: networks(choices)?,
            deny: networks(choices)?,
            ..Server::default()
        };
        let now = clock::now();
        Some(Self {
            admission: Admission::of(&server)?,
            server,
            interval,
            clients: HashMap::new(),
            seats: Vec::new(),
            now,
        })
    }

    fn step(&mut self, choices: &mut Choices<'_>) -> Option<()> {
        let operation = choices.byte()?;
        match operation >> 6 {
            0 | 1 => self.connect(operation),
            2 => {
                if !self.seats.is_empty() {
                    let (client, _) = self
                        .seats
                        .swap_remove(usize::from(operation & 63) % self.seats.len());
                    self.clients.entry(client).or_default().live -= 1;
                }
            }
            _ => {
                let unit = [1, 999_999, 1_000_000, 124_999_999][usize::from(operation & 3)];
                self.now += Duration::from_nanos(unit * u64::from(operation >> 2 & 15));
            }
        }
        Some(())
    }

    fn connect(&mut self, number: u8) {
        let ip = address(number);
        let expected = self.expected(ip);
        let answer = self.admission.admit(ip, self.now);
        assert_eq!(answer.as_ref().err().copied(), expected, "{ip}");
        if let Ok(seat) = answer {
            let is_counted = self.server.max_connections_per_ip > 0 || self.interval > 0;
            assert_eq!(seat.is_some(), is_counted);
            self.seats.push((client(ip), seat));
        }
    }

    /// Why a connection is refused, if it is; one that is not is counted.
    fn expected(&mut self, ip: IpAddr) -> Option<RejectReason> {
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&ip));
        let is_allowed = self.server.allow.is_empty() || is_in(&self.server.allow);
        if !is_allowed || is_in(&self.server.deny) {
            return Some(RejectReason::Denied);
        }
        let client = self.clients.entry(client(ip)).or_default();
        let most = self.server.max_connections_per_ip;
        if most > 0 && client.live >= most {
            return Some(RejectReason::ConnectionLimit);
        }
        if self.interval > 0 {
            let burst = match self.server.connection_burst_per_ip {
                0 => 1_000_000_000_u64.div_euclid(self.interval).max(1),
                burst => burst.into(),
            };
            let passed = client.at.map_or(0, |at| (self.now - at).as_nanos());
            let passed = u64::try_from(passed).unwrap_or(u64::MAX);
            client.missing = client.missing.saturating_sub(passed);
            client.at = Some(self.now);
            if client.missing + self.interval > burst * self.interval {
                return Some(RejectReason::RateLimit);
            }
            client.missing += self.interval;
        }
        client.live += 1;
        None
    }
}

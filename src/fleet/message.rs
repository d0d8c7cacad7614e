//! What forwarders say to one another, as bytes. Pure.
//!
//! Versioned; what is of another version, broken or out of range is none. Times are ages, for nobody's clock is believed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::scorer::sample::{Heard, Outcome};
use crate::service::fleet::NodeId;

const VERSION: u8 = 1;

/// The most samples of one message: with IPv6 it has at most 1.5 kB.
pub const MOST_SAMPLES: usize = 64;

/// Services that one node names.
const MOST_SERVICES: usize = 64;

/// Bytes of a name or a vantage.
const MOST_NAME: usize = 80;

/// The longest latency and the greatest age that are said.
const LONGEST_MICROS: u32 = 0xff_ffff;
const STEPS_A_SECOND: u64 = 10;

const REFUSED: u8 = 1;
const NO_ROUTE: u8 = 2;
const FAILURE: u8 = 3;
const ANSWER: u8 = 4;
const WRONG: u8 = 8;
const IPV6: u8 = 16;

/// One sample, as it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Of which service.
    pub service: u32,
    /// Whom it is about.
    pub addr: SocketAddr,
    /// How it went.
    pub outcome: Outcome,
    /// What was heard.
    pub heard: Heard,
    /// How old it was when it was said; at most 25.5 s, in tenths.
    pub age: Duration,
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// What it calls itself.
    pub name: String,
    /// From where it looks.
    pub vantage: String,
    /// What it serves.
    pub services: Vec<u32>,
}

/// Samples as bytes; of more than [`MOST_SAMPLES`] the rest is left out.
#[must_use]
pub fn write_samples(from: NodeId, words: &[Word]) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(from.to_be_bytes());
    for word in words.iter().take(MOST_SAMPLES) {
        let (kind, latency) = match word.outcome {
            Outcome::Success(latency) => (0, latency),
            Outcome::Refused => (REFUSED, Duration::ZERO),
            Outcome::NoRoute => (NO_ROUTE, Duration::ZERO),
            Outcome::Failure => (FAILURE, Duration::ZERO),
        };
        let (heard, first_byte) = match word.heard {
            Heard::NotAsked => (0, None),
            Heard::Answer(first_byte) => (ANSWER, Some(first_byte)),
            Heard::Wrong(_) => (WRONG, None),
        };
        let family = if word.addr.is_ipv6() { IPV6 } else { 0 };
        out.push(kind | heard | family);
        out.extend(word.service.to_be_bytes());
        match word.addr.ip() {
            IpAddr::V4(ip) => out.extend(ip.octets()),
            IpAddr::V6(ip) => out.extend(ip.octets()),
        }
        out.extend(word.addr.port().to_be_bytes());
        let steps = word.age.as_millis() / u128::from(1000 / STEPS_A_SECOND);
        out.push(u8::try_from(steps).unwrap_or(u8::MAX));
        out.extend(&micros(latency)[1..]);
        if let Some(first_byte) = first_byte {
            out.extend(&micros(first_byte)[1..]);
        }
    }
    out
}

fn micros(time: Duration) -> [u8; 4] {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    micros.clamp(1, LONGEST_MICROS).to_be_bytes()
}

/// Who says what; none if it is no such message.
#[must_use]
pub fn read_samples(bytes: &[u8]) -> Option<(NodeId, Vec<Word>)> {
    let mut bytes = Bytes(bytes);
    if bytes.take()? != [VERSION] {
        return None;
    }
    let from = NodeId::from_be_bytes(bytes.take()?);
    let mut words = Vec::new();
    while !bytes.0.is_empty() {
        if words.len() == MOST_SAMPLES {
            return None;
        }
        let [kind] = bytes.take()?;
        if kind & !(FAILURE | ANSWER | WRONG | IPV6) != 0 || kind & (ANSWER | WRONG) == ANSWER | WRONG {
            return None;
        }
        let service = u32::from_be_bytes(bytes.take()?);
        let ip = if kind & IPV6 == 0 {
            IpAddr::from(bytes.take::<4>()?)
        } else {
            IpAddr::from(bytes.take::<16>()?)
        };
        let addr = SocketAddr::new(ip, u16::from_be_bytes(bytes.take()?));
        let [steps] = bytes.take()?;
        let latency = bytes.micros()?;
        let outcome = match kind & FAILURE {
            0 => Outcome::Success(latency),
            REFUSED => Outcome::Refused,
            NO_ROUTE => Outcome::NoRoute,
            _ => Outcome::Failure,
        };
        let heard = match kind & (ANSWER | WRONG) {
            ANSWER => Heard::Answer(bytes.micros()?),
            WRONG => Heard::Wrong("as another forwarder has seen"),
            _ => Heard::NotAsked,
        };
        if addr.port() == 0 || (heard != Heard::NotAsked && !outcome.is_success()) {
            return None;
        }
        words.push(Word {
            service,
            addr,
            outcome,
            heard,
            age: Duration::from_millis(u64::from(steps) * (1000 / STEPS_A_SECOND)),
        });
    }
    Some((from, words))
}

/// Who a node is, as bytes.
#[must_use]
pub fn write_hello(hello: &Hello) -> Vec<u8> {
    let mut out = vec![VERSION];
    for text in [&hello.name, &hello.vantage] {
        let text = text.as_bytes().get(..MOST_NAME).unwrap_or(text.as_bytes());
        out.push(u8::try_from(text.len()).unwrap_or_default());
        out.extend(text);
    }
    for service in hello.services.iter().take(MOST_SERVICES) {
        out.extend(service.to_be_bytes());
    }
    out
}

/// Who a node is; none if it does not say.
#[must_use]
pub fn read_hello(bytes: &[u8]) -> Option<Hello> {
    let mut bytes = Bytes(bytes);
    if bytes.take()? != [VERSION] {
        return None;
    }
    let (name, vantage) = (bytes.text()?, bytes.text()?);
    let mut services = Vec::new();
    while !bytes.0.is_empty() {
        services.push(u32::from_be_bytes(bytes.take()?));
    }
    (services.len() <= MOST_SERVICES).then_some(Hello {
        name,
        vantage,
        services,
    })
}

struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn micros(&mut self) -> Option<Duration> {
        let [a, b, c] = self.take()?;
        Some(Duration::from_micros(u32::from_be_bytes([0, a, b, c]).into()))
    }

    fn text(&mut self) -> Option<String> {
        let [length] = self.take()?;
        let (text, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        let is_plain = text.len() <= MOST_NAME && text.iter().all(u8::is_ascii_graphic);
        is_plain.then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<Word> {
        let ms = Duration::from_millis;
        let word = |addr: &str, outcome, heard| Word {
            service: 7,
            addr: addr.parse().expect("an address"),
            outcome,
            heard,
            age: ms(1_200),
        };
        vec![
            word("192.0.2.1:443", Outcome::Success(ms(31)), Heard::Answer(ms(80))),
            word("[2001:db8::1]:80", Outcome::Success(ms(1)), Heard::NotAsked),
            word("192.0.2.2:1", Outcome::Refused, Heard::NotAsked),
            word("192.0.2.3:1", Outcome::NoRoute, Heard::NotAsked),
            word("192.0.2.4:1", Outcome::Failure, Heard::NotAsked),
            word(
                "192.0.2.5:1",
                Outcome::Success(ms(9)),
                Heard::Wrong("as another forwarder has seen"),
            ),
        ]
    }

    #[test]
    fn what_is_said_is_heard() {
        let bytes = write_samples(9, &words());
        assert_eq!(read_samples(&bytes), Some((9, words())));
        assert!(write_samples(9, &words()[2..3]).len() <= 24, "a sample is small");
        let hello = Hello {
            name: "router-1".to_owned(),
            vantage: "203.0.113.0/24".to_owned(),
            services: vec![1, 2],
        };
        assert_eq!(read_hello(&write_hello(&hello)), Some(hello));
    }

    #[test]
    fn whatever_is_said_is_in_range_or_nothing() {
        let seed = 3;
        let mut rng = fastrand::Rng::with_seed(seed);
        let (samples, hello) = (
            write_samples(9, &words()),
            write_hello(&Hello {
                name: "n".to_owned(),
                vantage: "v".to_owned(),
                services: vec![1],
            }),
        );
        let mut read = 0;
        for _ in 0..20_000 {
            let mut bytes = if rng.bool() {
                samples.clone()
            } else {
                hello.clone()
            };
            bytes.truncate(rng.usize(0..=bytes.len()));
            for _ in 0..rng.usize(0..4) {
                let at = rng.usize(0..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
            for word in read_samples(&bytes).into_iter().flat_map(|(_, words)| words) {
                read += 1;
                assert!(word.addr.port() != 0 && word.age <= Duration::from_millis(25_500));
                assert!(
                    word.outcome
                        .latency()
                        .is_none_or(|latency| latency < Duration::from_secs(17))
                );
            }
            drop(read_hello(&bytes));
        }
        assert!(read > 1_000, "seed {seed}: {read}");
        let many: Vec<Word> = words().into_iter().cycle().take(100).collect();
        assert_eq!(
            read_samples(&write_samples(1, &many)).map(|(_, words)| words.len()),
            Some(MOST_SAMPLES)
        );
    }
}

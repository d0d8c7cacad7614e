//! What forwarders say to one another, as bytes. Pure.
//!
//! Versioned; what is of another version, broken or out of range is none. Times are ages, or by the clock of the Redis: that of no
//! node is believed. The layout of each message stands in `docs/FLEET.md`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::admission::Portion;
use crate::scorer::sample::{Heard, Outcome};
use crate::service::fleet::NodeId;

const VERSION: u8 = 1;

/// What begins a [`Notice`], where samples begin with the version.
const NOTICE: u8 = 0x41;

/// The most samples of one message: with IPv6 it has at most 1.9 kB.
pub const MOST_SAMPLES: usize = 64;

/// The most clients whose limits one node claims.
pub const MOST_CLAIMS: usize = 512;

/// The most that all nodes of a fleet claim together, 10 bytes each. Of the 256 KiB that a batch is answered with, 96 messages of samples
/// of IPv6 candidates take 190 kB, what beginners ask for 14 kB, who lives 6 kB, and what stands around claims 6 kB.
const MOST_CLAIMS_OF_ALL: usize = 4_000;

/// The most candidates of one [`Outset`]: the members of the active set, and others.
pub const MOST_ROWS: usize = 32;

/// The greatest age in an [`Outset`].
const OLDEST: Duration = Duration::from_secs(3600);

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

/// What a node has to say of itself between two hellos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// Whether its link to the network is down.
    pub is_down: bool,
    /// Whether its hello is another one.
    pub is_changed: bool,
}

/// What a node knows of one service, for those that begin: the best candidates, and how soon they connect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outset {
    /// When it was said, in milliseconds of the Redis.
    pub sent_ms: u64,
    /// How many of the rows are members of the active set, the best first.
    pub members: usize,
    /// What is known of each.
    pub rows: Vec<Row>,
}

/// What a node has measured of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whom it is about.
    pub addr: SocketAddr,
    /// How old its last sample was; whole seconds, an hour at most.
    pub age: Duration,
    /// The mean time of connects; at most 16.7 s.
    pub connect: Duration,
    /// The mean time to a first byte, if it was asked for one.
    pub first_byte: Option<Duration>,
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
        push_addr(&mut out, word.addr);
        let steps = word.age.as_millis() / u128::from(1000 / STEPS_A_SECOND);
        out.push(u8::try_from(steps).unwrap_or(u8::MAX));
        out.extend(&micros(latency)[1..]);
        if let Some(first_byte) = first_byte {
            out.extend(&micros(first_byte)[1..]);
        }
    }
    out
}

fn push_addr(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(addr.port().to_be_bytes());
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
        let addr = bytes.addr(kind)?;
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
        if heard != Heard::NotAsked && !outcome.is_success() {
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

/// A notice as bytes.
#[must_use]
pub fn write_notice(from: NodeId, notice: Notice) -> Vec<u8> {
    let mut out = vec![NOTICE];
    out.extend(from.to_be_bytes());
    out.push(u8::from(notice.is_down) | u8::from(notice.is_changed) << 1);
    out
}

/// Who says what of itself; none if it is no notice.
#[must_use]
pub fn read_notice(bytes: &[u8]) -> Option<(NodeId, Notice)> {
    let mut bytes = Bytes(bytes);
    if bytes.take()? != [NOTICE] {
        return None;
    }
    let from = NodeId::from_be_bytes(bytes.take()?);
    let [flags] = bytes.take()?;
    (bytes.0.is_empty() && flags <= 3).then_some((
        from,
        Notice {
            is_down: flags & 1 != 0,
            is_changed: flags & 2 != 0,
        },
    ))
}

/// Of how many clients each of so many processes may claim a part, so that all that is claimed is read at once.
#[must_use]
pub fn most_claims(processes: usize) -> usize {
    MOST_CLAIMS.min(MOST_CLAIMS_OF_ALL / processes.max(1))
}

/// What a node claims of the limits of clients, at this time of the Redis; of more than [`MOST_CLAIMS`] the rest is left out.
#[must_use]
pub fn write_claims(sent_ms: u64, claims: &[(u64, Portion)]) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(sent_ms.to_be_bytes());
    for (client, portion) in claims.iter().take(MOST_CLAIMS) {
        out.extend(client.to_be_bytes());
        out.extend(portion.parts().to_be_bytes());
    }
    out
}

/// What was claimed, and when; none if it is no such thing.
#[must_use]
pub fn read_claims(bytes: &[u8]) -> Option<(u64, Vec<(u64, Portion)>)> {
    let mut bytes = Bytes(bytes);
    if bytes.take()? != [VERSION] {
        return None;
    }
    let sent_ms = u64::from_be_bytes(bytes.take()?);
    let mut claims = Vec::new();
    while !bytes.0.is_empty() {
        let client = u64::from_be_bytes(bytes.take()?);
        claims.push((client, Portion::said(u16::from_be_bytes(bytes.take()?))?));
    }
    (claims.len() <= MOST_CLAIMS).then_some((sent_ms, claims))
}

/// What is known of a service as bytes; of more than [`MOST_ROWS`] the rest is left out.
#[must_use]
pub fn write_outset(from: NodeId, outset: &Outset) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(from.to_be_bytes());
    out.extend(outset.sent_ms.to_be_bytes());
    out.push(u8::try_from(outset.members.min(MOST_ROWS)).unwrap_or(u8::MAX));
    for row in outset.rows.iter().take(MOST_ROWS) {
        let family = if row.addr.is_ipv6() { IPV6 } else { 0 };
        let heard = if row.first_byte.is_some() { ANSWER } else { 0 };
        out.push(family | heard);
        push_addr(&mut out, row.addr);
        let age = u16::try_from(row.age.min(OLDEST).as_secs()).unwrap_or(u16::MAX);
        out.extend(age.to_be_bytes());
        out.extend(&micros(row.connect)[1..]);
        if let Some(first_byte) = row.first_byte {
            out.extend(&micros(first_byte)[1..]);
        }
    }
    out
}

/// Who knows what of a service; none if it is no such thing.
#[must_use]
pub fn read_outset(bytes: &[u8]) -> Option<(NodeId, Outset)> {
    let mut bytes = Bytes(bytes);
    if bytes.take()? != [VERSION] {
        return None;
    }
    let from = NodeId::from_be_bytes(bytes.take()?);
    let sent_ms = u64::from_be_bytes(bytes.take()?);
    let [members] = bytes.take()?;
    let mut rows = Vec::new();
    while !bytes.0.is_empty() {
        let [kind] = bytes.take()?;
        if rows.len() == MOST_ROWS || kind & !(IPV6 | ANSWER) != 0 {
            return None;
        }
        let addr = bytes.addr(kind)?;
        let age = Duration::from_secs(u16::from_be_bytes(bytes.take()?).into());
        let connect = bytes.micros()?;
        let first_byte = if kind & ANSWER == 0 {
            None
        } else {
            Some(bytes.micros()?)
        };
        if age > OLDEST {
            return None;
        }
        rows.push(Row {
            addr,
            age,
            connect,
            first_byte,
        });
    }
    let members = usize::from(members);
    (members <= rows.len()).then_some((
        from,
        Outset {
            sent_ms,
            members,
            rows,
        },
    ))
}

struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    /// An address of the family that this kind says; none without a port.
    fn addr(&mut self, kind: u8) -> Option<SocketAddr> {
        let ip = if kind & IPV6 == 0 {
            IpAddr::from(self.take::<4>()?)
        } else {
            IpAddr::from(self.take::<16>()?)
        };
        let port = u16::from_be_bytes(self.take()?);
        (port != 0).then_some(SocketAddr::new(ip, port))
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

    fn outset() -> Outset {
        let row = |addr: &str, first_byte| Row {
            addr: addr.parse().expect("an address"),
            age: Duration::from_secs(7),
            connect: Duration::from_micros(12_345),
            first_byte,
        };
        Outset {
            sent_ms: 1_764_000_000_000,
            members: 1,
            rows: vec![
                row("192.0.2.1:443", Some(Duration::from_millis(50))),
                row("[2001:db8::1]:80", None),
            ],
        }
    }

    #[test]
    fn claims_notices_and_outsets_are_heard_as_they_were_said() {
        let claims = [(7, Portion::WHOLE), (u64::MAX, Portion::LEAST)];
        assert_eq!(read_claims(&write_claims(3, &claims)), Some((3, claims.to_vec())));
        let many = vec![(1, Portion::LEAST); MOST_CLAIMS + 1];
        assert_eq!(
            read_claims(&write_claims(3, &many)).map(|(_, claims)| claims.len()),
            Some(MOST_CLAIMS)
        );
        let mut beyond = write_claims(3, &claims);
        beyond[17] = 0x80;
        assert_eq!(read_claims(&beyond), None, "more than all of a limit");
        for (is_down, is_changed) in [(false, false), (true, false), (false, true), (true, true)] {
            let notice = Notice { is_down, is_changed };
            let bytes = write_notice(9, notice);
            assert_eq!(read_notice(&bytes), Some((9, notice)));
            assert_eq!(read_samples(&bytes), None);
        }
        assert_eq!(read_notice(&write_samples(9, &[])), None);
        assert_eq!(read_outset(&write_outset(9, &outset())), Some((9, outset())));
        let mut more = outset();
        more.members = 3;
        assert_eq!(
            read_outset(&write_outset(9, &more)),
            None,
            "more members than rows"
        );
    }

    #[test]
    fn whatever_is_claimed_or_known_is_in_range_or_nothing() {
        let seed = 5;
        let mut rng = fastrand::Rng::with_seed(seed);
        let kinds = [
            write_outset(9, &outset()),
            write_claims(3, &[(7, Portion::WHOLE)]),
            write_notice(
                9,
                Notice {
                    is_down: true,
                    is_changed: false,
                },
            ),
        ];
        let mut read = 0;
        for turn in 0..20_000 {
            let mut bytes = kinds[turn % kinds.len()].clone();
            bytes.truncate(rng.usize(0..=bytes.len()));
            for _ in 0..rng.usize(0..3) {
                let at = rng.usize(0..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
            if let Some((_, outset)) = read_outset(&bytes) {
                read += 1;
                assert!(outset.members <= outset.rows.len() && outset.rows.len() <= MOST_ROWS);
                let is_sound = |row: &Row| row.addr.port() != 0 && row.age <= OLDEST;
                assert!(outset.rows.iter().all(is_sound), "seed {seed}");
            }
            for (_, portion) in read_claims(&bytes).into_iter().flat_map(|(_, claims)| claims) {
                read += 1;
                assert!(portion <= Portion::WHOLE);
            }
            read += usize::from(read_notice(&bytes).is_some());
        }
        assert!(read > 1_000, "seed {seed}: {read}");
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

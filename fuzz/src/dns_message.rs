//! Answers of DNS: any bytes, messages that say something whose meaning is known, and whole queries among both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tcp_forwarder::base::clock;
use tcp_forwarder::providers::dns::exchange::{Exchange, Step, Transport};
use tcp_forwarder::providers::dns::message::{
    Data, Extended, MOST_RECORDS, Query, RecordType, Refusal, Target, Verdict, name_of,
};

use super::choices::Choices;

/// Names that messages are about; the first one is asked for.
const NAMES: [&str; 5] = ["www.Example.org", "b.example", "c.example.org", "d.test", "."];

const KINDS: [(RecordType, u16); 3] = [(RecordType::A, 1), (RecordType::Aaaa, 28), (RecordType::Srv, 33)];

const CNAME: u16 = 5;
const SOA: u16 = 6;

/// The id that queries have.
const ID: u16 = 0x5a17;

/// Asks, and looks at what bytes mean, what messages mean that were made to mean something, or how a query ends.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (Some(form), Some(kind)) = (choices.byte(), choices.byte()) else {
        return;
    };
    let (kind, code) = KINDS[usize::from(kind) % KINDS.len()];
    let query = Query {
        name: name_of(NAMES[0]).expect("a name"),
        kind,
    };
    match form % 3 {
        0 => any(&query, choices.rest()),
        1 => {
            let message = Message::of(&mut choices, code);
            let verdict = query.judge(ID, &message.bytes());
            assert_eq!(verdict, message.verdict(kind, code), "{message:?}");
            any(&query, &message.bytes());
        }
        _ => asked(&query, code, choices),
    }
}

/// What holds of all bytes, however they are cut.
fn any(query: &Query, bytes: &[u8]) {
    let id = bytes.first_chunk().map_or(ID, |id| u16::from_be_bytes(*id));
    let verdict = query.judge(id, bytes);
    let flags = bytes.get(2).copied().unwrap_or_default();
    let is_answer = flags & 0b1111_1000 == 0b1000_0000;
    assert!(
        is_answer || verdict == Verdict::Foreign,
        "{verdict:?} of what is no answer"
    );
    if let Verdict::Answer(data, _) = &verdict {
        assert!((1..=MOST_RECORDS).contains(&data.len()));
        assert!(data.iter().all(|one| is_sound(query.kind, one)), "{data:?}");
    }
    assert_eq!(query.judge(!id, bytes), Verdict::Foreign, "another id");
    let ends = (0..bytes.len().min(48)).chain(bytes.len().saturating_sub(16)..bytes.len());
    for end in ends {
        if let Verdict::Answer(data, _) = query.judge(id, &bytes[..end]) {
            assert!(data.iter().all(|one| is_sound(query.kind, one)));
        }
    }
}

/// Whether data is of the type that was asked for, and of use.
fn is_sound(kind: RecordType, data: &Data) -> bool {
    match (kind, data) {
        (RecordType::A, Data::Address(IpAddr::V4(ip))) => {
            !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()
        }
        (RecordType::Aaaa, Data::Address(IpAddr::V6(ip))) => !ip.is_unspecified() && !ip.is_multicast(),
        (RecordType::Srv, Data::Service(target)) => target.port != 0,
        _ => false,
    }
}

/// A message that is made to mean something.
#[derive(Debug)]
struct Message {
    id: u16,
    is_answer: bool,
    opcode: u8,
    is_cut: bool,
    rcode: u8,
    /// Type and class of the question for the first name, or for another one; none: there is none.
    question: Option<(usize, u16, u16)>,
    answers: Vec<Record>,
    /// Time to live and minimum of a zone in the authority section.
    zone: Option<(u32, u32)>,
}

#[derive(Debug)]
struct Record {
    /// Whose it is, and in which letters that is written.
    owner: usize,
    is_shouted: bool,
    /// Whether a pointer to the question stands for the first name.
    is_compressed: bool,
    kind: u16,
    class: u16,
    ttl: u32,
    /// The address is made of it, or priority, weight and port.
    seed: u8,
    /// Whom an alias or a service leads to.
    target: usize,
}

impl Message {
    fn of(choices: &mut Choices<'_>, code: u16) -> Self {
        let mut byte = || choices.byte().unwrap_or_default();
        let (odd, rcode, question, zone) = (byte(), byte(), byte(), byte());
        let mut message = Self {
            id: if odd & 7 == 7 { ID ^ 1 } else { ID },
            is_answer: odd & 0x38 != 0x38,
            opcode: if odd & 0xc0 == 0xc0 { 4 } else { 0 },
            is_cut: rcode & 0xe0 == 0xe0,
            rcode: if rcode & 1 == 0 { 0 } else { rcode >> 1 & 15 },
            question: match question {
                0xff => None,
                0xfe => Some((1, code, 1)),
                0xfd => Some((0, code ^ 1, 1)),
                0xfc => Some((0, code, 3)),
                _ => Some((0, code, 1)),
            },
            answers: Vec::new(),
            zone: (zone & 1 == 1).then(|| (u32::from(zone) << 3, u32::from(zone) << 2 ^ 0x155)),
        };
        while let Some(shape) = choices.byte() {
            let (who, ttl, seed) = (choices.byte(), choices.byte(), choices.byte());
            message.answers.push(Record {
                owner: usize::from(who.unwrap_or_default() & 15) % NAMES.len(),
                is_shouted: shape & 1 == 1,
                is_compressed: shape & 2 == 2,
                kind: match shape >> 2 & 7 {
                    0..=2 => code,
                    3..=5 => CNAME,
                    6 => 16,
                    _ => 1,
                },
                class: if shape & 0xe0 == 0xe0 { 3 } else { 1 },
                ttl: u32::from(ttl.unwrap_or_default()) << 4,
                seed: seed.unwrap_or_default(),
                target: usize::from(who.unwrap_or_default() >> 4) % NAMES.len(),
            });
        }
        message.answers.truncate(200);
        message
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.push(u8::from(self.is_answer) << 7 | self.opcode << 3 | u8::from(self.is_cut) << 1 | 1);
        bytes.push(0x80 | self.rcode);
        let count = u16::try_from(self.answers.len()).unwrap_or_default();
        for section in [
            u16::from(self.question.is_some()),
            count,
            u16::from(self.zone.is_some()),
            0,
        ] {
            bytes.extend(section.to_be_bytes());
        }
        if let Some((name, kind, class)) = self.question {
            bytes.extend(labels(NAMES[name], false));
            bytes.extend([kind.to_be_bytes(), class.to_be_bytes()].concat());
        }
        for record in &self.answers {
            let can_point =
                record.is_compressed && self.question.is_some_and(|(name, ..)| name == record.owner);
            if can_point {
                bytes.extend([0xc0, 12]);
            } else {
                bytes.extend(labels(NAMES[record.owner], record.is_shouted));
            }
            bytes.extend(record.rest());
        }
        if let Some((ttl, minimum)) = self.zone {
            bytes.extend(labels("example.org", true));
            bytes.extend([SOA.to_be_bytes(), 1_u16.to_be_bytes()].concat());
            let mut zone = [labels("ns.example.org", false), labels("x.example.org", false)].concat();
            for number in [1, 2, 3, 4, minimum] {
                zone.extend(number.to_be_bytes());
            }
            bytes.extend(ttl.to_be_bytes());
            bytes.extend(long(&zone));
        }
        bytes
    }

    /// What it means, told from what it was made of.
    fn verdict(&self, kind: RecordType, code: u16) -> Verdict {
        let refusal = match self.rcode {
            0 | 3 => None,
            1 => Some(Refusal::Format),
            2 => Some(Refusal::Failure),
            4 => Some(Refusal::NotImplemented),
            5 => Some(Refusal::Denied),
            other => Some(Refusal::Other(other)),
        };
        let is_ours = match self.question {
            Some(question) => question == (0, code, 1),
            None => refusal.is_some(),
        };
        if self.id != ID || !self.is_answer || self.opcode != 0 || !is_ours {
            return Verdict::Foreign;
        }
        let until = self
            .zone
            .map(|(ttl, minimum)| Duration::from_secs(ttl.min(minimum).into()));
        match refusal {
            _ if self.is_cut => Verdict::Truncated,
            Some(refusal) => Verdict::Refused(refusal),
            None if self.rcode == 3 => Verdict::Nothing {
                exists: false,
                ttl: until,
            },
            None => self.said(kind, code).unwrap_or(Verdict::Nothing {
                exists: true,
                ttl: until,
            }),
        }
    }

    /// The records at the end of the aliases.
    fn said(&self, kind: RecordType, code: u16) -> Option<Verdict> {
        let of = |owner, kind| {
            let all = self.answers.iter();
            all.filter(move |one| one.class == 1 && one.owner == owner && one.kind == kind)
        };
        let (mut owner, mut ttl) = (0, u32::MAX);
        for _ in 0..16 {
            let Some(alias) = of(owner, CNAME).next() else {
                break;
            };
            (owner, ttl) = (alias.target, ttl.min(alias.ttl));
        }
        let ttl = of(owner, code).fold(ttl, |ttl, one| ttl.min(one.ttl));
        let data = of(owner, code).map(|one| one.data(kind));
        let data: Vec<Data> = data
            .filter(|one| is_sound(kind, one) && !leads_nowhere(one))
            .collect();
        (!data.is_empty()).then(|| Verdict::Answer(data, Duration::from_secs(ttl.into())))
    }
}

fn leads_nowhere(data: &Data) -> bool {
    matches!(data, Data::Service(target) if target.name.to_string() == ".")
}

impl Record {
    /// Type, class, time to live and what it says.
    fn rest(&self) -> Vec<u8> {
        let head = [self.kind.to_be_bytes(), self.class.to_be_bytes()].concat();
        let said = match self.kind {
            CNAME => labels(NAMES[self.target], self.is_shouted),
            1 => self.v4().octets().to_vec(),
            28 => self.v6().octets().to_vec(),
            33 => {
                let [priority, weight, port] = self.numbers();
                let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
                [numbers, labels(NAMES[self.target], false)].concat()
            }
            _ => vec![1, b'x'],
        };
        [head, self.ttl.to_be_bytes().to_vec(), long(&said)].concat()
    }

    fn data(&self, kind: RecordType) -> Data {
        match kind {
            RecordType::A => Data::Address(self.v4().into()),
            RecordType::Aaaa => Data::Address(self.v6().into()),
            RecordType::Srv => {
                let [priority, weight, port] = self.numbers();
                Data::Service(Target {
                    priority,
                    weight,
                    port,
                    name: name_of(NAMES[self.target]).expect("a name"),
                })
            }
        }
    }

    /// Nobody's address in a few cases.
    fn v4(&self) -> Ipv4Addr {
        match self.seed {
            0 => Ipv4Addr::UNSPECIFIED,
            1 => Ipv4Addr::BROADCAST,
            2 => Ipv4Addr::new(224, 0, 0, 1),
            seed => Ipv4Addr::new(192, 0, 2, seed),
        }
    }

    fn v6(&self) -> Ipv6Addr {
        match self.seed {
            0 => Ipv6Addr::UNSPECIFIED,
            1 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            seed => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, seed.into()),
        }
    }

    /// Priority, weight and port, which is none in a few cases.
    fn numbers(&self) -> [u16; 3] {
        let seed = u16::from(self.seed);
        [seed & 3, seed << 4, seed << 8]
    }
}

/// A name as it stands in a message.
fn labels(name: &str, is_shouted: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap_or_default());
        let label = if is_shouted {
            label.to_uppercase()
        } else {
            label.to_owned()
        };
        bytes.extend(label.into_bytes());
    }
    bytes.push(0);
    bytes
}

/// Bytes behind their length.
fn long(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A whole query: whatever comes, it asks whom it may, what it should, and comes to an end.
fn asked(query: &Query, code: u16, mut choices: Choices<'_>) {
    let timeout = Duration::from_secs(2);
    let count = u16::from(choices.byte().unwrap_or_default() % 4);
    let servers: Vec<SocketAddr> = (1..=count)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .collect();
    let mut now = clock::now();
    let mut exchange = Exchange::new(query.clone(), servers.clone(), timeout);
    let mut step = exchange.begin(ID, now);
    let mut asked = 0;
    loop {
        let (is_tcp, message) = match &step {
            Step::End(result) => {
                assert!(
                    result.is_ok() || asked == 0 || asked >= 2 * servers.len(),
                    "{result:?}"
                );
                return;
            }
            Step::Ask {
                server,
                transport,
                message,
                until,
            } => {
                assert!(servers.contains(server) && *until == now + timeout);
                (*transport == Transport::Tcp, message.clone())
            }
        };
        asked += 1;
        // Each server twice; by UDP, without extensions, and by TCP.
        assert!(asked <= 2 * servers.len() * 3, "it asks for ever");
        let is_extended = message.get(11) == Some(&1);
        let extended = if is_extended { Extended::Yes } else { Extended::No };
        assert_eq!(message, query.message(ID, extended));
        match next(&mut exchange, (code, is_tcp), &mut choices, &mut now) {
            Some(next) => step = next,
            None => return,
        }
    }
}

/// What comes next of a query that waits; none: the input is over.
fn next(
    exchange: &mut Exchange,
    (code, is_tcp): (u16, bool),
    choices: &mut Choices<'_>,
    now: &mut Instant,
) -> Option<Step> {
    for passed_over in 0.. {
        assert!(passed_over <= if is_tcp { 0 } else { 64 }, "it waits for ever");
        let what = choices.byte()?;
        *now += Duration::from_millis(1);
        match what % 8 {
            0 => return Some(exchange.on_timeout(ID, *now)),
            1 => {
                let error = std::io::ErrorKind::ConnectionRefused.into();
                return Some(exchange.on_error(&error, ID, *now));
            }
            _ => {
                let length = usize::from(what >> 3);
                let piece: Vec<u8> = (0..length).map_while(|_| choices.byte()).collect();
                let bytes = if what % 8 == 2 {
                    piece
                } else {
                    Message::of(&mut Choices::new(&piece), code).bytes()
                };
                if let Some(step) = exchange.on_message(&bytes, ID, *now) {
                    return Some(step);
                }
            }
        }
    }
    None
}

//! Queries and answers of DNS as bytes. Pure.
//!
//! An answer counts only as far as it answers: what is asked for, and the aliases that lead there. Whatever else a message
//! holds (other names, its additional section) is nobody's concern, so that nobody can slip something in.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::{A, Aaaa, Cname, Soa, Srv};

/// A name, in the form of the protocol.
pub type DnsName = Name<Vec<u8>>;

/// Aliases that are followed within an answer.
const MOST_ALIASES: usize = 16;

/// Bytes of an answer by UDP: what passes everywhere without fragments (the DNS flag day of 2020).
const UDP_PAYLOAD: u16 = 1232;

/// Records of an answer that count; a message has no room for many more.
pub const MOST_RECORDS: usize = 4096;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// Addresses of IPv4.
    A,
    /// Addresses of IPv6.
    Aaaa,
    /// Where a service is.
    Srv,
}

impl RecordType {
    /// The name that people know.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
        }
    }

    fn code(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Srv => Rtype::SRV,
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// Where a service is.
    Service(Target),
}

/// One place of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The lower, the sooner.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Who it is.
    pub name: DnsName,
}

/// What a message is to whoever has asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No answer to this question: whoever sent it, the answer is still to come.
    Foreign,
    /// The answer did not fit; it is to be asked for by TCP.
    Truncated,
    /// The answer, and for how long it holds.
    Answer(Vec<Data>, Duration),
    /// There is none.
    Nothing {
        /// Whether the name exists all the same.
        exists: bool,
        /// For how long that holds, if the answer says so.
        ttl: Option<Duration>,
    },
    /// The server does not know, or does not want to say.
    Refused(Refusal),
}

/// Why a server gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not understand the question.
    Format,
    /// It, or one that it asks, has failed.
    Failure,
    /// It knows no such questions.
    NotImplemented,
    /// It does not serve us.
    Denied,
    /// Anything else, by its number.
    Other(u8),
    /// Its answer cannot be read.
    Garbled,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format => f.write_str("does not understand the question (FORMERR)"),
            Self::Failure => f.write_str("has failed (SERVFAIL)"),
            Self::NotImplemented => f.write_str("cannot answer such questions (NOTIMP)"),
            Self::Denied => f.write_str("refuses to answer (REFUSED)"),
            Self::Other(code) => write!(f, "answers with code {code}"),
            Self::Garbled => f.write_str("answers with a message that cannot be read"),
        }
    }
}

/// One question, as it is known again in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Of whom.
    pub name: DnsName,
    /// What.
    pub kind: RecordType,
}

/// Whether a query says what answers may be like (EDNS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// It does.
    Yes,
    /// It does not, for a server that knows no such thing.
    No,
}

impl Query {
    /// The query as it is sent; none if it had no room in a message, as no name does.
    #[must_use]
    pub fn message(&self, id: u16, extended: Extended) -> Vec<u8> {
        let build = || {
            let mut builder = MessageBuilder::new_vec();
            builder.header_mut().set_id(id);
            builder.header_mut().set_rd(true);
            let mut question = builder.question();
            question.push((&self.name, self.kind.code(), Class::IN)).ok()?;
            let mut additional = question.additional();
            if extended == Extended::Yes {
                let size = |opt: &mut domain::base::message_builder::OptBuilder<'_, Vec<u8>>| {
                    opt.set_udp_payload_size(UDP_PAYLOAD);
                    Ok(())
                };
                additional.opt(size).ok()?;
            }
            Some(additional.finish())
        };
        let message = build();
        debug_assert!(message.is_some(), "a vector has room");
        message.unwrap_or_default()
    }

    /// What a message with this id is to whoever has asked.
    #[must_use]
    pub fn judge(&self, id: u16, bytes: &[u8]) -> Verdict {
        let Ok(message) = Message::from_octets(bytes) else {
            return Verdict::Foreign;
        };
        let header = message.header();
        if header.id() != id || !header.qr() || header.opcode() != Opcode::QUERY {
            return Verdict::Foreign;
        }
        let refusal = refusal(header.rcode());
        // A server that did not understand the question may not repeat it.
        let is_mute = message.header_counts().qdcount() == 0 && refusal.is_some();
        let is_ours = message.sole_question().is_ok_and(|question| {
            question.qname().name_eq(&self.name)
                && question.qtype() == self.kind.code()
                && question.qclass() == Class::IN
        });
        if !is_ours && !is_mute {
            return Verdict::Foreign;
        }
        if header.tc() {
            return Verdict::Truncated;
        }
        match refusal {
            Some(refusal) => Verdict::Refused(refusal),
            None if header.rcode() == Rcode::NXDOMAIN => Verdict::Nothing {
                exists: false,
                ttl: negative_ttl(&message),
            },
            None => self
                .answer(&message)
                .unwrap_or(Verdict::Refused(Refusal::Garbled)),
        }
    }

    /// What the answer section says of the name, by way of its aliases.
    fn answer(&self, message: &Message<&[u8]>) -> Option<Verdict> {
        let mut aliases: Vec<(DnsName, DnsName, Duration)> = Vec::new();
        let mut said: Vec<(DnsName, Data, Duration)> = Vec::new();
        for record in message.answer().ok()? {
            let record = record.ok()?;
            if record.class() != Class::IN || said.len() + aliases.len() >= MOST_RECORDS {
                continue;
            }
            let (owner, ttl) = (record.owner().to_vec(), record.ttl().into_duration());
            if let Some(alias) = record.to_record::<Cname<_>>().ok()? {
                aliases.push((owner, alias.data().cname().to_vec(), ttl));
            } else if let Some(data) = data(&record, self.kind)? {
                said.push((owner, data, ttl));
            }
        }
        let mut name: DnsName = self.name.clone();
        let mut ttl = Duration::MAX;
        for _ in 0..MOST_ALIASES {
            let Some((_, target, of_alias)) = aliases.iter().find(|(owner, ..)| owner.name_eq(&name)) else {
                break;
            };
            name = target.clone();
            ttl = ttl.min(*of_alias);
        }
        let mut all: Vec<Data> = Vec::new();
        for (_, data, of_record) in said.iter().filter(|(owner, ..)| owner.name_eq(&name)) {
            ttl = ttl.min(*of_record);
            if is_of_use(data) {
                all.push(data.clone());
            }
        }
        if all.is_empty() {
            let ttl = negative_ttl(message);
            return Some(Verdict::Nothing { exists: true, ttl });
        }
        Some(Verdict::Answer(all, ttl))
    }
}

/// What a record says, if it is of the type that was asked for; the outer none if it cannot be read.
#[expect(
    clippy::option_option,
    reason = "unreadable, of another type, and read are three things"
)]
fn data(record: &domain::base::ParsedRecord<'_, &[u8]>, kind: RecordType) -> Option<Option<Data>> {
    let address = |ip: IpAddr| Some(Data::Address(ip));
    Some(match kind {
        RecordType::A => {
            let found = record.to_record::<A>().ok()?;
            found.and_then(|found| address(found.data().addr().into()))
        }
        RecordType::Aaaa => {
            let found = record.to_record::<Aaaa>().ok()?;
            found.and_then(|found| address(found.data().addr().into()))
        }
        RecordType::Srv => {
            let found = record.to_record::<Srv<_>>().ok()?;
            found.map(|found| {
                let srv = found.data();
                Data::Service(Target {
                    priority: srv.priority(),
                    weight: srv.weight(),
                    port: srv.port(),
                    name: srv.target().to_vec(),
                })
            })
        }
    })
}

/// Whether somebody can be there: resolvers that block names answer with the unspecified address, and a service that is
/// not there has the root as its place (RFC 2782).
fn is_of_use(data: &Data) -> bool {
    match data {
        Data::Address(ip) => {
            let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
        }
        Data::Service(target) => !target.name.is_root() && target.port != 0,
    }
}

fn refusal(code: Rcode) -> Option<Refusal> {
    match code {
        Rcode::NOERROR | Rcode::NXDOMAIN => None,
        Rcode::FORMERR => Some(Refusal::Format),
        Rcode::SERVFAIL => Some(Refusal::Failure),
        Rcode::NOTIMP => Some(Refusal::NotImplemented),
        Rcode::REFUSED => Some(Refusal::Denied),
        other => Some(Refusal::Other(other.to_int())),
    }
}

/// For how long there is nothing: what the zone says (RFC 2308).
fn negative_ttl(message: &Message<&[u8]>) -> Option<Duration> {
    let authority = message.authority().ok()?;
    let mut zones = authority.limit_to::<Soa<_>>();
    let zone = zones.next()?.ok()?;
    let least = zone
        .ttl()
        .into_duration()
        .min(zone.data().minimum().into_duration());
    Some(least)
}

/// A name as people write it, with or without the dot at its end; none if it cannot be one.
#[must_use]
pub fn name_of(text: &str) -> Option<DnsName> {
    Name::vec_from_str(text).ok()
}

/// A name as people write it.
#[must_use]
pub fn shown(name: &DnsName) -> String {
    // Of a name that came over the network, each byte that is no letter is escaped.
    name.to_string()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use domain::base::Ttl;
    use domain::base::message_builder::AnswerBuilder;

    use super::*;

    fn name(text: &str) -> DnsName {
        name_of(text).expect("a name")
    }

    fn query(text: &str, kind: RecordType) -> Query {
        Query {
            name: name(text),
            kind,
        }
    }

    /// An answer to a query, with what `fill` puts into it.
    fn answer(query: &Query, id: u16, fill: impl FnOnce(&mut AnswerBuilder<Vec<u8>>)) -> Vec<u8> {
        let asked = Message::from_octets(query.message(id, Extended::Yes)).expect("a message");
        let mut builder = MessageBuilder::new_vec()
            .start_answer(&asked, Rcode::NOERROR)
            .expect("room");
        fill(&mut builder);
        builder.finish()
    }

    fn a(owner: &str, ttl: u32, last: u8) -> (DnsName, Class, Ttl, A) {
        (
            name(owner),
            Class::IN,
            Ttl::from_secs(ttl),
            A::new(Ipv4Addr::new(192, 0, 2, last)),
        )
    }

    fn alias(owner: &str, target: &str) -> (DnsName, Class, Ttl, Cname<DnsName>) {
        (
            name(owner),
            Class::IN,
            Ttl::from_secs(7),
            Cname::new(name(target)),
        )
    }

    fn address(last: u8) -> Data {
        Data::Address(Ipv4Addr::new(192, 0, 2, last).into())
    }

    #[test]
    fn aliases_lead_to_addresses_and_the_shortest_time_counts() {
        let asked = query("WWW.example.org", RecordType::A);
        let message = answer(&asked, 5, |answer| {
            answer.push(a("c.example.org", 60, 1)).expect("room");
            answer
                .push(alias("www.example.org", "b.example.org"))
                .expect("room");
            answer
                .push(alias("B.example.org", "c.example.org"))
                .expect("room");
            answer.push(a("c.EXAMPLE.org", 90, 2)).expect("room");
        });
        let expected = Verdict::Answer(vec![address(1), address(2)], Duration::from_secs(7));
        assert_eq!(asked.judge(5, &message), expected);
    }

    #[test]
    fn what_was_not_asked_for_counts_for_nothing() {
        let asked = query("www.example.org", RecordType::A);
        let message = answer(&asked, 5, |answer| {
            answer.push(a("www.example.org", 60, 1)).expect("room");
            answer.push(a("bank.example", 60, 66)).expect("room");
            answer
                .push(alias("bank.example", "www.example.org"))
                .expect("room");
        });
        let expected = Verdict::Answer(vec![address(1)], Duration::from_secs(60));
        assert_eq!(asked.judge(5, &message), expected);
        let only_others = answer(&asked, 5, |answer| {
            answer.push(a("bank.example", 60, 66)).expect("room");
        });
        assert_eq!(
            asked.judge(5, &only_others),
            Verdict::Nothing {
                exists: true,
                ttl: None
            }
        );
    }

    #[test]
    fn aliases_in_a_circle_end() {
        let asked = query("a.example", RecordType::A);
        let message = answer(&asked, 5, |answer| {
            answer.push(alias("a.example", "b.example")).expect("room");
            answer.push(alias("b.example", "a.example")).expect("room");
        });
        assert_eq!(
            asked.judge(5, &message),
            Verdict::Nothing {
                exists: true,
                ttl: None
            }
        );
    }

    #[test]
    fn other_ids_questions_and_messages_are_foreign() {
        let asked = query("www.example.org", RecordType::A);
        let fill = |answer: &mut AnswerBuilder<Vec<u8>>| {
            answer.push(a("www.example.org", 60, 1)).expect("room");
        };
        let message = answer(&asked, 5, fill);
        assert_eq!(asked.judge(6, &message), Verdict::Foreign, "another id");
        for other in [
            query("www.example.com", RecordType::A),
            query("www.example.org", RecordType::Aaaa),
        ] {
            assert_eq!(other.judge(5, &message), Verdict::Foreign, "another question");
        }
        assert_eq!(
            asked.judge(5, &asked.message(5, Extended::No)),
            Verdict::Foreign,
            "a query"
        );
        assert_eq!(asked.judge(5, b""), Verdict::Foreign);
        assert_eq!(asked.judge(5, &[0; 11]), Verdict::Foreign);
    }

    #[test]
    fn every_cut_of_a_good_answer_is_refused_and_none_is_believed() {
        let asked = query("www.example.org", RecordType::A);
        let message = answer(&asked, 5, |answer| {
            answer.push(a("www.example.org", 60, 1)).expect("room");
        });
        for end in 0..message.len() {
            let verdict = asked.judge(5, &message[..end]);
            assert!(
                matches!(verdict, Verdict::Foreign | Verdict::Refused(Refusal::Garbled)),
                "{end}: {verdict:?}"
            );
        }
    }

    #[test]
    fn addresses_that_are_nobodys_and_services_that_are_nowhere_are_none() {
        let asked = query("blocked.example", RecordType::A);
        let message = answer(&asked, 5, |answer| {
            let nobody = A::new(Ipv4Addr::UNSPECIFIED);
            let record = (name("blocked.example"), Class::IN, Ttl::from_secs(2), nobody);
            answer.push(record).expect("room");
        });
        assert_eq!(
            asked.judge(5, &message),
            Verdict::Nothing {
                exists: true,
                ttl: None
            }
        );
        let asked = query("_http._tcp.example.org", RecordType::Srv);
        let message = answer(&asked, 5, |answer| {
            for (port, target) in [(80, "."), (8080, "a.example.org")] {
                let srv = Srv::new(1, 2, port, name(target));
                let record = (name("_http._tcp.example.org"), Class::IN, Ttl::from_secs(9), srv);
                answer.push(record).expect("room");
            }
        });
        let target = Target {
            priority: 1,
            weight: 2,
            port: 8080,
            name: name("a.example.org"),
        };
        let expected = Verdict::Answer(vec![Data::Service(target)], Duration::from_secs(9));
        assert_eq!(asked.judge(5, &message), expected);
    }

    #[test]
    fn a_query_asks_for_one_thing_and_says_how_much_it_takes() {
        let asked = query("www.example.org", RecordType::Aaaa);
        let bytes = asked.message(0x1234, Extended::Yes);
        let message = Message::from_octets(&bytes[..]).expect("a message");
        assert_eq!(message.header().id(), 0x1234);
        assert!(message.header().rd() && !message.header().qr());
        assert_eq!(message.opt().expect("said").udp_payload_size(), 1232);
        let plain = asked.message(1, Extended::No);
        assert!(
            Message::from_octets(&plain[..])
                .expect("a message")
                .opt()
                .is_none()
        );
    }
}

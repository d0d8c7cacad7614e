//! One query, until somebody answers it or nobody does. Pure: what arrives and what time it is are arguments.
//!
//! ```text
//! ask a server by UDP ──(truncated)──► ask it by TCP
//!     │  ▲                                  │
//!     │  └─(FORMERR: without EDNS)          │
//!     ├──(time is over, refused, unreachable)──► the next server, twice around
//!     └──(an answer)──► the end
//! ```
//!
//! What is no answer to this very question is passed over, and the wait goes on.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::message::{Data, Extended, Query, Refusal, Verdict};

/// How often all servers are asked before a query has failed.
const ROUNDS: usize = 2;

/// Foreign messages in answer to one query by UDP: who gets so many is under attack, and asks anew from another port.
const MOST_FOREIGN: u32 = 64;

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream, where each message follows its length.
    Tcp,
}

/// What is to be done for a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this, from a socket of its own, and wait for as long.
    Ask {
        /// Whom.
        server: SocketAddr,
        /// How.
        transport: Transport,
        /// What.
        message: Vec<u8>,
        /// When it is too late for an answer.
        until: Instant,
    },
    /// Nothing any more.
    End(Result<Answer, Failure>),
}

/// What there is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Records, and for how long they hold.
    Records(Vec<Data>, Duration),
    /// There is no such record.
    Nothing {
        /// Whether the name exists all the same.
        exists: bool,
        /// For how long that holds, if the answer says so.
        ttl: Option<Duration>,
    },
}

/// Why there is no answer: what became of the last attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is nobody to ask.
    NoServer,
    /// No answer came in time.
    Silent(SocketAddr),
    /// The server does not say.
    Refused(SocketAddr, Refusal),
    /// It cannot be reached.
    Unreachable(SocketAddr, String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoServer => f.write_str(
                "there is no DNS server to ask: /etc/resolv.conf names none; name one in remotes.dns.resolver",
            ),
            Self::Silent(server) => write!(f, "{server} does not answer in time"),
            Self::Refused(server, refusal) => write!(f, "{server} {refusal}"),
            Self::Unreachable(server, why) => write!(f, "{server} cannot be reached: {why}"),
        }
    }
}

/// A query on its way.
#[derive(Debug)]
pub struct Exchange {
    query: Query,
    servers: Vec<SocketAddr>,
    timeout: Duration,
    /// Attempts that are over, by UDP or by UDP and TCP.
    attempts: usize,
    transport: Transport,
    extended: Extended,
    id: u16,
    foreign: u32,
}

impl Exchange {
    /// A query that nobody was asked yet.
    #[must_use]
    pub fn new(query: Query, servers: Vec<SocketAddr>, timeout: Duration) -> Self {
        Self {
            query,
            servers,
            timeout,
            attempts: 0,
            transport: Transport::Udp,
            extended: Extended::Yes,
            id: 0,
            foreign: 0,
        }
    }

    /// What is asked.
    #[must_use]
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Begins; `id` is a number that nobody can foretell, as with all that follows.
    pub fn begin(&mut self, id: u16, now: Instant) -> Step {
        self.ask(id, now)
    }

    /// A message has come from the server that was asked; none if the wait for its answer goes on.
    pub fn on_message(&mut self, bytes: &[u8], id: u16, now: Instant) -> Option<Step> {
        match (self.query.judge(self.id, bytes), self.transport) {
            (Verdict::Foreign, Transport::Udp) if self.foreign < MOST_FOREIGN => {
                self.foreign += 1;
                None
            }
            (Verdict::Foreign, Transport::Udp | Transport::Tcp)
            | (Verdict::Truncated, Transport::Tcp)
            | (Verdict::Refused(Refusal::Garbled), _) => {
                Some(self.next(|server| Failure::Refused(server, Refusal::Garbled), id, now))
            }
            (Verdict::Truncated, Transport::Udp) => {
                self.transport = Transport::Tcp;
                Some(self.ask(id, now))
            }
            (Verdict::Refused(Refusal::Format | Refusal::NotImplemented), _)
                if self.extended == Extended::Yes =>
            {
                self.extended = Extended::No;
                Some(self.ask(id, now))
            }
            (Verdict::Refused(refusal), _) => {
                Some(self.next(|server| Failure::Refused(server, refusal), id, now))
            }
            (Verdict::Answer(data, ttl), _) => Some(Step::End(Ok(Answer::Records(data, ttl)))),
            (Verdict::Nothing { exists, ttl }, _) => Some(Step::End(Ok(Answer::Nothing { exists, ttl }))),
        }
    }

    /// The time for an answer is over.
    pub fn on_timeout(&mut self, id: u16, now: Instant) -> Step {
        self.next(Failure::Silent, id, now)
    }

    /// The socket fails.
    pub fn on_error(&mut self, error: &std::io::Error, id: u16, now: Instant) -> Step {
        let why = error.to_string();
        self.next(|server| Failure::Unreachable(server, why), id, now)
    }

    fn server(&self) -> Option<SocketAddr> {
        self.servers
            .get(self.attempts % self.servers.len().max(1))
            .copied()
    }

    fn ask(&mut self, id: u16, now: Instant) -> Step {
        let Some(server) = self.server() else {
            return Step::End(Err(Failure::NoServer));
        };
        self.id = id;
        self.foreign = 0;
        Step::Ask {
            server,
            transport: self.transport,
            message: self.query.message(id, self.extended),
            until: now + self.timeout,
        }
    }

    /// The attempt has come to nothing: the next server, if there is one left.
    fn next(&mut self, failure: impl FnOnce(SocketAddr) -> Failure, id: u16, now: Instant) -> Step {
        let failed = self.server();
        self.attempts += 1;
        self.transport = Transport::Udp;
        self.extended = Extended::Yes;
        match failed {
            Some(server) if self.attempts >= ROUNDS * self.servers.len() => Step::End(Err(failure(server))),
            Some(_) | None => self.ask(id, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::base::iana::{Class, Rcode};
    use domain::base::{Message, MessageBuilder, Ttl};
    use domain::rdata::A;

    use super::super::message::{RecordType, name_of};
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn servers(count: u16) -> Vec<SocketAddr> {
        (1..=count)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect()
    }

    fn exchange(count: u16) -> Exchange {
        let query = Query {
            name: name_of("a.example").expect("a name"),
            kind: RecordType::A,
        };
        Exchange::new(query, servers(count), TIMEOUT)
    }

    fn asked(step: &Step) -> (u16, Transport, &[u8]) {
        match step {
            Step::Ask {
                server,
                transport,
                message,
                ..
            } => (server.port(), *transport, message),
            Step::End(result) => panic!("it is over: {result:?}"),
        }
    }

    /// The answer of a server to what it was asked.
    fn reply(step: &Step, code: Rcode, truncated: bool) -> Vec<u8> {
        let message = Message::from_octets(asked(step).2).expect("a message");
        let mut builder = MessageBuilder::new_vec()
            .start_answer(&message, code)
            .expect("room");
        builder.header_mut().set_tc(truncated);
        if code == Rcode::NOERROR && !truncated {
            let name = name_of("a.example").expect("a name");
            let record = (name, Class::IN, Ttl::from_secs(3), A::from_octets(192, 0, 2, 1));
            builder.push(record).expect("room");
        }
        builder.finish()
    }

    #[test]
    fn an_answer_ends_it_and_what_is_foreign_is_passed_over() {
        let now = crate::base::clock::now();
        let mut exchange = exchange(1);
        let step = exchange.begin(7, now);
        assert_eq!(exchange.on_message(b"nonsense", 8, now), None);
        let other = exchange.query.message(9, Extended::Yes);
        assert_eq!(exchange.on_message(&other, 8, now), None);
        let end = exchange.on_message(&reply(&step, Rcode::NOERROR, false), 8, now);
        assert!(matches!(end, Some(Step::End(Ok(Answer::Records(..))))), "{end:?}");
    }

    #[test]
    fn what_is_truncated_is_asked_for_by_tcp() {
        let now = crate::base::clock::now();
        let mut exchange = exchange(1);
        let step = exchange.begin(7, now);
        let step = exchange
            .on_message(&reply(&step, Rcode::NOERROR, true), 8, now)
            .expect("a step");
        assert_eq!(asked(&step).1, Transport::Tcp);
        // One who truncates there, too, has no answer.
        let step = exchange
            .on_message(&reply(&step, Rcode::NOERROR, true), 9, now)
            .expect("a step");
        assert_eq!(asked(&step).1, Transport::Udp);
    }

    #[test]
    fn each_server_is_asked_twice_and_the_last_failure_is_told() {
        let now = crate::base::clock::now();
        let mut exchange = exchange(2);
        let mut step = exchange.begin(1, now);
        let mut order = Vec::new();
        for id in 2.. {
            order.push(asked(&step).0);
            step = exchange.on_timeout(id, now);
            if let Step::End(result) = step {
                assert_eq!(result, Err(Failure::Silent(servers(2)[1])));
                break;
            }
        }
        assert_eq!(order, [1, 2, 1, 2]);
    }

    #[test]
    fn a_server_that_fails_is_not_waited_for() {
        let now = crate::base::clock::now();
        let mut exchange = exchange(2);
        let step = exchange.begin(1, now);
        let step = exchange
            .on_message(&reply(&step, Rcode::SERVFAIL, false), 2, now)
            .expect("a step");
        assert_eq!(asked(&step).0, 2);
        let end = exchange.on_message(&reply(&step, Rcode::NXDOMAIN, false), 3, now);
        assert_eq!(
            end,
            Some(Step::End(Ok(Answer::Nothing {
                exists: false,
                ttl: None
            })))
        );
    }

    #[test]
    fn an_old_server_is_asked_without_extensions() {
        let now = crate::base::clock::now();
        let mut exchange = exchange(1);
        let step = exchange.begin(1, now);
        let step = exchange
            .on_message(&reply(&step, Rcode::FORMERR, false), 2, now)
            .expect("a step");
        let message = Message::from_octets(asked(&step).2).expect("a message");
        assert!(message.opt().is_none());
        assert_eq!(message.header().id(), 2, "another id");
    }

    #[test]
    fn a_flood_of_guesses_ends_the_attempt() {
        let now = crate::base::clock::now();
        let mut exchange = exchange(1);
        exchange.begin(1, now);
        let answers = (0..1000).filter(|_| exchange.on_message(b"guess", 2, now).is_some());
        assert!(answers.count() > 0);
    }

    #[test]
    fn without_servers_there_is_nobody_to_ask() {
        let now = crate::base::clock::now();
        assert_eq!(exchange(0).begin(1, now), Step::End(Err(Failure::NoServer)));
    }
}

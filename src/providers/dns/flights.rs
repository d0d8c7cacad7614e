//! Queries that are on their way: one socket each, all on one poll.
//!
//! Owns the sockets. Each attempt has a socket of its own, at a port that the system draws, connected to the server that is
//! asked: what others send never gets here. Ids are drawn with a key that nobody knows.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

use super::book::Wanted;
use super::exchange::{Answer, Exchange, Failure, Step, Transport};
use super::message::Query;
use crate::net::{self, ConnectState};

/// Queries at once.
pub(crate) const MOST_FLIGHTS: usize = 64;

/// Bytes that a message has at most: its length has two bytes by TCP, and what UDP carries is less.
const LONGEST_MESSAGE: usize = 65_535;

/// Bytes before a message by TCP, which say how long it is.
const LENGTH_BYTES: usize = 2;

/// A query that has come to its end.
pub(crate) type Ended = (Arc<Wanted>, Result<Answer, Failure>);

/// All queries on their way.
#[derive(Debug)]
pub(crate) struct Flights {
    registry: Registry,
    by_token: HashMap<Token, Flight>,
    /// The token of the next socket; none is used twice.
    next: usize,
    ids: RandomState,
    drawn: u64,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Flight {
    wanted: Arc<Wanted>,
    exchange: Exchange,
    socket: Socket,
    until: Instant,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tcp(Conversation),
}

/// One question and its answer by TCP.
#[derive(Debug)]
struct Conversation {
    stream: TcpStream,
    is_connected: bool,
    /// What is still to be said.
    words: Vec<u8>,
    heard: Vec<u8>,
}

/// What an event on a socket comes to.
enum Event {
    Nothing,
    Message(Vec<u8>),
    Failed(io::Error),
}

impl Flights {
    /// None yet; sockets are registered there, with tokens from `first` on. `ids` has a key that nobody can know.
    #[must_use]
    pub(crate) fn new(registry: Registry, first: usize, ids: RandomState) -> Self {
        Self {
            registry,
            by_token: HashMap::new(),
            next: first,
            ids,
            drawn: 0,
            buffer: vec![0; LONGEST_MESSAGE].into_boxed_slice(),
        }
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.by_token.len()
    }

    /// When the first of them has waited for long enough.
    #[must_use]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.by_token.values().map(|flight| flight.until).min()
    }

    /// Asks these servers for a record; the end, if it comes at once.
    pub(crate) fn begin(
        &mut self,
        wanted: Arc<Wanted>,
        servers: Vec<SocketAddr>,
        now: Instant,
    ) -> Option<Ended> {
        let query = Query {
            name: wanted.name.clone(),
            kind: wanted.kind,
        };
        let mut exchange = Exchange::new(query, servers, wanted.dns.timeout);
        let step = exchange.begin(self.draw(), now);
        self.follow(wanted, exchange, step, now)
    }

    /// Something has happened to a socket.
    pub(crate) fn on_event(&mut self, token: Token, now: Instant) -> Option<Ended> {
        // A datagram that is passed over may have others behind it, of which no further event tells.
        loop {
            let flight = self.by_token.get_mut(&token)?;
            let message = match flight.socket.take(&mut self.buffer) {
                Event::Nothing => return None,
                Event::Message(message) => Ok(message),
                Event::Failed(error) => Err(error),
            };
            let id = self.draw();
            let flight = self.by_token.get_mut(&token)?;
            let step = match message {
                Ok(message) => flight.exchange.on_message(&message, id, now),
                Err(error) => Some(flight.exchange.on_error(&error, id, now)),
            };
            if let Some(step) = step {
                let flight = self.land(token)?;
                return self.follow(flight.wanted, flight.exchange, step, now);
            }
        }
    }

    /// Those that have waited for long enough go on.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let is_late = |(token, flight): (&Token, &Flight)| (flight.until <= now).then_some(*token);
        let late: Vec<Token> = self.by_token.iter().filter_map(is_late).collect();
        let mut ended = Vec::new();
        for token in late {
            let id = self.draw();
            if let Some(mut flight) = self.land(token) {
                let step = flight.exchange.on_timeout(id, now);
                ended.extend(self.follow(flight.wanted, flight.exchange, step, now));
            }
        }
        ended
    }

    /// Takes a flight and closes its socket.
    fn land(&mut self, token: Token) -> Option<Flight> {
        let mut flight = self.by_token.remove(&token)?;
        let deregistered = match &mut flight.socket {
            Socket::Udp(socket) => self.registry.deregister(socket),
            Socket::Tcp(conversation) => self.registry.deregister(&mut conversation.stream),
        };
        if let Err(error) = deregistered {
            log::debug!("a socket of a DNS query was not watched: {error}");
        }
        Some(flight)
    }

    /// Does what the exchange wants, until it waits or is over.
    fn follow(
        &mut self,
        wanted: Arc<Wanted>,
        mut exchange: Exchange,
        mut step: Step,
        now: Instant,
    ) -> Option<Ended> {
        loop {
            let (server, transport, message, until) = match step {
                Step::End(result) => return Some((wanted, result)),
                Step::Ask {
                    server,
                    transport,
                    message,
                    until,
                } => (server, transport, message, until),
            };
            let token = Token(self.next);
            self.next += 1;
            match Socket::ask(server, transport, &message, (&self.registry, token)) {
                Ok(socket) => {
                    let flight = Flight {
                        wanted,
                        exchange,
                        socket,
                        until,
                    };
                    self.by_token.insert(token, flight);
                    return None;
                }
                Err(error) => step = exchange.on_error(&error, self.draw(), now),
            }
        }
    }

    /// A number that nobody can foretell: a keyed hash of how many were drawn.
    fn draw(&mut self) -> u16 {
        self.drawn += 1;
        let [a, b, ..] = self.ids.hash_one(self.drawn).to_ne_bytes();
        u16::from_ne_bytes([a, b])
    }
}

impl Socket {
    /// A socket that has asked, or will when it is connected.
    fn ask(
        server: SocketAddr,
        transport: Transport,
        message: &[u8],
        (registry, token): (&Registry, Token),
    ) -> io::Result<Self> {
        match transport {
            Transport::Udp => {
                let any: SocketAddr = if server.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let mut socket = UdpSocket::bind(any)?;
                socket.connect(server)?;
                registry.register(&mut socket, token, Interest::READABLE)?;
                socket.send(message)?;
                Ok(Self::Udp(socket))
            }
            Transport::Tcp => {
                let mut stream = net::begin_connect(server)?;
                registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                let length = u16::try_from(message.len()).unwrap_or_default();
                let words = [&length.to_be_bytes()[..], message].concat();
                Ok(Self::Tcp(Conversation {
                    stream,
                    is_connected: false,
                    words,
                    heard: Vec::new(),
                }))
            }
        }
    }

    /// The next message, if it is whole.
    fn take(&mut self, buffer: &mut [u8]) -> Event {
        match self {
            Self::Udp(socket) => loop {
                match socket.recv(buffer) {
                    Ok(count) => return Event::Message(buffer[..count].to_vec()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Event::Nothing,
                    Err(error) => return Event::Failed(error),
                }
            },
            Self::Tcp(conversation) => conversation.go_on(buffer),
        }
    }
}

impl Conversation {
    fn go_on(&mut self, buffer: &mut [u8]) -> Event {
        if !self.is_connected {
            match net::connect_state(&self.stream) {
                ConnectState::Pending => return Event::Nothing,
                ConnectState::Established => self.is_connected = true,
                ConnectState::Failed(error) => return Event::Failed(error),
            }
        }
        while !self.words.is_empty() {
            match self.stream.write(&self.words) {
                Ok(count) => drop(self.words.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Event::Failed(error),
            }
        }
        loop {
            if let Some(message) = self.whole() {
                return Event::Message(message);
            }
            match self.stream.read(buffer) {
                Ok(0) => return Event::Failed(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Event::Nothing,
                Err(error) => return Event::Failed(error),
            }
        }
    }

    /// The message, once all of it has come.
    fn whole(&self) -> Option<Vec<u8>> {
        let (length, rest) = self.heard.split_first_chunk::<LENGTH_BYTES>()?;
        let message = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        Some(message.to_vec())
    }
}

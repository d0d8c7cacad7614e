//! One connection to a Redis, each step of which has a deadline.
//!
//! A peer that answers byte by byte, for ever or with anything at all costs this thread until the deadline, and
//! [`MOST_BYTES`](super::resp::MOST_BYTES).

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::resp::{self, Value};
use crate::base::clock;
use crate::config::{Cluster, Endpoint};
use crate::net::{self, ConnectState};
use crate::relay::readiness::Readiness;
use crate::tls::{Channel, Handshake, Origination, Resume, Session};

/// Bytes that are read at once.
const READ_AT_ONCE: usize = 16 * 1024;

/// Why an exchange came to nothing.
#[derive(Debug)]
pub enum Fault {
    /// The connection failed.
    Io(io::Error),
    /// It took too long.
    Late,
    /// The answer is none of a Redis, or too long.
    NoAnswer,
    /// It refuses: with its own words, cut short.
    Refused(String),
    /// TLS cannot be spoken.
    Tls(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection fails: {error}"),
            Self::Late => f.write_str("it takes too long"),
            Self::NoAnswer => f.write_str("what answers is no Redis, or says too much"),
            Self::Refused(why) => write!(f, "it refuses: {why}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    poll: Poll,
    channel: Channel<TcpStream>,
    /// What has come and is not read yet.
    come: Vec<u8>,
    /// Bytes that were sent and received.
    pub moved: (u64, u64),
}

impl Connection {
    /// Connects to the first of an endpoint's addresses that takes it, and says who asks.
    ///
    /// # Errors
    /// What goes wrong until the deadline.
    pub fn open(
        cluster: &Cluster,
        endpoint: &Endpoint,
        addrs: &[SocketAddr],
        until: Instant,
    ) -> Result<Self, Fault> {
        let (mut connection, addr) = Self::reach(addrs, until)?;
        if endpoint.tls {
            connection.secure(cluster, endpoint, addr, until)?;
        }
        connection.introduce(endpoint, until)?;
        Ok(connection)
    }

    /// A connection to the first that takes one.
    fn reach(addrs: &[SocketAddr], until: Instant) -> Result<(Self, SocketAddr), Fault> {
        let mut fault = Fault::Io(ErrorKind::NotFound.into());
        for (tried, addr) in addrs.iter().enumerate() {
            // Each has its part of the time: one that says nothing leaves some to the next.
            let left = until.saturating_duration_since(clock::now());
            let parts = u32::try_from(addrs.len() - tried).unwrap_or(u32::MAX);
            match Self::establish(*addr, clock::now() + left / parts) {
                Ok(connection) => return Ok((connection, *addr)),
                Err(why) => fault = why,
            }
        }
        Err(fault)
    }

    fn establish(addr: SocketAddr, until: Instant) -> Result<Self, Fault> {
        let poll = Poll::new()?;
        let mut stream = TcpStream::connect(addr)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(0), both)?;
        let mut connection = Self {
            poll,
            channel: stream.into(),
            come: Vec::new(),
            moved: (0, 0),
        };
        connection.await_established(until)?;
        Ok(connection)
    }

    fn await_established(&mut self, until: Instant) -> Result<(), Fault> {
        loop {
            self.wait(until)?;
            match net::connect_state(self.channel.wire()) {
                ConnectState::Pending => {}
                ConnectState::Established => return Ok(()),
                ConnectState::Failed(error) => return Err(error.into()),
            }
        }
    }

    fn secure(
        &mut self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        addr: SocketAddr,
        until: Instant,
    ) -> Result<(), Fault> {
        let name = match cluster.tls.sni.as_str() {
            "" => &endpoint.host,
            sni => sni,
        };
        let made = Origination::load(Some(&cluster.tls), Resume::No, None);
        let made = made.map_err(|fault| Fault::Tls(fault.to_string()))?;
        let Some(origination) = made else {
            return Err(Fault::Tls("this build has none".to_owned()));
        };
        self.channel
            .secure(Session::connect_by_name(&origination, addr, name)?);
        while self.channel.handshake(Readiness::ANYTHING)? == Handshake::Blocked {
            self.wait(until)?;
        }
        Ok(())
    }

    fn introduce(&mut self, endpoint: &Endpoint, until: Instant) -> Result<(), Fault> {
        let mut out = Vec::new();
        let mut asked = 0;
        if let Some(password) = &endpoint.password {
            match &endpoint.user {
                Some(user) => resp::command(&mut out, &[b"AUTH", user.as_bytes(), password.as_bytes()]),
                None => resp::command(&mut out, &[b"AUTH", password.as_bytes()]),
            }
            asked += 1;
        }
        if endpoint.database > 0 {
            resp::command(&mut out, &[b"SELECT", endpoint.database.to_string().as_bytes()]);
            asked += 1;
        }
        for answer in self.ask(&out, asked, until)? {
            refuse_error(&answer)?;
        }
        Ok(())
    }

    /// Sends commands and reads as many answers.
    ///
    /// # Errors
    /// What goes wrong until the deadline; the connection is of no use then.
    pub fn ask(&mut self, commands: &[u8], answers: usize, until: Instant) -> Result<Vec<Value>, Fault> {
        self.say(commands, until)?;
        let mut all = Vec::with_capacity(answers);
        let (mut room, mut total) = (vec![0; READ_AT_ONCE], 0);
        while all.len() < answers {
            if let Some((value, length)) = resp::parse(&self.come).map_err(|_| Fault::NoAnswer)? {
                self.come.drain(..length);
                all.push(value);
                continue;
            }
            let count = self.read(&mut room, until)?;
            total += count;
            if total > resp::MOST_BYTES {
                return Err(Fault::NoAnswer);
            }
            self.come.extend(room.get(..count).unwrap_or_default());
        }
        // Whoever says more than it was asked is out of step.
        if self.come.is_empty() {
            Ok(all)
        } else {
            Err(Fault::NoAnswer)
        }
    }

    /// Sends one command and reads its answer.
    ///
    /// # Errors
    /// The same.
    pub fn ask_one(&mut self, command: &[u8], until: Instant) -> Result<Value, Fault> {
        self.ask(command, 1, until)?.pop().ok_or(Fault::NoAnswer)
    }

    fn say(&mut self, mut bytes: &[u8], until: Instant) -> Result<(), Fault> {
        while !bytes.is_empty() {
            crate::relay::wire::Wire::begin(&mut self.channel, Readiness::ANYTHING);
            match self.channel.write(bytes) {
                Ok(0) => return Err(Fault::Io(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.moved.0 += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(until)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read(&mut self, room: &mut [u8], until: Instant) -> Result<usize, Fault> {
        loop {
            if until <= clock::now() {
                return Err(Fault::Late);
            }
            crate::relay::wire::Wire::begin(&mut self.channel, Readiness::ANYTHING);
            match self.channel.read(room) {
                Ok(0) => return Err(Fault::Io(ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.moved.1 += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(until)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wait(&mut self, until: Instant) -> Result<(), Fault> {
        let left = until.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(Fault::Late);
        }
        match self.poll.poll(&mut Events::with_capacity(4), Some(left)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// What a Redis refuses, as a fault.
///
/// # Errors
/// If it is one.
pub fn refuse_error(answer: &Value) -> Result<(), Fault> {
    const MOST_CHARS: usize = 100;
    match answer {
        Value::Error(why) => Err(Fault::Refused(
            why.chars().filter(|c| !c.is_control()).take(MOST_CHARS).collect(),
        )),
        Value::Null | Value::Number(_) | Value::Bytes(_) | Value::List(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// An address that takes a connect without a word: its queue is full.
    fn silent() -> (SocketAddr, Socket, Vec<std::net::TcpStream>) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).expect("a port");
        listener.listen(0).expect("it listens");
        let addr = listener.local_addr().expect("bound").as_socket().expect("IP");
        let mut queued = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
            queued.push(stream);
        }
        (addr, listener, queued)
    }

    #[test]
    fn the_first_address_that_takes_a_connection_is_used() {
        let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let (closed, open) = (bind(), bind());
        let addr = |listener: &TcpListener| listener.local_addr().expect("bound");
        let (refusing, taking) = (addr(&closed), addr(&open));
        drop(closed);
        let (silent, _listener, _queued) = silent();
        let reach = |addrs: &[SocketAddr], time| {
            let reached = Connection::reach(addrs, clock::now() + time);
            reached.map(|(_, addr)| addr)
        };
        let long = Duration::from_secs(10);
        assert_eq!(reach(&[refusing, taking], long).expect("one takes it"), taking);
        let short = Duration::from_millis(400);
        let begun = clock::now();
        assert_eq!(reach(&[silent, taking], short).expect("one takes it"), taking);
        assert!(
            clock::now() - begun >= short / 2,
            "it has had its part of the time"
        );
        assert!(matches!(reach(&[silent, refusing], short), Err(Fault::Io(_))));
        assert!(matches!(reach(&[refusing, silent], short), Err(Fault::Late)));
        assert!(reach(&[], short).is_err());
    }
}

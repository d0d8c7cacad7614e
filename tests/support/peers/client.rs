//! One client: what it means to do, what it has heard, how it ended.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::stream::{Order, Rounds, Script};
use super::{is_retry, reset, tighten};

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Sends everything, finishes, hears everything: the half-close comes first from it.
    FinishFirst,
    /// Sends everything, and finishes once the backend has.
    FinishLast,
    /// Is gone as soon as it is connected.
    LeaveAtOnce,
    /// Resets the connection behind so many bytes of its own, the order included.
    ResetAfter(u64),
    /// One byte at a time, the order included.
    Trickle(Duration),
    /// Asks so many times on one connection, and pauses behind each answer.
    KeepAlive { rounds: Rounds, pause: Duration },
    /// Sends as `FinishFirst`, and pauses behind each read.
    ReadSlowly { pause: Duration },
    /// Sends as `FinishFirst` and reads nothing, until it is released.
    NeverRead,
    /// Says nothing at all, until it is released.
    Silent,
}

impl Conduct {
    fn rounds(self) -> Rounds {
        if let Self::KeepAlive { rounds, .. } = self {
            rounds
        } else {
            Rounds::ONE
        }
    }
}

/// What one client is to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub conduct: Conduct,
    pub order: Order,
    /// What the backend says before it is asked.
    pub banner: &'static [u8],
    /// Where it connects from; `None` for the system's choice.
    pub from: Option<Ipv4Addr>,
    /// And from which port, with such an address; 0 for the system's choice.
    pub port: u16,
    /// Behind so many bytes that came its buffers are the smallest that its kernel gives.
    pub tight_after: Option<u64>,
}

impl Plan {
    /// In each round of an exchange a byte goes each way at least: a client that waits for a round of nothing waits for ever.
    pub fn new(conduct: Conduct, order: Order) -> Self {
        let fewest = match conduct.rounds() {
            Rounds::ONE => 0,
            rounds => rounds.0,
        };
        Self {
            conduct,
            order: Order {
                up: order.up.max(fewest),
                down: order.down.max(fewest),
                ..order
            },
            banner: &[],
            from: None,
            port: 0,
            tight_after: None,
        }
    }
}

/// How a client's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is still open.
    Open,
    /// Every byte both ways, and a proper end.
    Whole,
    /// It left as it meant to.
    Left,
    /// Reset by the other side; what had come until then was right.
    Reset,
    /// A proper end before anything had come.
    Empty,
    /// A proper end in the middle: bytes were lost, and nobody said so.
    Cut,
    /// Something came that was not sent.
    Corrupt,
    /// It could not connect.
    Unconnected(ErrorKind),
}

/// A client and its connection.
#[derive(Debug)]
pub struct Client {
    pub plan: Plan,
    pub outcome: Outcome,
    /// Bytes that came.
    pub received: u64,
    /// When its connection ended.
    pub ended_at: Option<Instant>,
    /// Where it connected from.
    pub local_addr: Option<SocketAddr>,
    stream: Option<TcpStream>,
    request: Script,
    reply: Script,
    sent: u64,
    has_finished: bool,
    is_connected: bool,
    /// The round that it is in, from 1.
    round: u64,
    /// A write was told of a reset, which the next read will not be.
    was_reset: bool,
    /// When a client that takes its time goes on.
    pub(super) next_at: Option<Instant>,
}

/// Begins to connect.
fn connect(to: SocketAddr, from: Option<SocketAddr>) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

impl Client {
    /// Begins to connect to `addr`.
    pub(super) fn start(addr: SocketAddr, plan: Plan) -> Self {
        let (stream, outcome) = match connect(addr, plan.from.map(|ip| SocketAddr::from((ip, plan.port)))) {
            Ok(stream) => (Some(stream), Outcome::Open),
            Err(error) => (None, Outcome::Unconnected(error.kind())),
        };
        Self {
            plan,
            outcome,
            received: 0,
            ended_at: None,
            local_addr: stream.as_ref().and_then(|stream| stream.local_addr().ok()),
            stream,
            request: plan.order.request(plan.conduct.rounds()),
            reply: plan.order.reply(plan.banner),
            sent: 0,
            has_finished: false,
            is_connected: false,
            round: 1,
            was_reset: false,
            next_at: None,
        }
    }

    pub(super) fn stream(&mut self) -> Option<&mut TcpStream> {
        self.stream.as_mut()
    }

    /// Whether its connection is established.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether all that it had to send has been taken from it.
    pub fn has_sent_all(&mut self) -> bool {
        self.request.is_over()
    }

    /// Bytes that its kernel has taken.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Goes on like anybody else.
    pub(super) fn release(&mut self) {
        self.next_at = None;
        self.plan.conduct = Conduct::FinishFirst;
    }

    /// Ends its connection; at this instant, for the turn of a large crowd may have begun long ago.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.outcome = outcome;
        self.ended_at = Some(Instant::now());
        self.stream = None;
    }

    /// Ends its connection with a reset.
    pub(super) fn end_by_reset(&mut self) {
        if let Some(stream) = &self.stream {
            reset(stream);
        }
        self.end(Outcome::Left);
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self, now: Instant) {
        if !self.is_connected && !self.look_whether_connected(now) {
            return;
        }
        if self.plan.conduct == Conduct::LeaveAtOnce {
            return self.end(Outcome::Left);
        }
        if self.plan.conduct == Conduct::Silent {
            return self.hear(now);
        }
        self.speak(now);
        if self.outcome == Outcome::Open && self.plan.conduct != Conduct::NeverRead {
            self.hear(now);
        }
        if self.outcome == Outcome::Open {
            self.begin_round(now);
        }
    }

    /// Goes on to the next round behind its pause, once this one has been answered.
    fn begin_round(&mut self, now: Instant) {
        let Conduct::KeepAlive { rounds, pause } = self.plan.conduct else {
            return;
        };
        let answer = self.plan.banner.len() as u64 + rounds.share(self.plan.order.down, self.round);
        if self.round == rounds.0 || self.received < answer {
            return;
        }
        match self.next_at {
            None => self.next_at = Some(now + pause),
            Some(at) if at <= now => {
                self.next_at = None;
                self.round += 1;
                self.speak(now);
            }
            Some(_) => {}
        }
    }

    fn look_whether_connected(&mut self, now: Instant) -> bool {
        let Some(stream) = &self.stream else { return false };
        match stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) if error.kind() == ErrorKind::ConnectionReset => {
                // It was connected, and has been reset since.
                self.was_reset = true;
                self.hear(now);
                return false;
            }
            Ok(Some(error)) | Err(error) => {
                self.end(Outcome::Unconnected(error.kind()));
                return false;
            }
        }
        self.is_connected = stream.peer_addr().is_ok();
        if self.is_connected && self.plan.tight_after == Some(0) {
            tighten(stream);
        }
        self.is_connected
    }

    fn speak(&mut self, now: Instant) {
        while let Some(mut stream) = self.stream.as_ref() {
            let limit = match self.plan.conduct {
                Conduct::ResetAfter(bytes) => bytes.saturating_sub(self.sent),
                Conduct::Trickle(_) => u64::from(self.next_at.is_none_or(|at| at <= now)),
                Conduct::KeepAlive { rounds, .. } => {
                    let asked = rounds.share(self.plan.order.up, self.round);
                    (Order::BYTES as u64 + asked).saturating_sub(self.sent)
                }
                Conduct::FinishFirst
                | Conduct::FinishLast
                | Conduct::LeaveAtOnce
                | Conduct::ReadSlowly { .. }
                | Conduct::NeverRead
                | Conduct::Silent => u64::MAX,
            };
            if limit == 0 && matches!(self.plan.conduct, Conduct::ResetAfter(_)) {
                return self.end_by_reset();
            }
            let next = self.request.next();
            if next.is_empty() {
                return self.finish_if_first();
            }
            let portion = next.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
            if portion == 0 {
                return;
            }
            match stream.write(&next[..portion]) {
                Ok(count) => {
                    self.request.advance(count);
                    self.sent += count as u64;
                    if let Conduct::Trickle(pause) = self.plan.conduct {
                        self.next_at = Some(now + pause);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_retry(error.kind()) => return,
                Err(error) => {
                    // What came before may still be read; the end behind it is none.
                    self.was_reset |= error.kind() == ErrorKind::ConnectionReset;
                    return;
                }
            }
        }
    }

    fn finish_if_first(&mut self) {
        if let Conduct::Trickle(_) = self.plan.conduct {
            self.next_at = None;
        }
        let is_last = matches!(self.plan.conduct, Conduct::FinishLast | Conduct::KeepAlive { .. });
        if !is_last && !self.has_finished {
            self.has_finished = true;
            if let Some(stream) = &self.stream {
                // Fails only when the connection has gone: reading tells.
                drop(stream.shutdown(Shutdown::Write));
            }
        }
    }

    fn hear(&mut self, now: Instant) {
        let mut buffer = [0; 16 * 1024];
        while let Some(mut stream) = self.stream.as_ref() {
            let slow = matches!(self.plan.conduct, Conduct::ReadSlowly { .. });
            if slow && self.next_at.is_some_and(|at| at > now) {
                return;
            }
            match stream.read(&mut buffer) {
                Ok(0) => {
                    let outcome = if self.was_reset {
                        Outcome::Reset
                    } else if self.reply.is_over() {
                        Outcome::Whole
                    } else if self.received == 0 {
                        Outcome::Empty
                    } else {
                        Outcome::Cut
                    };
                    return self.end(outcome);
                }
                Ok(count) => {
                    let before = self.received;
                    self.received += count as u64;
                    if self
                        .plan
                        .tight_after
                        .is_some_and(|after| (before..self.received).contains(&after))
                    {
                        tighten(stream);
                    }
                    if !self.reply.matches(&buffer[..count]) {
                        return self.end(Outcome::Corrupt);
                    }
                    if let Conduct::ReadSlowly { pause } = self.plan.conduct {
                        self.next_at = Some(now + pause);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_retry(error.kind()) => return,
                Err(_) => return self.end(Outcome::Reset),
            }
        }
    }
}

//! One connection of the metrics port.
//!
//! ```text
//!            whole head, refused head         sent, keep-alive
//!   Reading ───────────────────────▶ Replying ────────────────▶ Reading
//!      │ garbage, end, error, time-out   │ sent, last answer
//!      ▼                                 ▼
//!    closed ◀───── end, limit, time ── Lingering
//! ```
//!
//! Lingering: our side is finished, what the peer still sends is swallowed for a moment; a close with unread
//! bytes would be a reset, which can take the answer away from the peer before it was read.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::request::{After, MAX_HEAD_BYTES, Parsed, parse};
use crate::admin::site::Site;

/// A head that has begun must be whole after this long.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two requests; longer than any usual scrape interval. A full port closes the idle earlier.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(150);
/// A peer must have taken an answer after this long.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a finished connection swallows what still comes.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// How much a finished connection swallows.
const LINGER_BYTES: usize = 64 * 1024;
/// Answers in one turn; then other connections have theirs.
const REPLIES_PER_TURN: u32 = 8;

#[derive(Debug)]
enum Phase {
    Reading,
    Replying {
        reply: Vec<u8>,
        written: usize,
        after: After,
    },
    Lingering {
        swallowed: usize,
    },
}

/// What a turn of a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for its socket.
    Waits,
    /// It has more to do at once.
    Continues,
    /// It is over.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes read and not yet used; at most a head and one read.
    received: Vec<u8>,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When the phase ends by itself.
    deadline: Instant,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Self {
        Self {
            stream,
            received: Vec::new(),
            phase: Phase::Reading,
            since: now,
            deadline: now + HEAD_TIMEOUT,
        }
    }

    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Orders connections by how little is lost when they are closed to make room: least first.
    pub(super) fn worth(&self) -> (u8, Instant) {
        let phase = match self.phase {
            Phase::Reading => 0,
            Phase::Lingering { .. } => 1,
            Phase::Replying { .. } => 2,
        };
        (phase, self.since)
    }

    fn enter(&mut self, phase: Phase, now: Instant, patience: Duration) {
        self.phase = phase;
        self.since = now;
        self.deadline = now + patience;
    }

    /// Ends the connection because its time is over.
    pub(super) fn on_timeout(self, site: &Site) {
        // A head that never becomes whole is no request; silence is no harm.
        if matches!(self.phase, Phase::Reading) && !self.received.is_empty() {
            site.count_bad();
        }
    }

    /// Does all that the socket allows now.
    pub(super) fn advance(&mut self, site: &Site, now: Instant) -> Turn {
        let mut replies = 0;
        loop {
            let step = match &mut self.phase {
                Phase::Reading => self.read_request(site, now),
                Phase::Replying { .. } => {
                    replies += 1;
                    self.write_reply(now)
                }
                Phase::Lingering { .. } => self.swallow(),
            };
            match step {
                Step::Next if replies >= REPLIES_PER_TURN => return Turn::Continues,
                Step::Next => {}
                Step::Blocked => return Turn::Waits,
                Step::End => return Turn::Closed,
            }
        }
    }

    fn read_request(&mut self, site: &Site, now: Instant) -> Step {
        loop {
            let (reply, after) = match parse(&self.received) {
                Parsed::Incomplete => match read_some(&mut self.stream) {
                    Ok(chunk) if chunk.is_empty() => {
                        if !self.received.is_empty() {
                            site.count_bad();
                        }
                        return Step::End;
                    }
                    Ok(chunk) => {
                        if self.received.is_empty() {
                            self.deadline = now + HEAD_TIMEOUT;
                        }
                        self.received.extend_from_slice(chunk.bytes());
                        continue;
                    }
                    Err(step) => return step,
                },
                Parsed::Garbage => {
                    site.count_bad();
                    return Step::End;
                }
                Parsed::Refused(status) => (site.refuse(status), After::Close),
                Parsed::Complete(request) => {
                    self.received.drain(..request.head_bytes);
                    (site.answer(&request), request.after)
                }
            };
            if self.received.is_empty() {
                // An idle connection owns no buffer.
                self.received = Vec::new();
            }
            let replying = Phase::Replying {
                reply,
                written: 0,
                after,
            };
            self.enter(replying, now, REPLY_TIMEOUT);
            return Step::Next;
        }
    }

    fn write_reply(&mut self, now: Instant) -> Step {
        let Phase::Replying {
            reply,
            written,
            after,
        } = &mut self.phase
        else {
            return Step::Next;
        };
        while let Some(left) = reply.get(*written..).filter(|left| !left.is_empty()) {
            match self.stream.write(left) {
                Ok(0) => return Step::End,
                Ok(count) => *written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Blocked,
                Err(_) => return Step::End,
            }
        }
        match after {
            After::KeepAlive => {
                let patience = if self.received.is_empty() {
                    IDLE_TIMEOUT
                } else {
                    HEAD_TIMEOUT
                };
                self.enter(Phase::Reading, now, patience);
            }
            After::Close => {
                if self.stream.shutdown(Shutdown::Write).is_err() {
                    return Step::End;
                }
                self.enter(Phase::Lingering { swallowed: 0 }, now, LINGER_TIMEOUT);
            }
        }
        Step::Next
    }

    fn swallow(&mut self) -> Step {
        let Phase::Lingering { swallowed } = &mut self.phase else {
            return Step::Next;
        };
        loop {
            match read_some(&mut self.stream) {
                Ok(chunk) if chunk.is_empty() => return Step::End,
                Ok(chunk) => {
                    *swallowed += chunk.bytes().len();
                    if *swallowed > LINGER_BYTES {
                        return Step::End;
                    }
                }
                Err(step) => return step,
            }
        }
    }
}

enum Step {
    Next,
    Blocked,
    End,
}

/// What one read brought, on the stack; empty at the end of the stream.
struct Chunk {
    buffer: [u8; 2048],
    length: usize,
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }
}

fn read_some(stream: &mut TcpStream) -> Result<Chunk, Step> {
    let mut chunk = Chunk {
        buffer: [0; 2048],
        length: 0,
    };
    const { assert!(2048 <= MAX_HEAD_BYTES) };
    loop {
        match stream.read(&mut chunk.buffer) {
            Ok(length) => {
                chunk.length = length;
                return Ok(chunk);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(Step::Blocked),
            Err(_) => return Err(Step::End),
        }
    }
}

#[cfg(test)]
mod tests;

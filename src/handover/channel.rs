//! The connection between the two processes: lines, and the descriptors that come with them.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;

use super::error::HandoverError;
use super::protocol::{DESCRIPTORS_PER_MESSAGE, Lines, MAX_LINE_BYTES, MAX_SOCKETS, encode};
use crate::base::clock;

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// Room for the descriptors of one message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE));

/// One end of the connection.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    lines: Lines,
    /// What came and was not asked for yet.
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Result<Self, HandoverError> {
        stream.set_nonblocking(false)?;
        Ok(Self {
            stream,
            lines: Lines::default(),
            descriptors: VecDeque::new(),
        })
    }

    /// What everything comes through.
    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Says `message`, with descriptors.
    pub(super) fn say(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
        until: Instant,
    ) -> Result<(), HandoverError> {
        let line = encode(message).map_err(|why| HandoverError::System(std::io::Error::other(why)))?;
        self.send(&line, descriptors, until)
    }

    /// Sends bytes; the descriptors go with the first of them.
    pub(super) fn send(
        &self,
        mut bytes: &[u8],
        mut descriptors: &[BorrowedFd<'_>],
        until: Instant,
    ) -> Result<(), HandoverError> {
        const AWAITED: &str = "the other process's attention";
        debug_assert!(
            descriptors.len() <= DESCRIPTORS_PER_MESSAGE,
            "one message takes no more"
        );
        while !bytes.is_empty() {
            let left = left(until, AWAITED)?;
            self.stream.set_write_timeout(Some(left))?;
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
                debug_assert!(fits, "the room is for as many");
            }
            match sendmsg(
                &self.stream,
                &[IoSlice::new(bytes)],
                &mut ancillary,
                SendFlags::empty(),
            ) {
                Ok(sent) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    descriptors = &[];
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(HandoverError::TimedOut { awaited: AWAITED }),
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    return Err(HandoverError::Closed { awaited: AWAITED });
                }
                Err(error) => return Err(HandoverError::System(error.into())),
            }
        }
        Ok(())
    }

    /// The next line.
    pub(super) fn line(&mut self, awaited: &'static str, until: Instant) -> Result<Vec<u8>, HandoverError> {
        self.line_up_to(MAX_LINE_BYTES, awaited, until)
    }

    /// The next line, if it is no longer than that.
    pub(super) fn line_up_to(
        &mut self,
        limit: usize,
        awaited: &'static str,
        until: Instant,
    ) -> Result<Vec<u8>, HandoverError> {
        loop {
            let too_long = |_| HandoverError::Garbage {
                awaited,
                why: format!("a line of more than {limit} bytes"),
            };
            if let Some(line) = self.lines.next_line(limit).map_err(too_long)? {
                return Ok(line);
            }
            self.receive(awaited, until)?;
        }
    }

    /// So many bytes that are no lines.
    pub(super) fn bytes(&mut self, count: usize, until: Instant) -> Result<Vec<u8>, HandoverError> {
        while self.lines.len() < count {
            self.receive("the rest of an answer", until)?;
        }
        Ok(self.lines.take(count))
    }

    /// Descriptors that came so far and were not asked for.
    pub(super) fn descriptors(&mut self) -> &mut VecDeque<OwnedFd> {
        &mut self.descriptors
    }

    /// Reads once.
    fn receive(&mut self, awaited: &'static str, until: Instant) -> Result<(), HandoverError> {
        let mut bytes = [0; READ_BYTES];
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            self.stream.set_read_timeout(Some(left(until, awaited)?))?;
            let mut into = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.stream, &mut into, &mut ancillary, RecvFlags::empty()) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(HandoverError::TimedOut { awaited }),
                Err(Errno::CONNRESET) => return Err(HandoverError::Closed { awaited }),
                Err(error) => return Err(HandoverError::System(error.into())),
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                for descriptor in descriptors {
                    fcntl_setfd(descriptor.as_fd(), FdFlags::CLOEXEC).map_err(std::io::Error::from)?;
                    self.descriptors.push_back(descriptor);
                }
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(HandoverError::NoRoom);
        }
        if self.descriptors.len() > MAX_SOCKETS {
            return Err(HandoverError::Descriptors {
                announced: MAX_SOCKETS,
                came: self.descriptors.len(),
            });
        }
        if received.bytes == 0 {
            return Err(HandoverError::Closed { awaited });
        }
        self.lines.push(bytes.get(..received.bytes).unwrap_or_default());
        Ok(())
    }
}

/// The time that is left; never none, which would mean that there is no limit.
fn left(until: Instant, awaited: &'static str) -> Result<Duration, HandoverError> {
    let left = until.saturating_duration_since(clock::now());
    if left.is_zero() {
        return Err(HandoverError::TimedOut { awaited });
    }
    Ok(left.max(Duration::from_millis(1)))
}

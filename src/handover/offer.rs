//! The side of the old process: offers its sockets, and serves until somebody else does.
//!
//! Each offer is waited for by a thread of the caller's, for several may be open at once; the caller decides which one it
//! confirms. What fails is told, and changes nothing.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::channel::Channel;
use super::error::HandoverError;
use super::protocol::{
    DESCRIPTORS_PER_MESSAGE, Entry, FromNew, FromOld, MAX_SOCKETS, OfferLine, Ready, VERSION, decode, encode,
};
use crate::base::clock;

/// Time for a new process to take what is sent to it, and to say that it has heard.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Time for a new process to start, probe and warm up.
const READY_PATIENCE: Duration = Duration::from_secs(600);

/// A socket to be handed over: a duplicate of one that goes on being used.
#[derive(Debug)]
pub struct OfferedSocket {
    /// What it is.
    pub entry: Entry,
    /// The duplicate.
    pub socket: Socket,
}

/// What an old process has to give.
#[derive(Debug)]
pub struct Offer {
    /// Which build of the program this is.
    pub build: String,
    /// All sockets, in any order.
    pub sockets: Vec<OfferedSocket>,
}

/// An offer that was sent.
#[derive(Debug)]
pub struct Waiting {
    channel: Channel,
}

/// An offer that a new process wants to make use of. Dropping it refuses.
#[derive(Debug)]
pub struct Claimed {
    /// What the new process has taken.
    pub ready: Ready,
    /// `None` once it was answered.
    channel: Option<Channel>,
}

/// Ends the wait for an offer, from any thread.
#[derive(Debug)]
pub struct Interrupter {
    stream: UnixStream,
}

impl Offer {
    /// Sends all of it over `stream`, a connection on which both have agreed to speak this protocol. The duplicates
    /// are closed then.
    ///
    /// # Errors
    /// When the new process is gone, or does not read.
    pub fn send(self, stream: UnixStream) -> Result<Waiting, HandoverError> {
        let until = clock::now() + ANSWER_PATIENCE;
        if self.sockets.len() > MAX_SOCKETS {
            return Err(HandoverError::Descriptors {
                announced: self.sockets.len(),
                came: MAX_SOCKETS,
            });
        }
        let channel = Channel::new(stream)?;
        let (sockets, descriptors): (Vec<_>, Vec<_>) = self
            .sockets
            .into_iter()
            .map(|offered| (offered.entry, offered.socket))
            .unzip();
        let offer = OfferLine {
            version: VERSION,
            pid: std::process::id(),
            build: self.build,
            sockets,
        };
        channel.say(&FromOld::Offer(offer), &[], until)?;
        for chunk in descriptors.chunks(DESCRIPTORS_PER_MESSAGE) {
            let chunk: Vec<_> = chunk.iter().map(AsFd::as_fd).collect();
            channel.say(&FromOld::Descriptors(chunk.len()), &chunk, until)?;
        }
        Ok(Waiting { channel })
    }
}

impl Waiting {
    /// Something that ends [`wait_ready`](Self::wait_ready), and tells the new process why.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn interrupter(&self) -> Result<Interrupter, HandoverError> {
        Ok(Interrupter {
            stream: self.channel.stream().try_clone()?,
        })
    }

    /// Waits until the new process could serve, ten minutes at most.
    ///
    /// # Errors
    /// When it ends, says something else, or takes longer. Nothing has changed then.
    pub fn wait_ready(self) -> Result<Claimed, HandoverError> {
        self.wait_ready_until(clock::now() + READY_PATIENCE)
    }

    pub(super) fn wait_ready_until(mut self, until: Instant) -> Result<Claimed, HandoverError> {
        const AWAITED: &str = "its word that it is ready";
        let error = match heard(&mut self.channel, AWAITED, until) {
            Ok(FromNew::Ready(ready)) => {
                return Ok(Claimed {
                    ready,
                    channel: Some(self.channel),
                });
            }
            Ok(FromNew::Mine) => HandoverError::Garbage {
                awaited: AWAITED,
                why: "it claims what it was not given".to_owned(),
            },
            Err(error) => error,
        };
        // Should it be there still: it must not take the end of the connection for the end of this process.
        refuse(&self.channel, &error.to_string());
        Err(error)
    }
}

impl Interrupter {
    /// Ends the wait: the new process is told that it gets nothing, and why.
    pub fn interrupt(&self, why: &str) {
        if let Ok(line) = encode(&FromOld::Refused(why.to_owned())) {
            // If it cannot take that now, the end of the connection has to do.
            let _ = rustix::net::send(&self.stream, &line, rustix::net::SendFlags::DONTWAIT);
        }
        // Fails only where it is over already.
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

impl Claimed {
    /// Tells the new process that the sockets are its own: this one has stopped accepting on what was taken. Returns
    /// once the new one has said that it serves; only then may listeners be closed.
    ///
    /// # Errors
    /// When the new process is gone or does not answer. Then this one has to accept again.
    pub fn confirm(mut self) -> Result<(), HandoverError> {
        const AWAITED: &str = "its word that it serves";
        let Some(mut channel) = self.channel.take() else {
            debug_assert!(false, "it is answered once");
            return Err(HandoverError::Closed { awaited: AWAITED });
        };
        let until = clock::now() + ANSWER_PATIENCE;
        let said = channel.say(&FromOld::Yours, &[], until);
        let error = match said.and_then(|()| heard(&mut channel, AWAITED, until)) {
            Ok(FromNew::Mine) => return Ok(()),
            Ok(FromNew::Ready(_)) => HandoverError::Garbage {
                awaited: AWAITED,
                why: "it is ready once more".to_owned(),
            },
            Err(error) => error,
        };
        // It may only have been slow, and reads this behind the word that they are its own: two must not serve.
        refuse(&channel, &error.to_string());
        Err(error)
    }

    /// Tells the new process that it gets nothing, and why: somebody else was first, or this one is stopping.
    pub fn refuse(mut self, why: &str) {
        self.answer_no(why);
    }

    fn answer_no(&mut self, why: &str) {
        if let Some(channel) = self.channel.take() {
            // Without an answer it would believe this process to be gone, and serve.
            refuse(&channel, why);
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.answer_no("it has changed its mind");
    }
}

/// Tells the new process that it gets nothing. Fails only where nobody hears it.
fn refuse(channel: &Channel, why: &str) {
    drop(channel.say(
        &FromOld::Refused(why.to_owned()),
        &[],
        clock::now() + ANSWER_PATIENCE,
    ));
}

/// What the new process says next.
fn heard(channel: &mut Channel, awaited: &'static str, until: Instant) -> Result<FromNew, HandoverError> {
    let line = channel.line(awaited, until)?;
    if !channel.descriptors().is_empty() {
        return Err(HandoverError::Garbage {
            awaited,
            why: "descriptors, which only the old process gives".to_owned(),
        });
    }
    decode(&line).map_err(|why| HandoverError::Garbage { awaited, why })
}

//! The relay's end of a connection in memory.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use mio::net::TcpStream;
use tcp_forwarder::relay::wire::Wire;

use super::socket::Socket;

/// A socket that the world and who uses it hold both.
pub(super) type Shared = Rc<RefCell<Socket>>;

/// What a relay reads and writes.
#[derive(Debug)]
pub(super) struct MemoryWire {
    pub(super) socket: Shared,
    /// Whether the system tells what was acknowledged.
    pub(super) knows_acknowledged: bool,
    /// What is to be said on it before anything else: how much is still to come of [`INTRODUCTION`]. Its peer is not told, so
    /// that what it hears is its client's alone.
    pub(super) unsaid: usize,
}

/// What backends are told of their clients.
pub(super) const INTRODUCTION: &[u8] = b"this is one\r\n";

impl Read for MemoryWire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.borrow_mut().read(buffer)
    }
}

impl Write for MemoryWire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (said, rest) = bytes.split_at(self.unsaid.min(bytes.len()));
        let expected = &INTRODUCTION[INTRODUCTION.len() - self.unsaid..];
        assert_eq!(
            said,
            &expected[..said.len()],
            "a backend is told of its client first"
        );
        let written = if rest.is_empty() && !said.is_empty() {
            Ok(0)
        } else {
            self.socket.borrow_mut().write(rest)
        };
        let written = match written {
            // It fell short, and tells when there is room again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !said.is_empty() => 0,
            written => written?,
        };
        self.unsaid -= said.len();
        Ok(said.len() + written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for MemoryWire {
    fn short_io_blocks(&self) -> bool {
        self.socket.borrow().keeps_short_io_promise()
    }

    fn is_dead(&self) -> bool {
        self.socket.borrow_mut().is_dead()
    }

    fn finish(&mut self) -> io::Result<()> {
        assert_eq!(
            self.unsaid, 0,
            "a backend is told of its client before that finishes"
        );
        self.socket.borrow_mut().finish();
        Ok(())
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.socket.borrow_mut().take_error())
    }

    fn knows_acknowledged(&self) -> bool {
        self.knows_acknowledged
    }

    fn nothing_acknowledged(&self, _: u64) -> bool {
        self.knows_acknowledged && self.socket.borrow().is_nothing_acked()
    }

    fn write_corked(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert_eq!(self.unsaid, 0, "nothing of a client goes before that");
        self.socket.borrow_mut().write_corked(bytes)
    }

    fn uncork(&mut self) {
        self.socket.borrow_mut().uncork();
    }

    fn as_plain(&self) -> Option<&TcpStream> {
        None
    }
}

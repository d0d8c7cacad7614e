//! Sockets of both kinds, TCP and Unix, as one.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream};

use crate::net::{BlockingLocalStream, LocalListener, LocalStream};

/// Where connections come in.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Local(LocalListener),
}

impl Listener {
    pub(super) fn accept(&self) -> io::Result<Wire> {
        Ok(match self {
            Self::Tcp(listener) => Wire::Tcp(listener.accept()?.0),
            Self::Local(listener) => Wire::Local(listener.accept()?.0),
        })
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Local(listener) => listener,
        }
    }
}

/// One connection's socket.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Local(LocalStream),
}

impl Wire {
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Local(stream) => stream,
        }
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Local(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// The Unix socket, for those who block; `None` for a TCP connection.
    pub(super) fn into_local(self) -> Option<io::Result<BlockingLocalStream>> {
        match self {
            Self::Tcp(_) => None,
            Self::Local(stream) => {
                let stream = BlockingLocalStream::from(stream);
                Some(stream.set_nonblocking(false).map(|()| stream))
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Local(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Local(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(parts),
            Self::Local(stream) => stream.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Local(stream) => stream.flush(),
        }
    }
}

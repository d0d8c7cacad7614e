//! Sockets that are files, where a system has none: types of which there is no value, so that others need not ask.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::{Interest, Registry, Token};

macro_rules! nothing {
    ($($name:ident: $what:literal),+) => {
        $(
            #[doc = concat!("No ", $what, ": this system has none.")]
            #[derive(Debug)]
            pub struct $name(Infallible);
        )+
    };
}

nothing!(LocalListener: "listener", LocalStream: "stream", BlockingLocalStream: "stream that blocks");

impl LocalListener {
    /// Accepts nobody.
    ///
    /// # Errors
    /// Never: nobody has one.
    pub fn accept(&self) -> io::Result<(LocalStream, Infallible)> {
        match self.0 {}
    }
}

impl LocalStream {
    /// Ends one side or both.
    ///
    /// # Errors
    /// Never: nobody has one.
    pub fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        match self.0 {}
    }
}

impl Read for LocalStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for LocalStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

impl BlockingLocalStream {
    /// Whether calls return at once.
    ///
    /// # Errors
    /// Never: nobody has one.
    pub fn set_nonblocking(&self, _: bool) -> io::Result<()> {
        match self.0 {}
    }
}

impl From<LocalStream> for BlockingLocalStream {
    fn from(stream: LocalStream) -> Self {
        match stream.0 {}
    }
}

macro_rules! source {
    ($($name:ident),+) => {
        $(
            impl Source for $name {
                fn register(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
                    match self.0 {}
                }

                fn reregister(&mut self, _: &Registry, _: Token, _: Interest) -> io::Result<()> {
                    match self.0 {}
                }

                fn deregister(&mut self, _: &Registry) -> io::Result<()> {
                    match self.0 {}
                }
            }
        )+
    };
}

source!(LocalListener, LocalStream);

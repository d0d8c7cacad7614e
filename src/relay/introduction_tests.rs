//! Introductions under every short read, short write, `WouldBlock` and failure that a script holds.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use proptest::prelude::*;

use super::half::{Half, Held, Phase, Stop};
use super::introduction::{Introduction, Parties};
use super::peer::Peer;
use super::readiness::{Closure, Readiness};
use super::wire::Wire;

/// What the next read or write does: moves so many bytes, or blocks.
type Act = Option<usize>;

/// A wire that moves as much as its script says; after that all that it can.
#[derive(Debug, Default)]
struct Scripted {
    to_read: VecDeque<u8>,
    written: Vec<u8>,
    script: VecDeque<Act>,
    is_trusted: bool,
}

impl Scripted {
    fn act(&mut self, offered: usize) -> io::Result<usize> {
        match self.script.pop_front() {
            Some(Some(count)) => Ok(count.min(offered)),
            Some(None) => Err(ErrorKind::WouldBlock.into()),
            None => Ok(offered),
        }
    }
}

impl Read for Scripted {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.act(room.len())?.min(self.to_read.len());
        room.iter_mut()
            .zip(self.to_read.drain(..count))
            .for_each(|(place, byte)| *place = byte);
        Ok(count)
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.act(bytes.len())?;
        self.written.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Scripted {
    fn short_io_blocks(&self) -> bool {
        self.is_trusted
    }

    fn is_dead(&self) -> bool {
        false
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    fn knows_acknowledged(&self) -> bool {
        false
    }

    fn nothing_acknowledged(&self, _: u64) -> bool {
        false
    }

    fn write_corked(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn uncork(&mut self) {}

    fn as_plain(&self) -> Option<&TcpStream> {
        None
    }
}

fn script() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![5 => (1..40_usize).prop_map(Some), 2 => Just(None)];
    prop::collection::vec(act, 0..20)
}

fn peer(wire: Scripted) -> Peer<Scripted> {
    Peer {
        stream: wire,
        ready: Readiness::FRESH,
    }
}

proptest! {
    /// However it goes, the backend gets the introduction, and behind it what the client has said, in order and once.
    #[test]
    fn it_goes_before_all_bytes(
        length in 1..60_usize,
        words in prop::collection::vec(any::<u8>(), 1..200),
        reads in script(),
        writes in script(),
        scratch in 60..300_usize,
        (is_trusted, limit) in any::<(bool, bool)>(),
    ) {
        let header = vec![b'#'; length];
        let mut introduction = Introduction::of(header.clone());
        let mut client = peer(Scripted { to_read: words.clone().into(), script: reads.into(), is_trusted, ..Scripted::default() });
        let mut backend = peer(Scripted { script: writes.into(), is_trusted, ..Scripted::default() });
        let (mut half, mut flight) = (Half::default(), None);
        let mut scratch = vec![0; scratch];
        let (mut moved, mut turns) = (0, 0);
        while introduction.is_pending() {
            client.ready.set_readable();
            backend.ready.set_writable();
            let mut parties = Parties { half: &mut half, client: &mut client, backend: &mut backend, flight: &mut flight, most_words: if limit { 0 } else { usize::MAX } };
            let said = introduction.say(&mut parties, &mut scratch);
            prop_assert!(matches!(said.stop, Stop::Blocked));
            prop_assert!(!introduction.is_pending() || !backend.ready.is_writable(), "an event will tell");
            moved += said.moved;
            turns += 1;
            prop_assert!(turns < 100, "it comes to an end");
        }
        half.check();
        let written = &backend.stream.written;
        prop_assert_eq!(written.len() as u64, length as u64 + moved, "the client's bytes alone are counted");
        let held = match &half.held {
            Held::Bytes(buffer) => buffer.unwritten(),
            Held::Nothing | Held::Pipe(_) => &[],
        };
        prop_assert!(!limit || moved == 0, "no more than there is room for");
        let rest: Vec<u8> = client.stream.to_read.iter().copied().collect();
        prop_assert_eq!([&written[..], held, &rest].concat(), [header, words].concat());
    }
}

#[test]
fn what_is_there_leaves_in_one_write() {
    let mut introduction = Introduction::of(b"header ".to_vec());
    let wire = Scripted {
        to_read: b"words".iter().copied().collect(),
        is_trusted: true,
        ..Scripted::default()
    };
    let (mut client, mut backend) = (peer(wire), peer(Scripted::default()));
    // One write moves all, a second one would find the wire full.
    backend.stream.script = [Some(100), None].into();
    client.ready.set_closure(Closure::Finished);
    let (mut half, mut flight) = (Half::default(), None);
    let mut parties = Parties {
        half: &mut half,
        client: &mut client,
        backend: &mut backend,
        flight: &mut flight,
        most_words: usize::MAX,
    };
    let said = introduction.say(&mut parties, &mut [0; 100]);
    assert_eq!((said.moved, half.phase()), (5, Phase::Open));
    assert_eq!(backend.stream.written, b"header words");
    assert!(!introduction.is_pending() && !half.is_stuck());
}

//! A TLS session over a line in memory, against two plain streams: whatever the pieces, and whenever events tell of them.
//!
//! Bytes are on their way until they are delivered, and events tell of them later still, once for many; the session is
//! read as a pump reads, which goes on when an event has told. So an edge that is lost is bytes that are not heard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tcp_forwarder::config::ServerTls;
use tcp_forwarder::relay::readiness::{Closure, Readiness};
use tcp_forwarder::relay::wire::Wire;
use tcp_forwarder::tls::{Channel, Handshake, Session, Termination};

use super::choices::Choices;

/// Longest input that is worth its time.
const MOST_STEPS: usize = 400;

/// Rounds in which all that is left must have passed.
const PATIENCE: usize = 2_000;

/// Between the session and the network.
#[derive(Debug, Default)]
struct Ends {
    /// What has arrived and was not read yet.
    inbound: VecDeque<u8>,
    is_finished: bool,
    outbound: VecDeque<u8>,
    /// What the socket takes before it is full.
    room: usize,
    has_been_full: bool,
}

/// The session's side of it.
#[derive(Debug)]
struct Line {
    ends: Rc<RefCell<Ends>>,
    keeps_promise: bool,
}

impl Read for Line {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut ends = self.ends.borrow_mut();
        if ends.inbound.is_empty() && !ends.is_finished {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = room.len().min(ends.inbound.len());
        for place in room.iter_mut().take(count) {
            *place = ends.inbound.pop_front().expect("counted");
        }
        Ok(count)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut ends = self.ends.borrow_mut();
        let free = ends.room.saturating_sub(ends.outbound.len());
        let count = bytes.len().min(free);
        ends.has_been_full |= count < bytes.len();
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        ends.outbound.extend(bytes.iter().take(count));
        Ok(count)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.write(&all)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire for Line {
    fn short_io_blocks(&self) -> bool {
        self.keeps_promise
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

fn folder() -> std::path::PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/certificates", "../tests/certificates"].map(|folder| here.join(folder));
    folders
        .into_iter()
        .find(|folder| folder.exists())
        .expect("certificates")
}

fn termination() -> &'static Termination {
    static MADE: OnceLock<Arc<Termination>> = OnceLock::new();
    MADE.get_or_init(|| {
        let tls = ServerTls {
            cert: Some(folder().join("server.pem")),
            key: Some(folder().join("server.key")),
            ..ServerTls::default()
        };
        Termination::load(&tls, None)
            .expect("good files")
            .expect("a certificate")
    })
}

fn config(is_new: bool) -> Arc<ClientConfig> {
    static MADE: OnceLock<[Arc<ClientConfig>; 2]> = OnceLock::new();
    let all = MADE.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(folder().join("ca.pem")).expect("an authority"))
            .expect("a root");
        [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            Arc::new(
                ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[version])
                    .expect("a version")
                    .with_root_certificates(roots.clone())
                    .with_no_client_auth(),
            )
        })
    });
    Arc::clone(&all[usize::from(is_new)])
}

/// How the client has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    /// It has said so.
    Said,
    /// It has gone without a word.
    CutOff,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "a test world: each says what has happened, in all combinations"
)]
struct World {
    client: ClientConnection,
    /// Ciphertext of the client that has not arrived.
    on_its_way: VecDeque<u8>,
    ends: Rc<RefCell<Ends>>,
    /// Whether something has arrived, or room has come, of which no event has told.
    has_arrived: bool,
    channel: Channel<Line>,
    ready: Readiness,
    is_shaken: bool,
    is_broken: bool,
    is_forged: bool,
    said: Vec<u8>,
    heard: Vec<u8>,
    /// What reading ended with.
    end: Option<io::Result<()>>,
    last: Last,
    /// What the session is offered, and how much of that counts as written.
    offered: Vec<u8>,
    written: usize,
    got: Vec<u8>,
}

impl World {
    fn new(choices: u8) -> Self {
        let ends = Rc::new(RefCell::new(Ends {
            room: 1 << 16,
            ..Ends::default()
        }));
        let mut channel = Channel::from(Line {
            ends: Rc::clone(&ends),
            keeps_promise: choices & 2 != 0,
        });
        channel.secure(Session::accept(termination(), Vec::new()).expect("a session"));
        let name = ServerName::try_from("localhost").expect("a name");
        Self {
            client: ClientConnection::new(config(choices & 1 != 0), name).expect("a client"),
            on_its_way: VecDeque::new(),
            ends,
            has_arrived: false,
            channel,
            ready: Readiness::FRESH,
            is_shaken: false,
            is_broken: false,
            is_forged: false,
            said: Vec::new(),
            heard: Vec::new(),
            end: None,
            last: Last::Nothing,
            offered: Vec::new(),
            written: 0,
            got: Vec::new(),
        }
    }

    fn say(&mut self, count: usize) {
        if self.last != Last::Nothing || self.client.is_handshaking() {
            return;
        }
        let bytes: Vec<u8> = (self.said.len()..self.said.len() + count).map(noise).collect();
        let taken = self.client.writer().write(&bytes).unwrap_or(0);
        self.said.extend(&bytes[..taken]);
    }

    fn end(&mut self, last: Last) {
        if self.last != Last::Nothing || self.client.is_handshaking() {
            return;
        }
        if last == Last::Said {
            self.client.send_close_notify();
        }
        self.last = last;
    }

    /// The client writes, and reads what has come for it.
    fn turn_client(&mut self) {
        while self.client.wants_write() {
            let mut bytes = Vec::new();
            self.client.write_tls(&mut bytes).expect("memory");
            self.on_its_way.extend(bytes);
        }
        let came: Vec<u8> = self.ends.borrow_mut().outbound.drain(..).collect();
        let mut rest = came.as_slice();
        while !rest.is_empty() {
            if self.client.read_tls(&mut rest).is_err() {
                break;
            }
            // It hears of what was forged by an alert.
            let is_content = self.client.process_new_packets().is_ok();
            assert!(is_content || self.is_forged, "what we say is right");
            let mut room = [0; 4096];
            while let Ok(count @ 1..) = self.client.reader().read(&mut room) {
                self.got.extend(&room[..count]);
            }
            if !is_content {
                break;
            }
        }
    }

    fn deliver(&mut self, count: usize) {
        let mut ends = self.ends.borrow_mut();
        let count = count.min(self.on_its_way.len());
        let bytes: Vec<u8> = self.on_its_way.drain(..count).collect();
        ends.inbound.extend(&bytes);
        self.has_arrived |= count > 0;
        if self.last != Last::Nothing
            && self.on_its_way.is_empty()
            && !self.client.wants_write()
            && !ends.is_finished
        {
            ends.is_finished = true;
            self.has_arrived = true;
        }
    }

    /// An event tells of what has come since the last one.
    fn tell(&mut self) {
        let mut ends = self.ends.borrow_mut();
        if std::mem::take(&mut self.has_arrived) {
            self.ready.set_readable();
            if ends.is_finished {
                self.ready.set_closure(Closure::Finished);
            }
        }
        if ends.outbound.len() < ends.room && std::mem::take(&mut ends.has_been_full) {
            self.ready.set_writable();
        }
    }

    /// What a reactor does when it has its turn.
    fn turn(&mut self, room: usize) {
        if self.is_broken {
            return;
        }
        if !self.is_shaken {
            match self.channel.handshake(self.ready) {
                Ok(Handshake::Blocked) => return self.ready.read_blocked(),
                Ok(Handshake::Done { is_readable, .. }) => {
                    self.is_shaken = true;
                    if !is_readable {
                        self.ready.read_blocked();
                    }
                }
                Err(error) => return self.fail(error),
            }
        }
        self.read(room);
        self.write();
    }

    fn read(&mut self, room: usize) {
        let mut room = vec![0; room.max(1)];
        self.channel.begin(self.ready);
        while self.end.is_none() && self.ready.is_readable() {
            match self.channel.read(&mut room) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(count) => self.heard.extend(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.ready.read_blocked(),
                Err(error) => self.fail(error),
            }
        }
    }

    fn write(&mut self) {
        self.channel.begin(self.ready);
        while self.written < self.offered.len() && self.ready.is_writable() && !self.is_broken {
            match self.channel.write(&self.offered[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.ready.write_blocked(),
                Err(error) => self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: io::Error) {
        let is_cut_off = error.kind() == ErrorKind::UnexpectedEof && self.last == Last::CutOff;
        assert!(is_cut_off || self.is_forged, "{error}");
        self.is_broken = true;
        self.end = Some(Err(error));
    }

    /// Lets everything pass that is on its way.
    fn settle(&mut self) {
        self.ends.borrow_mut().room = 1 << 20;
        let mut before = None;
        let mut is_at_rest = false;
        for _ in 0..PATIENCE {
            self.turn_client();
            self.deliver(usize::MAX);
            self.tell();
            self.turn(40_000);
            let now = (
                self.heard.len(),
                self.written,
                self.got.len(),
                self.is_shaken,
                self.end.is_some(),
            );
            if before == Some(now) && !self.client.wants_write() && !self.has_arrived {
                is_at_rest = true;
                break;
            }
            before = Some(now);
        }
        assert!(is_at_rest, "it does not come to rest");
    }

    fn check(&self) {
        assert!(
            self.said.starts_with(&self.heard),
            "other bytes are heard than were said"
        );
        assert!(
            self.offered.starts_with(&self.got),
            "other bytes have come than were written"
        );
        if self.is_forged {
            return;
        }
        assert!(self.is_shaken, "nothing stood in the way of the handshake");
        assert_eq!(self.heard.len(), self.said.len(), "bytes are left behind");
        let end = self.end.as_ref().map(|end| end.as_ref().map_err(io::Error::kind));
        match self.last {
            Last::Nothing => assert_eq!(end, None),
            Last::Said => assert_eq!(end, Some(Ok(&()))),
            Last::CutOff => assert_eq!(end, Some(Err(ErrorKind::UnexpectedEof))),
        }
        if !self.is_broken {
            assert_eq!(self.written, self.offered.len(), "bytes are stuck");
            assert_eq!(self.got.len(), self.written, "what counts as written has gone");
        }
    }
}

/// Byte of a stream at a place: no two neighbouring stretches are alike.
fn noise(place: usize) -> u8 {
    let [low, high, ..] = place.to_le_bytes();
    low.wrapping_mul(31) ^ high
}

/// Plays a client, a network and a reactor as the bytes say.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(first) = choices.byte() else { return };
    let mut world = World::new(first);
    for _ in 0..MOST_STEPS {
        let Some(step) = choices.byte() else { break };
        let size = |choices: &mut Choices<'_>| usize::from(choices.word().unwrap_or(0));
        match step % 10 {
            0 => world.turn_client(),
            1 => world.deliver(size(&mut choices)),
            2 => world.tell(),
            3 => world.turn(size(&mut choices)),
            4 => world.turn(131_072),
            5 => world.say(size(&mut choices)),
            6 => {
                let count = size(&mut choices);
                let from = world.offered.len();
                world.offered.extend((from..from + count).map(noise));
            }
            7 => world.ends.borrow_mut().room = size(&mut choices),
            8 => world.end(if step < 128 { Last::Said } else { Last::CutOff }),
            _ => {
                if let Some(byte) = world.on_its_way.front_mut() {
                    *byte ^= 0x40;
                    world.is_forged = true;
                }
            }
        }
    }
    world.settle();
    world.check();
}

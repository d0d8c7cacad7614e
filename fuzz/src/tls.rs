//! A TLS session over a line in memory, against two plain streams: whatever the pieces, and whenever events tell of them.
//!
//! Bytes are on their way until they are delivered, and events tell of them later still, once for many; the session is
//! read as a pump reads, which goes on when an event has told. So an edge that is lost is bytes that are not heard. The
//! session is that with a client, or with a backend (`tls_backend`): then it is warm until the bytes have somebody take it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tcp_forwarder::config::{ClientTls, ServerTls};
use tcp_forwarder::relay::readiness::{Closure, Readiness};
use tcp_forwarder::relay::wire::Wire;
use tcp_forwarder::tls::{Channel, Handshake, Origination, Resume, Session, Termination};

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

fn origination() -> &'static Origination {
    static MADE: OnceLock<Arc<Origination>> = OnceLock::new();
    MADE.get_or_init(|| {
        let tls = ClientTls {
            sni: "localhost".to_owned(),
            verify: true,
            ca: Some(folder().join("ca.pem")),
            alpn: Vec::new(),
        };
        // Keys of an earlier input would make this one another.
        Origination::load(Some(&tls), Resume::No, None)
            .expect("a good file")
            .expect("settings")
    })
}

/// The oldest version that is spoken, and the newest.
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

fn backend_config(is_new: bool) -> Arc<ServerConfig> {
    static MADE: OnceLock<[Arc<ServerConfig>; 2]> = OnceLock::new();
    let all = MADE.get_or_init(|| {
        let of = |version| {
            let chain = CertificateDer::from_pem_file(folder().join("server.pem")).expect("a certificate");
            let key = PrivateKeyDer::from_pem_file(folder().join("server.key")).expect("a key");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[version])
                .expect("a version")
                .with_no_client_auth()
                .with_single_cert(vec![chain], key)
                .expect("a pair");
            config.ticketer = rustls::crypto::ring::Ticketer::new().expect("a ticketer");
            Arc::new(config)
        };
        VERSIONS.map(of)
    });
    Arc::clone(&all[usize::from(is_new)])
}

fn client_config(is_new: bool) -> Arc<ClientConfig> {
    static MADE: OnceLock<[Arc<ClientConfig>; 2]> = OnceLock::new();
    let all = MADE.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(folder().join("ca.pem")).expect("an authority"))
            .expect("a root");
        VERSIONS.map(|version| {
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

/// Who is at the other end of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A client.
    Client,
    /// A backend.
    Backend,
}

impl Side {
    /// Both ends of a session with it, in the newest version or the oldest.
    fn meet(self, is_new: bool) -> (Session, Connection) {
        match self {
            Self::Client => {
                let name = ServerName::try_from("localhost").expect("a name");
                let peer = ClientConnection::new(client_config(is_new), name).expect("a client");
                let session = Session::accept(termination(), Vec::new()).expect("a session");
                (session, peer.into())
            }
            Self::Backend => {
                let peer = ServerConnection::new(backend_config(is_new)).expect("a backend");
                let addr = ([127, 0, 0, 1], 1).into();
                let session = Session::connect(origination(), addr).expect("a session");
                (session, peer.into())
            }
        }
    }

    /// How many kinds of steps there are.
    fn kinds(self) -> u8 {
        match self {
            Self::Client => 10,
            Self::Backend => 11,
        }
    }
}

/// How the peer has ended.
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
    peer: Connection,
    /// Ciphertext of the peer that has not arrived.
    on_its_way: VecDeque<u8>,
    ends: Rc<RefCell<Ends>>,
    /// Whether something has arrived, or room has come, of which no event has told.
    has_arrived: bool,
    channel: Channel<Line>,
    ready: Readiness,
    is_shaken: bool,
    /// Whether it is kept for somebody, so that nothing is read from it or written to it yet.
    is_warm: bool,
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
    fn new(side: Side, choices: u8) -> Self {
        let ends = Rc::new(RefCell::new(Ends {
            room: 1 << 16,
            ..Ends::default()
        }));
        let mut channel = Channel::from(Line {
            ends: Rc::clone(&ends),
            keeps_promise: choices & 2 != 0,
        });
        let (session, peer) = side.meet(choices & 1 != 0);
        channel.secure(session);
        Self {
            peer,
            on_its_way: VecDeque::new(),
            ends,
            has_arrived: false,
            channel,
            ready: Readiness::FRESH,
            is_shaken: false,
            is_warm: side == Side::Backend,
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
        if self.last != Last::Nothing || self.peer.is_handshaking() {
            return;
        }
        let bytes: Vec<u8> = (self.said.len()..self.said.len() + count).map(noise).collect();
        let taken = self.peer.writer().write(&bytes).unwrap_or(0);
        self.said.extend(&bytes[..taken]);
    }

    fn end(&mut self, last: Last) {
        if self.last != Last::Nothing || self.peer.is_handshaking() {
            return;
        }
        if last == Last::Said {
            self.peer.send_close_notify();
        }
        self.last = last;
    }

    /// The peer writes, and reads what has come for it.
    fn turn_peer(&mut self) {
        while self.peer.wants_write() {
            let mut bytes = Vec::new();
            self.peer.write_tls(&mut bytes).expect("memory");
            self.on_its_way.extend(bytes);
        }
        let came: Vec<u8> = self.ends.borrow_mut().outbound.drain(..).collect();
        let mut rest = came.as_slice();
        while !rest.is_empty() {
            if self.peer.read_tls(&mut rest).is_err() {
                break;
            }
            // It hears of what was forged by an alert.
            let is_content = self.peer.process_new_packets().is_ok();
            assert!(is_content || self.is_forged, "what we say is right");
            let mut room = [0; 4096];
            while let Ok(count @ 1..) = self.peer.reader().read(&mut room) {
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
            && !self.peer.wants_write()
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
        if self.is_warm {
            return self.look();
        }
        self.read(room);
        self.write();
    }

    /// What a pool does with a warm connection of which an event tells.
    fn look(&mut self) {
        self.channel.settle(&mut self.ready);
        if self.channel.is_dead() {
            let has_ended = self.last != Last::Nothing;
            assert!(has_ended || self.is_forged, "nobody has ended");
            assert!(self.ready.is_read_closed(), "an end is told");
        }
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
        self.is_warm = false;
        let mut before = None;
        let mut is_at_rest = false;
        for _ in 0..PATIENCE {
            self.turn_peer();
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
            let waits =
                self.peer.wants_write() || self.has_arrived || !self.ends.borrow().outbound.is_empty();
            if before == Some(now) && !waits {
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
    run_with(Side::Client, data);
}

/// Plays a peer of this side, a network and a reactor as the bytes say.
pub fn run_with(side: Side, data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(first) = choices.byte() else { return };
    let mut world = World::new(side, first);
    for _ in 0..MOST_STEPS {
        let Some(step) = choices.byte() else { break };
        let size = |choices: &mut Choices<'_>| usize::from(choices.word().unwrap_or(0));
        match step % side.kinds() {
            0 => world.turn_peer(),
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
            10 => world.is_warm = false,
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

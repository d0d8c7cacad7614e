//! Sessions against rustls's client, over a line in memory that takes and gives bytes in seeded pieces.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::config::{CertificateFiles, ServerTls};
use crate::tls::Termination;
use crate::tls::pem;

/// One direction of a line.
#[derive(Debug, Default)]
struct Flow {
    bytes: VecDeque<u8>,
    room: usize,
    is_finished: bool,
    is_reset: bool,
}

/// One end of a line.
#[derive(Debug)]
struct Line {
    from: Rc<RefCell<Flow>>,
    to: Rc<RefCell<Flow>>,
    /// The longest read and write; short ones tell that the line is drained or full if it is all that there is.
    piece: usize,
    is_trusted: bool,
    reads: usize,
    writes: usize,
}

fn line(room: usize) -> (Line, Line) {
    let flow = || {
        Rc::new(RefCell::new(Flow {
            room,
            ..Flow::default()
        }))
    };
    let (up, down) = (flow(), flow());
    let end = |from: &Rc<RefCell<Flow>>, to: &Rc<RefCell<Flow>>| Line {
        from: Rc::clone(from),
        to: Rc::clone(to),
        piece: usize::MAX,
        is_trusted: false,
        reads: 0,
        writes: 0,
    };
    (end(&down, &up), end(&up, &down))
}

impl Read for Line {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        let mut from = self.from.borrow_mut();
        if from.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if from.bytes.is_empty() && !from.is_finished {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = room.len().min(self.piece).min(from.bytes.len());
        for place in room.iter_mut().take(count) {
            *place = from.bytes.pop_front().expect("counted");
        }
        Ok(count)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        let mut to = self.to.borrow_mut();
        let free = to.room - to.bytes.len();
        if free == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.piece).min(free);
        to.bytes.extend(bytes.iter().take(count));
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
        self.is_trusted
    }

    fn is_dead(&self) -> bool {
        self.from.borrow().is_finished
    }

    fn finish(&mut self) -> io::Result<()> {
        self.to.borrow_mut().is_finished = true;
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

pub(crate) fn file(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    folder.join("tests/certificates").join(name)
}

fn settings() -> ServerTls {
    ServerTls {
        cert: Some(file("server.pem")),
        key: Some(file("server.key")),
        ..ServerTls::default()
    }
}

fn server() -> Arc<Termination> {
    let loaded = Termination::load(&settings(), None).expect("good files");
    loaded.expect("a certificate")
}

fn client_of(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in pem::certificates(&file("ca.pem")).expect("an authority") {
        roots.add(authority).expect("a root");
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client at one end and a session at the other one.
struct Pair {
    client: ClientConnection,
    at_client: Line,
    session: Session,
    at_server: Line,
}

impl Pair {
    fn new(client: ClientConfig, room: usize) -> Self {
        let (at_client, at_server) = line(room);
        let name = ServerName::try_from("localhost").expect("a name");
        Self {
            client: ClientConnection::new(Arc::new(client), name).expect("a client"),
            at_client,
            session: Session::accept(&server(), Vec::new()).expect("a session"),
            at_server,
        }
    }

    /// A pair whose handshake is done.
    fn shaken(versions: &[&'static rustls::SupportedProtocolVersion]) -> Self {
        let mut pair = Self::new(client_of(versions), 1 << 20);
        pair.shake();
        pair
    }

    /// Does what the client can do; false if it has met an error.
    fn turn_client(&mut self) -> bool {
        loop {
            let mut is_idle = true;
            if self.client.wants_write() && self.client.write_tls(&mut self.at_client).is_ok() {
                is_idle = false;
            }
            match self.client.read_tls(&mut self.at_client) {
                Ok(0) | Err(_) => {}
                Ok(_) => is_idle = false,
            }
            if self.client.process_new_packets().is_err() {
                let _told = self.client.write_tls(&mut self.at_client);
                return false;
            }
            if is_idle {
                return true;
            }
        }
    }

    fn shake(&mut self) -> Handshake {
        for _ in 0..100_000 {
            assert!(self.turn_client(), "the client is content");
            self.session.begin(&self.at_server, Readiness::FRESH);
            let done = self.session.handshake(&mut self.at_server).expect("a handshake");
            if done != Handshake::Blocked {
                self.turn_client();
                return done;
            }
        }
        panic!("the handshake does not end");
    }

    fn read(&mut self, room: usize) -> io::Result<Vec<u8>> {
        let mut room = vec![0; room];
        self.session.begin(&self.at_server, Readiness::FRESH);
        let count = self.session.read(&mut self.at_server, &mut room)?;
        room.truncate(count);
        Ok(room)
    }

    fn say(&mut self, bytes: &[u8]) {
        let mut said = 0;
        while said < bytes.len() {
            said += self
                .client
                .writer()
                .write(&bytes[said..])
                .expect("a client that writes");
            self.turn_client();
        }
    }

    fn heard_by_client(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        loop {
            self.turn_client();
            let before = heard.len();
            let mut room = [0; 4096];
            while let Ok(count @ 1..) = self.client.reader().read(&mut room) {
                heard.extend(&room[..count]);
            }
            if heard.len() == before {
                return heard;
            }
        }
    }
}

const BOTH: [&[&rustls::SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];

fn noise(rng: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.u8(..)).collect()
}

#[test]
fn bytes_arrive_whole_in_both_directions_whatever_the_pieces() {
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let versions = BOTH[usize::from(rng.bool())];
        let mut pair = Pair::new(client_of(versions), 1 << rng.u32(8..18));
        pair.shake();
        let (up, down) = (noise(&mut rng, 120_000), noise(&mut rng, 90_000));
        let (mut said, mut heard, mut answered, mut got) = (0, Vec::new(), 0, Vec::new());
        let (mut is_up_over, mut is_down_over) = (false, false);
        for _ in 0..1_000_000 {
            pair.at_client.piece = rng.usize(1..20_000);
            pair.at_server.piece = rng.usize(1..20_000);
            if said < up.len() {
                let end = up.len().min(said + rng.usize(1..50_000));
                said += pair.client.writer().write(&up[said..end]).unwrap_or(0);
            } else {
                pair.client.send_close_notify();
            }
            assert!(pair.turn_client(), "seed {seed}");
            if !is_up_over {
                let room = [1, 100, 40_000, 131_072][rng.usize(..4)];
                match pair.read(room) {
                    Ok(read) if read.is_empty() => is_up_over = true,
                    Ok(read) => heard.extend(read),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "seed {seed}"),
                }
            }
            pair.session.begin(&pair.at_server, Readiness::FRESH);
            if answered < down.len() {
                match pair.session.write(&mut pair.at_server, &down[answered..]) {
                    Ok(count) => answered += count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "seed {seed}"),
                }
            } else if !is_down_over {
                match pair.session.finish(&mut pair.at_server) {
                    Ok(()) => is_down_over = true,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "seed {seed}"),
                }
            }
            got.extend(pair.heard_by_client());
            if is_up_over && is_down_over && got.len() >= down.len() {
                break;
            }
        }
        assert!(
            heard == up,
            "seed {seed}: {} of {} bytes up",
            heard.len(),
            up.len()
        );
        assert!(
            got == down,
            "seed {seed}: {} of {} bytes down",
            got.len(),
            down.len()
        );
        let end = pair.client.reader().read(&mut [0]);
        assert_eq!(end.expect("an end that was said"), 0, "seed {seed}");
    }
}

#[test]
fn the_end_of_a_stream_is_said_and_what_is_cut_off_has_failed() {
    for versions in BOTH {
        let mut pair = Pair::shaken(versions);
        pair.say(b"all of it");
        pair.client.send_close_notify();
        pair.turn_client();
        pair.at_client.finish().expect("a line");
        assert_eq!(pair.read(100).expect("bytes"), b"all of it");
        assert_eq!(pair.read(100).expect("an end"), b"");
        pair.session
            .write(&mut pair.at_server, b"answer")
            .expect("a half that goes on");
        assert_eq!(pair.heard_by_client(), b"answer");

        let mut pair = Pair::shaken(versions);
        pair.say(b"a part of it");
        pair.at_client.finish().expect("a line");
        for room in [100, 131_072] {
            if room == 100 {
                assert_eq!(pair.read(room).expect("bytes"), b"a part of it");
            }
            assert_eq!(
                pair.read(room).expect_err("cut off").kind(),
                ErrorKind::UnexpectedEof
            );
        }

        let mut pair = Pair::shaken(versions);
        pair.say(&[7; 10_000]);
        pair.at_server.from.borrow_mut().bytes.truncate(9_000);
        pair.at_client.finish().expect("a line");
        assert_eq!(
            pair.read(131_072).expect_err("within a record").kind(),
            ErrorKind::UnexpectedEof
        );

        let mut pair = Pair::shaken(versions);
        pair.at_server.from.borrow_mut().is_reset = true;
        assert_eq!(
            pair.read(100).expect_err("reset").kind(),
            ErrorKind::ConnectionReset
        );
    }
}

#[test]
fn what_is_wrong_is_told_after_what_was_right_and_the_peer_hears_of_it() {
    for room in [100, 131_072] {
        let mut pair = Pair::shaken(BOTH[0]);
        pair.say(b"right");
        pair.at_server.from.borrow_mut().bytes.extend([23, 3, 3, 0, 20]);
        pair.at_server.from.borrow_mut().bytes.extend([0; 20]);
        assert_eq!(pair.read(room).expect("bytes"), b"right");
        assert_eq!(
            pair.read(room).expect_err("forged").kind(),
            ErrorKind::InvalidData
        );
        assert!(!pair.turn_client(), "the client has had an alert");
    }
}

#[test]
fn a_handshake_that_is_cut_off_or_is_none_fails() {
    let mut pair = Pair::new(client_of(BOTH[0]), 1 << 16);
    pair.turn_client();
    pair.at_server.from.borrow_mut().bytes.truncate(100);
    let shake = |pair: &mut Pair| {
        pair.session.begin(&pair.at_server, Readiness::FRESH);
        pair.session.handshake(&mut pair.at_server)
    };
    assert_eq!(shake(&mut pair).expect("more may come"), Handshake::Blocked);
    pair.at_client.finish().expect("a line");
    assert_eq!(
        shake(&mut pair).expect_err("cut off").kind(),
        ErrorKind::UnexpectedEof
    );

    let mut pair = Pair::new(client_of(BOTH[0]), 1 << 16);
    pair.at_client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("room");
    assert_eq!(
        shake(&mut pair).expect_err("no TLS").kind(),
        ErrorKind::InvalidData
    );
    assert!(
        !pair.at_client.from.borrow().bytes.is_empty(),
        "it has been told so"
    );
}

#[test]
fn what_was_read_before_by_others_counts() {
    let mut pair = Pair::new(client_of(BOTH[0]), 1 << 16);
    pair.turn_client();
    let read: Vec<u8> = pair.at_server.from.borrow_mut().bytes.drain(..).collect();
    pair.session = Session::accept(&server(), read).expect("a session");
    pair.shake();
    pair.say(b"hello");
    assert_eq!(pair.read(131_072).expect("bytes"), b"hello");
}

#[test]
fn where_short_reads_are_trusted_a_question_and_its_answer_cost_one_read_and_one_write() {
    let mut pair = Pair::shaken(BOTH[0]);
    pair.at_server.is_trusted = true;
    for room in [100, 131_072] {
        (pair.at_server.reads, pair.at_server.writes) = (0, 0);
        pair.say(b"question");
        let mut space = vec![0; room];
        pair.session.begin(&pair.at_server, Readiness::FRESH);
        let count = pair.session.read(&mut pair.at_server, &mut space).expect("bytes");
        assert_eq!(space[..count], *b"question");
        let again = pair.session.read(&mut pair.at_server, &mut space);
        assert_eq!(again.expect_err("nothing more").kind(), ErrorKind::WouldBlock);
        pair.session.write(&mut pair.at_server, b"answer").expect("room");
        assert_eq!((pair.at_server.reads, pair.at_server.writes), (1, 1));
    }
    // After the end of a stream no event comes any more: it is read to its end.
    pair.client.send_close_notify();
    pair.turn_client();
    pair.at_client.finish().expect("a line");
    let mut ready = Readiness::FRESH;
    ready.set_closure(crate::relay::readiness::Closure::Finished);
    pair.session.begin(&pair.at_server, ready);
    let end = pair.session.read(&mut pair.at_server, &mut [0; 100]);
    assert_eq!(end.expect("an end"), 0);
}

#[test]
fn a_wire_that_takes_little_holds_one_chunk_and_the_bytes_count_as_they_go() {
    let mut pair = Pair::new(client_of(BOTH[0]), 1 << 20);
    pair.shake();
    pair.at_server.to.borrow_mut().bytes.clear();
    pair.at_server.to.borrow_mut().room = 10_000;
    let bytes = vec![9; 1 << 20];
    pair.session.begin(&pair.at_server, Readiness::FRESH);
    let written = pair.session.write(&mut pair.at_server, &bytes).expect("a part");
    assert_eq!(
        written, 10_000,
        "what the wire has taken, as far as anybody can tell"
    );
    let again = pair.session.write(&mut pair.at_server, &bytes[written..]);
    assert_eq!(again.expect_err("full").kind(), ErrorKind::WouldBlock);
    let state = pair.session.connection.process_new_packets().expect("sound");
    assert!(state.tls_bytes_to_write() < CHUNK + 1000, "{state:?}");
    // The finish waits for the wire.
    pair.at_server.to.borrow_mut().bytes.clear();
    pair.at_server.to.borrow_mut().room = 1 << 20;
    pair.session.begin(&pair.at_server, Readiness::FRESH);
    let rest = pair
        .session
        .write(&mut pair.at_server, &bytes[written..])
        .expect("room");
    assert_eq!(written + rest, CHUNK);
    let to = pair.at_server.to.clone();
    let fill = to.borrow().bytes.len();
    to.borrow_mut().room = fill;
    pair.session.begin(&pair.at_server, Readiness::FRESH);
    let blocked = pair.session.finish(&mut pair.at_server);
    assert_eq!(blocked.expect_err("full").kind(), ErrorKind::WouldBlock);
    assert!(!pair.session.has_finished());
    to.borrow_mut().room = 1 << 20;
    pair.session.begin(&pair.at_server, Readiness::FRESH);
    pair.session.finish(&mut pair.at_server).expect("room");
    assert!(pair.session.has_finished());
}

#[test]
fn who_comes_back_takes_up_the_old_keys() {
    for versions in BOTH {
        let (server, client) = (server(), client_of(versions));
        let kinds: Vec<bool> = (0..2)
            .map(|_| {
                let mut pair = Pair::new(client.clone(), 1 << 16);
                pair.session = Session::accept(&server, Vec::new()).expect("a session");
                let Handshake::Done { is_resumed, .. } = pair.shake() else {
                    panic!("a handshake that is done");
                };
                pair.turn_client();
                is_resumed
            })
            .collect();
        assert_eq!(kinds, [false, true], "{versions:?}");
    }
}

#[test]
fn the_files_of_a_name_are_found() {
    let more = ServerTls {
        certificates: vec![CertificateFiles {
            cert: file("wild.pem"),
            key: file("wild.key"),
        }],
        ..settings()
    };
    let config = Termination::load(&more, None)
        .expect("good files")
        .expect("certificates");
    for (name, is_served) in [
        ("localhost", true),
        ("mail.example.org", true),
        ("a.b.example.org", false),
    ] {
        let mut pair = Pair::new(client_of(BOTH[0]), 1 << 16);
        let server_name = ServerName::try_from(name).expect("a name");
        pair.client = ClientConnection::new(Arc::new(client_of(BOTH[0])), server_name).expect("a client");
        pair.session = Session::accept(&config, Vec::new()).expect("a session");
        pair.turn_client();
        pair.session.begin(&pair.at_server, Readiness::FRESH);
        pair.session
            .handshake(&mut pair.at_server)
            .expect("so far so good");
        assert_eq!(pair.turn_client(), is_served, "{name}");
    }
}

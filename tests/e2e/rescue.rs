//! Warm connections that die under a client's first bytes. A filter on the backend's socket drops what comes in,
//! so that a close or a reset crosses the client's bytes for certain, as it does on a wire that takes its time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use tcp_forwarder::config::{
    AccessField, LogOutput, NoMatch, ProxySend, Rescue, Route, ServiceName, Spec, Strategy,
};
use tcp_forwarder::relay::close::CloseReason;

use crate::fickle::{client_hello, deafen, hear_again, reset};
use crate::rig::{PATIENCE, Rig, TestBackend, wait_for};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// How the warm connection of the first client dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Closed while the flight is on its way.
    Closed,
    /// Reset while the flight is on its way.
    Reset,
    /// Reset once the flight was read.
    ReadThenReset,
    /// Closed once the flight was read.
    ReadThenClosed,
    /// Finished while the flight is on its way, read on to its end, then reset.
    FinishedThenReadThenReset,
    /// Reset once the flight was read and the answer had begun.
    AnsweredThenReset,
    /// It has said something, then closed while the flight is on its way.
    SaidThenClosed,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// What the client read, and whether that ended properly.
    heard: Vec<u8>,
    rescued: u64,
    /// Bytes that the metrics counted towards the backend.
    counted: u64,
}

/// What the connections that serve wait for before they answer.
#[derive(Debug, Clone, Copy)]
enum Request {
    /// So many bytes.
    Bytes(usize),
    /// So many bytes and the finish behind them.
    Finished(usize),
}

struct Scene {
    rig: Rig,
    doomed: mpsc::Receiver<TcpStream>,
    /// Requests that were served.
    served: Arc<AtomicU64>,
}

impl Scene {
    /// One backend, whose first connection is warm and handed out, while further ones are served: they read
    /// a request and send it back.
    fn new(spec: &Spec, length: usize, is_deaf: bool) -> Self {
        Self::of(spec, Request::Bytes(length), is_deaf)
    }

    fn of(spec: &Spec, expected: Request, is_deaf: bool) -> Self {
        let is_told = spec.server.proxy_protocol.send == ProxySend::V1;
        let (hand_out, doomed) = mpsc::sync_channel(1);
        let is_first = AtomicBool::new(true);
        let served = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&served);
        let backend = TestBackend::start(move |mut stream| {
            if is_first.swap(false, Ordering::Relaxed) {
                if is_deaf {
                    deafen(&stream);
                }
                hand_out.send(stream).unwrap();
                return;
            }
            if is_told {
                hear_header(&mut stream);
            }
            let mut request = Vec::new();
            let is_whole = match expected {
                Request::Finished(length) => {
                    stream.read_to_end(&mut request).is_ok_and(|read| read == length)
                }
                Request::Bytes(length) => {
                    request.resize(length, 0);
                    stream.read_exact(&mut request).is_ok()
                }
            };
            if is_whole {
                count.fetch_add(1, Ordering::Relaxed);
                stream.write_all(&request).unwrap();
            }
        });
        let rig = Rig::start(spec, &[backend.addr], 1);
        Self { rig, doomed, served }
    }

    fn warm_one(&self) -> TcpStream {
        let doomed = self.doomed.recv_timeout(PATIENCE).unwrap();
        doomed.set_read_timeout(Some(PATIENCE)).unwrap();
        wait_for("it is warm", || self.rig.warm() == 1);
        doomed
    }

    fn counted(&self) -> u64 {
        self.rig.sum_counters(|counters| &counters.bytes_to_backend)
    }

    fn rescued(&self) -> u64 {
        self.rig.sum_counters(|counters| &counters.rescued)
    }
}

fn spec(rescue: Rescue) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Static { size_per_remote: 1 };
    spec.pools.rescue = rescue;
    spec
}

/// Reads the header that tells of a client.
fn hear_header(stream: &mut TcpStream) {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    assert!(line.starts_with(b"PROXY TCP4 127."), "{line:?}");
}

/// The same, where backends are told who a client is.
fn told(rescue: Rescue) -> Spec {
    let mut spec = spec(rescue);
    spec.server.proxy_protocol.send = ProxySend::V1;
    spec
}

/// Reads to the end, whichever it is.
fn hear(client: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _end = client.read_to_end(&mut heard);
    heard
}

/// A client says `pieces`, one after the other, to a warm connection that dies.
fn play(spec: &Spec, pieces: &[&[u8]], fate: Fate) -> Outcome {
    let flight = pieces.concat();
    let reads = matches!(
        fate,
        Fate::ReadThenReset | Fate::ReadThenClosed | Fate::AnsweredThenReset
    );
    let scene = Scene::new(spec, flight.len(), !reads && fate != Fate::SaidThenClosed);
    let mut doomed = scene.warm_one();
    let mut client = scene.rig.connect();
    if fate == Fate::SaidThenClosed {
        doomed.write_all(b"hi").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
        deafen(&doomed);
    }
    let mut sent = 0;
    for piece in pieces {
        client.write_all(piece).unwrap();
        sent += piece.len() as u64;
        wait_for("it was written to the backend", || scene.counted() == sent);
    }
    if fate == Fate::FinishedThenReadThenReset {
        doomed.shutdown(Shutdown::Write).unwrap();
        hear_again(&doomed);
    }
    if reads || fate == Fate::FinishedThenReadThenReset {
        if spec.server.proxy_protocol.send == ProxySend::V1 {
            hear_header(&mut doomed);
        }
        doomed.read_exact(&mut vec![0; flight.len()]).unwrap();
    }
    if fate == Fate::AnsweredThenReset {
        doomed.write_all(b"hi").unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
    }
    match fate {
        Fate::AnsweredThenReset | Fate::Reset | Fate::ReadThenReset | Fate::FinishedThenReadThenReset => {
            reset(doomed);
        }
        Fate::Closed | Fate::ReadThenClosed | Fate::SaidThenClosed => drop(doomed),
    }
    let heard = hear(&mut client);
    drop(client);
    wait_for("all is closed", || {
        scene.rig.active() == 0 && scene.rig.in_use() == 0
    });
    assert_eq!(
        scene.rig.requests(),
        1,
        "one client is one request, however often it is sent"
    );
    let is_served = !heard.is_empty();
    assert_eq!(scene.served.load(Ordering::Relaxed), u64::from(is_served));
    Outcome {
        heard,
        rescued: scene.rescued(),
        counted: scene.counted(),
    }
}

#[test]
fn the_access_log_tells_of_a_rescue() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("access.log");
    let mut spec = spec(Rescue::Safe);
    spec.access_log.output = Some(LogOutput::File(file.clone()));
    spec.access_log.fields = vec![
        AccessField::Rescued,
        AccessField::Via,
        AccessField::BytesUp,
        AccessField::End,
    ];
    assert_eq!(play(&spec, &[REQUEST], Fate::Closed), rescued(REQUEST));
    let read = || std::fs::read_to_string(&file).unwrap();
    wait_for("its line", || !read().is_empty());
    let expected = format!("rescued=true via=dialled bytes_up={} end=--\n", REQUEST.len());
    assert_eq!(read(), expected);
}

fn rescued(flight: &[u8]) -> Outcome {
    Outcome {
        heard: flight.to_vec(),
        rescued: 1,
        counted: flight.len() as u64,
    }
}

fn lost(flight: &[u8]) -> Outcome {
    Outcome {
        heard: Vec::new(),
        rescued: 0,
        counted: flight.len() as u64,
    }
}

#[test]
fn bytes_that_met_a_close_are_said_again_and_once_only() {
    let safe = spec(Rescue::Safe);
    assert_eq!(play(&safe, &[REQUEST], Fate::Closed), rescued(REQUEST));
    assert_eq!(
        play(&safe, &[&REQUEST[..9], &REQUEST[9..]], Fate::Closed),
        rescued(REQUEST)
    );
    let longest = vec![b'x'; 16 * 1024];
    assert_eq!(play(&safe, &[&longest], Fate::Closed), rescued(&longest));
    let off = spec(Rescue::Off);
    assert_eq!(
        play(&off, &[REQUEST], Fate::Closed),
        lost(REQUEST),
        "nothing is kept"
    );
}

#[test]
fn whoever_gets_them_is_told_of_the_client_first() {
    let safe = told(Rescue::Safe);
    let hello = client_hello(5);
    for (flight, fate) in [
        (REQUEST, Fate::Closed),
        (&hello, Fate::ReadThenReset),
        (&hello, Fate::Closed),
    ] {
        assert_eq!(play(&safe, &[flight], fate), rescued(flight), "{fate:?}");
        assert_eq!(
            play(&safe, &[&flight[..9], &flight[9..]], fate),
            rescued(flight),
            "{fate:?}"
        );
    }
    for fate in [Fate::Reset, Fate::ReadThenReset, Fate::ReadThenClosed] {
        assert_eq!(play(&safe, &[REQUEST], fate), lost(REQUEST), "{fate:?}");
    }
    let always = told(Rescue::Always);
    assert_eq!(play(&always, &[REQUEST], Fate::ReadThenReset), rescued(REQUEST));
}

/// What was read for the name in it is as good a flight as any.
#[test]
fn a_hello_that_led_its_client_here_is_said_again() {
    const HELLO: &[u8] = include_bytes!("../vectors/client_hello/tls13.bin");
    for mut spec in [spec(Rescue::Safe), told(Rescue::Safe)] {
        spec.server.routes = vec![Route {
            sni: vec!["www.example.org".to_owned()],
            alpn: Vec::new(),
            to: ServiceName::default_service(),
        }];
        spec.server.no_match = NoMatch::Close;
        for fate in [
            Fate::Closed,
            Fate::Reset,
            Fate::ReadThenReset,
            Fate::ReadThenClosed,
        ] {
            assert_eq!(play(&spec, &[HELLO], fate), rescued(HELLO), "{fate:?}");
        }
    }
}

#[test]
fn what_a_backend_knows_of_its_client_is_none_of_the_clients_words() {
    let scene = Scene::new(&told(Rescue::Safe), REQUEST.len(), false);
    let mut doomed = scene.warm_one();
    let mut client = scene.rig.connect();
    // It is told at once, and its kernel has acknowledged that.
    hear_header(&mut doomed);
    deafen(&doomed);
    client.write_all(REQUEST).unwrap();
    wait_for("it was written to the backend", || {
        scene.counted() == REQUEST.len() as u64
    });
    drop(doomed);
    assert_eq!(hear(&mut client), REQUEST, "none of them had arrived");
    assert_eq!(scene.rescued(), 1);
}

#[test]
fn a_warm_connection_that_dies_once_it_is_told_is_replaced() {
    let scene = Scene::new(&told(Rescue::Off), REQUEST.len(), false);
    let mut doomed = scene.warm_one();
    let mut client = scene.rig.connect();
    hear_header(&mut doomed);
    drop(doomed);
    wait_for("another one is dialled", || {
        scene.rig.misses() + scene.rig.hits() >= 1
    });
    client.write_all(REQUEST).unwrap();
    let mut reply = vec![0; REQUEST.len()];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply, REQUEST);
}

#[test]
fn bytes_that_a_backend_may_have_read_are_not_said_again() {
    let safe = spec(Rescue::Safe);
    for fate in [
        Fate::Reset,
        Fate::ReadThenReset,
        Fate::ReadThenClosed,
        Fate::FinishedThenReadThenReset,
    ] {
        assert_eq!(play(&safe, &[REQUEST], fate), lost(REQUEST), "{fate:?}");
    }
    let hello = client_hello(7);
    let early_data = [&hello[..], &[23, 3, 3, 0, 1, 5]].concat();
    assert_eq!(
        play(&safe, &[&early_data], Fate::ReadThenReset),
        lost(&early_data)
    );
    assert_eq!(
        play(&safe, &[&hello[..400]], Fate::ReadThenReset),
        lost(&hello[..400])
    );
}

#[test]
fn a_client_hello_is_said_again_whatever_the_backend_did() {
    let safe = spec(Rescue::Safe);
    let hello = client_hello(9);
    for fate in [
        Fate::Closed,
        Fate::Reset,
        Fate::ReadThenReset,
        Fate::ReadThenClosed,
    ] {
        assert_eq!(play(&safe, &[&hello], fate), rescued(&hello), "{fate:?}");
    }
    let in_pieces = [&hello[..3], &hello[3..300], &hello[300..]];
    assert_eq!(play(&safe, &in_pieces, Fate::ReadThenReset), rescued(&hello));
    let off = spec(Rescue::Off);
    assert_eq!(play(&off, &[&hello], Fate::ReadThenReset), lost(&hello));
}

#[test]
fn always_means_always() {
    let always = spec(Rescue::Always);
    for fate in [
        Fate::Closed,
        Fate::Reset,
        Fate::ReadThenReset,
        Fate::ReadThenClosed,
    ] {
        assert_eq!(play(&always, &[REQUEST], fate), rescued(REQUEST), "{fate:?}");
    }
    let too_long = vec![b'x'; 16 * 1024 + 1];
    assert_eq!(
        play(&always, &[&too_long], Fate::ReadThenReset),
        lost(&too_long),
        "too long to be kept"
    );
    let mut only_once = spec(Rescue::Always);
    only_once.pools.dial_attempts = 1;
    assert_eq!(
        play(&only_once, &[REQUEST], Fate::ReadThenReset),
        lost(REQUEST),
        "no attempt is left"
    );
}

#[test]
fn a_backend_that_has_spoken_ends_the_keeping() {
    for rescue in [Rescue::Safe, Rescue::Always] {
        let hello = client_hello(1);
        for fate in [Fate::SaidThenClosed, Fate::AnsweredThenReset] {
            let outcome = play(&spec(rescue), &[&hello], fate);
            assert_eq!(outcome, lost(&hello), "{rescue:?}, {fate:?}");
        }
    }
}

#[test]
fn a_backend_that_finishes_and_reads_on_gets_every_byte_once() {
    for rescue in [Rescue::Off, Rescue::Safe] {
        let scene = Scene::new(&spec(rescue), REQUEST.len(), true);
        let mut doomed = scene.warm_one();
        let mut client = scene.rig.connect();
        client.write_all(REQUEST).unwrap();
        wait_for("it was written", || scene.counted() == REQUEST.len() as u64);
        doomed.shutdown(Shutdown::Write).unwrap();
        hear_again(&doomed);
        assert_eq!(hear(&mut client), b"", "{rescue:?}: the finish is passed on");
        client.write_all(b"more").unwrap();
        drop(client);
        let mut heard = Vec::new();
        doomed.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, [REQUEST, b"more"].concat(), "{rescue:?}");
        assert_eq!((scene.rescued(), scene.served.load(Ordering::Relaxed)), (0, 0));
        wait_for("all is closed", || scene.rig.closed(CloseReason::Finished) == 1);
    }
}

#[test]
fn a_finish_behind_the_first_bytes_is_passed_on_again() {
    let scene = Scene::of(&spec(Rescue::Safe), Request::Finished(REQUEST.len()), true);
    let doomed = scene.warm_one();
    let mut client = scene.rig.connect();
    client.write_all(REQUEST).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_for("it was written", || scene.counted() == REQUEST.len() as u64);
    drop(doomed);
    assert_eq!(hear(&mut client), REQUEST);
    wait_for("both have finished", || {
        scene.rig.closed(CloseReason::Finished) == 1
    });
    assert_eq!((scene.rescued(), scene.counted()), (1, REQUEST.len() as u64));
}

#[test]
fn an_exchange_in_which_only_the_client_speaks_is_not_repeated() {
    for rescue in [Rescue::Safe, Rescue::Always] {
        let scene = Scene::new(&spec(rescue), REQUEST.len(), false);
        let mut doomed = scene.warm_one();
        let mut client = scene.rig.connect();
        client.write_all(REQUEST).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        doomed.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, REQUEST);
        drop(doomed);
        assert_eq!(hear(&mut client), b"");
        wait_for("both have finished", || {
            scene.rig.closed(CloseReason::Finished) == 1
        });
        assert_eq!(
            (scene.rescued(), scene.served.load(Ordering::Relaxed)),
            (0, 0),
            "{rescue:?}"
        );
    }
}

/// A backend that accepts one connection, the warm one, and listens no more; a client has said hello to it.
fn said_to_the_last(hello: &[u8]) -> (Rig, SocketAddr, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let accepting = std::thread::spawn(move || listener.accept().unwrap().0);
    let rig = Rig::start(&spec(Rescue::Safe), &[addr], 1);
    let mut doomed = accepting.join().unwrap();
    wait_for("it is warm", || rig.warm() == 1);
    let mut client = rig.connect();
    client.write_all(hello).unwrap();
    doomed.read_exact(&mut vec![0; hello.len()]).unwrap();
    (rig, addr, client, doomed)
}

#[test]
fn a_rescue_goes_to_another_backend() {
    let hello = client_hello(2);
    let (rig, gone, mut client, doomed) = said_to_the_last(&hello);
    let alive = TestBackend::echo();
    rig.activate(&[gone, alive.addr]);
    reset(doomed);
    let mut heard = vec![0; hello.len()];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(heard, hello, "by the one that lives");
    drop(client);
    wait_for("all is closed", || rig.active() == 0);
}

#[test]
fn a_rescue_fails_as_a_dial_does() {
    let (rig, _, mut client, doomed) = said_to_the_last(&client_hello(2));
    reset(doomed);
    assert_eq!(hear(&mut client), b"");
    wait_for("it is told", || rig.closed(CloseReason::DialFailed) == 1);
    assert_eq!(rig.sum_counters(|one| &one.rescued), 0, "nobody was saved");
    wait_for("nothing is left", || rig.active() == 0 && rig.in_use() == 0);
}

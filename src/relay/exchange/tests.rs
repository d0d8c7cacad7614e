//! Turns of a relay in an order that a reactor meets by chance only.

use super::*;
use crate::base::clock;
use crate::relay::buffer::Buffer;
use crate::relay::close::{CloseReason, Reset};
use crate::relay::half::Held;
use crate::relay::readiness::Closure;
use std::io::{Read, Write};

/// A connection of ours, non-blocking, and its other end.
fn connection() -> (Peer, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let ours = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (theirs, _) = listener.accept().expect("a connection");
    ours.set_nonblocking(true).expect("non-blocking");
    let peer = Peer {
        stream: TcpStream::from_std(ours),
        ready: Readiness::FRESH,
    };
    (peer, theirs)
}

/// What a reactor lends.
struct Bench {
    scratch: Vec<u8>,
    pipes: PipeReserve,
}

impl Bench {
    fn new() -> Self {
        Self {
            scratch: vec![0; 4096],
            pipes: PipeReserve::of(0),
        }
    }

    fn turn<W: Wire>(&mut self, relay: &mut Relay<W>, backend: &mut Peer<W>) -> Verdict {
        let mut tools = Tools {
            scratch: &mut self.scratch,
            pipes: &mut self.pipes,
            bandwidth: None,
            now: clock::now(),
            clock: clock::now(),
        };
        relay.drive(backend, &mut tools).1
    }
}

struct Stage {
    relay: Relay,
    client: std::net::TcpStream,
    warm: Peer,
    bench: Bench,
}

impl Stage {
    /// A relay with a warm connection, whose other end is with the caller.
    fn new() -> (Self, std::net::TcpStream) {
        let (client_peer, client) = connection();
        let (warm, backend) = connection();
        let addr = client.local_addr().expect("address");
        let mut relay = Relay::new(client_peer.stream, addr, clock::now());
        relay.begin_on_warm(Rescue::Safe);
        let stage = Self {
            relay,
            client,
            warm,
            bench: Bench::new(),
        };
        (stage, backend)
    }

    fn turn(&mut self) -> Verdict {
        self.bench.turn(&mut self.relay, &mut self.warm)
    }

    fn client_says(&mut self, bytes: &[u8]) -> Verdict {
        self.client.write_all(bytes).expect("sent");
        self.relay.client.ready.set_readable();
        self.turn()
    }
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_reset_that_a_write_heard_of_first_stays_a_reset() {
    use socket2::{SockFilter, SockRef};
    let (mut stage, backend) = Stage::new();
    // The backend's kernel drops what comes, so nothing is acknowledged.
    let drop_all = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(&backend)
        .attach_filter(&[drop_all])
        .expect("a filter");
    assert_eq!(stage.client_says(b"first"), Verdict::Wait);
    SockRef::from(&backend)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(backend);
    assert_eq!(
        stage.client_says(b"second"),
        Verdict::Wait,
        "no event told of the end so far"
    );
    assert!(stage.warm.is_dead());
    assert_eq!(
        stage.warm.stream.take_error().expect("asked").map(|e| e.kind()),
        None,
        "used up by the write"
    );
    assert!(net::nothing_acknowledged(&stage.warm.stream, 0));
    stage.warm.ready.set_closure(Closure::Failed);
    assert_eq!(
        stage.turn(),
        Verdict::End(Ending {
            reason: CloseReason::BackendReset,
            reset: Reset::Of(Side::Client)
        })
    );
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_reset_that_a_write_heard_of_first_leaves_its_client_unserved() {
    let (mut stage, backend) = Stage::new();
    stage.relay.begin_on_dialled(Replaceable::No);
    assert_eq!(stage.client_says(b"first"), Verdict::Wait);
    assert_eq!(stage.relay.step.take(), Some(Step::Asked));
    socket2::SockRef::from(&backend)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
    drop(backend);
    assert_eq!(stage.client_says(b"second"), Verdict::Wait, "no event told of it");
    stage.warm.ready.set_closure(Closure::Failed);
    assert!(matches!(stage.turn(), Verdict::End(_)));
    assert!(
        matches!(stage.relay.step, Some(Step::Unserved(_))),
        "{:?}",
        stage.relay.step
    );
}

#[test]
fn a_way_that_fails_while_a_client_waits_is_not_the_backends_end() {
    for (error, is_unserved) in [
        (std::io::ErrorKind::HostUnreachable, false),
        (std::io::ErrorKind::OutOfMemory, false),
        (std::io::ErrorKind::ConnectionReset, true),
    ] {
        let (mut stage, _backend) = Stage::new();
        stage.relay.begin_on_dialled(Replaceable::No);
        assert_eq!(stage.client_says(b"first"), Verdict::Wait);
        stage.relay.step = None;
        let down = Stop::SourceFailed(error.into());
        stage
            .relay
            .advance_course(&Moved::default(), &down, true, clock::now());
        assert_eq!(stage.relay.step.is_some(), is_unserved, "{error}");
        assert!(!stage.relay.course.is_open());
    }
}

#[test]
fn what_a_stale_connection_did_not_take_is_part_of_the_flight() {
    let (mut stage, backend) = Stage::new();
    stage.warm.ready.write_blocked();
    stage.relay.to_backend.held = Held::Bytes(Buffer::holding(b"held"));
    assert_eq!(stage.turn(), Verdict::Wait);
    drop(backend);
    stage.warm.ready.set_closure(Closure::Finished);
    assert_eq!(stage.turn(), Verdict::Stale);
    stage.relay.forget_stale();
    assert!(stage.relay.has_more_to_say(), "to the next one");

    let (warm, mut backend) = connection();
    stage.warm = warm;
    stage.relay.begin_on_warm(Rescue::Safe);
    assert_eq!(stage.turn(), Verdict::Wait);
    assert_eq!(stage.client_says(b"more"), Verdict::Wait);
    let mut heard = [0; 8];
    backend.read_exact(&mut heard).expect("received");
    assert_eq!(&heard, b"heldmore");
    let flight = stage.relay.flight.as_ref().expect("kept");
    assert_eq!(flight.bytes(), b"heldmore");
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn the_last_bytes_and_the_finish_leave_in_one_packet() {
    use socket2::{SockFilter, SockRef};
    let (mut stage, mut backend) = Stage::new();
    assert_eq!(stage.client_says(b"request"), Verdict::Wait);
    backend.read_exact(&mut [0; 7]).expect("the request");
    // The client's kernel drops what is no longer than a header, as a finish of its own would be.
    let length = SockFilter::new(0x80, 0, 0, 0);
    let is_longer = SockFilter::new(0x25, 0, 1, 60);
    let [pass, drop_it] = [u32::MAX, 0].map(|length| SockFilter::new(0x06, 0, 0, length));
    SockRef::from(&stage.client)
        .attach_filter(&[length, is_longer, pass, drop_it])
        .expect("a filter");
    let reply = [7; 1000];
    backend.write_all(&reply).expect("sent");
    drop(backend);
    stage.warm.ready.set_closure(Closure::Finished);
    assert_eq!(stage.turn(), Verdict::Wait, "the client has not finished");
    let patience = Some(Duration::from_secs(5));
    stage.client.set_read_timeout(patience).expect("a time-out");
    let mut heard = Vec::new();
    stage
        .client
        .read_to_end(&mut heard)
        .expect("the finish was heard");
    assert_eq!(heard, reply);
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn last_bytes_do_not_wait_for_a_finish_that_another_turn_passes_on() {
    let (mut stage, mut backend) = Stage::new();
    backend.write_all(&[7; 100]).expect("sent");
    drop(backend);
    stage.warm.ready.set_closure(Closure::Finished);
    let half = &mut stage.relay.to_client;
    let (source, sink) = (&mut stage.warm, &mut stage.relay.client);
    let pumped = pump_corked(half, source, sink, &mut stage.bench.scratch[..40], 50);
    assert!(matches!(pumped.stop, Stop::Budget), "{pumped:?}");
    // Less than the kernel would keep it for.
    let patience = Some(Duration::from_millis(150));
    stage.client.set_read_timeout(patience).expect("a time-out");
    stage
        .client
        .read_exact(&mut [0; 80])
        .expect("all that was written");
}

/// A wire on which ends are said, and which does what it was told to.
#[derive(Debug, Default)]
struct Saying {
    words: Option<&'static [u8]>,
    /// How its stream ends, once it does.
    end: Option<std::io::ErrorKind>,
    has_ended: bool,
    finishes: usize,
}

impl Read for Saying {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        match (self.words.take(), self.has_ended, self.end) {
            (Some(words), ..) => (&mut &*words).read(room),
            (None, true, None) => Ok(0),
            (None, true, Some(end)) => Err(end.into()),
            (None, false, _) => Err(std::io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Saying {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Wire for Saying {
    fn short_io_blocks(&self) -> bool {
        false
    }

    fn is_dead(&self) -> bool {
        self.has_ended
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.finishes += 1;
        Ok(())
    }

    fn ends_by_closing(&self) -> bool {
        false
    }

    fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
        Ok(Some(std::io::ErrorKind::BrokenPipe.into()))
    }

    fn knows_acknowledged(&self) -> bool {
        true
    }

    fn nothing_acknowledged(&self, _: u64) -> bool {
        false
    }

    fn write_corked(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write(bytes)
    }

    fn uncork(&mut self) {}

    fn as_plain(&self) -> Option<&TcpStream> {
        None
    }
}

/// A flight is lost to an end with a reset behind it, and both are heard of in one turn.
#[test]
fn a_client_hears_of_a_finish_before_a_reset_and_of_no_other_end() {
    let cut = Some(std::io::ErrorKind::UnexpectedEof);
    for (end, reset, finishes) in [(None, Reset::Nobody, 1), (cut, Reset::Of(Side::Client), 0)] {
        let client = Saying {
            words: Some(b"question"),
            ..Saying::default()
        };
        let addr = "127.0.0.1:1".parse().expect("an address");
        let mut relay = Relay::new(client, addr, clock::now());
        relay.begin_on_warm(Rescue::Safe);
        let mut backend = Peer {
            stream: Saying {
                end,
                ..Saying::default()
            },
            ready: Readiness::FRESH,
        };
        let mut bench = Bench::new();
        relay.client.ready.set_readable();
        assert_eq!(bench.turn(&mut relay, &mut backend), Verdict::Wait);
        assert!(relay.flight.is_some(), "it is kept");
        backend.stream.has_ended = true;
        backend.ready.set_closure(Closure::Failed);
        let ending = Ending {
            reason: CloseReason::BackendReset,
            reset,
        };
        assert_eq!(
            bench.turn(&mut relay, &mut backend),
            Verdict::End(ending),
            "{end:?}"
        );
        assert_eq!(relay.client.stream.finishes, finishes, "{end:?}");
    }
}

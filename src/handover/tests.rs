//! Both sides on both ends of a real connection: all goes well, or one of them fails at every point.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::channel::Channel;
use super::take::receive;
use super::*;
use crate::base::clock;

/// For what is to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// For what is not to come.
const BRIEF: Duration = Duration::from_millis(50);

fn soon() -> Instant {
    clock::now() + PATIENCE
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

fn entry(addr: SocketAddr) -> Entry {
    Entry::Listener {
        addr,
        service: "web".to_owned(),
    }
}

/// An offer of one listener so many times.
fn offer_of(listener: &TcpListener, count: usize) -> Offer {
    let addr = listener.local_addr().expect("an address");
    let socket = |_| OfferedSocket {
        entry: entry(addr),
        socket: listener.try_clone().expect("a descriptor").into(),
    };
    Offer {
        build: "a build".to_owned(),
        sockets: (0..count).map(socket).collect(),
    }
}

fn offer_line(version: u32, sockets: Vec<Entry>) -> Vec<u8> {
    let offer = OfferLine {
        version,
        pid: 1,
        build: "old".to_owned(),
        sockets,
    };
    encode(&FromOld::Offer(offer)).expect("encoded")
}

/// Sends lines, each with descriptors, but no more than so many bytes.
fn send_part(stream: &UnixStream, messages: &[(Vec<u8>, Vec<BorrowedFd<'_>>)], mut bytes: usize) {
    let channel = Channel::new(stream.try_clone().expect("a descriptor")).expect("a channel");
    for (line, descriptors) in messages {
        let part = line.get(..bytes.min(line.len())).expect("a part");
        channel.send(part, descriptors, soon()).expect("sent");
        bytes -= part.len();
        if bytes == 0 {
            return;
        }
    }
}

/// What the new side makes of these messages, and of the end of the connection behind them.
fn received(messages: &[(Vec<u8>, Vec<BorrowedFd<'_>>)]) -> Result<Taken, HandoverError> {
    let (old, new) = pair();
    send_part(&old, messages, usize::MAX);
    drop(old);
    receive(Channel::new(new).expect("a channel"), soon())
}

fn descriptors_line(count: usize) -> Vec<u8> {
    encode(&FromOld::Descriptors(count)).expect("encoded")
}

#[test]
fn sockets_are_handed_over_and_whoever_queues_at_them() {
    let (listener, addr) = listener();
    let (old, new) = pair();
    let waiting = offer_of(&listener, 3).send(old).expect("sent");
    let client = TcpStream::connect(addr).expect("queued");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
            assert_eq!((taken.pid, taken.build.as_str()), (std::process::id(), "a build"));
            assert_eq!(taken.sockets.len(), 3);
            taken.claim.ready(vec![addr]).expect("they are ours");
            for taken in &taken.sockets {
                assert_eq!(taken.entry, entry(addr));
                let flags = rustix::io::fcntl_getfd(&taken.socket).expect("flags");
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            }
            let socket = taken.sockets.into_iter().next().expect("one").socket;
            let (mut accepted, _) = TcpListener::from(socket).accept().expect("whoever queued");
            accepted.write_all(b"new").expect("written");
        });
        let claimed = waiting.wait_ready().expect("ready");
        assert_eq!(claimed.ready.taken, [addr]);
        claimed.confirm().expect("it serves");
        drop(listener);
    });
    let mut said = String::new();
    (&client).read_to_string(&mut said).expect("read");
    assert_eq!(said, "new");
}

#[test]
fn more_sockets_than_a_message_takes_come_whole_and_in_order() {
    let (one, _) = listener();
    let (other, addr) = listener();
    let mut offer = offer_of(&one, 2 * DESCRIPTORS_PER_MESSAGE);
    offer.sockets.extend(offer_of(&other, 1).sockets);
    let (old, new) = pair();
    let waiting = offer.send(old).expect("sent");
    let taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
    assert_eq!(taken.sockets.len(), 2 * DESCRIPTORS_PER_MESSAGE + 1);
    let last = taken.sockets.last().expect("one");
    assert_eq!(last.socket.local_addr().expect("bound").as_socket(), Some(addr));
    drop(taken.claim);
    assert!(matches!(waiting.wait_ready(), Err(HandoverError::Closed { .. })));
}

#[test]
fn nothing_to_give_is_an_offer_too() {
    let (old, new) = pair();
    let sockets = Vec::new();
    let build = String::new();
    let _waiting = Offer { build, sockets }.send(old).expect("sent");
    let taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
    assert!(taken.sockets.is_empty());
}

#[test]
fn an_old_process_that_ends_anywhere_in_its_offer_has_given_nothing() {
    let (listener, addr) = listener();
    let messages = [
        (offer_line(VERSION, vec![entry(addr); 3]), vec![]),
        (descriptors_line(2), vec![listener.as_fd(); 2]),
        (descriptors_line(1), vec![listener.as_fd()]),
    ];
    let whole: usize = messages.iter().map(|(line, _)| line.len()).sum();
    for bytes in 1..whole {
        let (old, new) = pair();
        send_part(&old, &messages, bytes);
        drop(old);
        let error = receive(Channel::new(new).expect("a channel"), soon()).expect_err("half an offer");
        assert!(matches!(error, HandoverError::Closed { .. }), "{bytes}: {error}");
    }
    assert_eq!(received(&messages).expect("a whole one").sockets.len(), 3);
}

#[test]
fn a_new_process_that_ends_or_talks_nonsense_anywhere_is_told_from_one_that_serves() {
    let (listener, addr) = listener();
    let ready = FromNew::Ready(Ready {
        pid: 7,
        taken: vec![addr],
    });
    let ready = encode(&ready).expect("encoded");
    let mine = encode(&FromNew::Mine).expect("encoded");
    let said = [ready.clone(), mine].concat();
    for bytes in 0..=said.len() {
        for nonsense in [&b""[..], b"\0nonsense\n", b"{}\n"] {
            let (old, new) = pair();
            let waiting = offer_of(&listener, 2).send(old).expect("sent");
            (&new).write_all(&said[..bytes]).expect("written");
            (&new).write_all(nonsense).expect("written");
            new.shutdown(std::net::Shutdown::Write).expect("an end");
            let outcome = waiting.wait_ready().and_then(Claimed::confirm);
            assert_eq!(outcome.is_ok(), bytes == said.len(), "{bytes}: {outcome:?}");
        }
    }
    // The listener was never touched.
    TcpStream::connect(addr).expect("it listens");
    listener.accept().expect("and accepts");
}

#[test]
fn an_old_process_that_ends_after_it_was_told_has_left_all_to_the_new_one() {
    let yours = encode(&FromOld::Yours).expect("encoded");
    for bytes in 0..=yours.len() {
        let (old, new) = pair();
        send_part(&old, &[(offer_line(VERSION, vec![]), vec![])], usize::MAX);
        let taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
        (&old).write_all(&yours[..bytes]).expect("written");
        old.shutdown(std::net::Shutdown::Write).expect("an end");
        taken.claim.ready(vec![]).expect("all is ours");
    }
}

#[test]
fn an_old_process_that_ends_while_the_new_one_prepares_has_left_all_to_it() {
    let (listener, addr) = listener();
    let (old, new) = pair();
    let waiting = offer_of(&listener, 1).send(old).expect("sent");
    let mut taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
    // As the end of a process does, all of its descriptors are closed.
    drop((waiting, listener));
    let old = taken.claim.ready(vec![addr]).expect("all is ours");
    assert_eq!(old, Predecessor::Gone);
    let socket = taken.sockets.remove(0).socket;
    let _client = TcpStream::connect(addr).expect("it listens still");
    TcpListener::from(socket).accept().expect("whoever connects");
    // One that has said before its end that it keeps its sockets is believed.
    let (old, new) = pair();
    send_part(&old, &[(offer_line(VERSION, vec![]), vec![])], usize::MAX);
    let taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
    let refused = FromOld::Refused("it stops".to_owned());
    (&old)
        .write_all(&encode(&refused).expect("encoded"))
        .expect("written");
    drop(old);
    let error = taken.claim.ready(vec![]).expect_err("it keeps them");
    assert!(matches!(error, HandoverError::Refused(_)), "{error}");
}

#[test]
fn a_new_process_that_was_too_slow_is_told_that_its_sockets_are_not_its_own() {
    let (old, new) = pair();
    send_part(&old, &[(offer_line(VERSION, vec![]), vec![])], usize::MAX);
    let taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
    for said in [FromOld::Yours, FromOld::Refused("you were too slow".to_owned())] {
        (&old)
            .write_all(&encode(&said).expect("encoded"))
            .expect("written");
    }
    drop(old.shutdown(std::net::Shutdown::Write));
    let error = taken.claim.ready(Vec::new()).expect_err("taken back");
    assert!(matches!(error, HandoverError::Refused(_)), "{error}");
    // And the old side says so, whatever it was that went wrong.
    let (old, mut new) = pair();
    let (listener, addr) = listener();
    let waiting = offer_of(&listener, 1).send(old).expect("sent");
    let ready = encode(&FromNew::Ready(Ready {
        pid: 1,
        taken: vec![addr],
    }))
    .expect("encoded");
    new.write_all(&ready.repeat(2)).expect("written");
    waiting
        .wait_ready()
        .expect("ready")
        .confirm()
        .expect_err("out of turn");
    let mut heard = String::new();
    new.read_to_string(&mut heard).expect("all of it");
    let last = heard.lines().last().expect("a line");
    assert!(last.contains("refused"), "{last}");
}

#[test]
fn whoever_says_nothing_or_too_little_is_not_waited_for() {
    let (listener, _) = listener();
    let (old, new) = pair();
    let waiting = offer_of(&listener, 1).send(old).expect("sent");
    let error = waiting
        .wait_ready_until(clock::now() + BRIEF)
        .expect_err("silence");
    assert!(matches!(error, HandoverError::TimedOut { .. }), "{error}");
    drop(new);

    let (old, new) = pair();
    let error = receive(Channel::new(new).expect("a channel"), clock::now() + BRIEF).expect_err("silence");
    assert!(matches!(error, HandoverError::TimedOut { .. }), "{error}");
    drop(old);

    // Byte by byte, without an end: each comes in time, the line does not.
    let (old, new) = pair();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while (&old).write_all(b" ").is_ok() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        let error = receive(Channel::new(new).expect("a channel"), clock::now() + BRIEF).expect_err("a drip");
        assert!(matches!(error, HandoverError::TimedOut { .. }), "{error}");
    });
}

#[test]
fn a_peer_that_does_not_read_is_not_waited_for() {
    let (old, _new) = pair();
    let channel = Channel::new(old).expect("a channel");
    let much = vec![b'x'; MAX_LINE_BYTES];
    let error = channel
        .send(&much, &[], clock::now() + BRIEF)
        .expect_err("nobody reads");
    assert!(matches!(error, HandoverError::TimedOut { .. }), "{error}");
}

#[test]
fn another_version_is_told_whatever_else_it_says() {
    let error = received(&[(
        b"{\"offer\":{\"version\":2,\"sockets\":{\"all\":\"different\"}}}\n".to_vec(),
        vec![],
    )]);
    assert!(matches!(error, Err(HandoverError::Version(2))), "{error:?}");
    let (listener, addr) = listener();
    let messages = [
        (offer_line(7, vec![entry(addr)]), vec![]),
        (descriptors_line(1), vec![listener.as_fd()]),
    ];
    assert!(matches!(received(&messages), Err(HandoverError::Version(7))));
}

#[test]
fn too_many_and_too_few_descriptors_are_told() {
    let (listener, addr) = listener();
    let offered = |count: usize| (offer_line(VERSION, vec![entry(addr); count]), vec![]);
    let sent = |told: usize, sent: usize| (descriptors_line(told), vec![listener.as_fd(); sent]);
    for messages in [
        vec![offered(1), sent(1, 2)],
        vec![offered(2), sent(2, 1)],
        vec![offered(1), sent(2, 2)],
        vec![offered(3), sent(1, 1), sent(1, 1), sent(1, 0)],
        vec![(offered(1).0, vec![listener.as_fd()]), sent(1, 1)],
    ] {
        let outcome = received(&messages);
        assert!(
            matches!(outcome, Err(HandoverError::Descriptors { .. })),
            "{outcome:?}"
        );
    }
    let none = received(&[offered(1), (descriptors_line(0), vec![])]);
    assert!(matches!(none, Err(HandoverError::Garbage { .. })), "{none:?}");
}

#[test]
fn a_descriptor_that_is_something_else_is_told() {
    let (listener, _) = listener();
    let (_, other) = self::listener();
    let file = std::fs::File::open("/dev/null").expect("a file");
    for (entry, descriptor) in [
        (entry(other), listener.as_fd()),
        (entry(other), file.as_fd()),
        (
            Entry::Control {
                path: "/run/x".into(),
            },
            listener.as_fd(),
        ),
    ] {
        let messages = [
            (offer_line(VERSION, vec![entry]), vec![]),
            (descriptors_line(1), vec![descriptor]),
        ];
        let outcome = received(&messages);
        assert!(
            matches!(outcome, Err(HandoverError::Garbage { .. })),
            "{outcome:?}"
        );
    }
}

#[test]
fn garbage_and_lines_without_an_end_are_told() {
    for garbage in [
        &b"\n"[..],
        b"{}\n",
        b"\xff\xfe\n",
        b"\"yours\"\n",
        b"[]\n",
        b"{\"offer\":{\"version\":1}}\n",
    ] {
        let outcome = received(&[(garbage.to_vec(), vec![])]);
        assert!(
            matches!(outcome, Err(HandoverError::Garbage { .. })),
            "{outcome:?}"
        );
    }
    let (old, new) = pair();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let much = vec![b' '; MAX_LINE_BYTES + 64 * 1024];
            // It is given up before the last of it.
            drop((&old).write_all(&much));
        });
        let outcome = receive(Channel::new(new).expect("a channel"), soon());
        assert!(
            matches!(outcome, Err(HandoverError::Garbage { .. })),
            "{outcome:?}"
        );
    });
    let (listener, _) = listener();
    let (old, new) = pair();
    let waiting = offer_of(&listener, 1).send(old).expect("sent");
    let channel = Channel::new(new).expect("a channel");
    let ready = FromNew::Ready(Ready {
        pid: 1,
        taken: vec![],
    });
    channel
        .say(&ready, &[listener.as_fd()], soon())
        .expect("sent with a descriptor");
    let outcome = waiting.wait_ready();
    assert!(
        matches!(outcome, Err(HandoverError::Garbage { .. })),
        "{outcome:?}"
    );
}

#[test]
fn of_two_that_are_ready_one_is_refused() {
    let (listener, _) = listener();
    let both = [pair(), pair()].map(|(old, new)| {
        let waiting = offer_of(&listener, 1).send(old).expect("sent");
        (
            waiting,
            receive(Channel::new(new).expect("a channel"), soon()).expect("an offer"),
        )
    });
    let [(first, winner), (second, loser)] = both;
    std::thread::scope(|scope| {
        let winner = scope.spawn(|| winner.claim.ready(vec![]));
        let loser = scope.spawn(|| loser.claim.ready(vec![]));
        first.wait_ready().expect("ready").confirm().expect("it serves");
        second
            .wait_ready()
            .expect("ready too")
            .refuse("somebody was first");
        winner.join().expect("no panic").expect("its own");
        let refused = loser.join().expect("no panic").expect_err("refused");
        assert!(refused.to_string().contains("somebody was first"), "{refused}");
    });
}

#[test]
fn a_claim_that_is_forgotten_and_a_wait_that_is_interrupted_are_refusals() {
    let (listener, _) = listener();
    for interrupted in [false, true] {
        let (old, new) = pair();
        let waiting = offer_of(&listener, 1).send(old).expect("sent");
        let taken = receive(Channel::new(new).expect("a channel"), soon()).expect("an offer");
        let interrupter = waiting.interrupter().expect("a descriptor");
        std::thread::scope(|scope| {
            if interrupted {
                let waiter = scope.spawn(|| waiting.wait_ready());
                interrupter.interrupt("the process stops");
                assert!(waiter.join().expect("no panic").is_err());
                let refused = taken.claim.ready(vec![]);
                assert!(
                    matches!(
                        refused,
                        Err(HandoverError::Refused(_) | HandoverError::Closed { .. })
                    ),
                    "{refused:?}"
                );
            } else {
                let claim = scope.spawn(|| taken.claim.ready(vec![]));
                drop(waiting.wait_ready().expect("ready"));
                let refused = claim.join().expect("no panic");
                assert!(matches!(refused, Err(HandoverError::Refused(_))), "{refused:?}");
            }
        });
    }
}

/// What the new side says when the old one's answer is this, with an offer behind it in the same breath.
fn asked(answer: &str) -> Result<Taken, HandoverError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control");
    let control = UnixListener::bind(&path).expect("bound");
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| take(&path));
        let (stream, _) = control.accept().expect("a request");
        let request = head(&stream);
        assert!(
            request.starts_with("POST /api/v1/takeover HTTP/1.1\r\n"),
            "{request}"
        );
        for field in [
            "Connection: Upgrade\r\n",
            "Upgrade: tcp-forwarder-takeover/1\r\n",
            "Host: ",
        ] {
            assert!(request.contains(field), "{request}");
        }
        let mut bytes = answer.as_bytes().to_vec();
        if answer.contains(" 101 ") {
            bytes.extend(offer_line(VERSION, vec![]));
        }
        (&stream).write_all(&bytes).expect("answered");
        drop(stream);
        taker.join().expect("no panic")
    })
}

/// A request up to its empty line.
fn head(mut stream: &UnixStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    String::from_utf8(head).expect("text")
}

#[test]
fn the_request_is_answered_by_an_offer_or_by_a_reason() {
    let upgraded = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n";
    assert!(asked(upgraded).expect("an offer").sockets.is_empty());
    let json = "{\"error\":{\"message\":\"speaks version 2\"}}";
    let length = json.len();
    for (answer, status, why) in [
        (
            format!("HTTP/1.1 426 Upgrade Required\r\nContent-Length: {length}\r\n\r\n{json}"),
            426,
            "speaks version 2",
        ),
        (
            "HTTP/1.1 409 Conflict\r\ncontent-length: 8\r\n\r\nstopping".to_owned(),
            409,
            "stopping",
        ),
        (
            "HTTP/1.0 404 Not Found\r\n\r\n".to_owned(),
            404,
            "did not say why",
        ),
        (
            "HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\nshort".to_owned(),
            500,
            "did not say why",
        ),
    ] {
        let error = asked(&answer).expect_err("declined");
        let HandoverError::Declined { status: told, .. } = error else {
            panic!("{answer}: {error}");
        };
        assert_eq!(told, status);
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    for answer in ["SSH-2.0-x\r\n\r\n", "\r\n\r\n", "HTTP/1.1 x\r\n\r\n"] {
        let error = asked(answer).expect_err("no answer of HTTP");
        assert!(matches!(error, HandoverError::Garbage { .. }), "{error}");
    }
    for answer in ["", "HTTP/1.1 10", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let error = asked(answer).expect_err("it ended");
        assert!(matches!(error, HandoverError::Closed { .. }), "{error}");
    }
}

#[test]
fn nobody_behind_the_control_socket_is_one_clear_line() {
    let error = take(Path::new("/nonexistent/control")).expect_err("nobody");
    let text = error.to_string();
    assert!(
        text.starts_with("no process answers at /nonexistent/control: "),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

/// Duplicates that were sent are closed; only the other side has them.
#[test]
fn an_offer_keeps_no_socket_open() {
    let (listener, addr) = listener();
    let (old, new) = pair();
    let waiting = offer_of(&listener, 1).send(old).expect("sent");
    drop(listener);
    TcpStream::connect(addr).expect("it is on its way");
    drop(new);
    let rebound = || Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?.bind(&addr.into());
    let deadline = soon();
    while rebound().is_err() {
        assert!(clock::now() < deadline, "it is still open");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    drop(waiting);
}

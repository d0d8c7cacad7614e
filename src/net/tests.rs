//! Sockets of the real system, on loopback.

use super::*;
use crate::config::Keepalive;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

mod adoption;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn keepalive() -> Keepalive {
    Keepalive::default()
}

#[test]
fn one_listener_a_reactor_shares_one_port() {
    let listeners = listen(ANY_PORT, 3, &keepalive()).expect("listen");
    assert_eq!(listeners.len(), 3);
    let port = listeners[0].local_addr().expect("address").port();
    assert!(
        listeners
            .iter()
            .all(|l| l.local_addr().expect("address").port() == port)
    );
}

#[test]
fn a_port_in_use_is_refused_even_to_ourselves() {
    let listeners = listen(ANY_PORT, 2, &keepalive()).expect("listen");
    let taken = listeners[0].local_addr().expect("address");
    let error = listen(taken, 2, &keepalive()).expect_err("the port is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn an_accepted_connection_has_nodelay_and_keepalive() {
    let mut listeners = listen(ANY_PORT, 1, &keepalive()).expect("listen");
    let listener = listeners.pop().expect("one");
    let client = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (accepted, _) = listener.accept().expect("a finished connect is queued");
    prepare_accepted(&accepted, &keepalive()).expect("options");
    let socket = SockRef::from(&accepted);
    assert!(socket.tcp_nodelay().expect("nodelay"));
    assert!(socket.keepalive().expect("keepalive"));
    assert_eq!(socket.tcp_keepalive_time().expect("time"), keepalive().idle);
    drop(client);
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn a_connection_to_itself_is_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&ANY_PORT.into()).expect("a free port");
    let itself = socket.local_addr().expect("an address");
    socket.connect(&itself).expect("both ends open at once");
    socket.set_nonblocking(true).expect("non-blocking");
    let stream = TcpStream::from_std(socket.into());
    assert!(matches!(connect_state(&stream), ConnectState::Failed(_)));
}

#[cfg(target_os = "linux")]
fn congestion_control(socket: &SockRef<'_>) -> String {
    let name = socket.tcp_congestion().expect("a name");
    String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()
}

#[test]
#[cfg(target_os = "linux")]
fn what_stays_within_the_machine_has_reno_before_it_stands() {
    let usual = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if congestion_control(&SockRef::from(&usual)) == "reno" {
        drop(writeln!(
            io::stderr(),
            "skipped: Reno is the choice of this system"
        ));
        return;
    }
    for (ip, is_within) in [("127.0.0.1", true), ("::1", true), ("0.0.0.0", false)] {
        let addr = SocketAddr::new(ip.parse().expect("an address"), 0);
        let listener = listen(addr, 1, &keepalive()).expect("listen").pop().expect("one");
        let port = listener.local_addr().expect("address").port();
        let to = SocketAddr::new(if addr.is_ipv6() { addr.ip() } else { ANY_PORT.ip() }, port);
        let dialled = begin_connect(to).expect("a connect");
        let finished = std::net::TcpStream::connect(to).expect("a connect");
        let (accepted, _) = listener.accept().expect("a finished connect is queued");
        assert_eq!(congestion_control(&SockRef::from(&dialled)), "reno", "to {to}");
        let control = congestion_control(&SockRef::from(&accepted));
        assert_eq!(control == "reno", is_within, "accepted at {addr}: {control}");
        drop(finished);
    }
}

#[test]
fn mapped_addresses_are_canonical() {
    let mapped: SocketAddr = "[::ffff:127.0.0.9]:80".parse().expect("address");
    assert_eq!(canonical(mapped), "127.0.0.9:80".parse().expect("address"));
    let plain: SocketAddr = "[::1]:80".parse().expect("address");
    assert_eq!(canonical(plain), plain);
}

/// What the rescue of a first flight rests upon: how Linux tells of the end of a connection, and that it still
/// knows then what was acknowledged.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod the_end_of_a_connection {
    use super::*;
    use crate::base::clock;
    use std::io::{ErrorKind, Read, Write};
    use std::net::Shutdown;

    /// A connection of ours, non-blocking, and the backend's end of it.
    fn connection() -> (TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind(ANY_PORT).expect("listen");
        let ours = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        ours.set_nonblocking(true).expect("non-blocking");
        let (theirs, _) = listener.accept().expect("a connection");
        (TcpStream::from_std(ours), theirs)
    }

    fn reset(stream: std::net::TcpStream) {
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger");
        drop(stream);
    }

    fn wait_for(what: &str, condition: impl Fn() -> bool) {
        let deadline = clock::now() + Duration::from_secs(10);
        while !condition() {
            assert!(clock::now() < deadline, "{what}: not within ten seconds");
            std::thread::yield_now();
        }
    }

    fn peeks_an_end(stream: &TcpStream) -> bool {
        matches!(stream.peek(&mut [0]), Ok(0))
    }

    /// What the next read says, once it says something.
    fn read(stream: &TcpStream) -> io::Result<usize> {
        let mut stream = stream;
        let deadline = clock::now() + Duration::from_secs(10);
        loop {
            match stream.read(&mut [0; 100]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && clock::now() < deadline => {
                    std::thread::yield_now();
                }
                other => return other,
            }
        }
    }

    fn kind(error: Option<io::Error>) -> Option<ErrorKind> {
        error.map(|error| error.kind())
    }

    #[test]
    fn a_connection_begins_with_its_syn_acknowledged_and_nothing_else() {
        let (ours, mut theirs) = connection();
        assert!(nothing_acknowledged(&ours, 0));
        (&ours).write_all(b"request").expect("sent");
        theirs.read_exact(&mut [0; 7]).expect("received");
        wait_for("the acknowledgement", || !nothing_acknowledged(&ours, 0));
    }

    #[test]
    fn bytes_that_meet_a_close_are_answered_by_a_reset_and_not_acknowledged() {
        let (ours, theirs) = connection();
        drop(theirs);
        wait_for("the finish", || peeks_an_end(&ours));
        (&ours).write_all(b"request").expect("the kernel takes it");
        assert_eq!(read(&ours).expect("the end, not the error"), 0);
        assert_eq!(
            kind(ours.take_error().expect("asked")),
            Some(ErrorKind::BrokenPipe)
        );
        assert!(nothing_acknowledged(&ours, 0), "still known");
        assert_eq!(read(&ours).expect("the end again"), 0);
        assert!((&ours).write_all(b"more").is_err());
        assert!(nothing_acknowledged(&ours, 0), "still known");
    }

    #[test]
    fn a_write_after_that_tells_the_same_and_uses_the_error_up() {
        let (ours, theirs) = connection();
        drop(theirs);
        wait_for("the finish", || peeks_an_end(&ours));
        (&ours).write_all(b"request").expect("the kernel takes it");
        let error = (&ours).write(b"more").expect_err("reset by now");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(kind(ours.take_error().expect("asked")), None, "used up");
        assert_eq!(read(&ours).expect("the end"), 0);
        assert!(nothing_acknowledged(&ours, 0));
    }

    #[test]
    fn the_same_if_we_have_finished_too() {
        let (ours, theirs) = connection();
        drop(theirs);
        wait_for("the finish", || peeks_an_end(&ours));
        // Held back by the cork, the bytes leave together with our finish.
        rustix::net::sockopt::set_tcp_cork(&ours, true).expect("cork");
        (&ours).write_all(b"request").expect("the kernel takes it");
        ours.shutdown(Shutdown::Write).expect("finish");
        assert_eq!(read(&ours).expect("the end, not the error"), 0);
        assert_eq!(
            kind(ours.take_error().expect("asked")),
            Some(ErrorKind::ConnectionReset)
        );
        assert!(nothing_acknowledged(&ours, 0));
    }

    #[test]
    fn a_reset_without_a_finish_is_an_error_of_the_read() {
        let (ours, theirs) = connection();
        reset(theirs);
        let error = read(&ours).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(nothing_acknowledged(&ours, 0));
    }

    #[test]
    fn what_was_read_before_a_reset_is_known_to_be_acknowledged() {
        for finishes_first in [false, true] {
            let (ours, mut theirs) = connection();
            if finishes_first {
                theirs.shutdown(Shutdown::Write).expect("finish");
                wait_for("the finish", || peeks_an_end(&ours));
            }
            (&ours).write_all(b"request").expect("sent");
            theirs.read_exact(&mut [0; 7]).expect("received");
            reset(theirs);
            drop(read(&ours));
            assert!(
                !nothing_acknowledged(&ours, 0),
                "finishes first: {finishes_first}"
            );
        }
    }

    #[test]
    fn kernels_that_know_what_was_acknowledged() {
        for (release, knows) in [
            ("6.18.44-fc", true),
            ("4.1.0", true),
            ("10.0", true),
            ("4.0.9", false),
            ("3.18.140-android", false),
            ("4.4.0-19041-Microsoft", false),
            ("5.15.90.1-microsoft-standard-WSL2", true),
            ("2.6.32", false),
            ("", false),
            ("six", false),
        ] {
            assert_eq!(tcp_info::has_bytes_acked(release), knows, "{release}");
        }
    }
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn what_is_corked_waits_for_a_finish_or_to_be_let_go() {
    let corked = || {
        let listener = std::net::TcpListener::bind(ANY_PORT).expect("a port");
        let stream = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let stream = TcpStream::from_std(stream);
        let (peer, _) = listener.accept().expect("a connection");
        peer.set_nonblocking(true).expect("non-blocking");
        assert_eq!(write_corked(&stream, b"last").expect("taken"), 4);
        let error = peer.peek(&mut [0; 8]).expect_err("nothing has been sent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        peer.set_nonblocking(false).expect("blocking");
        (stream, peer)
    };
    let mut heard = Vec::new();
    let (stream, mut peer) = corked();
    stream.shutdown(std::net::Shutdown::Write).expect("a finish");
    peer.read_to_end(&mut heard).expect("a stream that ends");
    assert_eq!(heard, b"last");
    let (stream, mut peer) = corked();
    uncork(&stream);
    heard.clear();
    peer.set_read_timeout(Some(Duration::from_millis(150)))
        .expect("less than a cork lasts");
    let error = peer.read_to_end(&mut heard).expect_err("the stream goes on");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(heard, b"last");
}

#[test]
fn what_a_peer_did_is_told_from_what_befell_the_way_to_it() {
    use io::ErrorKind;
    for kind in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe] {
        assert!(is_by_peer(&kind.into()), "{kind}");
    }
    for kind in [
        ErrorKind::TimedOut,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::NetworkDown,
        ErrorKind::ConnectionAborted,
        ErrorKind::OutOfMemory,
    ] {
        assert!(!is_by_peer(&kind.into()), "{kind}");
    }
}

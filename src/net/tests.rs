//! Sockets of the real system, on loopback.

use super::*;
use std::net::Ipv4Addr;

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

#[test]
fn mapped_addresses_are_canonical() {
    let mapped: SocketAddr = "[::ffff:127.0.0.9]:80".parse().expect("address");
    assert_eq!(canonical(mapped), "127.0.0.9:80".parse().expect("address"));
    let plain: SocketAddr = "[::1]:80".parse().expect("address");
    assert_eq!(canonical(plain), plain);
}

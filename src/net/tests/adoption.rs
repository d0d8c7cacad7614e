//! Sockets that somebody else has opened: each queue is served, whatever the number of reactors.

use std::time::Duration;

use mio::net::TcpListener;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Listeners of another process, as far as this one can tell, and what is handed over of them.
fn opened(count: usize) -> (Vec<TcpListener>, Vec<Socket>, SocketAddr) {
    let listeners = listen(ANY_PORT, count, &keepalive()).expect("listen");
    let duplicates = listeners
        .iter()
        .map(|listener| duplicate(listener).expect("a descriptor"))
        .collect();
    let addr = listeners[0].local_addr().expect("an address");
    (listeners, duplicates, addr)
}

fn connect(addr: SocketAddr, count: usize) -> Vec<std::net::TcpStream> {
    (0..count)
        .map(|_| std::net::TcpStream::connect_timeout(&addr, PATIENCE).expect("a connection"))
        .collect()
}

/// Accepts until so many were accepted; how many by each listener.
fn accept(rows: &[Vec<TcpListener>], wanted: usize) -> Vec<usize> {
    let mut counts = vec![0; rows.iter().flatten().count()];
    let deadline = crate::base::clock::now() + PATIENCE;
    while counts.iter().sum::<usize>() < wanted {
        assert!(crate::base::clock::now() < deadline, "{counts:?} of {wanted}");
        for (count, listener) in counts.iter_mut().zip(rows.iter().flatten()) {
            while listener.accept().is_ok() {
                *count += 1;
            }
        }
    }
    counts
}

#[test]
fn every_queue_is_served_for_any_number_of_reactors() {
    for (given, reactors) in [(1, 1), (3, 3), (3, 1), (3, 2), (1, 3), (2, 5)] {
        let (old, sockets, addr) = opened(given);
        // Some queue already, and nobody else will serve them.
        let before = connect(addr, 40);
        let reserved = adopt(sockets, reactors, &keepalive()).expect("adopted");
        assert_eq!(reserved.addr(), addr);
        let rows = reserved.listen().expect("listening");
        drop(old);
        let after = connect(addr, 40);
        assert_eq!(rows.len(), reactors);
        assert!(rows.iter().all(|row| !row.is_empty()), "one a reactor at least");
        assert_eq!(
            rows.iter().map(Vec::len).sum::<usize>(),
            given.max(reactors),
            "every one of {given} for {reactors}"
        );
        accept(&rows, before.len() + after.len());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn connections_spread_over_what_is_added_to_a_socket_that_did_not_share() {
    let given = std::net::TcpListener::bind(ANY_PORT).expect("bound");
    let addr = given.local_addr().expect("an address");
    let rows = adopt(vec![given.into()], 3, &keepalive())
        .expect("adopted")
        .listen()
        .expect("listening");
    let clients = connect(addr, 200);
    let counts = accept(&rows, clients.len());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn an_adoption_that_is_given_up_loses_nobody() {
    let (old, sockets, addr) = opened(2);
    let reserved = adopt(sockets, 4, &keepalive()).expect("adopted");
    let clients = connect(addr, 60);
    drop(reserved);
    let rows: Vec<_> = old.into_iter().map(|listener| vec![listener]).collect();
    accept(&rows, clients.len());
}

#[test]
fn what_is_adopted_twice_is_as_if_adopted_once() {
    let (old, sockets, addr) = opened(2);
    let first = adopt(sockets, 2, &keepalive()).expect("adopted").listen();
    let again = first
        .expect("listening")
        .iter()
        .flatten()
        .map(|listener| duplicate(listener).expect("a descriptor"))
        .collect();
    let rows = adopt(again, 2, &keepalive()).expect("again").listen();
    drop(old);
    let clients = connect(addr, 20);
    accept(&rows.expect("listening"), clients.len());
}

#[test]
fn an_adopted_listener_has_what_a_bound_one_has() {
    let given = std::net::TcpListener::bind(ANY_PORT).expect("bound");
    let addr = given.local_addr().expect("an address");
    let rows = adopt(vec![given.into()], 1, &keepalive())
        .expect("adopted")
        .listen()
        .expect("listening");
    let listener = &rows[0][0];
    assert!(
        listener
            .accept()
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    );
    let client = std::net::TcpStream::connect(addr).expect("connect");
    let deadline = crate::base::clock::now() + PATIENCE;
    let accepted = loop {
        assert!(crate::base::clock::now() < deadline, "it is queued");
        if let Ok((accepted, _)) = listener.accept() {
            break accepted;
        }
    };
    prepare_accepted(&accepted, &keepalive()).expect("options");
    let socket = SockRef::from(&accepted);
    assert!(socket.tcp_nodelay().expect("nodelay"));
    assert_eq!(socket.tcp_keepalive_time().expect("time"), keepalive().idle);
    assert!(socket.out_of_band_inline().expect("urgent bytes"));
    drop(client);
}

#[test]
fn what_cannot_be_adopted_is_refused() {
    let refused = |sockets| adopt(sockets, 2, &keepalive()).expect_err("refused").to_string();
    assert!(refused(Vec::new()).contains("no socket"));
    let tcp = || Socket::from(std::net::TcpListener::bind(ANY_PORT).expect("bound"));
    assert!(refused(vec![tcp(), tcp()]).contains("same address"));
    let udp = std::net::UdpSocket::bind(ANY_PORT).expect("bound");
    assert!(refused(vec![udp.into()]).contains("no bound TCP socket"));
    let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Some systems have no address for it.
    assert!(adopt(vec![unbound], 1, &keepalive()).is_err());
}

//! Lists, and seats from several threads.

use super::*;
use crate::base::clock;
use std::net::Ipv4Addr;

fn networks(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts
        .iter()
        .map(|text| text.parse().expect("a network"))
        .collect()
}

fn is_admitted(server: &Server, ip: &str) -> bool {
    let admission = Admission::of(server).expect("a limit");
    let answer = admission.admit(ip.parse().expect("an address"), clock::now());
    answer.is_ok()
}

#[test]
fn without_settings_there_is_none() {
    assert!(Admission::of(&Server::default()).is_none());
}

#[test]
fn deny_goes_before_allow_and_allow_means_nobody_else() {
    let server = Server {
        allow: networks(&["10.0.0.0/8", "2001:db8::/32"]),
        deny: networks(&["10.9.0.0/16"]),
        ..Server::default()
    };
    for (ip, expected) in [
        ("10.1.2.3", true),
        ("10.9.2.3", false),
        ("192.0.2.1", false),
        ("2001:db8:5::1", true),
        ("2001:db9::1", false),
    ] {
        assert_eq!(is_admitted(&server, ip), expected, "{ip}");
    }
    let server = Server {
        deny: networks(&["10.9.0.0/16"]),
        ..Server::default()
    };
    assert!(is_admitted(&server, "192.0.2.1") && is_admitted(&server, "::1"));
    assert!(!is_admitted(&server, "10.9.255.255"));
}

#[test]
fn seats_of_all_threads_are_counted_and_given_back() {
    let server = Server {
        max_connections_per_ip: 40,
        ..Server::default()
    };
    let admission = Admission::of(&server).expect("a limit");
    let admit = |low: u8| admission.admit(Ipv4Addr::new(192, 0, 2, low).into(), clock::now());
    for _ in 0..50 {
        let seats: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (0..20)
                            .filter_map(|_| admit(1).ok().flatten())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            let seats = threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("no panic"));
            seats.collect()
        });
        assert_eq!(seats.len(), 40, "of 80 that asked");
        assert_eq!(admit(1).map(drop), Err(RejectReason::ConnectionLimit));
        assert!(admit(2).is_ok(), "others have their own");
    }
}

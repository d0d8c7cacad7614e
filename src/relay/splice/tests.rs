//! A system that has `splice`, and refuses it.

#![cfg(any(target_os = "linux", target_os = "android"))]

use super::*;
use crate::relay::readiness::Readiness;
use rustix::fd::OwnedFd;

#[test]
fn where_splice_is_refused_the_reserve_gives_way_to_copying() {
    // No directory can be spliced from, as no socket can in some sandboxes.
    let directory = std::fs::File::open("/").expect("a directory");
    let source = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(directory)));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let sink = TcpStream::from_std(std::net::TcpStream::connect(addr).expect("a connection"));
    let (mut readable, mut writable) = (Readiness::FRESH, Readiness::FRESH);
    readable.set_readable();
    let mut half = Half {
        streak: u32::MAX,
        ..Half::default()
    };
    let mut reserve = PipeReserve::of(4);
    let mut turn = || {
        let mut source = End {
            stream: &source,
            ready: &mut readable,
            short_io_blocks: true,
        };
        let mut sink = End {
            stream: &sink,
            ready: &mut writable,
            short_io_blocks: true,
        };
        pump(&mut reserve, &mut half, &mut source, &mut sink, 1)
    };
    let first = turn().expect("a pipe was to be had");
    assert!(
        matches!(first.stop, Stop::Budget),
        "another turn, not an end: {first:?}"
    );
    assert!(turn().is_none(), "the copying pump does the work from now on");
}

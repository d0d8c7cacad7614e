//! A connection has ended: its line of the access log, with every field.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tcp_forwarder::access_log::{By, End, Record, Via, write_line};
use tcp_forwarder::config::{AccessField, LogFormat};
use tcp_forwarder::relay::close::CloseReason;

use super::Workload;

/// A connection that has ended, of which every field is known.
pub(crate) fn record() -> Record<'static> {
    let addr = |last, port| SocketAddr::from(([198, 51, 100, last], port));
    Record {
        ended_at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_737_599_012_345),
        service: "default",
        client: addr(101, 50_123),
        listener: Some(addr(1, 8443)),
        proxy: None,
        backend: Some(addr(202, 443)),
        backend_name: Some("hk1"),
        via: Some(Via::Warm),
        tries: 0,
        is_rescued: false,
        is_raced: false,
        wait: Some(Duration::from_micros(12)),
        connect: Some(Duration::ZERO),
        first_byte: Some(Duration::from_micros(23_456)),
        total: Duration::from_micros(1_234_567),
        bytes_up: 1_234,
        bytes_down: 567_890,
        end: End {
            by: By::Nobody,
            phase: None,
            reason: CloseReason::Finished,
        },
        tls: Some(b"TLSv1.3"),
        sni: Some(b"www.example.org"),
        alpn: Some(b"h2"),
    }
}

/// One line after the other, into the same room.
pub(super) struct Line {
    format: LogFormat,
    record: Record<'static>,
    room: Vec<u8>,
}

impl Line {
    pub(super) fn new(format: LogFormat) -> Self {
        Self {
            format,
            record: record(),
            room: Vec::new(),
        }
    }
}

impl Workload for Line {
    fn step(&mut self) {
        self.room.clear();
        write_line(
            &mut self.room,
            black_box(&self.record),
            self.format,
            &AccessField::ALL,
        );
        black_box(&self.room);
    }
}

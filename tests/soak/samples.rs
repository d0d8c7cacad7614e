//! What the process holds, every few seconds; and garbage for its metrics port, which must not mind.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::peers::standing::{Standing, whole};
use crate::support::{Forwarder, http_body, pause};

/// One look at the process.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub seconds: f64,
    pub resident_kb: u32,
    pub proportional_kb: u32,
    pub anonymous_kb: u32,
    pub descriptors: u32,
    pub pipes: u32,
    pub threads: u32,
    /// Sockets that are neither a client's nor a backend's, as far as two looks at different moments can tell.
    pub own_sockets: i32,
    pub clients: u32,
    pub warm: u32,
    pub accepted: u32,
    pub cpu_seconds: f64,
    /// Resident memory of the load itself, in this process.
    pub load_kb: u32,
}

pub const COLUMNS: &str = "seconds,resident_kb,proportional_kb,anonymous_kb,descriptors,pipes,threads,\
    own_sockets,clients,warm,accepted,cpu_seconds,load_kb";

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap()
}

/// A row of a table of `/proc` that is in kB.
fn row_kb(table: &str, name: &str) -> u32 {
    let row = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    row.trim().trim_end_matches(" kB").parse().unwrap()
}

fn resident_kb_of_load() -> u32 {
    row_kb(&std::fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:")
}

/// User and system time, from `/proc/<pid>/stat` in ticks of 10 ms.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u32>().unwrap())
        .sum();
    f64::from(ticks) / 100.0
}

impl Sample {
    fn take(forwarder: &Forwarder, seen: &str, start: Instant) -> Self {
        let pid = forwarder.pid();
        let standing = Standing::beside(forwarder, seen);
        let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let clients = small(whole(seen, "active_connections"));
        // Each client has a connection to a backend, perhaps one that left the active set, whose gauges are gone.
        let accounted = 2 * clients + small(standing.warm);
        Self {
            seconds: start.elapsed().as_secs_f64(),
            resident_kb: row_kb(&memory, "Rss:"),
            proportional_kb: row_kb(&memory, "Pss:"),
            anonymous_kb: row_kb(&memory, "Anonymous:"),
            descriptors: small(standing.sockets + standing.pipes + standing.others),
            pipes: small(standing.pipes),
            threads: small(standing.threads),
            own_sockets: small(standing.sockets).cast_signed() - accounted.cast_signed(),
            clients,
            warm: small(standing.warm),
            accepted: small(whole(seen, "new_connections_total")),
            cpu_seconds: cpu_seconds(pid),
            load_kb: resident_kb_of_load(),
        }
    }

    pub fn row(&self) -> String {
        format!(
            "{:.1},{},{},{},{},{},{},{},{},{},{},{:.2},{}\n",
            self.seconds,
            self.resident_kb,
            self.proportional_kb,
            self.anonymous_kb,
            self.descriptors,
            self.pipes,
            self.threads,
            self.own_sockets,
            self.clients,
            self.warm,
            self.accepted,
            self.cpu_seconds,
            self.load_kb,
        )
    }
}

/// Bytes that no scraper sends.
fn garbage(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = match rng.u8(0..5) {
        0 => b"GET /metrics HTTP/1.1\r\nHost: half a he".to_vec(),
        1 => b"GET ".repeat(5000),
        2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        3 => b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        _ => Vec::new(),
    };
    let more = rng.usize(0..300);
    bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(more));
    bytes
}

/// A scrape that did not succeed.
#[derive(Debug)]
pub struct Missed {
    pub at: Instant,
    pub error: String,
}

/// Looks at the process every so often until `until`, and sends garbage to its metrics port in between.
pub fn watch(
    forwarder: &Forwarder,
    every: Duration,
    (start, until): (Instant, Instant),
    rng: &mut fastrand::Rng,
) -> (Vec<Sample>, Vec<Missed>) {
    let (mut samples, mut missed) = (Vec::new(), Vec::new());
    let mut next = start;
    while next < until {
        pause(next.saturating_duration_since(Instant::now()));
        let at = Instant::now();
        match http_body(forwarder.metrics_addr(), "/metrics") {
            Ok(seen) => samples.push(Sample::take(forwarder, &seen, start)),
            Err(error) => missed.push(Missed {
                at,
                error: format!("{error} after {:?}", at.elapsed()),
            }),
        }
        let mut guests = Vec::new();
        for _ in 0..3 {
            // It may hang up in the middle, which is its right.
            if let Ok(mut guest) = TcpStream::connect(forwarder.metrics_addr()) {
                let _ = guest.write_all(&garbage(rng));
                guests.push(guest);
            }
        }
        next += every;
    }
    (samples, missed)
}

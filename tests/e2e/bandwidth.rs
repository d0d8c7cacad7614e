//! Limits of bandwidth: kept, used, shared out evenly, by copying and by `splice`; whole bytes all the same.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use tcp_forwarder::config::{BandwidthLimits, Spec, Splice, Strategy};
use tcp_forwarder::relay::close::CloseReason;

use crate::rig::{PATIENCE, Rig, TestBackend, wait_for};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn spec(per_connection: u64, total: u64) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Off;
    spec.server.bandwidth = BandwidthLimits {
        per_connection,
        total,
    };
    spec
}

/// Bytes that tell where they stand.
fn pattern(length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..length).map(|_| rng.u8(..)).collect()
}

/// Sends everything to an echo and reads it back; in what time.
fn echoed(mut stream: TcpStream, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut reply = Vec::new();
    std::thread::scope(|scope| {
        let mut upload = stream.try_clone().unwrap();
        scope.spawn(move || {
            upload.write_all(bytes).unwrap();
            upload.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut reply).unwrap();
    });
    assert!(reply == bytes, "the reply is another one");
    begun.elapsed()
}

#[test]
fn a_connection_keeps_to_its_limit_whole_and_in_order() {
    const LENGTH: usize = 3 << 19;
    let bytes = pattern(LENGTH);
    for splice in [Splice::Auto, Splice::Off] {
        let mut spec = spec(3 * MIB, 0);
        spec.server.splice = splice;
        let rig = Rig::start(&spec, &[TestBackend::echo().addr], 1);
        let took = echoed(rig.connect(), &bytes);
        // 1.5 MiB at 3 MiB/s, less what is saved up at the start and under way at the end; both directions at once.
        assert!(took >= Duration::from_millis(350), "{splice:?}: {took:?}");
        assert!(took < PATIENCE / 4, "{splice:?}: {took:?}");
        wait_for("its end", || rig.closed(CloseReason::Finished) == 1);
    }
}

/// A relay that waits for its turn for longer than it may be idle is not idle; one that has nothing to move is.
#[test]
fn a_paused_relay_is_not_idle() {
    let mut spec = spec(2 * KIB, 0);
    spec.server.idle_timeout = Duration::from_millis(100);
    spec.server.half_close_timeout = Duration::from_millis(100);
    let rig = Rig::start(&spec, &[TestBackend::echo().addr], 1);
    let bytes = pattern(3 * 1024);
    let mut stream = rig.connect();
    let begun = Instant::now();
    stream.write_all(&bytes).unwrap();
    let mut reply = vec![0; bytes.len()];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply == bytes, "the reply is another one");
    assert!(
        begun.elapsed() >= Duration::from_millis(400),
        "{:?}",
        begun.elapsed()
    );
    wait_for("now it is idle", || rig.closed(CloseReason::IdleTimeout) == 1);
}

/// Bytes that come to each of `readers` in one second.
fn race(rig: &Rig, readers: usize) -> Vec<u64> {
    let streams: Vec<TcpStream> = (0..readers).map(|_| rig.connect()).collect();
    let end = Instant::now() + Duration::from_millis(1200);
    let read = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (mut buffer, mut count) = (vec![0; 1 << 16], 0);
        while Instant::now() < end {
            // A time-out is a pause.
            count += stream.read(&mut buffer).unwrap_or(0) as u64;
        }
        count
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = streams
            .into_iter()
            .map(|stream| scope.spawn(move || read(stream)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_total_is_kept_and_shared_evenly_over_all_reactors() {
    let source = TestBackend::start(|mut stream| {
        let bytes = vec![1; 1 << 16];
        while stream.write_all(&bytes).is_ok() {}
    });
    let rig = Rig::start(&spec(0, 8 * MIB), &[source.addr], 3);
    let counts = race(&rig, 6);
    let all: u64 = counts.iter().sum();
    // 1.2 s and the burst, and a quantum and a pipe for each; a busy machine may make it less.
    assert!((3 * MIB..=14 * MIB).contains(&all), "{counts:?}");
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(*least > 0, "nobody starves: {counts:?}");
    // Where the machine, and not the limit, was too slow, shares are those of the machine.
    let is_used = all >= 9 * MIB;
    assert!(!is_used || *most < 2 * least + MIB / 2, "{counts:?}");
}

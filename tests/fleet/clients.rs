//! Clients of a forwarder while something else goes wrong: none may fail, or be kept waiting.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tcp_forwarder::base::clock;

use crate::support::{patient, pause, ping};

/// Between two clients.
const PACE: Duration = Duration::from_millis(5);

/// What 99 in 100 clients get within: less than an exchange may take, for a test machine may be busy with others.
const BOUND: Duration = Duration::from_millis(1_500);

/// Clients that come one after another, each with a connection of its own.
pub struct Clients {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Clients {
    pub fn of(addr: SocketAddr) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut times = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let begun = clock::now();
                let mut stream = patient(TcpStream::connect(addr).unwrap());
                ping(&mut stream, b"forwarding goes on");
                times.push(clock::now() - begun);
                pause(PACE);
            }
            times
        });
        Self { ends, thread }
    }

    /// Ends them: all of them were served, and soon. The time of each, the least first.
    pub fn end(self) -> Vec<Duration> {
        self.ends.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().expect("no client fails");
        times.sort();
        let (count, late) = (times.len(), percentile(&times, 99));
        assert!(count > 5 && late < BOUND, "of {count} clients: {late:?}");
        times
    }
}

pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Ends those of a whole fleet.
pub fn end_all<const N: usize>(clients: [Clients; N]) {
    for clients in clients {
        clients.end();
    }
}

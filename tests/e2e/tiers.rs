//! Tiers: who takes over when the last candidate before them dies, and when it is back.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::rig::{TestBackend, own_ip};
use crate::support::{Forwarder, patient, pause, ping, wait_for};

/// A backend that echoes until it dies, and can be back at its address.
struct Mortal {
    addr: SocketAddr,
    dies: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mortal {
    fn at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).expect("nobody else has its address");
        listener.set_nonblocking(true).expect("it can be");
        let addr = listener.local_addr().expect("it is bound");
        let dies = Arc::new(AtomicBool::new(false));
        let is_dying = Arc::clone(&dies);
        let thread = std::thread::spawn(move || {
            while !is_dying.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(std::thread::spawn(move || echo(stream))),
                    Err(_) => pause(Duration::from_millis(1)),
                }
            }
        });
        Self {
            addr,
            dies,
            thread: Some(thread),
        }
    }

    /// Nobody listens there when this returns.
    fn die(mut self) -> SocketAddr {
        self.dies.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it lives once");
        thread.join().expect("no panic");
        self.addr
    }
}

fn echo(mut stream: TcpStream) {
    stream.set_nonblocking(false).expect("it can be");
    let mut back = stream.try_clone().expect("a descriptor is left");
    drop(io::copy(&mut stream, &mut back));
}

/// Ends the clients, also of a test that fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn tiers_switch_without_a_failed_client() {
    let first = Mortal::at(SocketAddr::from((own_ip(), 0)));
    let backup = TestBackend::echo().addr;
    let list = format!("{}\n{backup} backup\n", first.addr);
    // Nothing warm that could be stale: each client is dialled for.
    let changes = json!({ "pools": { "strategy": { "type": "off" } } });
    let forwarder = Forwarder::start(&changes, &list);
    let serves = |addr: SocketAddr| {
        let series = format!("tcp_forwarder_lb_backend_connections{{server=\"{addr}\"}}");
        forwarder.scrape().contains(&series)
    };
    wait_for("the first tier serves", || serves(first.addr) && !serves(backup));
    let (is_over, served, door) = (AtomicBool::new(false), AtomicU32::new(0), forwarder.addr());
    // Whom a backend has accepted when it dies is lost whatever is behind it: it dies between clients.
    let between = RwLock::new(());
    let come = || {
        while !is_over.load(Ordering::Relaxed) {
            let _served = between.read().expect("no client has failed");
            let client = TcpStream::connect(door).expect("somebody listens");
            ping(&mut patient(client), b"served");
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(come)).collect();
        let many_more = || {
            let before = served.load(Ordering::Relaxed);
            wait_for("clients are served", || {
                served.load(Ordering::Relaxed) >= before + 50
            });
        };
        many_more();
        let nobody_is_served = between.write().expect("no client has failed");
        let addr = first.die();
        drop(nobody_is_served);
        wait_for("backups serve", || serves(backup) && !serves(addr));
        many_more();
        let _again = Mortal::at(addr);
        wait_for("the first tier is back", || serves(addr) && !serves(backup));
        many_more();
        drop(over);
        for client in clients {
            client.join().expect("every client is served");
        }
    });
    assert_eq!(
        forwarder.metric("connections_closed_total{reason=\"dial_failed\"}"),
        0.0
    );
    let switches = |reason| forwarder.metric(&format!("selector_switches_total{{reason=\"{reason}\"}}"));
    assert_eq!((switches("emergency"), switches("tier")), (1.0, 1.0));
}

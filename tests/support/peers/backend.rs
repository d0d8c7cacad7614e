//! Backends that can be told to misbehave: one thread and one poll each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};

use super::stage::{Stage, WAKER, listen};

/// What a backend does, until it is told otherwise.
///
/// A connection is served as the backend behaves when the first byte of it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Exchanges, as they should be.
    Serve,
    /// Nobody listens: connects are refused. What is established goes on.
    Refuse,
    /// The queue of its listener is full: connects are neither taken nor refused.
    TimeOut,
    AcceptAndClose,
    AcceptAndReset,
    /// Closes what has been silent for a random time of up to so long; else serves.
    CloseWarm {
        within: Duration,
    },
    /// Sends a banner to whoever connects; then serves.
    SpeakFirst,
    NeverRead,
    /// Reads, and does not even finish when the client has.
    NeverAnswer,
    /// Says nothing before the client has finished.
    AnswerAfterHalfClose,
    /// Serves, with the smallest buffers that its kernel gives, behind so many bytes that it was sent.
    Tight {
        after: u64,
    },
    /// Serves, and resets the connection behind so many bytes of its own.
    ResetAfter {
        bytes: u64,
    },
    /// Died: nobody listens, and all that was established is reset.
    Gone,
    /// Dies and comes back, each time after so long.
    Flap {
        every: Duration,
    },
}

impl Behaviour {
    /// Whether an order is answered.
    pub(super) fn answers(self) -> bool {
        !matches!(self, Self::NeverAnswer | Self::NeverRead)
    }
}

/// A counter that one thread moves and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened at one backend.
#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: Count,
    /// Connections whose first byte came.
    pub begun: Count,
    /// Orders that came whole.
    pub orders: Count,
    /// Exchanges that ended as they should.
    pub served: Count,
    /// Connections that this backend reset: as told, or because it died.
    pub reset: Count,
    /// Silent connections that it closed.
    pub closed_warm: Count,
    /// Of these, those on which a request was on its way just then.
    pub crossed: Count,
    /// Orders whose bytes were finished, not reset, before they were all there.
    pub cut: Count,
    /// Connections on which something came that nobody had sent. Must be 0 whatever happens.
    pub corrupt: Count,
    /// Times that it died.
    pub deaths: Count,
}

/// What a backend and its thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) behaviour: Mutex<Behaviour>,
    /// Rises each time that it is told how to behave; `obeyed` follows.
    pub(super) told: AtomicU64,
    pub(super) obeyed: AtomicU64,
    pub(super) ends: AtomicBool,
    pub(super) tally: Tally,
}

/// A backend on an address of its own; it ends when dropped.
#[derive(Debug)]
pub struct Backend {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// An address of 127.0.0.0/8 that no other backend of this process has, and most likely no other process: a
/// port that is free for a while is nobody else's then.
fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    let block = 32 + std::process::id() % 96;
    Ipv4Addr::from((127 << 24) | (block << 16) | (place + 1))
}

impl Backend {
    /// Starts one that behaves well; its whims come from `seed`.
    pub fn start(seed: u64) -> Self {
        let listener = listen((own_ip(), 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), WAKER).unwrap();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour::Serve),
            told: AtomicU64::new(0),
            obeyed: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            tally: Tally::default(),
        });
        let stage = Stage::new(poll, listener, Arc::clone(&shared), seed);
        let thread = std::thread::spawn(move || stage.run());
        Self {
            addr,
            shared,
            waker,
            thread: Some(thread),
        }
    }

    /// Some of them.
    pub fn several<const N: usize>(seed: u64) -> [Self; N] {
        std::array::from_fn(|place| Self::start(seed + place as u64))
    }

    /// Behaves like this from now on: it does when this returns.
    pub fn behave(&self, behaviour: Behaviour) {
        let mine = {
            let mut present = self.shared.behaviour.lock().unwrap();
            *present = behaviour;
            self.shared.told.fetch_add(1, Ordering::Relaxed) + 1
        };
        self.waker.wake().unwrap();
        crate::support::wait_for("the backend has heard", || {
            self.shared.obeyed.load(Ordering::Acquire) >= mine
        });
    }

    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // Either fails only when the thread has ended already, of what a test has been told elsewhere.
        drop(self.waker.wake());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

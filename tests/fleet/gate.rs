//! What lies between a forwarder and its Redis, and what goes wrong there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{PATIENCE, pause};

/// How often a connection looks whether the way is another one.
const LOOK: Duration = Duration::from_millis(20);

/// How it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Answers come so much later.
    Slow(Duration),
    /// Nothing passes, and nobody says so.
    Silent,
    /// Whoever connects is hung up on, as is who was connected.
    Closed,
    /// Whoever connects is cut off after so many bytes of both directions, the next after so many more.
    Cut { first: usize, step: usize },
    /// Something else answers: these, in turns, again and again for as long as anybody reads.
    Babble(&'static [&'static [u8]]),
}

/// The gate; whoever goes through it is cut off when it is dropped.
pub struct Gate {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    way: Mutex<Way>,
    /// Connections since the way is as it is, and since the beginning.
    since: AtomicUsize,
    accepted: AtomicUsize,
    open: AtomicUsize,
    ends: AtomicBool,
}

impl Gate {
    /// Before a Redis.
    pub fn before(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            way: Mutex::new(Way::Open),
            since: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            ends: AtomicBool::new(false),
        });
        let mine = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if mine.ends.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, stream) = (Arc::clone(&mine), stream.unwrap());
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let number = shared.since.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || shared.carry(&stream, number));
            }
        });
        Self {
            addr,
            shared,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// The way is this one from now on.
    pub fn set(&self, way: Way) {
        let mut present = self.shared.way.lock().unwrap();
        self.shared.since.store(0, Ordering::Relaxed);
        *present = way;
    }

    /// Connections since the way was set.
    pub fn since(&self) -> usize {
        self.shared.since.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // It wakes whoever accepts.
        drop(TcpStream::connect(self.addr));
        drop(self.thread.take().unwrap().join());
    }
}

impl Shared {
    fn way(&self) -> Way {
        *self.way.lock().unwrap()
    }

    /// Carries one connection to its end.
    fn carry(&self, near: &TcpStream, number: usize) {
        self.open.fetch_add(1, Ordering::Relaxed);
        match self.way() {
            Way::Closed => {}
            Way::Babble(kinds) => babble(near, kinds[number % kinds.len()]),
            way @ (Way::Open | Way::Slow(_) | Way::Silent | Way::Cut { .. }) => {
                let budget = match way {
                    Way::Cut { first, step } => first + number * step,
                    Way::Open | Way::Slow(_) | Way::Silent | Way::Closed | Way::Babble(_) => usize::MAX,
                };
                if let Ok(far) = TcpStream::connect(self.to) {
                    self.join(near, &far, budget);
                }
            }
        }
        let _ = near.shutdown(Shutdown::Both);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn join(&self, near: &TcpStream, far: &TcpStream, budget: usize) {
        let left = AtomicUsize::new(budget);
        std::thread::scope(|scope| {
            scope.spawn(|| self.pass(near, far, &left, false));
            self.pass(far, near, &left, true);
        });
    }

    /// Carries one direction until it ends, the bytes are used up, or the way is closed.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, left: &AtomicUsize, is_answer: bool) {
        from.set_read_timeout(Some(LOOK)).unwrap();
        to.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut room = vec![0; 64 * 1024];
        while !self.ends.load(Ordering::Relaxed) {
            let count = match (&mut from).read(&mut room) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => 0,
                Err(_) => break,
            };
            match self.way() {
                Way::Closed | Way::Babble(_) => break,
                Way::Silent => {
                    while self.way() == Way::Silent && !self.ends.load(Ordering::Relaxed) {
                        pause(LOOK);
                    }
                }
                Way::Slow(late) if is_answer && count > 0 => pause(late),
                Way::Cut { .. } if left.load(Ordering::Relaxed) == usize::MAX => break,
                Way::Open | Way::Slow(_) | Way::Cut { .. } => {}
            }
            let may = left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    Some(if left == usize::MAX {
                        left
                    } else {
                        left.saturating_sub(count)
                    })
                })
                .unwrap();
            let passed = count.min(may);
            if (&mut to).write_all(&room[..passed]).is_err() || (may != usize::MAX && may <= count) {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// Answers whatever is asked by the same words again and again.
fn babble(mut near: &TcpStream, words: &[u8]) {
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    near.set_write_timeout(Some(PATIENCE)).unwrap();
    let _ = near.read(&mut [0; 512]);
    while !words.is_empty() && near.write_all(words).is_ok() {}
    let _ = near.read(&mut [0; 512]);
}

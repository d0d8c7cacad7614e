//! The wire: one thread that reads packets from one device, holds them as long as their link says, and
//! writes them to the other.
//!
//! Owns both devices and the packets under way. Every packet passes two links: the *uplink*, which all share
//! (to model faults of our own line), and the link of its server address. Blocks in `ppoll` until a packet
//! comes or one is due, so it costs nothing at rest; the timer slack is off and its priority raised, so that
//! packets leave within microseconds of their time even when the machine is busy.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tcp_forwarder::base::clock;

use super::link::{Dropped, Sequencer};
use super::links::{Links, RouterReport, Table};
use super::packet;

/// The largest packet a TUN device hands over.
const PACKET_BYTES: usize = 65_536;
/// Packets read from one device before the due ones are sent.
const BATCH: usize = 64;
/// Packets under way at once; more are dropped, as by any router.
const UNDER_WAY: usize = 200_000;
/// Spare packet buffers that are kept.
const SPARE: usize = 1_024;
/// The router thread; stops when dropped.
pub(crate) struct Router {
    links: Links,
    stop: OwnedFd,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Router {
    pub(crate) fn start(client: File, server: File, seed: u64) -> io::Result<Self> {
        let links = Links::new();
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let wire = Wire {
            devices: [client, server],
            links: links.clone(),
            stop: stop.try_clone()?,
            rng: fastrand::Rng::with_seed(seed),
            sequencer: Sequencer::default(),
            links_free_at: HashMap::new(),
            uplink_free_at: [None; 2],
            under_way: BinaryHeap::new(),
            spare: Vec::new(),
            next_order: 0,
        };
        let thread = thread::Builder::new()
            .name("lab-wire".to_owned())
            .spawn(move || wire.run())?;
        Ok(Self {
            links,
            stop,
            thread: Some(thread),
        })
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    pub(crate) fn report(&self) -> RouterReport {
        self.links.lock().report.clone()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let woken = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        let ended = self.thread.take().map(JoinHandle::join);
        if let (Ok(_), Some(Ok(Err(error)))) = (woken, ended) {
            super::say(&format!("the wire broke: {error}"));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Heading {
    Server,
    Client,
}

struct UnderWay {
    due: Instant,
    order: u64,
    heading: Heading,
    bytes: Vec<u8>,
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}
impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for UnderWay {}

struct Wire {
    /// The client's device and the server's.
    devices: [File; 2],
    links: Links,
    stop: OwnedFd,
    rng: fastrand::Rng,
    sequencer: Sequencer,
    /// When capped links are free again.
    links_free_at: HashMap<(IpAddr, IpAddr, Heading), Option<Instant>>,
    uplink_free_at: [Option<Instant>; 2],
    under_way: BinaryHeap<Reverse<UnderWay>>,
    spare: Vec<Vec<u8>>,
    next_order: u64,
}

impl Wire {
    fn run(mut self) -> io::Result<()> {
        // Both are refinements: without them packets leave some 50 µs later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let _ = rustix::process::setpriority_process(None, -20);
        let mut buffer = vec![0_u8; PACKET_BYTES];
        loop {
            let [from_client, from_server, stopped] = self.wait()?;
            if stopped {
                return Ok(());
            }
            if from_client {
                self.read(Heading::Server, &mut buffer)?;
            }
            if from_server {
                self.read(Heading::Client, &mut buffer)?;
            }
            self.send_due()?;
        }
    }

    fn wait(&self) -> io::Result<[bool; 3]> {
        let [client, server] = &self.devices;
        let mut polled = [
            PollFd::new(client, PollFlags::IN),
            PollFd::new(server, PollFlags::IN),
            PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN),
        ];
        let left = self
            .under_way
            .peek()
            .map(|Reverse(first)| first.due.saturating_duration_since(clock::now()));
        let timeout = left.map(Timespec::try_from).transpose();
        let timeout = timeout.map_err(|_| io::Error::other("a packet is due beyond the end of time"))?;
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(polled.map(|fd| !fd.revents().is_empty()))
    }

    fn read(&mut self, heading: Heading, buffer: &mut [u8]) -> io::Result<()> {
        let links = self.links.clone();
        let mut table = links.lock();
        for _ in 0..BATCH {
            let [client, server] = &mut self.devices;
            let device = if heading == Heading::Server {
                client
            } else {
                server
            };
            match device.read(buffer) {
                Ok(length) => self.admit(heading, buffer.get(..length).unwrap_or_default(), &mut table),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn admit(&mut self, heading: Heading, packet: &[u8], table: &mut Table) {
        // Its own, or what comes in while a batch is read would be early.
        let now = clock::now();
        let Some((source, destination)) = packet::endpoints(packet) else {
            return;
        };
        let due = if self.under_way.len() < UNDER_WAY {
            let (client, server) = match heading {
                Heading::Server => (source, destination),
                Heading::Client => (destination, source),
            };
            let bytes = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            let opens = packet::is_opening(packet);
            if opens && table.link(client, server).stalls(&mut self.rng) {
                Err(Dropped::Lost)
            } else {
                self.transit(heading, (client, server), (now, bytes), table)
            }
        } else {
            Err(Dropped::QueueFull)
        };
        match due {
            Err(Dropped::Lost) => table.report.lost += 1,
            Err(Dropped::QueueFull) => table.report.overflowed += 1,
            Ok((due, sequenced)) => {
                let (from, to) = packet::ports(packet);
                let stream = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
                let due = if sequenced {
                    self.sequencer.hold_back(stream, due, now)
                } else {
                    due
                };
                self.hold(heading, due, packet);
            }
        }
    }

    /// Time of leaving, and whether the stream's order must be restored.
    fn transit(
        &mut self,
        heading: Heading,
        (client, server): (IpAddr, IpAddr),
        (now, bytes): (Instant, u32),
        table: &Table,
    ) -> Result<(Instant, bool), Dropped> {
        let [to_server, to_client] = &mut self.uplink_free_at;
        let uplink_free_at = if heading == Heading::Server {
            to_server
        } else {
            to_client
        };
        let passed = table.uplink.transit(uplink_free_at, now, bytes, &mut self.rng)?;
        let link = table.link(client, server);
        let mut uncapped = None;
        let free_at = if link.bytes_per_second.is_some() {
            self.links_free_at.entry((client, server, heading)).or_default()
        } else {
            &mut uncapped
        };
        let due = link.transit(free_at, passed, bytes, &mut self.rng)?;
        Ok((due, table.uplink.must_sequence() || link.must_sequence()))
    }

    fn hold(&mut self, heading: Heading, due: Instant, packet: &[u8]) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        self.under_way.push(Reverse(UnderWay {
            due,
            order: self.next_order,
            heading,
            bytes,
        }));
        self.next_order += 1;
    }

    fn send_due(&mut self) -> io::Result<()> {
        let links = self.links.clone();
        let mut table = links.lock();
        while let Some(Reverse(first)) = self.under_way.peek() {
            let late = clock::now().checked_duration_since(first.due);
            let Some(late) = late else { break };
            let Some(Reverse(packet)) = self.under_way.pop() else {
                break;
            };
            let [client, server] = &mut self.devices;
            let device = if packet.heading == Heading::Server {
                server
            } else {
                client
            };
            match device.write(&packet.bytes) {
                Ok(_) => table.report.record(late),
                // The kernel's queue is full: a router drops then, too.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => table.report.overflowed += 1,
                // A packet that the kernel finds malformed; the wire itself is sound.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => table.report.overflowed += 1,
                Err(error) => return Err(error),
            }
            if self.spare.len() < SPARE {
                self.spare.push(packet.bytes);
            }
        }
        Ok(())
    }
}

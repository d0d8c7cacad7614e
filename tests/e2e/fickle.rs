//! A backend that drops connections, some of them while a client's first bytes are on their way.
//!
//! One thread, one poll; what a connection's fate is, it draws while no client is about, so that it strikes warm
//! connections only.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{SockFilter, SockRef};
use tcp_forwarder::config::Spec;

/// Doomed connections end within this time.
pub const SPREAD: Duration = Duration::from_millis(60);
const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

pub const REQUEST_BYTES: usize = 25;
pub const HELLO_BYTES: usize = 517;
const SECRET_BYTES: usize = 13;

/// A TLS `ClientHello` as to its frames.
pub fn client_hello(filling: u8) -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 252];
    hello.resize(517, filling);
    hello
}

/// Drops the words and the finish that reach a socket from the other side, but no bare acknowledgement. What is
/// closed while it is deaf forgets its filter as soon as its own finish is acknowledged, so its kernel answers what
/// is sent again with a reset, and not a byte can have come in before the close.
pub fn deafen(stream: &impl AsFd) {
    SockRef::from(stream).attach_filter(&WORDLESS).unwrap();
}

pub fn hear_again(stream: &impl AsFd) {
    SockRef::from(stream).detach_filter().unwrap();
}

/// In the language of packet filters, which see a segment from its TCP header on.
const WORDLESS: [SockFilter; 11] = [
    SockFilter::new(0x30, 0, 0, 12), // A = the byte whose upper half is the header's length in words
    SockFilter::new(0x74, 0, 0, 2),  // A >>= 2
    SockFilter::new(0x54, 0, 0, 0x3c), // A &= 0x3c: the length in bytes
    SockFilter::new(0x07, 0, 0, 0),  // X = A
    SockFilter::new(0x80, 0, 0, 0),  // A = the segment's length
    SockFilter::new(0x1c, 0, 0, 0),  // A -= X
    SockFilter::new(0x15, 0, 2, 0),  // a payload: on to the drop
    SockFilter::new(0x30, 0, 0, 13), // A = the flags
    SockFilter::new(0x45, 0, 1, 1),  // no FIN: on to the keeping
    SockFilter::new(0x06, 0, 0, 0),  // keep no byte
    SockFilter::new(0x06, 0, 0, u32::MAX), // keep all
];

pub fn reset(stream: impl AsFd) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    Http,
    Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    ClosesOnTheWay,
    ResetsOnTheWay,
    ResetsOnceAsked,
    ClosesOnceAsked,
}

impl Fate {
    fn is_deaf(self) -> bool {
        matches!(self, Self::ClosesOnTheWay | Self::ResetsOnTheWay)
    }

    /// A client of HTTP can be saved from a close only.
    fn draw(speech: Speech, rng: &mut fastrand::Rng) -> Self {
        match (speech, rng.u8(..10)) {
            (_, 0 | 1) => Self::ClosesOnTheWay,
            (Speech::Tls, 2) => Self::ResetsOnTheWay,
            (Speech::Tls, 3) => Self::ResetsOnceAsked,
            (Speech::Tls, 4) => Self::ClosesOnceAsked,
            (Speech::Http | Speech::Tls, _) => Self::Lives,
        }
    }
}

/// How often each client's request was executed.
pub type Executed = Arc<Vec<AtomicU8>>;

pub enum Order {
    /// Waiting connections draw their fate, and those that come.
    Draw,
    /// None do that any more.
    Hold,
    /// The doomed end, each at its time.
    End,
}

struct Waiting {
    stream: mio::net::TcpStream,
    fate: Fate,
    ends_at: Option<Instant>,
    said: Vec<u8>,
}

/// A backend as its clients' forwarder sees it.
pub struct Fickle {
    pub addr: SocketAddr,
    orders: mpsc::Sender<Order>,
    waker: Waker,
    /// Connections that have drawn and that nobody uses.
    pub settled: Arc<AtomicUsize>,
}

impl Fickle {
    pub fn start(speech: Speech, seed: u64, executed: &Executed) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = tcp_forwarder::net::listen(listen, 1, &Spec::default().server.keepalive)
            .unwrap()
            .remove(0);
        let addr = listener.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)
            .unwrap();
        let waker = Waker::new(poll.registry(), WAKER).unwrap();
        let (orders, inbox) = mpsc::channel();
        let settled = Arc::new(AtomicUsize::new(0));
        let server = Server {
            speech,
            listener,
            poll,
            inbox,
            waiting: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            draws: true,
            executed: Arc::clone(executed),
            settled: Arc::clone(&settled),
        };
        std::thread::spawn(move || server.run());
        Self {
            addr,
            orders,
            waker,
            settled,
        }
    }

    pub fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
        self.waker.wake().unwrap();
    }
}

struct Server {
    speech: Speech,
    listener: mio::net::TcpListener,
    poll: Poll,
    inbox: mpsc::Receiver<Order>,
    waiting: Vec<Option<Waiting>>,
    rng: fastrand::Rng,
    /// Whether who comes now draws at once: no client is about, so it is a warm connection.
    draws: bool,
    executed: Executed,
    settled: Arc<AtomicUsize>,
}

impl Server {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let next = self.waiting.iter().flatten().filter_map(|one| one.ends_at).min();
            let patience = next.map(|at| at.saturating_duration_since(Instant::now()));
            self.poll.poll(&mut events, patience).unwrap();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(place) => self.on_readable(place),
                }
            }
            loop {
                match self.inbox.try_recv() {
                    Ok(Order::Draw) => self.draw_all(),
                    Ok(Order::Hold) => self.draws = false,
                    Ok(Order::End) => self.begin_to_end(),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.end_the_doomed();
            let idle = self.waiting.iter().flatten().filter(|one| one.said.is_empty());
            self.settled
                .store(if self.draws { idle.count() } else { 0 }, Ordering::Relaxed);
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let free = self.waiting.iter().position(Option::is_none);
            let place = free.unwrap_or(self.waiting.len());
            self.poll
                .registry()
                .register(&mut stream, Token(place), Interest::READABLE)
                .unwrap();
            let one = Waiting {
                stream,
                fate: Fate::Lives,
                ends_at: None,
                said: Vec::new(),
            };
            if free.is_none() {
                self.waiting.push(None);
            }
            self.waiting[place] = Some(one);
            if self.draws {
                self.draw(place);
            }
        }
    }

    fn draw_all(&mut self) {
        self.draws = true;
        for place in 0..self.waiting.len() {
            self.draw(place);
        }
    }

    fn draw(&mut self, place: usize) {
        let fate = Fate::draw(self.speech, &mut self.rng);
        let Some(one) = &mut self.waiting[place] else {
            return;
        };
        if one.fate == Fate::Lives && one.said.is_empty() {
            one.fate = fate;
            if fate.is_deaf() {
                deafen(&one.stream);
            }
        }
    }

    fn begin_to_end(&mut self) {
        let now = Instant::now();
        for one in self.waiting.iter_mut().flatten() {
            if one.fate.is_deaf() {
                one.ends_at = Some(now + SPREAD.mul_f64(self.rng.f64()));
            }
        }
    }

    fn end_the_doomed(&mut self) {
        let now = Instant::now();
        for place in &mut self.waiting {
            if let Some(one) = place.take_if(|one| one.ends_at.is_some_and(|at| at <= now)) {
                if one.fate == Fate::ResetsOnTheWay {
                    reset(one.stream);
                } else {
                    drop(one.stream);
                }
            }
        }
    }

    fn on_readable(&mut self, place: usize) {
        if let Some(one) = self.waiting.get_mut(place) {
            one.take_if(|one| !one.serve(self.speech, &self.executed));
        }
    }
}

impl Waiting {
    /// Reads what is there and answers; false if the connection is to be closed now.
    fn serve(&mut self, speech: Speech, executed: &Executed) -> bool {
        let mut room = [0; 2 * HELLO_BYTES];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return false,
                Ok(count) => self.said.extend(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        match speech {
            Speech::Http if self.said.len() < REQUEST_BYTES => true,
            Speech::Http => {
                let id = usize::from_str_radix(std::str::from_utf8(&self.said[5..21]).unwrap(), 16).unwrap();
                executed[id].fetch_add(1, Ordering::Relaxed);
                let _ = self.stream.write_all(&http_reply(id));
                false
            }
            Speech::Tls if self.said.len() < HELLO_BYTES => true,
            Speech::Tls if self.said.len() == HELLO_BYTES => {
                match self.fate {
                    Fate::ResetsOnceAsked => SockRef::from(&self.stream)
                        .set_linger(Some(Duration::ZERO))
                        .unwrap(),
                    Fate::ClosesOnceAsked => {}
                    Fate::Lives | Fate::ClosesOnTheWay | Fate::ResetsOnTheWay => {
                        return self.stream.write_all(&server_hello(&self.said)).is_ok();
                    }
                }
                false
            }
            Speech::Tls if self.said.len() < HELLO_BYTES + SECRET_BYTES => true,
            Speech::Tls => {
                let secret = &self.said[HELLO_BYTES..];
                let id = usize::try_from(u64::from_be_bytes(secret[5..].try_into().unwrap())).unwrap();
                executed[id].fetch_add(1, Ordering::Relaxed);
                let _ = self.stream.write_all(secret);
                false
            }
        }
    }
}

pub fn http_reply(id: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n\r\n{id:016x}").into_bytes()
}

/// As long as the frames of a small one, and bound to the client's: it repeats its random bytes.
pub fn server_hello(client_hello: &[u8]) -> Vec<u8> {
    let mut hello = vec![22, 3, 3, 0, 36, 2, 0, 0, 32];
    hello.extend(&client_hello[11..43]);
    hello
}

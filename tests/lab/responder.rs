//! Backends: one thread in the server namespace that answers on every address of its prefix.
//!
//! The reply of [`Service::Http`] names the address that was asked, so a client can tell which candidate it
//! was given.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use super::Namespace;

const BACKLOG: i32 = 4_096;
const STOP: Token = Token(usize::MAX);
/// A client that sends more than this without a reply being possible is cut off.
const REQUEST_BYTES: usize = 1 << 20;

/// What a port does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// One reply per request head, keep-alive, whose body is the address that was asked.
    Http,
    /// Sends back what it gets.
    Echo,
    /// Says `220 ready` first, as a mail server does, then echoes.
    Greeting,
}

/// The thread that answers; stops when dropped.
pub(crate) struct Responder {
    waker: Waker,
    stopping: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Responder {
    /// Answers in `namespace` on every local address, v4 and v6, at these ports.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub(crate) fn start(namespace: &Namespace, services: &[(u16, Service)]) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), STOP)?;
        let mut listeners = Vec::new();
        for (port, service) in services {
            for address in [
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            ] {
                let address = SocketAddr::from((address, *port));
                let mut listener = namespace.run(|| listen(address))??;
                let token = Token(listeners.len());
                poll.registry()
                    .register(&mut listener, token, Interest::READABLE)?;
                listeners.push((listener, *service));
            }
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicU64::new(0));
        let mut crowd = Crowd {
            next: listeners.len(),
            poll,
            listeners,
            connections: HashMap::new(),
            accepted: Arc::clone(&accepted),
        };
        let stop = Arc::clone(&stopping);
        let thread = namespace.spawn(move || crowd.serve(&stop))?;
        Ok(Self {
            waker,
            stopping,
            accepted,
            thread: Some(thread),
        })
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let woken = self.waker.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        if let (Ok(()), Some(Ok(Err(error)))) = (woken, ended) {
            super::say(&format!("the responder broke: {error}"));
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

struct Crowd {
    poll: Poll,
    listeners: Vec<(TcpListener, Service)>,
    connections: HashMap<Token, Connection>,
    next: usize,
    accepted: Arc<AtomicU64>,
}

struct Connection {
    stream: TcpStream,
    service: Service,
    /// Bytes of a request head that is not complete yet.
    request: Vec<u8>,
    /// Bytes that the client has not taken yet.
    reply: Vec<u8>,
    /// Nothing more is wanted from the client: it has ended, or asked for the end after the reply.
    finished: bool,
}

impl Crowd {
    fn serve(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0_u8; 65_536];
        while !stop.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            for event in &events {
                let token = event.token();
                if token.0 < self.listeners.len() {
                    self.accept(token.0)?;
                } else if let Some(connection) = self.connections.get_mut(&token) {
                    // What goes wrong with a peer costs it its connection, nothing else.
                    if !connection.on_ready(&mut scratch).unwrap_or(false) {
                        self.connections.remove(&token);
                    }
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        while let Some((listener, service)) = self.listeners.get(index) {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            self.accepted.fetch_add(1, Ordering::Relaxed);
            let token = Token(self.next);
            self.next += 1;
            self.poll
                .registry()
                .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let greeting: &[u8] = if *service == Service::Greeting {
                b"220 ready\r\n"
            } else {
                b""
            };
            let connection = Connection {
                stream,
                service: *service,
                request: Vec::new(),
                reply: greeting.to_vec(),
                finished: false,
            };
            self.connections.insert(token, connection);
        }
        Ok(())
    }
}

impl Connection {
    /// Reads, answers and writes what it can; false when the connection is done with.
    fn on_ready(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        while !self.finished {
            match self.stream.read(scratch) {
                Ok(0) => self.finished = true,
                Ok(length) => self.answer(scratch.get(..length).unwrap_or_default())?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        while !self.reply.is_empty() {
            match self.stream.write(&self.reply) {
                Ok(length) => drop(self.reply.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(!self.finished || !self.reply.is_empty())
    }

    fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.service != Service::Http {
            self.reply.extend_from_slice(bytes);
            return Ok(());
        }
        self.request.extend_from_slice(bytes);
        while let Some(end) = self.request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = self.request.drain(..end + 4).collect();
            self.finished |= String::from_utf8_lossy(&head).contains("Connection: close");
            let body = format!("{}\n", self.stream.local_addr()?.ip().to_canonical());
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
            let reply = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            self.reply.extend_from_slice(reply.as_bytes());
        }
        if self.request.len() > REQUEST_BYTES {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

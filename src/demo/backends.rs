//! Small HTTP backends on loopback, all on one thread: each answers any request with its name.
//!
//! A [`Role`] says how late a backend answers and when it is down. Down means that its listener and its idle
//! connections are closed, as in a restart; answers under way are finished.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use super::server::{Client, Fate, Phase, Presence, Role, Server, bind};
use crate::base::clock;

/// Connections at once, over all backends; more are closed at once.
const MAX_CLIENTS: usize = 1024;
/// When a backend that cannot come back (its port was taken meanwhile) tries again.
const RETRY: Duration = Duration::from_millis(250);
const STOP: Token = Token(usize::MAX);

/// Running backends; they stop when this is dropped.
#[derive(Debug)]
pub struct Backends {
    cast: Vec<(Role, SocketAddr)>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Backends {
    /// Starts one backend a role: on 127.0.0.2 and the addresses after it where the system has them, else on
    /// 127.0.0.1; each on a free port of its own.
    ///
    /// # Errors
    /// When there is no port, thread or descriptor to be had.
    pub fn start(roles: &[Role]) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        let now = clock::now();
        let servers = (2..=u8::MAX)
            .zip(roles)
            .map(|(host, role)| Server::start(*role, host, now))
            .collect::<io::Result<Vec<_>>>()?;
        let cast = servers.iter().map(|server| (server.role, server.addr)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let mut stage = Stage {
            poll,
            servers,
            clients: Vec::new(),
            stop: Arc::clone(&stop),
        };
        for index in 0..stage.servers.len() {
            stage.register(index)?;
        }
        let thread = std::thread::Builder::new()
            .name("demo-backends".to_owned())
            .spawn(move || {
                if let Err(error) = stage.run() {
                    log::error!("the backends of the demonstration ended: {error}");
                }
            })?;
        Ok(Self {
            cast,
            stop,
            waker,
            thread: Some(thread),
        })
    }

    /// Who plays, and where.
    #[must_use]
    pub fn cast(&self) -> &[(Role, SocketAddr)] {
        &self.cast
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::warn!("the backends of the demonstration cannot be woken: {error}");
        } else if let Some(thread) = self.thread.take() {
            // It has reported what there is to report.
            drop(thread.join());
        }
    }
}

/// All backends and their connections. Tokens: servers first, then clients.
struct Stage {
    poll: Poll,
    servers: Vec<Server>,
    clients: Vec<Option<Client>>,
    stop: Arc<AtomicBool>,
}

impl Stage {
    fn register(&mut self, index: usize) -> io::Result<()> {
        match self
            .servers
            .get_mut(index)
            .and_then(|server| server.listener.as_mut())
        {
            Some(listener) => self
                .poll
                .registry()
                .register(listener, Token(index), Interest::READABLE),
            None => Ok(()),
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while !self.stop.load(Ordering::Acquire) {
            let now = clock::now();
            let turns = self.servers.iter().filter_map(|server| server.turns_at);
            let thoughts = self.clients.iter().flatten().filter_map(Client::wakes_at);
            let next = turns.chain(thoughts).min();
            // Rounded up: the poll counts milliseconds and must not spin through the last one.
            let patience = next.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
            match self.poll.poll(&mut events, patience) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let now = clock::now();
            for event in &events {
                let Token(index) = event.token();
                if index < self.servers.len() {
                    self.accept(index, now);
                } else if event.token() != STOP {
                    self.advance(index - self.servers.len(), now);
                }
            }
            for index in 0..self.clients.len() {
                if self.client_is_due(index, now) {
                    self.advance(index, now);
                }
            }
            for index in 0..self.servers.len() {
                self.take_turns(index, now);
            }
        }
        Ok(())
    }

    fn client_is_due(&self, index: usize, now: Instant) -> bool {
        let client = self.clients.get(index).and_then(Option::as_ref);
        client.and_then(Client::wakes_at).is_some_and(|at| at <= now)
    }

    fn accept(&mut self, index: usize, now: Instant) {
        while let Some(listener) = self
            .servers
            .get(index)
            .and_then(|server| server.listener.as_ref())
        {
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream, index, now),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nothing is queued; any other failure is over by the next connection.
                Err(_) => return,
            }
        }
    }

    fn admit(&mut self, mut stream: TcpStream, server: usize, now: Instant) {
        let index = match self.clients.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.clients.len() < MAX_CLIENTS => {
                self.clients.push(None);
                self.clients.len() - 1
            }
            None => return,
        };
        let token = Token(self.servers.len() + index);
        let both = Interest::READABLE | Interest::WRITABLE;
        // A refusal costs this connection only.
        let is_ready = stream.set_nodelay(true).is_ok()
            && self.poll.registry().register(&mut stream, token, both).is_ok();
        if let (true, Some(slot)) = (is_ready, self.clients.get_mut(index)) {
            *slot = Some(Client {
                stream,
                server,
                received: Vec::new(),
                phase: Phase::Reading,
            });
            self.advance(index, now);
        }
    }

    /// A late event may meet the next user of a slot: it finds its socket not ready and waits on.
    fn advance(&mut self, index: usize, now: Instant) {
        let Some(slot) = self.clients.get_mut(index) else {
            return;
        };
        let Some(client) = slot else { return };
        let Some(server) = self.servers.get(client.server) else {
            return;
        };
        if client.advance(server, now) == Fate::Ends {
            *slot = None;
        }
    }

    /// Takes a backend down or brings it back when its time has come.
    fn take_turns(&mut self, index: usize, now: Instant) {
        let Some(server) = self.servers.get_mut(index) else {
            return;
        };
        let (Presence::Turns { up, down }, Some(at)) = (server.role.presence, server.turns_at) else {
            return;
        };
        if at > now {
            return;
        }
        if server.listener.take().is_some() {
            server.turns_at = Some(now + down);
            for slot in &mut self.clients {
                slot.take_if(|client| client.server == index && client.is_idle());
            }
            return;
        }
        match bind(server.addr) {
            Ok(listener) => {
                server.listener = Some(listener);
                server.turns_at = Some(now + up);
                if let Err(error) = self.register(index) {
                    log::warn!("a backend of the demonstration cannot be polled: {error}");
                }
            }
            Err(_) => server.turns_at = Some(now + RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn connect(addr: SocketAddr) -> io::Result<std::net::TcpStream> {
        let stream = std::net::TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let give_up = clock::now() + PATIENCE;
        while !is_so() {
            assert!(clock::now() < give_up, "never: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn each_answers_with_its_name_after_its_delay() {
        let delay = Duration::from_millis(60);
        let roles = [Role::steady("one", Duration::ZERO), Role::steady("two", delay)];
        let backends = Backends::start(&roles).expect("start");
        for (role, addr) in backends.cast() {
            let begun = clock::now();
            let mut stream = connect(*addr).expect("connect");
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .expect("send");
            stream
                .write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
                .expect("send");
            let mut text = String::new();
            stream
                .read_to_string(&mut text)
                .expect("two answers, then the end");
            assert_eq!(
                text.matches(&format!("hello from {} at {addr}\n", role.name))
                    .count(),
                2
            );
            assert!(clock::now() - begun >= 2 * role.delay);
        }
    }

    #[test]
    fn a_head_request_gets_no_body_and_garbage_no_answer() {
        let backends = Backends::start(&[Role::steady("one", Duration::ZERO)]).expect("start");
        let addr = backends.cast()[0].1;
        let ask = |bytes: &[u8]| {
            let mut stream = connect(addr).expect("connect");
            stream.write_all(bytes).expect("send");
            let mut text = String::new();
            drop(stream.read_to_string(&mut text));
            text
        };
        assert!(ask(b"HEAD / HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n"));
        assert_eq!(ask(b"SSH-2.0-x\r\n"), "");
    }

    #[test]
    fn the_unsteady_goes_and_comes_back_and_the_dead_never_does() {
        let turn = Duration::from_millis(40);
        let roles = [
            Role::unsteady("flaky", Duration::ZERO, turn, turn),
            Role::dead("dead"),
        ];
        let backends = Backends::start(&roles).expect("start");
        let (flaky, dead) = (backends.cast()[0].1, backends.cast()[1].1);
        for _ in 0..3 {
            wait_until("up", || connect(flaky).is_ok());
            wait_until("down", || connect(flaky).is_err());
            assert!(connect(dead).is_err());
        }
    }

    #[test]
    fn going_down_closes_idle_connections_but_finishes_answers() {
        let (up, down) = (Duration::from_millis(300), Duration::from_secs(60));
        let roles = [Role::unsteady("slow", Duration::from_millis(600), up, down)];
        let backends = Backends::start(&roles).expect("start");
        let addr = backends.cast()[0].1;
        let mut busy = connect(addr).expect("up at first");
        busy.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("send");
        let mut idle = connect(addr).expect("up at first");
        assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "closed");
        wait_until("down", || connect(addr).is_err());
        let mut text = String::new();
        busy.read_to_string(&mut text).expect("an answer");
        assert!(text.contains("hello from slow"), "{text}");
    }

    #[test]
    fn a_stop_closes_all() {
        let backends = Backends::start(&[Role::steady("one", Duration::ZERO)]).expect("start");
        let addr = backends.cast()[0].1;
        let mut open = connect(addr).expect("connect");
        drop(backends);
        assert_eq!(open.read(&mut [0]).unwrap_or(0), 0);
        assert!(connect(addr).is_err());
    }
}

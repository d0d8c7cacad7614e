//! The addresses behind the name of a Redis, which may stand in a file of hosts: the system's resolver knows. It has no deadline, so it
//! is asked on a thread of its own.
//!
//! Invariant: of one name at most one question is under way, however often it is asked for; whoever asks waits until its deadline and
//! no longer, and an answer that comes later is there for the next one.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::connection::Fault;
use crate::base::clock;

/// Addresses of a name that are tried.
const MOST_ADDRS: usize = 4;

/// Who knows the addresses of a name, and may take long over it.
type Resolver = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// A question that is under way.
#[derive(Debug)]
struct Question {
    host: String,
    port: u16,
    answer: Receiver<io::Result<Vec<SocketAddr>>>,
}

/// Looks names up.
pub struct Lookup {
    resolver: Resolver,
    question: Option<Question>,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("question", &self.question)
            .finish_non_exhaustive()
    }
}

impl Default for Lookup {
    fn default() -> Self {
        Self::by(by_system)
    }
}

impl Lookup {
    /// Asks this resolver.
    #[must_use]
    pub fn by(resolver: Resolver) -> Self {
        Self {
            resolver,
            question: None,
        }
    }

    /// Up to four addresses of a host, which is a name or an address without brackets.
    ///
    /// # Errors
    /// What the resolver says, or that it says nothing until the deadline: its answer is awaited by the next call for that name.
    pub fn addrs(&mut self, host: &str, port: u16, until: Instant) -> Result<Vec<SocketAddr>, Fault> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let is_same = |question: &Question| question.host == host && question.port == port;
        let question = match self.question.take().filter(is_same) {
            Some(question) => question,
            None => self.ask(host, port)?,
        };
        let left = until.saturating_duration_since(clock::now());
        match question.answer.recv_timeout(left) {
            Ok(addrs) => Ok(addrs?),
            Err(RecvTimeoutError::Timeout) => {
                self.question = Some(question);
                Err(Fault::Late)
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(io::Error::other("the thread that looks names up ended without an answer").into())
            }
        }
    }

    fn ask(&self, host: &str, port: u16) -> io::Result<Question> {
        let (say, answer) = channel();
        let (resolver, name) = (self.resolver, host.to_owned());
        // Nobody awaits its end: it has nothing but the name, and ends when the resolver does.
        std::thread::Builder::new()
            .name("fleet-lookup".to_owned())
            .spawn(move || drop(say.send(resolver(&name, port))))?;
        Ok(Question {
            host: host.to_owned(),
            port,
            answer,
        })
    }
}

fn by_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.take(MOST_ADDRS).collect())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use super::*;

    const ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7);
    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    static SILENCE: Mutex<()> = Mutex::new(());
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    /// A resolver that says nothing for as long as somebody has it silent.
    #[expect(clippy::unnecessary_wraps, reason = "it is a resolver")]
    fn silent(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        drop(silence());
        Ok(vec![SocketAddr::new(ADDR.ip(), port)])
    }

    fn silence() -> MutexGuard<'static, ()> {
        SILENCE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn a_resolver_that_says_nothing_is_waited_for_until_the_deadline_and_asked_once() {
        let mut lookup = Lookup::by(silent);
        let silence = silence();
        let begun = clock::now();
        for _ in 0..5 {
            let late = lookup.addrs("redis.example.org", 7, clock::now() + SHORT);
            assert!(matches!(late, Err(Fault::Late)), "{late:?}");
        }
        assert!(clock::now() - begun < LONG / 2, "nobody is held up");
        drop(silence);
        let found = lookup.addrs("redis.example.org", 7, clock::now() + LONG);
        assert_eq!(found.expect("it has been said"), [ADDR]);
        assert_eq!(ASKED.load(Ordering::SeqCst), 1, "it was asked once");
        let other = lookup.addrs("other.example.org", 9, clock::now() + LONG);
        assert_eq!(
            other.expect("an answer")[0].port(),
            9,
            "of another name another question"
        );
    }

    #[test]
    fn an_address_is_no_name_and_what_is_none_is_a_fault() {
        let mut lookup = Lookup::by(|_, _| Err(ErrorKind::NotFound.into()));
        let past = clock::now();
        assert_eq!(lookup.addrs("127.0.0.1", 7, past).expect("it is one"), [ADDR]);
        let v6 = lookup.addrs("::1", 7, past).expect("it is one");
        assert_eq!(v6, ["[::1]:7".parse::<SocketAddr>().expect("an address")]);
        let fault = lookup.addrs("nowhere.example", 7, clock::now() + LONG);
        assert!(matches!(fault, Err(Fault::Io(_))), "{fault:?}");
        let addrs = Lookup::default().addrs("localhost", 7, clock::now() + LONG);
        assert!(
            addrs
                .expect("this machine")
                .iter()
                .all(|addr| addr.ip().is_loopback())
        );
    }
}

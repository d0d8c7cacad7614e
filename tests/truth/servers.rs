//! Servers that answer a question with their number, or do something else; and clients that ask.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::support::{Forwarder, PATIENCE, pause};

/// What a client says.
const QUESTION: &[u8; 4] = b"ask\n";

/// What a server does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Conduct {
    /// Answers with its number, and ends.
    Answer,
    /// Resets once it was asked.
    Reset,
    /// Closes as soon as it has accepted.
    Close,
    /// Hears, and never says anything.
    Mute,
    /// Hears the question, and neither says anything nor notices that its client leaves.
    Deaf,
    /// Answers after a quarter of a second.
    Slow,
    /// Ends once it was asked, as servers of some protocols do.
    Wordless,
}

const CONDUCTS: [Conduct; 7] = [
    Conduct::Answer,
    Conduct::Reset,
    Conduct::Close,
    Conduct::Mute,
    Conduct::Deaf,
    Conduct::Slow,
    Conduct::Wordless,
];

/// A server; its threads end with the process.
pub struct Server {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    number: u8,
    conduct: AtomicU8,
    /// Whether it does nothing at all, as a stopped process: its kernel goes on accepting.
    is_frozen: AtomicBool,
    accepted: AtomicU64,
    /// Connections that ended before anything was asked.
    unasked: AtomicU64,
    /// For how long it waits to be asked.
    timer: Duration,
}

impl Server {
    /// One with a thread for each connection.
    pub fn start(number: u8, conduct: Conduct) -> Self {
        Self::with(number, conduct, PATIENCE, None)
    }

    /// One that closes what has not asked after this time.
    pub fn impatient(number: u8, timer: Duration) -> Self {
        Self::with(number, Conduct::Answer, timer, None)
    }

    /// One that handles so many connections at once, in the order in which they came, with a queue of this length.
    pub fn of_few(number: u8, workers: usize, queue: i32) -> Self {
        Self::with(number, Conduct::Answer, PATIENCE, Some((workers, queue)))
    }

    fn with(number: u8, conduct: Conduct, timer: Duration, few: Option<(usize, i32)>) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&SockAddr::from(any)).unwrap();
        listener.listen(few.map_or(1024, |(_, queue)| queue)).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let listener = Arc::new(std::net::TcpListener::from(listener));
        let shared = Arc::new(Shared {
            number,
            conduct: AtomicU8::new(0),
            is_frozen: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            unasked: AtomicU64::new(0),
            timer,
        });
        let server = Self {
            addr,
            shared: Arc::clone(&shared),
        };
        server.behave(conduct);
        for _ in 0..few.map_or(1, |(workers, _)| workers) {
            let (listener, shared) = (Arc::clone(&listener), Arc::clone(&shared));
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    shared.accepted.fetch_add(1, Ordering::Relaxed);
                    let shared = Arc::clone(&shared);
                    if few.is_some() {
                        shared.serve(stream);
                    } else {
                        std::thread::spawn(move || shared.serve(stream));
                    }
                }
            });
        }
        server
    }

    pub fn behave(&self, conduct: Conduct) {
        self.shared.conduct.store(conduct as u8, Ordering::Relaxed);
    }

    pub fn freeze(&self, is_frozen: bool) {
        self.shared.is_frozen.store(is_frozen, Ordering::Relaxed);
    }

    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    pub fn unasked(&self) -> u64 {
        self.shared.unasked.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        self.thaw();
        let conduct = CONDUCTS[usize::from(self.conduct.load(Ordering::Relaxed))];
        if conduct == Conduct::Close {
            return;
        }
        stream.set_read_timeout(Some(self.timer)).unwrap();
        let mut question = [0; QUESTION.len()];
        if stream.read_exact(&mut question).is_err() {
            self.unasked.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.thaw();
        match conduct {
            Conduct::Answer => self.answer(&mut stream),
            Conduct::Slow => {
                pause(Duration::from_millis(250));
                self.answer(&mut stream);
            }
            Conduct::Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
            Conduct::Deaf => pause(self.timer),
            Conduct::Mute => drop(stream.read(&mut question)),
            Conduct::Wordless | Conduct::Close => {}
        }
    }

    fn answer(&self, stream: &mut TcpStream) {
        // Whoever has gone need not hear it.
        let _ = stream.write_all(&[self.number]);
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn thaw(&self) {
        while self.is_frozen.load(Ordering::Relaxed) {
            pause(Duration::from_millis(5));
        }
    }
}

/// A candidate list of these.
pub fn list(servers: &[Server]) -> String {
    let lines: Vec<_> = servers.iter().map(|server| server.addr.to_string()).collect();
    lines.join("\n")
}

/// What one client got, and how long that took.
#[derive(Debug, Clone, Copy)]
pub struct Got {
    /// The number of the server that answered.
    pub number: Option<u8>,
    pub took: Duration,
}

/// Asks through the forwarder, for at most so long.
pub fn ask(forwarder: SocketAddr, patience: Duration) -> Got {
    let began = Instant::now();
    let number = try_to_ask(forwarder, patience).ok();
    Got {
        number,
        took: began.elapsed(),
    }
}

fn try_to_ask(forwarder: SocketAddr, patience: Duration) -> io::Result<u8> {
    let mut stream = TcpStream::connect_timeout(&forwarder, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(QUESTION)?;
    let mut number = [0];
    stream.read_exact(&mut number)?;
    Ok(number[0])
}

/// Asks, and finishes before any answer can be late: in the same breath, or after a moment.
pub fn leave_early(forwarder: SocketAddr, at_once: bool) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&forwarder, PATIENCE).unwrap();
    stream.write_all(QUESTION).unwrap();
    if !at_once {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // Whether an answer comes does not matter.
        let _ = stream.read(&mut [0]);
    }
    // It may have been answered and closed by then.
    let _ = stream.shutdown(Shutdown::Write);
    stream
}

/// Asks so many times, one after the other.
pub fn ask_often(forwarder: &Forwarder, times: usize, patience: Duration, gap: Duration) -> Vec<Got> {
    let addr = forwarder.addr();
    let one = |_| {
        pause(gap);
        ask(addr, patience)
    };
    (0..times).map(one).collect()
}

/// Asks at a steady pace, each client for itself, for so long.
pub fn ask_steadily(
    forwarder: &Forwarder,
    gap: Duration,
    time: Duration,
    patience: Duration,
) -> Vec<(Duration, Got)> {
    let (addr, began) = (forwarder.addr(), Instant::now());
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        while began.elapsed() < time {
            let at = began.elapsed();
            let all = &all;
            scope.spawn(move || {
                let got = ask(addr, patience);
                all.lock().unwrap().push((at, got));
            });
            pause(gap);
        }
    });
    let mut all = all.into_inner().unwrap();
    all.sort_by_key(|(at, _)| *at);
    all
}

/// What a client does that is no fault of its server.
#[derive(Debug, Clone, Copy)]
pub enum Whim {
    /// Connects and says nothing until it has heard all.
    Listens,
    /// Connects, says nothing and leaves.
    SaysNothing,
    /// Asks and leaves at once.
    LeavesEarly,
    /// Asks and resets at once.
    ResetsEarly,
    /// Asks, finishes, and waits for the end.
    FinishesFirst,
    /// Finishes without a word, and waits for the end.
    OnlyFinishes,
}

/// A client with a whim, which takes at most so long.
pub fn follow(whim: Whim, forwarder: SocketAddr, patience: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&forwarder, patience)?;
    stream.set_read_timeout(Some(patience))?;
    match whim {
        Whim::Listens => drop(stream.read_to_end(&mut Vec::new())?),
        Whim::SaysNothing => pause(Duration::from_millis(20)),
        Whim::LeavesEarly => stream.write_all(QUESTION)?,
        Whim::ResetsEarly => {
            stream.write_all(QUESTION)?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        Whim::FinishesFirst | Whim::OnlyFinishes => {
            if matches!(whim, Whim::FinishesFirst) {
                stream.write_all(QUESTION)?;
            }
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_end(&mut Vec::new())?;
        }
    }
    Ok(())
}

pub fn failed(got: &[Got]) -> usize {
    got.iter().filter(|one| one.number.is_none()).count()
}

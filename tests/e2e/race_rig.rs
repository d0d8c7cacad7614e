//! A reactor between backends that take their time to take a connect: a dial over loopback is slow if the queue at its
//! other end is full, for its packets are dropped, and sent again each second or so.
//!
//! The balancer's first turn is the first backend's, so who is dialled first is known.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tcp_forwarder::config::{Algorithm, Spec, Strategy};
use tcp_forwarder::service::traffic::Traffic;

use crate::rig::{Rig, own_ip, wait_for};

/// Longer than a packet that is lost is waited for, whatever else this machine does.
const LONG: Duration = Duration::from_secs(15);

/// A backend that does not take connects, until it answers, or refuses.
pub struct Slow {
    pub addr: SocketAddr,
    listener: Socket,
    queued: Vec<TcpStream>,
}

impl Slow {
    pub fn start() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // An address of its own: nobody else listens there once it refuses.
        listener.bind(&SocketAddr::from((own_ip(), 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(150)) {
            queued.push(stream);
        }
        Self {
            addr,
            listener,
            queued,
        }
    }

    /// Answers every byte with its name from now on.
    pub fn answer(self, name: u8) {
        self.listener.listen(1024).unwrap();
        drop(self.queued);
        let listener = TcpListener::from(self.listener);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    while stream.read_exact(&mut [0]).is_ok() && stream.write_all(&[name]).is_ok() {}
                });
            }
        });
    }

    /// Refuses connects from now on.
    pub fn refuse(self) {
        drop(self);
    }
}

pub fn spec(strategy: Strategy) -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = strategy;
    spec.pools.algorithm = Algorithm::RoundRobin;
    spec.pools.dial_timeout = LONG;
    spec.pools.race.delay = Some(Duration::from_millis(30));
    spec
}

/// A reactor between slow backends.
pub struct Race {
    pub rig: Rig,
    /// Who is dialled first, and second.
    pub slow: [Slow; 2],
}

impl Race {
    pub fn over(spec: &Spec) -> Self {
        Self::with(spec, &[])
    }

    /// The same, with other backends behind them in turn.
    pub fn with(spec: &Spec, others: &[SocketAddr]) -> Self {
        let slow = [Slow::start(), Slow::start()];
        let mut all = slow.each_ref().map(|one| one.addr).to_vec();
        all.extend(others);
        let rig = Rig::start(spec, &all, 1);
        Self { rig, slow }
    }

    /// A client for which both are dialled.
    pub fn client(&self) -> TcpStream {
        let client = self.rig.connect();
        wait_for("both dials are under way", || {
            self.in_use(0) == 1 && self.in_use(1) == 1
        });
        client
    }

    fn in_use(&self, place: usize) -> u32 {
        in_use(&self.rig, place)
    }
}

pub fn in_use(rig: &Rig, place: usize) -> u32 {
    rig.set().backends[place].shares[0].in_use.load(Ordering::Relaxed)
}

/// Second dials that won, and that lost.
pub fn races(rig: &Rig) -> (u64, u64) {
    let of = |cell: fn(&Traffic) -> &_| rig.sum_counters(cell);
    (of(|one| &one.races_won), of(|one| &one.races_lost))
}

/// Who answers a client.
pub fn answer(client: &mut TcpStream) -> u8 {
    client.write_all(b"?").unwrap();
    let mut name = [0];
    client.read_exact(&mut name).unwrap();
    name[0]
}

/// Nothing is left of any client, but so many warm connections.
pub fn expect_rest(rig: &Rig, warm: u32) {
    wait_for("all is at rest", || {
        rig.clients() == 0 && rig.in_use() == 0 && rig.warm() == warm && rig.upstreams() == u64::from(warm)
    });
}

/// Looks at all cases at once: most of their time is that of lost packets.
pub fn for_each<C: Send>(cases: impl IntoIterator<Item = C>, look: impl Fn(C) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            let look = &look;
            scope.spawn(move || look(case));
        }
    });
}

/// Strategies, and how many connections to two backends are warm under each.
pub const POOLS: [(Strategy, u32); 2] = [(Strategy::Off, 0), (Strategy::Static { size_per_remote: 1 }, 2)];

//! A node of a fleet inside this process: the forwarder's own exchanges over its own connections, as its thread makes them, but
//! when the test says.

use std::net::SocketAddr;
use std::time::Duration;

use tcp_forwarder::base::clock;
use tcp_forwarder::config::{Cluster, Endpoint};
use tcp_forwarder::fleet::connection::{Connection, Fault};
use tcp_forwarder::fleet::exchange::{Exchange, Told};
use tcp_forwarder::fleet::message::{Hello, Word};
use tcp_forwarder::scorer::sample::{Heard, Outcome};
use tcp_forwarder::service::fleet::FleetView;

/// The longest that one exchange may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all of them serve.
pub const SERVICE: u32 = 7;

pub struct Node {
    cluster: Cluster,
    endpoint: Endpoint,
    addr: SocketAddr,
    pub exchange: Exchange,
    connection: Option<Connection>,
    /// Bytes sent and received.
    pub moved: u64,
}

impl Node {
    /// The one of this number, in the fleet `name`.
    pub fn new(id: u64, addr: SocketAddr, name: &str, interval: Duration) -> Self {
        let cluster = Cluster {
            url: Some(format!("redis://{addr}")),
            name: name.to_owned(),
            interval,
            ..Cluster::default()
        };
        let hello = Hello {
            name: format!("node-{id}"),
            vantage: "here".to_owned(),
            services: vec![SERVICE],
        };
        Self {
            endpoint: cluster.endpoint().unwrap(),
            addr,
            exchange: Exchange::new(id, name, interval, hello),
            cluster,
            connection: None,
            moved: 0,
        }
    }

    /// One exchange, after which a connection that failed is closed.
    pub fn turn(&mut self, words: &[Word]) -> Result<Vec<Told>, Fault> {
        let outcome = self.exchange(words);
        if let Some(connection) = &mut self.connection {
            let (sent, received) = std::mem::take(&mut connection.moved);
            self.moved += sent + received;
        }
        if outcome.is_err() {
            self.connection = None;
        }
        outcome
    }

    fn exchange(&mut self, words: &[Word]) -> Result<Vec<Told>, Fault> {
        let until = clock::now() + PATIENCE;
        if self.connection.is_none() {
            self.connection = Some(Connection::open(
                &self.cluster,
                &self.endpoint,
                &[self.addr],
                until,
            )?);
            self.exchange.begin();
        }
        let connection = self.connection.as_mut().unwrap();
        if self.exchange.needs_clock() {
            let answers = connection.ask(&Exchange::ask_clock(), 1, until)?;
            self.exchange.set_clock(&answers[0], clock::now())?;
        }
        let (commands, asked) = self.exchange.ask(words, clock::now());
        let answers = connection.ask(&commands, asked, until)?;
        let mut told = self.exchange.take(&answers, clock::now())?;
        if let Some(commands) = self.exchange.ask_nodes(clock::now()) {
            let answers = connection.ask(&commands, 1, until)?;
            told.extend(self.exchange.take_nodes(&answers[0], clock::now())?);
        }
        while let Some(commands) = self.exchange.ask_more() {
            let answers = connection.ask(&commands, 1, until)?;
            told.extend(self.exchange.take_more(&answers[0], clock::now())?);
        }
        if let Some((commands, ids)) = self.exchange.ask_names() {
            let answers = connection.ask(&commands, 1, until)?;
            self.exchange.take_names(&ids, &answers[0])?;
        }
        Ok(told)
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.connection = None;
    }

    pub fn view(&self) -> FleetView {
        self.exchange.view(true)
    }
}

/// That a candidate of this number was reached in 20 ms.
pub fn reached(number: u16) -> Word {
    let [high, low] = number.to_be_bytes();
    Word {
        service: SERVICE,
        addr: SocketAddr::from(([192, 0, high, low], 443)),
        outcome: Outcome::Success(Duration::from_millis(20)),
        heard: Heard::NotAsked,
        age: Duration::ZERO,
    }
}

//! The fleet thread: [`Exchange`] with a connection. It alone waits for the Redis.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::connection::{Connection, Fault};
use super::exchange::{Exchange, MOST_MESSAGES, Told, public_prefix, word};
use super::message::{Hello, MOST_SAMPLES, Word};
use crate::base::clock;
use crate::base::told::Told as Condition;
use crate::config::Cluster;
use crate::net;
use crate::scorer::sample::{Sample, Source};
use crate::service::directory::{Directory, Phase, Service};
use crate::service::fleet::NodeId;
use crate::service::hub::Hub;

/// The longest that one exchange may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Least time between two exchanges, however urgent.
const LEAST_PAUSE: Duration = Duration::from_millis(250);

/// Whoever has written nothing for so long that cannot be read does so no more.
const UNREADABLE_FOR: Duration = Duration::from_secs(60);

/// Candidates of each list that are looked at for one beyond this machine.
const LOOKED_AT: u128 = 16;

/// Whoever shares with others.
#[derive(Debug)]
pub struct Sharer {
    hub: Arc<Hub>,
    me: NodeId,
    /// What is in force, and its exchanges.
    state: Option<(Cluster, Exchange)>,
    connection: Option<Connection>,
    /// When an exchange last succeeded, and when the last one began.
    heard_at: Option<Instant>,
    began_at: Option<Instant>,
    failing: Condition,
    namesakes: Condition,
    /// When something could not be read last, and what the log heard of it.
    unreadable_at: Option<Instant>,
    unreadable: Condition,
}

impl Sharer {
    /// The node of this number.
    #[must_use]
    pub fn new(hub: Arc<Hub>, me: NodeId) -> Self {
        Self {
            hub,
            me,
            state: None,
            connection: None,
            heard_at: None,
            began_at: None,
            failing: Condition::default(),
            namesakes: Condition::default(),
            unreadable_at: None,
            unreadable: Condition::default(),
        }
    }

    /// The body of the thread; returns when the stop begins.
    pub fn run(mut self) {
        loop {
            let directory = self.hub.directory.load();
            if directory.phase == Phase::Stopping {
                return;
            }
            self.adopt(&directory);
            let now = clock::now();
            if self.state.is_some() && self.is_due(now) {
                self.turn(&directory, now);
            }
            let next = self.state.as_ref().and(self.began_at).map(|at| at + LEAST_PAUSE);
            let now = clock::now();
            match next {
                // Who rings within the least pause is heard after it.
                Some(next) if next > now => std::thread::park_timeout(next - now),
                Some(_) | None => {}
            }
            let until = self.state.as_ref().zip(self.began_at);
            let until = until.map(|((cluster, _), at)| at + cluster.interval);
            if self.hub.bells.fleet.wait(until) && self.state.is_some() {
                self.began_at = None;
            }
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let (Some((cluster, _)), Some(at)) = (&self.state, self.began_at) else {
            return true;
        };
        at + cluster.interval <= now
    }

    /// Follows the configuration.
    fn adopt(&mut self, directory: &Directory) {
        let config = self.hub.config.load();
        let cluster = config.as_ref().as_ref().map(|config| &config.process.cluster);
        let cluster = cluster.filter(|cluster| cluster.endpoint().is_some());
        if self.state.as_ref().map(|(present, _)| present) != cluster {
            self.connection = None;
            self.state = cluster.map(|cluster| {
                let hello = self.hello(cluster, directory);
                let exchange = Exchange::new(self.me, &cluster.name, cluster.interval, hello);
                (cluster.clone(), exchange)
            });
            self.hub.fleet.switch(self.state.is_some());
            self.began_at = None;
            self.publish(false);
        }
    }

    fn hello(&self, cluster: &Cluster, directory: &Directory) -> Hello {
        let number = format!("{:016x}", self.me);
        let vantage = if cluster.vantage.is_empty() {
            // Two private networks of one prefix are two vantages.
            source(directory).unwrap_or_else(|| number.clone())
        } else {
            cluster.vantage.clone()
        };
        Hello {
            name: if cluster.node.is_empty() {
                number
            } else {
                cluster.node.clone()
            },
            vantage,
            services: directory.services.iter().map(|service| service.key).collect(),
        }
    }

    /// One exchange.
    fn turn(&mut self, directory: &Directory, now: Instant) {
        self.began_at = Some(now);
        let Some((cluster, _)) = &self.state else {
            return;
        };
        let hello = self.hello(cluster, directory);
        let outcome = self.exchange(directory, hello, now);
        let counts = &self.hub.fleet.counts;
        if let Some(connection) = &mut self.connection {
            let (sent, received) = std::mem::take(&mut connection.moved);
            counts.sent_bytes.fetch_add(sent, Ordering::Relaxed);
            counts.received_bytes.fetch_add(received, Ordering::Relaxed);
        }
        let now = clock::now();
        if let Some((_, exchange)) = &mut self.state {
            counts
                .refused
                .fetch_add(std::mem::take(&mut exchange.refused), Ordering::Relaxed);
            if std::mem::take(&mut exchange.unreadable) > 0 {
                self.unreadable_at = Some(now);
            }
        }
        let is_failing = outcome.is_err();
        if is_failing {
            counts.failures.fetch_add(1, Ordering::Relaxed);
            self.connection = None;
        } else {
            self.heard_at = Some(now);
        }
        if self.failing.is_due(is_failing, now) {
            match &outcome {
                Ok(()) => info!(target: "tcp_forwarder::fleet", "the fleet is heard of again"),
                Err(fault) => warn!(
                    target: "tcp_forwarder::fleet",
                    "nothing is shared with the fleet, this forwarder goes on by itself: {fault}"
                ),
            }
        }
        if let Some((_, exchange)) = &mut self.state {
            let horizon = exchange.horizon();
            if self
                .heard_at
                .is_none_or(|at| now.saturating_duration_since(at) > horizon)
            {
                exchange.forget();
            }
        }
        self.tell_unreadable(now);
        self.publish(!is_failing);
    }

    /// Says once that somebody writes what cannot be read, until nobody has for a while.
    fn tell_unreadable(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < UNREADABLE_FOR;
        let is_on = self.unreadable_at.is_some_and(is_recent);
        if self.unreadable.is_due(is_on, now) && is_on {
            warn!(
                target: "tcp_forwarder::fleet",
                "in the fleet stands what no forwarder of this version says; it is refused"
            );
        }
    }

    fn exchange(&mut self, directory: &Directory, hello: Hello, now: Instant) -> Result<(), Fault> {
        let Some((cluster, exchange)) = &mut self.state else {
            return Ok(());
        };
        let until = now + PATIENCE;
        exchange.introduce(hello);
        if self.connection.is_none() {
            let endpoint = cluster.endpoint().ok_or(Fault::NoAnswer)?;
            self.connection = Some(Connection::open(cluster, &endpoint, until)?);
            exchange.begin();
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if exchange.needs_clock() {
            let answers = connection.ask(&Exchange::ask_clock(), 1, until)?;
            exchange.set_clock(answers.first().ok_or(Fault::NoAnswer)?, clock::now())?;
        }
        let samples = self.hub.fleet.take_told(MOST_SAMPLES * MOST_MESSAGES);
        let key = |sample: &Sample| {
            let mut services = directory.services.iter();
            services
                .find(|one| one.live.id == sample.candidate.service)
                .map(|one| one.key)
        };
        let words: Vec<Word> = samples
            .iter()
            .filter_map(|sample| Some(word(key(sample)?, sample.candidate.addr, sample, now)))
            .collect();
        let (commands, asked) = exchange.ask(&words, clock::now());
        let answers = connection.ask(&commands, asked, until)?;
        let told = exchange.take(&answers, clock::now())?;
        self.hub
            .fleet
            .counts
            .told
            .fetch_add(words.len() as u64, Ordering::Relaxed);
        if let Some((commands, ids)) = exchange.ask_names() {
            let answers = connection.ask(&commands, 1, until)?;
            exchange.take_names(&ids, answers.first().ok_or(Fault::NoAnswer)?)?;
        }
        self.hand_in(directory, &told);
        Ok(())
    }

    /// Hands what others say of our candidates to whoever makes something of it.
    fn hand_in(&self, directory: &Directory, told: &[Told]) {
        let now = clock::now();
        let sample = |told: &Told| {
            let is_its = |one: &&Arc<Service>| one.key == told.word.service;
            let service = directory.services.iter().find(is_its)?;
            let is_candidate = service.live.candidates.load().contains(&told.word.addr);
            let at = now.checked_sub(told.age).filter(|_| is_candidate)?;
            Some(Sample {
                candidate: crate::service::id::Candidate {
                    service: service.live.id,
                    addr: told.word.addr,
                },
                outcome: told.word.outcome,
                heard: told.word.heard,
                source: Source::Peer,
                began_at: at,
                at,
            })
        };
        let samples: Vec<Sample> = told.iter().filter_map(sample).collect();
        let refused = told.len() - samples.len();
        self.hub
            .fleet
            .counts
            .refused
            .fetch_add(refused as u64, Ordering::Relaxed);
        if !samples.is_empty() {
            for sample in &samples {
                self.hub.samples.push(*sample);
            }
            self.hub.fleet.hear(&samples);
        }
    }

    /// Publishes who is there, if that is another fleet than before; and says if two have one name.
    fn publish(&mut self, is_connected: bool) {
        let view = self
            .state
            .as_ref()
            .map(|(_, exchange)| exchange.view(is_connected));
        let view = view.unwrap_or_default();
        let is_twice = !view.name.is_empty() && view.others.iter().any(|node| node.name == view.name);
        if self.namesakes.is_due(is_twice, clock::now()) && is_twice {
            warn!(
                target: "tcp_forwarder::fleet",
                "another forwarder of the fleet is called {}, too (cluster.node)", view.name
            );
        }
        self.hub
            .fleet
            .view
            .replace(|present| (*present != view).then(|| Arc::new(view)));
    }
}

/// The public network that connections to candidates leave by; none if it is a private one.
fn source(directory: &Directory) -> Option<String> {
    let some = directory.services.iter().flat_map(|service| {
        let list = service.live.candidates.load();
        let places = (0..LOOKED_AT).filter_map(|place| list.at(place));
        places.map(|addr| (addr, service)).collect::<Vec<_>>()
    });
    let mut beyond = some.filter(|(addr, _)| !addr.ip().is_loopback());
    let (addr, service) = beyond.next()?;
    public_prefix(net::source_towards(addr, &service.spec.remotes.bind)?)
}

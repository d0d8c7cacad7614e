//! The fleet thread: [`Exchange`] with a connection. It alone waits for the Redis.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::claims::{Claims, Limited};
use super::connection::{Connection, Fault, refuse_error};
use super::exchange::{Exchange, MOST_MESSAGES, OUTSET_LIFE, Told, public_prefix};
use super::lookup::Lookup;
use super::message::{Hello, MOST_SAMPLES, Outset, Word};
use super::nodes::text_of;
use super::outset;
use crate::base::clock;
use crate::base::grid::Grid;
use crate::base::told::Told as Condition;
use crate::config::Cluster;
use crate::net;
use crate::scorer::link::Phase as LinkPhase;
use crate::scorer::sample::{Heard, Outcome, Sample, Source};
use crate::service::directory::{Directory, Phase, Service};
use crate::service::fleet::{NodeId, Standing};
use crate::service::hub::Hub;
use crate::service::id::ServiceId;

/// The longest that one exchange may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The part of that in which it is read on what others have said: of a Redis that answers late the rest is read with the next exchange,
/// and this one has not failed for it.
const READING: Duration = PATIENCE.checked_div(2).expect("it is not 0");

/// Least time between two exchanges, however urgent.
const LEAST_PAUSE: Duration = Duration::from_millis(250);

/// Whoever has written nothing for so long that cannot be read does so no more.
const UNREADABLE_FOR: Duration = Duration::from_secs(60);

/// For how long samples wait to be told while they are few, if that is no longer than two intervals.
const MOST_PATIENT: Duration = Duration::from_secs(10);

/// Samples that are older are not told, or those that are older than others listen to, if that is more.
const OLDEST: Duration = Duration::from_secs(25);

/// After so long what is known of a service is told again, though the active set is the same.
const OUTSET_PAUSE: Duration = OUTSET_LIFE.checked_div(4).expect("it is not 0");

/// Services whose outset is asked for in one exchange.
const MOST_OUTSETS: usize = 16;

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
    /// Who knows where the Redis is.
    lookup: Lookup,
    /// When an exchange last succeeded, and when the last one began.
    heard_at: Option<Instant>,
    began_at: Option<Instant>,
    /// What was wrong with the last one that failed.
    failed: Option<(String, Instant)>,
    /// What this process claims of the limits of clients.
    claims: Claims,
    /// The active sets that were told of last, and when.
    outsets: HashMap<ServiceId, (Vec<SocketAddr>, Instant)>,
    /// How many services that begin were asked for: after them come those that are asked for next.
    begun: usize,
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
            lookup: Lookup::default(),
            heard_at: None,
            began_at: None,
            failed: None,
            claims: Claims::default(),
            outsets: HashMap::new(),
            begun: 0,
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
            if self.next_at(&directory).is_some_and(|at| at <= now) {
                self.turn(&directory, now);
                if directory.is_asleep() {
                    // It would not outlast the pause everywhere, nor is anything to pass on it.
                    self.connection = None;
                }
            }
            let next = self.state.as_ref().and(self.began_at).map(|at| at + LEAST_PAUSE);
            let now = clock::now();
            match next {
                // Who rings within the least pause is heard after it.
                Some(next) if next > now => std::thread::park_timeout(next - now),
                Some(_) | None => {}
            }
            let until = self.next_at(&directory);
            if self.hub.bells.fleet.wait(until) && self.state.is_some() {
                self.began_at = None;
            }
        }
    }

    /// When the next exchange is due, if nobody rings before; none where nothing is shared. While all services are asleep, that is at
    /// the times of their looks: nobody of the fleet needs to know that this process lives.
    fn next_at(&self, directory: &Directory) -> Option<Instant> {
        let (cluster, _) = self.state.as_ref()?;
        let Some(began_at) = self.began_at else {
            return Some(self.hub.started_at);
        };
        let next_at = began_at + cluster.interval;
        if !directory.is_asleep() {
            return Some(next_at);
        }
        let services = directory.services.iter();
        let looks = services.map(|service| Grid::new(self.hub.started_at, service.spec.sleep.interval));
        // None at that time itself: the interval is over by then.
        looks.map(|grid| grid.next(next_at)).min()
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
            self.claims.alone(&limited(directory), &self.hub.bells.fleet);
            (self.began_at, self.heard_at, self.failed) = (None, None, None);
            self.outsets.clear();
            self.publish(false);
        }
    }

    fn hello(&self, cluster: &Cluster, directory: &Directory) -> Hello {
        let number = text_of(self.me);
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
            services: served(directory),
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
        match &outcome {
            Ok(()) => self.heard_at = Some(now),
            Err(fault) => {
                counts.failures.fetch_add(1, Ordering::Relaxed);
                self.connection = None;
                self.failed = Some((fault.to_string(), now));
                self.outsets.clear();
            }
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
            let (limited, bell) = (limited(directory), &self.hub.bells.fleet);
            let horizon = exchange.horizon();
            if self
                .heard_at
                .is_none_or(|at| now.saturating_duration_since(at) > horizon)
            {
                exchange.forget();
                self.claims.alone(&limited, bell);
            }
            if !is_failing && self.claims.are_due(&limited, exchange.processes()) {
                // Others were heard of just now. What is claimed then is said with the next exchange, which is not waited for.
                self.claims.divide(&limited, exchange.processes(), bell);
                bell.ring();
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
        let until = now + PATIENCE;
        self.connect(hello, until)?;
        let samples = self.samples(now);
        let words = words(directory, &samples, now);
        let told = match self.say(directory, &words, until) {
            Ok(told) => told,
            Err(fault) => {
                // Most often it was not heard; what was is heard twice.
                self.hub.fleet.put_back(&samples);
                return Err(fault);
            }
        };
        let counts = &self.hub.fleet.counts;
        counts.told.fetch_add(words.len() as u64, Ordering::Relaxed);
        self.hand_in(directory, &told);
        let (Some((_, exchange)), Some(connection)) = (&mut self.state, &mut self.connection) else {
            return Ok(());
        };
        if let Some(commands) = exchange.ask_nodes(clock::now()) {
            let answer = connection.ask_one(&commands, until)?;
            let told = exchange.take_nodes(&answer, clock::now())?;
            self.hand_in(directory, &told);
        }
        self.read_on(directory, now + READING, until)?;
        let (Some((_, exchange)), Some(connection)) = (&mut self.state, &mut self.connection) else {
            return Ok(());
        };
        if let Some((commands, ids)) = exchange.ask_names() {
            exchange.take_names(&ids, &connection.ask_one(&commands, until)?)?;
        }
        Ok(())
    }

    /// Reads what others have said beyond what one answer tells, while there is time: until `enough` another piece is asked for.
    fn read_on(&mut self, directory: &Directory, enough: Instant, until: Instant) -> Result<(), Fault> {
        while clock::now() < enough {
            let (Some((_, exchange)), Some(connection)) = (&mut self.state, &mut self.connection) else {
                return Ok(());
            };
            let Some(commands) = exchange.ask_more() else {
                return Ok(());
            };
            let answer = connection.ask_one(&commands, until);
            if let Err(Fault::NoAnswer) = answer {
                exchange.too_long();
            }
            let told = exchange.take_more(&answer?, clock::now())?;
            self.hand_in(directory, &told);
        }
        Ok(())
    }

    /// Has a connection, and knows what time it is there.
    fn connect(&mut self, hello: Hello, until: Instant) -> Result<(), Fault> {
        let Some((cluster, exchange)) = &mut self.state else {
            return Ok(());
        };
        exchange.introduce(hello);
        if self.connection.is_none() {
            let endpoint = cluster.endpoint().ok_or(Fault::NoAnswer)?;
            let addrs = self.lookup.addrs(&endpoint.host, endpoint.port, until)?;
            self.connection = Some(Connection::open(cluster, &endpoint, &addrs, until)?);
            exchange.begin();
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if exchange.needs_clock() {
            let answer = connection.ask_one(&Exchange::ask_clock(), until)?;
            exchange.set_clock(&answer, clock::now())?;
        }
        Ok(())
    }

    /// The samples that are to be told now.
    fn samples(&self, now: Instant) -> Vec<Sample> {
        let Some((cluster, exchange)) = &self.state else {
            return Vec::new();
        };
        let patience = (cluster.interval * 2).min(MOST_PATIENT);
        let mut samples = self
            .hub
            .fleet
            .take_told(MOST_SAMPLES * MOST_MESSAGES, patience, now);
        let oldest = exchange.horizon().max(OLDEST);
        samples.retain(|sample| now.saturating_duration_since(sample.at) <= oldest);
        samples
    }

    /// Says all that is to be said, and takes what others have said: their samples.
    fn say(&mut self, directory: &Directory, words: &[Word], until: Instant) -> Result<Vec<Told>, Fault> {
        let (Some((_, exchange)), Some(connection)) = (&mut self.state, &mut self.connection) else {
            return Ok(Vec::new());
        };
        let now = clock::now();
        exchange.set_link(self.hub.link.load().phase == LinkPhase::Down);
        let limited = limited(directory);
        let bell = &self.hub.bells.fleet;
        if exchange.processes() > 1 && !limited.is_empty() {
            let others = (exchange.others_claims(), exchange.processes());
            let claims = self.claims.say(&limited, others, bell, now);
            exchange.set_claims(Some(claims));
        } else {
            self.claims.alone(&limited, bell);
            exchange.set_claims(None);
        }
        let (mut commands, asked) = exchange.ask(words, now);
        let news = outsets_to_tell(&mut self.outsets, directory, exchange, now);
        for (service, known) in &news {
            commands.extend(exchange.tell_outset(*service, known));
        }
        let beginners = beginners(directory, self.begun);
        self.begun = self.begun.wrapping_add(beginners.len());
        let keys: Vec<u32> = beginners.iter().map(|service| service.key).collect();
        if !keys.is_empty() {
            commands.extend(exchange.ask_outsets(&keys));
        }
        let count = asked + news.len() + usize::from(!keys.is_empty());
        let answers = connection.ask(&commands, count, until);
        if let Err(Fault::NoAnswer) = answers {
            exchange.too_long();
        }
        let mut answers = answers?;
        let rest = answers.split_off(asked.min(answers.len()));
        let now = clock::now();
        let told = exchange.take(&answers, now)?;
        self.claims
            .use_what_is_left(&limited, exchange.others_claims(), now);
        for answer in &rest {
            refuse_error(answer)?;
        }
        if let Some(answer) = rest.last().filter(|_| !keys.is_empty()) {
            let known = exchange.take_outsets(&keys, answer, now)?;
            self.begin(&beginners, &known, now);
        }
        Ok(told)
    }

    /// Hands what others know of services to whoever begins with it.
    fn begin(&self, beginners: &[Arc<Service>], known: &[(u32, Outset)], now: Instant) {
        for service in beginners {
            let Some((_, known)) = known.iter().find(|(key, _)| *key == service.key) else {
                continue;
            };
            let recalled = outset::recalled(service, known);
            if recalled.rows.is_empty() {
                continue;
            }
            info!(
                target: "tcp_forwarder::fleet",
                service = service.name.as_str();
                "service {} begins with what others of the fleet know of {} candidates",
                service.name, recalled.rows.len()
            );
            // The search learns from them as from all that others say.
            let sample = |row: &super::message::Row| Sample {
                candidate: crate::service::id::Candidate {
                    service: service.live.id,
                    addr: row.addr,
                },
                outcome: Outcome::Success(row.connect),
                heard: row.first_byte.map_or(Heard::NotAsked, Heard::Answer),
                source: Source::Peer,
                began_at: now,
                at: now.checked_sub(row.age).unwrap_or(now),
            };
            let samples: Vec<Sample> = known.rows.iter().map(sample).collect();
            self.hub.fleet.hear(&samples);
            service.live.outset.publish(Arc::new(recalled));
        }
    }

    /// Hands what others say of our candidates to whoever makes something of it.
    fn hand_in(&self, directory: &Directory, told: &[Told]) {
        if told.is_empty() {
            return;
        }
        let now = clock::now();
        let services = services_by(directory, |one| one.key);
        let sample = |told: &Told| {
            let service = services.get(&told.word.service)?;
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
        let standing = self.state.as_ref().map(|(cluster, exchange)| Standing {
            cluster: cluster.name.clone(),
            heard_at: self.heard_at,
            failed: self.failed.clone(),
            spoke: exchange.spoke(clock::now()),
            claims: self.claims.len(),
        });
        let standing = Arc::new(standing.unwrap_or_default());
        self.hub.fleet.standing.publish(standing);
    }
}

/// What this process serves and probes: who sleeps asks nobody, so the others ask in its place.
fn served(directory: &Directory) -> Vec<u32> {
    let services = directory.services.iter();
    let awake = services.filter(|service| !service.live.slumber.load().is_asleep());
    awake.map(|service| service.key).collect()
}

/// The services whose clients have limits.
fn limited(directory: &Directory) -> Vec<Limited<'_>> {
    let services = directory.services.iter();
    services
        .filter_map(|service| Limited::of(service.name.as_str(), service.admission.as_deref()))
        .collect()
}

/// The services by this; of several that have it in common the first.
fn services_by<K: Eq + Hash>(
    directory: &Directory,
    key: impl Fn(&Service) -> K,
) -> HashMap<K, &Arc<Service>> {
    let mut all = HashMap::with_capacity(directory.services.len());
    for service in &directory.services {
        all.entry(key(service)).or_insert(service);
    }
    all
}

/// Samples of ours, as they are said.
fn words(directory: &Directory, samples: &[Sample], now: Instant) -> Vec<Word> {
    if samples.is_empty() {
        return Vec::new();
    }
    let services = services_by(directory, |one| one.live.id);
    let word = |sample: &Sample| {
        Some(Word {
            service: services.get(&sample.candidate.service)?.key,
            addr: sample.candidate.addr,
            outcome: sample.outcome,
            heard: sample.heard,
            age: now.saturating_duration_since(sample.at),
        })
    };
    samples.iter().filter_map(word).collect()
}

/// Services that have candidates and no active set yet, and did not hear what others know: some at once, from this one on in turn.
fn beginners(directory: &Directory, from: usize) -> Vec<Arc<Service>> {
    let is_beginner = |service: &&Arc<Service>| {
        let live = &service.live;
        live.active.load().backends.is_empty()
            && live.outset.version() == 0
            && !live.candidates.load().is_empty()
    };
    let all: Vec<&Arc<Service>> = directory.services.iter().filter(is_beginner).collect();
    let from = from.checked_rem(all.len()).unwrap_or_default();
    let in_turn = all.iter().cycle().skip(from).take(all.len());
    in_turn.take(MOST_OUTSETS).map(|one| Arc::clone(one)).collect()
}

/// What is to be told those that begin: of services for which this process speaks, if the active set is another one than was told, or
/// that is long ago.
fn outsets_to_tell(
    told: &mut HashMap<ServiceId, (Vec<SocketAddr>, Instant)>,
    directory: &Directory,
    exchange: &Exchange,
    now: Instant,
) -> Vec<(u32, Outset)> {
    let view = exchange.view(true);
    let is_alone_for_good = view.vantage == text_of(view.me);
    let present = services_by(directory, |one| one.live.id);
    told.retain(|id, _| present.contains_key(id));
    let mut news = Vec::new();
    for service in directory.services.iter().filter(|_| !is_alone_for_good) {
        let live = &service.live;
        if news.len() >= MOST_OUTSETS || !live.is_swept.load(Ordering::Acquire) {
            continue;
        }
        let active = live.active.load();
        let members: Vec<SocketAddr> = active.backends.iter().map(|one| one.addr).collect();
        let before = told.get(&live.id);
        let is_told = before.is_some_and(|(before, at)| *before == members && now < *at + OUTSET_PAUSE);
        // Whose turn it is comes last: that is worked out over all nodes.
        if is_told || !view.share(service.key).speaks_for(service.key) {
            continue;
        }
        if let Some(known) = outset::known(service, exchange.redis_ms(now), now) {
            news.push((service.key, known));
            told.insert(live.id, (members, now));
        }
    }
    news
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

#[cfg(test)]
mod tests;

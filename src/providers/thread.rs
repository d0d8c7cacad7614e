//! The thread of the providers: the book of DNS and the agenda of lists at URLs, with sockets.

use std::fs::File;
use std::hash::RandomState;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::dns::book::Book;
use super::dns::{Ended, Flights, MOST_FLIGHTS, servers};
use super::http::agenda::{Agenda, News};
use super::http::{Fetched, Fetches, MOST_FETCHES};
use super::slumber::Asleep;
use crate::base::clock;
use crate::base::doorbell::Doorbell;
use crate::base::grid::Grid;
use crate::base::published::Reader;
use crate::service::Service;
use crate::service::events::What;
use crate::service::hub::Hub;
use crate::service::provided::{Ask, Place, Question, Standing};

/// The poll's token of whoever rings.
const BELL: Token = Token(0);

/// The first token of sockets that ask by HTTP; those that ask by DNS have the ones before.
const FIRST_OF_HTTP: usize = 1 << (usize::BITS - 1);

/// Events that one look at the poll takes.
const EVENTS: usize = 128;

/// Longest time between what happens and what is told of it: many answers are told at once.
const TELLING: Duration = Duration::from_millis(50);

/// For how long the system's choice of servers is remembered.
const SERVERS_KEPT: Duration = Duration::from_secs(2);

/// Where the system names its servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Bytes of that file that count.
const LONGEST_RESOLV_CONF: u64 = 64 * 1024;

/// Pause after an error of the poll, which no retry is known to heal.
const POLL_FAILED_PAUSE: Duration = Duration::from_secs(1);

/// Asks all providers that have to be asked: made on any thread, run on one of its own.
#[derive(Debug)]
pub struct Providers {
    hub: Arc<Hub>,
    bell: Arc<Doorbell>,
    poll: Poll,
    questions: Reader<Vec<Arc<Question>>>,
    book: Book,
    flights: Flights,
    agenda: Agenda,
    fetches: Fetches,
    rng: fastrand::Rng,
    /// The servers that the system names, and when it was asked.
    servers: Option<(Instant, Vec<SocketAddr>)>,
    /// When something is told that has happened.
    telling: Option<Instant>,
}

impl Providers {
    /// Nothing is asked yet; `ids` has a key that nobody can know.
    ///
    /// # Errors
    /// When the system has no poll to give.
    pub fn new(hub: Arc<Hub>, rng: fastrand::Rng, ids: RandomState) -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Arc::clone(&hub.bells.providers);
        bell.attach(Waker::new(poll.registry(), BELL)?);
        Ok(Self {
            questions: Reader::unaware(Arc::clone(&hub.provided.questions)),
            flights: Flights::new(poll.registry().try_clone()?, BELL.0 + 1, ids),
            book: Book::default(),
            fetches: Fetches::new(poll.registry().try_clone()?, FIRST_OF_HTTP),
            agenda: Agenda::default(),
            hub,
            bell,
            poll,
            rng,
            servers: None,
            telling: None,
        })
    }

    /// The body of the thread; returns when the stop begins.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = clock::now();
            let is_rung = self.bell.answer();
            if self.hub.is_stopping() {
                return;
            }
            if self.questions.refresh() {
                self.follow(now);
                self.telling = Some(now);
            }
            if is_rung {
                self.follow_slumber(now);
            }
            self.begin(now);
            if self.telling.is_some_and(|at| at <= now) {
                self.tell(now);
            }
            self.wait(&mut events, now);
            let now = clock::now();
            for event in &events {
                if event.token() == BELL {
                    continue;
                }
                if self.fetches.has(event.token()) {
                    let fetched = self.fetches.on_event(event.token(), now);
                    self.fetched(fetched, now);
                } else {
                    let ended = self.flights.on_event(event.token(), now);
                    self.end(ended, now);
                }
            }
            let ended = self.flights.expire(now);
            self.end(ended, now);
            let fetched = self.fetches.expire(now);
            self.fetched(fetched, now);
        }
    }

    /// Asks what is asked now, and nothing else.
    fn follow(&mut self, now: Instant) {
        let is_list = |question: &&Arc<Question>| matches!(question.ask, Ask::List(_));
        let of_lists: Vec<_> = self.questions.iter().filter(is_list).cloned().collect();
        let others = self.questions.iter().filter(|question| !is_list(question));
        let others: Vec<_> = others.cloned().collect();
        self.book.recall(self.hub.provided.take_recalled());
        self.book.follow(&others, now);
        self.agenda.follow(&of_lists, now);
        let Self { agenda, fetches, .. } = self;
        fetches.retain(|id| agenda.wants(id));
    }

    /// Services that are asleep have nothing looked up and no list fetched but at the times of their looks.
    fn follow_slumber(&mut self, now: Instant) {
        let directory = self.hub.directory.load();
        let asleep = directory
            .services
            .iter()
            .filter(|service| service.live.slumber.load().is_asleep());
        let looks = |service: &Arc<Service>| Grid::new(self.hub.started_at, service.spec.sleep.interval);
        let asleep = asleep.map(|service| (service.name.clone(), looks(service)));
        let asleep: Asleep = asleep.collect();
        if self.agenda.rest(&asleep) {
            // Who is asked when is told of each.
            self.telling.get_or_insert(now + TELLING);
        }
        self.book.rest(&asleep);
    }

    /// Asks for what is due.
    fn begin(&mut self, now: Instant) {
        while self.fetches.len() < MOST_FETCHES
            && let Some(order) = self.agenda.take(now)
        {
            let fetched = self.fetches.begin(order, now);
            self.fetched(fetched, now);
        }
        // Those of looks go first: they have a deadline.
        while self.flights.len() < MOST_FLIGHTS
            && let Some(wanted) = self.fetches.take_wanted().or_else(|| self.book.take(now))
        {
            let servers = match &wanted.dns.resolver[..] {
                [] => self.servers(now),
                named => named.to_vec(),
            };
            let ended = self.flights.begin(wanted, servers, now);
            self.end(ended, now);
        }
        let news = self.book.news_at();
        self.telling = self.telling.into_iter().chain(news).min();
    }

    fn end(&mut self, ended: impl IntoIterator<Item = Ended>, now: Instant) {
        for (wanted, result) in ended {
            if let Ok(fetched) = self.fetches.looked_up(&wanted, &result, now) {
                self.fetched(fetched, now);
            } else {
                self.book.end(&wanted, result, now, self.rng.f64());
                self.telling.get_or_insert(now + TELLING);
            }
        }
    }

    /// Takes in how looks at lists ended.
    fn fetched(&mut self, ended: impl IntoIterator<Item = Fetched>, now: Instant) {
        for (id, result) in ended {
            self.agenda.end(id, result, now, self.rng.f64());
            self.telling.get_or_insert(now + TELLING);
        }
    }

    /// The servers that the system names, as it does lately.
    fn servers(&mut self, now: Instant) -> Vec<SocketAddr> {
        if let Some((at, known)) = &self.servers
            && *at + SERVERS_KEPT > now
        {
            return known.clone();
        }
        let mut text = String::new();
        let read =
            File::open(RESOLV_CONF).and_then(|file| file.take(LONGEST_RESOLV_CONF).read_to_string(&mut text));
        if let Err(error) = read {
            log::debug!(target: "tcp_forwarder::providers", "{RESOLV_CONF} names no DNS server: {error}");
        }
        let found = servers(&text);
        self.servers = Some((now, found.clone()));
        found
    }

    /// Says of a provider that it has begun to fail, or has ceased to.
    fn report(&self, (service, index): &Place, standing: &Standing, before: Option<&String>) {
        let provider = standing.name(*index);
        let what = match (before, &standing.error) {
            (None, Some(why)) => {
                log::warn!(
                    target: "tcp_forwarder::providers", service = service.as_str();
                    "provider {provider} fails, what it said last stays in force: {why}"
                );
                let why = why.clone();
                What::ProviderFails { provider, why }
            }
            // Of who has not been heard yet nothing is known.
            (Some(_), None) if standing.answered_at.is_some() => {
                log::info!(
                    target: "tcp_forwarder::providers", service = service.as_str();
                    "provider {provider} answers again"
                );
                What::ProviderBack { provider }
            }
            (_, None) | (Some(_), Some(_)) => return,
        };
        self.hub.events.tell(Some(service), what);
    }

    /// Tells the worker what is said now, and everybody how the providers fare.
    fn tell(&mut self, now: Instant) {
        self.telling = None;
        let of_lists: Vec<_> = self.agenda.news();
        for News { said, remarks } in &of_lists {
            let (service, index) = &said.question.place;
            for remark in remarks.iter() {
                log::warn!(
                    target: "tcp_forwarder::providers", service = service.as_str();
                    "provider {}: {remark}", said.question.kind.at(*index)
                );
            }
        }
        let of_lists = of_lists.into_iter().map(|news| news.said);
        for said in of_lists.chain(self.book.news(now)) {
            let (service, index) = &said.question.place;
            let what = What::ProviderSaid {
                provider: said.question.kind.at(*index),
                candidates: said.set.len(),
            };
            self.hub.events.tell(Some(service), what);
            self.hub.provided.say(said);
        }
        let mut standings = self.book.standings();
        for (place, of_list) in self.agenda.standings() {
            let standing = match standings.remove(&place) {
                // The host names of a list are looked up besides.
                Some(of_hosts) => of_list.and(of_hosts),
                None => of_list,
            };
            standings.insert(place, standing);
        }
        let before = self.hub.provided.standings.load();
        for (place, standing) in &standings {
            let known = before.get(place).and_then(|known| known.error.as_ref());
            self.report(place, standing, known);
        }
        if standings != *before {
            self.hub.provided.standings.publish(Arc::new(standings));
        }
    }

    /// Sleeps until something happens, or is to be done.
    fn wait(&mut self, events: &mut Events, now: Instant) {
        // What is due while there is no room begins when a flight has ended.
        let due = self.book.due_at().filter(|_| self.flights.len() < MOST_FLIGHTS);
        let lists = self.agenda.due_at().filter(|_| self.fetches.len() < MOST_FETCHES);
        let next = [
            due,
            lists,
            self.telling,
            self.flights.next_at(),
            self.fetches.next_at(),
        ];
        let next = next.into_iter().flatten().min();
        let timeout = next.map(|at| at.saturating_duration_since(now));
        events.clear();
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                log::error!(target: "tcp_forwarder::providers", "providers pause: the poll failed: {error}");
                std::thread::park_timeout(POLL_FAILED_PAUSE);
            }
            Ok(()) | Err(_) => {}
        }
    }
}

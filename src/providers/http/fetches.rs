//! Looks at lists that are on their way: names, addresses, redirects, deadlines.
//!
//! ```text
//! looking the host's name up ──► trying its addresses ──(connected)──► asking ──► the end
//!           ▲                         └──(the next one)──▲               │
//!           └────────────────────────────(a redirect)────────────────────┘
//! ```
//!
//! Owns the sockets, one of each look. The whole of a look has one deadline, whatever happens in between; while there are other
//! addresses, one that does not answer gets a part of it only. Names are looked up by whoever owns the queries: a look says which
//! records it wants, and is told how they ended.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};

use super::agenda::{Fetched, ListId, Order, Trouble};
use super::answer::Outcome;
use super::conversation::{Conversation, Failure, Progress, Words};
use super::request;
use crate::config::{Family, HttpUrl};
use crate::net;
use crate::providers::dns::book::{Wanted, addresses_of};
use crate::providers::dns::exchange::{self, Answer};
use crate::providers::dns::message::{self, Data, name_of};

/// Looks at once.
pub(crate) const MOST_FETCHES: usize = 16;

/// Addresses of a server that are tried.
const MOST_ADDRESSES: usize = 8;

/// For how long the addresses of the other family are waited for, once those of one are known.
const OTHER_FAMILY: Duration = Duration::from_millis(300);

/// How long an address is tried at least, and at most while there are others.
const SHORTEST_TRY: Duration = Duration::from_millis(250);
const LONGEST_TRY: Duration = Duration::from_secs(2);

/// Bytes that are read at once.
const READ_AT_ONCE: usize = 64 * 1024;

/// A look that has come to its end.
pub(crate) type Ended = (ListId, Result<Fetched, Trouble>);

/// All looks on their way.
#[derive(Debug)]
pub(crate) struct Fetches {
    registry: Registry,
    all: Vec<Fetch>,
    /// The token of the next socket; none is used twice.
    next: usize,
    first: usize,
    /// Records that are to be asked for.
    wanted: VecDeque<Arc<Wanted>>,
    /// Records that are asked for, or were wanted by looks that have ended meanwhile.
    asked: Vec<Arc<Wanted>>,
    buffer: Box<[u8]>,
}

/// One look.
#[derive(Debug)]
struct Fetch {
    order: Order,
    /// Where the list is now.
    url: HttpUrl,
    redirects: u32,
    until: Instant,
    stage: Stage,
}

/// What it waits for.
#[derive(Debug)]
enum Stage {
    /// The addresses of a name.
    Name(Lookup),
    /// A server.
    Server {
        token: Token,
        conversation: Box<Conversation>,
        /// Other addresses that it has.
        others: VecDeque<IpAddr>,
        /// When the next of them is tried instead.
        try_until: Instant,
    },
}

/// A name that is looked up.
#[derive(Debug, Default)]
struct Lookup {
    open: Vec<Arc<Wanted>>,
    found: Vec<IpAddr>,
    error: Option<String>,
    /// When what is known will do.
    enough_at: Option<Instant>,
}

/// What a look comes to, now.
enum Turn {
    /// It waits.
    Waits(Fetch),
    Ended(Ended),
}

impl Fetches {
    /// None yet; sockets are registered there, with tokens from `first` on, which nobody else has.
    #[must_use]
    pub(crate) fn new(registry: Registry, first: usize) -> Self {
        Self {
            registry,
            all: Vec::new(),
            next: first,
            first,
            wanted: VecDeque::new(),
            asked: Vec::new(),
            buffer: vec![0; READ_AT_ONCE].into_boxed_slice(),
        }
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a token is of one of its sockets.
    #[must_use]
    pub(crate) fn has(&self, token: Token) -> bool {
        token.0 >= self.first
    }

    /// When the first of them has waited for long enough.
    #[must_use]
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.all.iter().map(Fetch::next_at).min()
    }

    /// Gives up those that nobody wants any more.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(ListId) -> bool) {
        for fetch in std::mem::take(&mut self.all) {
            if is_wanted(fetch.order.id) {
                self.all.push(fetch);
            } else {
                self.leave(fetch.stage);
            }
        }
    }

    /// Looks at a list; the end, if it comes at once.
    pub(crate) fn begin(&mut self, order: Order, now: Instant) -> Option<Ended> {
        let url = order.list.url.clone();
        let fetch = Fetch {
            url: url.clone(),
            redirects: 0,
            until: now + order.list.http.timeout,
            order,
            stage: Stage::Name(Lookup::default()),
        };
        let turn = self.arrive(fetch, url, now);
        self.keep(turn)
    }

    /// The next record that is to be asked for.
    pub(crate) fn take_wanted(&mut self) -> Option<Arc<Wanted>> {
        let wanted = self.wanted.pop_front()?;
        self.asked.push(Arc::clone(&wanted));
        Some(wanted)
    }

    /// How it ended that a record was asked for; none of it was asked for by a look, if it is given back.
    pub(crate) fn looked_up(
        &mut self,
        wanted: &Arc<Wanted>,
        result: &Result<Answer, exchange::Failure>,
        now: Instant,
    ) -> Result<Option<Ended>, ()> {
        let asked = self.asked.iter().position(|one| Arc::ptr_eq(one, wanted));
        let at = asked.ok_or(())?;
        self.asked.swap_remove(at);
        let is_its = |fetch: &Fetch| match &fetch.stage {
            Stage::Name(lookup) => lookup.open.iter().any(|one| Arc::ptr_eq(one, wanted)),
            Stage::Server { .. } => false,
        };
        let Some(at) = self.all.iter().position(is_its) else {
            return Ok(None);
        };
        let mut fetch = self.all.swap_remove(at);
        if let Stage::Name(lookup) = &mut fetch.stage {
            lookup.take_in(wanted, result, now);
        }
        let turn = self.resolve(fetch, now);
        Ok(self.keep(turn))
    }

    /// Something has happened to a socket.
    pub(crate) fn on_event(&mut self, token: Token, now: Instant) -> Option<Ended> {
        let is_its = |fetch: &Fetch| match &fetch.stage {
            Stage::Name(_) => false,
            Stage::Server { token: its, .. } => *its == token,
        };
        let at = self.all.iter().position(is_its)?;
        let fetch = self.all.swap_remove(at);
        let turn = self.go_on(fetch, now);
        self.keep(turn)
    }

    /// Those that have waited for long enough go on, or end.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Ended> {
        let mut ended = Vec::new();
        for fetch in std::mem::take(&mut self.all) {
            let turn = if fetch.next_at() > now {
                Turn::Waits(fetch)
            } else if fetch.until <= now {
                self.give_up(fetch)
            } else {
                match fetch.stage {
                    Stage::Name(_) => self.resolve(fetch, now),
                    Stage::Server { .. } => {
                        let late = Failure::Connect(std::io::ErrorKind::TimedOut.into());
                        self.fail(fetch, &late, now)
                    }
                }
            };
            ended.extend(self.keep(turn));
        }
        ended
    }

    fn keep(&mut self, turn: Turn) -> Option<Ended> {
        match turn {
            Turn::Waits(fetch) => {
                self.all.push(fetch);
                None
            }
            Turn::Ended(ended) => Some(ended),
        }
    }

    /// Forgets what a look waits for.
    fn leave(&mut self, stage: Stage) {
        match stage {
            Stage::Name(lookup) => {
                let is_open = |wanted: &Arc<Wanted>| lookup.open.iter().any(|one| Arc::ptr_eq(one, wanted));
                self.wanted.retain(|wanted| !is_open(wanted));
            }
            Stage::Server { mut conversation, .. } => {
                if let Err(error) = self.registry.deregister(conversation.stream_mut()) {
                    log::debug!(target: "tcp_forwarder::providers", "a socket was not watched: {error}");
                }
            }
        }
    }

    fn end(&mut self, fetch: Fetch, result: Result<Fetched, Trouble>) -> Turn {
        self.leave(fetch.stage);
        Turn::Ended((fetch.order.id, result))
    }

    /// Its time is over.
    fn give_up(&mut self, fetch: Fetch) -> Turn {
        let authority = fetch.url.authority();
        let timeout = humantime::format_duration(fetch.order.list.http.timeout);
        let why = match &fetch.stage {
            Stage::Name(lookup) => match &lookup.error {
                Some(error) => error.clone(),
                None => format!("{authority}: no DNS server says within {timeout} who that is"),
            },
            Stage::Server { conversation, .. } if conversation.is_connecting() => {
                format!("{authority} cannot be reached within {timeout}")
            }
            Stage::Server { .. } => format!("{authority} does not answer as a whole within {timeout}"),
        };
        self.end(fetch, Err(Trouble::of(why)))
    }

    /// Comes to a URL: the first one, or one that a redirect leads to.
    fn arrive(&mut self, fetch: Fetch, url: HttpUrl, now: Instant) -> Turn {
        let mut lookup = Lookup::default();
        let host = url.host.as_str();
        if let Ok(ip) = host.parse::<IpAddr>() {
            lookup.found.push(ip);
        } else if host == "localhost" || host.ends_with(".localhost") {
            // RFC 6761, section 6.3: no DNS is to be asked for it.
            lookup
                .found
                .extend([Ipv6Addr::LOCALHOST.into(), IpAddr::from(Ipv4Addr::LOCALHOST)]);
        } else if let Some(name) = name_of(host) {
            let wanted = addresses_of(name, Family::Any, &fetch.order.dns).map(Arc::new);
            lookup.open.extend(wanted);
            self.wanted.extend(lookup.open.iter().cloned());
        }
        self.leave(fetch.stage);
        let fetch = Fetch {
            url,
            stage: Stage::Name(lookup),
            ..fetch
        };
        self.resolve(fetch, now)
    }

    /// Goes on as soon as the addresses are known, as far as they are waited for.
    fn resolve(&mut self, fetch: Fetch, now: Instant) -> Turn {
        let Stage::Name(lookup) = fetch.stage else {
            return Turn::Waits(fetch);
        };
        if lookup.is_open(now) {
            let stage = Stage::Name(lookup);
            return Turn::Waits(Fetch { stage, ..fetch });
        }
        let (others, error) = (lookup.in_turns(), lookup.error.clone());
        let stage = Stage::Name(lookup);
        let fetch = Fetch { stage, ..fetch };
        if others.is_empty() {
            let why = error.unwrap_or_else(|| format!("{} has no address", fetch.url.authority()));
            return self.end(fetch, Err(Trouble::of(why)));
        }
        self.try_next(fetch, others, None, now)
    }

    /// Tries the next address; `failure` is what became of the one before.
    fn try_next(
        &mut self,
        mut fetch: Fetch,
        mut others: VecDeque<IpAddr>,
        mut failure: Option<String>,
        now: Instant,
    ) -> Turn {
        while let Some(ip) = others.pop_front() {
            let addr = SocketAddr::new(ip, fetch.url.port);
            match self.call(&fetch, addr) {
                Ok((token, conversation)) => {
                    let left = fetch.until.saturating_duration_since(now);
                    let shares = u32::try_from(others.len() + 1).unwrap_or(u32::MAX);
                    let try_until = if others.is_empty() {
                        fetch.until
                    } else {
                        now + (left / shares).clamp(SHORTEST_TRY, LONGEST_TRY)
                    };
                    let before = std::mem::replace(
                        &mut fetch.stage,
                        Stage::Server {
                            token,
                            conversation: Box::new(conversation),
                            others,
                            try_until,
                        },
                    );
                    self.leave(before);
                    return Turn::Waits(fetch);
                }
                Err(error) => {
                    failure = Some(Failure::Connect(error).to_string());
                }
            }
        }
        let why = format!("{} {}", fetch.url.authority(), failure.unwrap_or_default());
        self.end(fetch, Err(Trouble::of(why)))
    }

    /// Begins to connect, and prepares what is to be said.
    fn call(&mut self, fetch: &Fetch, addr: SocketAddr) -> std::io::Result<(Token, Conversation)> {
        let Fetch { order, url, .. } = fetch;
        let known = request::known_at(order.known.as_deref(), url);
        let origination = order.list.origination.as_ref().filter(|_| url.tls);
        if url.tls && origination.is_none() {
            return Err(std::io::Error::other("this build has no TLS"));
        }
        let words = Words {
            request: request::text(&order.list, url, known).into_bytes(),
            is_conditional: known.is_some(),
            tls: origination.map(|origination| {
                let name = request::name_of(&order.list, url).to_owned();
                (Arc::clone(origination), name)
            }),
        };
        let mut conversation = Conversation::new(net::begin_connect(addr)?, addr, words);
        let token = Token(self.next);
        self.next += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(conversation.stream_mut(), token, both)?;
        Ok((token, conversation))
    }

    /// Goes on with the server as far as it can.
    fn go_on(&mut self, mut fetch: Fetch, now: Instant) -> Turn {
        let Stage::Server {
            conversation,
            try_until,
            ..
        } = &mut fetch.stage
        else {
            return Turn::Waits(fetch);
        };
        let progress = conversation.go_on(&mut self.buffer);
        if !conversation.is_connecting() {
            *try_until = fetch.until;
        }
        match progress {
            Progress::Waits => Turn::Waits(fetch),
            Progress::Failed(failure) => self.fail(fetch, &failure, now),
            Progress::Answered(outcome) => self.answered(fetch, outcome, now),
        }
    }

    /// The server has failed: the next address, if there was no connection.
    fn fail(&mut self, mut fetch: Fetch, failure: &Failure, now: Instant) -> Turn {
        if let (Failure::Connect(_), Stage::Server { others, .. }) = (failure, &mut fetch.stage) {
            let others = std::mem::take(others);
            return self.try_next(fetch, others, Some(failure.to_string()), now);
        }
        let trouble = match failure {
            Failure::Answer(fault) => Trouble::of_answer(&fetch.url, fault),
            Failure::Connect(_) | Failure::Tls(_) | Failure::Io(_) => {
                Trouble::of(format!("{} {failure}", fetch.url.authority()))
            }
        };
        self.end(fetch, Err(trouble))
    }

    fn answered(&mut self, mut fetch: Fetch, outcome: Outcome, now: Instant) -> Turn {
        match outcome {
            Outcome::List(bytes, validators) => {
                let url = fetch.url.clone();
                self.end(fetch, Ok(Fetched::Document(bytes, url, validators)))
            }
            Outcome::Unchanged => self.end(fetch, Ok(Fetched::Unchanged)),
            Outcome::Elsewhere(location) => {
                fetch.redirects += 1;
                match request::follow(&fetch.url, &location, fetch.redirects) {
                    Ok(url) => self.arrive(fetch, url, now),
                    Err(astray) => {
                        let why = format!("{} {astray}", fetch.url.authority());
                        self.end(fetch, Err(Trouble::of(why)))
                    }
                }
            }
        }
    }
}

impl Fetch {
    /// When it has waited for long enough for what it waits for.
    fn next_at(&self) -> Instant {
        let of_stage = match &self.stage {
            Stage::Name(lookup) => lookup.enough_at,
            Stage::Server { try_until, .. } => Some(*try_until),
        };
        of_stage.map_or(self.until, |at| at.min(self.until))
    }
}

impl Lookup {
    fn take_in(&mut self, wanted: &Arc<Wanted>, result: &Result<Answer, exchange::Failure>, now: Instant) {
        self.open.retain(|one| !Arc::ptr_eq(one, wanted));
        match result {
            Ok(Answer::Records(data, _)) => {
                let addresses = data.iter().filter_map(|data| match data {
                    Data::Address(ip) => Some(*ip),
                    Data::Service(_) => None,
                });
                self.found.extend(addresses);
            }
            Ok(Answer::Nothing { exists, .. }) => {
                let name = message::shown(&wanted.name);
                let why = if *exists {
                    format!("{name} has no address")
                } else {
                    format!("there is no {name}")
                };
                self.error.get_or_insert(why);
            }
            Err(failure) => self.error = Some(format!("{}: {failure}", wanted.shown())),
        }
        if !self.found.is_empty() {
            self.enough_at.get_or_insert(now + OTHER_FAMILY);
        }
    }

    /// Whether there is something to be waited for.
    fn is_open(&self, now: Instant) -> bool {
        !self.open.is_empty() && self.enough_at.is_none_or(|at| now < at)
    }

    /// The addresses in the order in which they are tried: the families in turns (RFC 8305, section 4).
    fn in_turns(&self) -> VecDeque<IpAddr> {
        let of = |is_ipv6: bool| self.found.iter().filter(move |ip| ip.is_ipv6() == is_ipv6);
        let (mut six, mut four) = (of(true), of(false));
        let mut turns = VecDeque::new();
        loop {
            let pair = [six.next(), four.next()];
            if pair == [None, None] {
                break;
            }
            turns.extend(pair.into_iter().flatten());
        }
        turns.truncate(MOST_ADDRESSES);
        turns
    }
}

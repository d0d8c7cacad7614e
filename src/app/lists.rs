//! What the providers of all services of a configuration say, each file read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{info, warn};

use super::certificates::Certificates;
use crate::base::file_watch::must_be_regular;
use crate::candidates::{Account, CandidateSet, Host, HostNames, List, LoadError, Rules, list_file};
use crate::config::{Config, Family, OnBadLine, Provider, ServiceName, Supply};
use crate::service::provided::{Ask, Question, RemoteList, Said};
use crate::state::keeper::Answers;
use crate::state::snapshot::{MAX_ANSWER_LINES, SavedAnswer, State};

/// The candidates of each service.
pub type Lists = BTreeMap<ServiceName, Listed>;

/// The candidates of one service.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What each of its providers has said last, in their order.
    parts: Vec<Part>,
    /// All of it.
    pub union: Arc<CandidateSet>,
    /// How many candidates each of them names, in their order.
    pub named: Arc<Vec<u128>>,
}

/// What one provider has said last.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The addresses that it holds itself; none has not said anything yet.
    pub own: Option<Arc<CandidateSet>>,
    /// The host names that it holds, whose addresses others know.
    pub hosts: Arc<[Host]>,
    /// What others have said when they were asked for it.
    pub found: Option<Arc<CandidateSet>>,
    /// Connections that each of its candidates takes at once, unless its entry says otherwise.
    pub max_connections: Option<NonZeroU32>,
}

impl Part {
    /// A provider that holds these addresses.
    #[must_use]
    pub fn holding(own: &Arc<CandidateSet>) -> Self {
        Self {
            own: Some(Arc::clone(own)),
            ..Self::default()
        }
    }
}

impl From<List> for Part {
    fn from(list: List) -> Self {
        Self {
            own: Some(Arc::new(list.set)),
            hosts: list.hosts.into(),
            ..Self::default()
        }
    }
}

impl Listed {
    /// What each provider of a service says, in their order.
    #[must_use]
    pub fn of(parts: Vec<Part>) -> Self {
        let mut listed = Self {
            parts,
            union: Arc::new(CandidateSet::nobody()),
            named: Arc::default(),
        };
        listed.unite();
        listed
    }

    /// What a provider has said last.
    #[must_use]
    pub fn part(&self, index: usize) -> Option<&Part> {
        self.parts.get(index)
    }

    /// Takes in what some of the providers hold now; what was found for the host names of before stays until there is news
    /// of those of now, unless there are none.
    pub(super) fn hold(&mut self, held: impl IntoIterator<Item = (usize, Part)>) {
        for (index, part) in held {
            debug_assert!(index < self.parts.len(), "a place for each provider");
            if let Some(known) = self.parts.get_mut(index) {
                let found = known.found.take().filter(|_| !part.hosts.is_empty());
                let max_connections = known.max_connections;
                *known = Part {
                    found,
                    max_connections,
                    ..part
                };
            }
        }
        self.unite();
    }

    /// Takes in what was found for one of the providers.
    pub(super) fn find(&mut self, index: usize, found: Arc<CandidateSet>) {
        if let Some(part) = self.parts.get_mut(index) {
            part.found = Some(found);
        }
        self.unite();
    }

    /// Takes in what one of the providers says; whether the host names in its list are others than before.
    pub(super) fn hear(&mut self, said: Said) -> bool {
        let Said { question, set, hosts } = said;
        let index = question.place.1;
        let Ask::List(_) = question.ask else {
            self.find(index, set);
            return false;
        };
        let is_other = self.part(index).is_none_or(|part| part.hosts != hosts);
        let part = Part {
            hosts,
            ..Part::holding(&set)
        };
        self.hold([(index, part)]);
        is_other
    }

    fn unite(&mut self) {
        self.union = union(&self.parts);
        let named = |part: &Part| match (&self.parts[..], &part.own, &part.found) {
            ([_], ..) => self.union.len(),
            (_, Some(one), None) | (_, None, Some(one)) => one.len(),
            (_, Some(_), Some(_)) => union(std::slice::from_ref(part)).len(),
            (_, None, None) => 0,
        };
        self.named = Arc::new(self.parts.iter().map(named).collect());
    }
}

/// All candidates of some providers. Those of the only one are not copied, unless it has a limit for them.
fn union(parts: &[Part]) -> Arc<CandidateSet> {
    let said = parts.iter().flat_map(|part| {
        let sets = [&part.own, &part.found].into_iter().flatten();
        let sets = sets.filter(|set| !set.is_empty());
        sets.map(|set| (set, part.max_connections))
    });
    let said: Vec<_> = said.collect();
    match said[..] {
        [(one, None)] => Arc::clone(one),
        _ => Arc::new(CandidateSet::union_with_limits(
            said.into_iter().map(|(set, max)| (&**set, max)),
        )),
    }
}

/// What is to be asked for the providers of a configuration, with the host names that they hold.
pub(super) fn questions(config: &Config, lists: &Lists, certificates: &Certificates) -> Vec<Question> {
    let mut all = Vec::new();
    for (name, spec) in &config.services {
        let remotes = &spec.remotes;
        let dns = Arc::new(remotes.dns.clone());
        for (index, supply) in remotes.providers.iter().enumerate() {
            let provider = &supply.provider;
            let part = lists.get(name).and_then(|listed| listed.part(index));
            let hosts = part.map(|part| Arc::clone(&part.hosts));
            let hosts = hosts.filter(|hosts| !hosts.is_empty());
            let of_hosts = hosts.map(|hosts| Ask::Hosts(hosts, Family::Any));
            let ask = match provider {
                Provider::File(_) | Provider::Inline(_) => None,
                Provider::Dns(dns) => {
                    let port = if dns.port == 0 {
                        remotes.default_remote_port
                    } else {
                        dns.port
                    };
                    let host = Host::of(dns.name.clone(), port);
                    Some(Ask::Hosts(Arc::from([host]), dns.family))
                }
                Provider::Srv(srv) => Some(Ask::Service(srv.name.clone(), srv.family)),
                Provider::Http(http) => http.url.clone().map(|url| {
                    let of_service = certificates.get(name);
                    let origination = of_service.and_then(|tls| tls.of_providers.get(&index).cloned());
                    Ask::List(Arc::new(RemoteList {
                        url,
                        http: http.clone(),
                        rules: rules(http.on_bad_line, remotes.default_remote_port),
                        origination,
                    }))
                }),
            };
            all.extend(ask.into_iter().chain(of_hosts).map(|ask| Question {
                place: (name.clone(), index),
                kind: provider.kind(),
                ask,
                dns: Arc::clone(&dns),
            }));
        }
    }
    all
}

/// Goes through what is to be asked: lists first, whose host names are asked for themselves once a list is known.
fn go_through(
    (config, certificates): (&Config, &Certificates),
    lists: &mut Lists,
    mut look: impl FnMut(Question, &mut Lists),
) {
    for of_lists in [true, false] {
        for question in questions(config, lists, certificates) {
            if matches!(question.ask, Ask::List(_)) == of_lists {
                look(question, lists);
            }
        }
    }
}

/// Takes over what was said before by whoever is asked still, and of lists of names what was found for those that it shares some with.
pub(super) fn carry(
    lists: &mut Lists,
    made_of: (&Config, &Certificates),
    (before, asked): (&Lists, &[Arc<Question>]),
) {
    go_through(made_of, lists, |question, lists| {
        let is_alike = |old: &&Arc<Question>| {
            let is_same = old.place.0 == question.place.0 && old.kind == question.kind;
            is_same && old.ask.is_alike(&question.ask)
        };
        let part = |old: &Question| before.get(&old.place.0)?.part(old.place.1);
        let alike = asked.iter().find(is_alike);
        let Some(listed) = lists.get_mut(&question.place.0) else {
            return;
        };
        if let Ask::List(_) = question.ask {
            let part = alike.and_then(|old| part(old));
            listed.hold(part.map(|part| (question.place.1, part.clone())));
            return;
        }
        // As with a list that is followed, what was found for names of before stays until there is news of those of now: whoever asks
        // tells soon what those have said that stay.
        let is_known = |old: &&Arc<Question>| alike.is_none() && question.shares_hosts(old);
        let olds = alike.into_iter().chain(asked.iter().filter(is_known));
        let found: Vec<_> = olds.filter_map(|old| part(old)?.found.as_ref()).collect();
        match found[..] {
            [] => {}
            [one] => listed.find(question.place.1, Arc::clone(one)),
            _ => {
                let all = CandidateSet::union(found.into_iter().map(|set| &**set));
                listed.find(question.place.1, Arc::new(all));
            }
        }
    });
}

/// What providers that are asked have said last, as it is saved: by service.
pub(super) fn answers(questions: &[Arc<Question>], lists: &Lists) -> Answers {
    let mut answers = Answers::new();
    for question in questions {
        let (service, index) = &question.place;
        let part = lists.get(service).and_then(|listed| listed.part(*index));
        let lines = part.and_then(|part| match question.ask {
            Ask::List(_) => lines_of(part),
            Ask::Hosts(..) | Ask::Service(..) => part.found.as_ref()?.to_lines(MAX_ANSWER_LINES),
        });
        if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
            let asked = question.fingerprint();
            let answer = SavedAnswer { asked, lines };
            answers
                .entry(service.as_str().to_owned())
                .or_default()
                .push(answer);
        }
    }
    answers
}

/// Takes in what providers have said to a process before this one; what that was.
pub(super) fn recall(made_of: (&Config, &Certificates), lists: &mut Lists, state: &State) -> Vec<Said> {
    let mut all = Vec::new();
    if state.services.values().all(|saved| saved.answers.is_empty()) {
        return all;
    }
    go_through(made_of, lists, |question, lists| {
        let saved = state.services.get(question.place.0.as_str());
        let asked = question.fingerprint();
        let answer = saved.and_then(|saved| saved.answers.iter().find(|answer| answer.asked == asked));
        all.extend(answer.and_then(|answer| take_up(question, answer, lists)));
    });
    all
}

/// Takes up one saved answer; what of it whoever asks names is to know.
fn take_up(question: Question, answer: &SavedAnswer, lists: &mut Lists) -> Option<Said> {
    let (service, index) = &question.place;
    let listed = lists.get_mut(service)?;
    let provider = question.kind.at(*index);
    // Each line has its port.
    let list = match list_file::read_entries(&answer.lines, 1) {
        Ok(list) => list,
        Err(error) => {
            warn!(
                service = service.as_str();
                "what provider {provider} said last is not in the state file as it was written: {error}"
            );
            return None;
        }
    };
    info!(
        service = service.as_str();
        "recalled what provider {provider} said last: {} candidates", list.set.len()
    );
    if let Ask::List(_) = question.ask {
        listed.hold([(*index, list.into())]);
        return None;
    }
    let set = Arc::new(list.set);
    listed.find(*index, Arc::clone(&set));
    Some(Said {
        question: Arc::new(question),
        set,
        hosts: Arc::default(),
    })
}

/// What stands in a list that was asked for: its addresses, and its host names.
fn lines_of(part: &Part) -> Option<Vec<String>> {
    let most = MAX_ANSWER_LINES.checked_sub(part.hosts.len())?;
    let mut lines = part.own.as_ref()?.to_lines(most)?;
    lines.extend(part.hosts.iter().map(Host::to_line));
    Some(lines)
}

/// Every list that cannot be used; at least one.
#[derive(Debug)]
pub struct ListError {
    /// What is wrong with each.
    pub errors: Vec<LoadError>,
}

impl ListError {
    /// Whether a list could not be read at all, as opposed to being wrong.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.errors
            .iter()
            .any(|error| matches!(error, LoadError::Unreadable { .. }))
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ListError {}

/// Reads every list again, and waits for nobody who writes one.
///
/// # Errors
/// All lists that cannot be read or used.
pub(super) fn reload(config: &Config) -> Result<Lists, ListError> {
    let specs = config.services.values();
    let files = specs.flat_map(|spec| spec.remotes.providers.iter().filter_map(Supply::file));
    let paths: BTreeSet<&PathBuf> = files.map(|file| &file.path).collect();
    let unreadable = |path: &PathBuf| {
        let source = must_be_regular(path).err()?;
        let path = path.clone();
        Some(LoadError::Unreadable { path, source })
    };
    let errors: Vec<_> = paths.into_iter().filter_map(unreadable).collect();
    if errors.is_empty() {
        load(config)
    } else {
        Err(ListError { errors })
    }
}

/// How a list is read for a service with this port.
pub(super) fn rules(on_bad_line: OnBadLine, default_port: u16) -> Rules {
    Rules {
        default_port,
        on_bad_line,
        host_names: HostNames::Collected,
    }
}

/// Logs what people should know of a list.
pub fn tell(path: &Path, account: &Account) {
    for remark in account.remarks() {
        warn!("{}: {remark}", path.display());
    }
}

/// What the configuration and the files that it names say; logs what people should know of each file.
///
/// # Errors
/// All lists that cannot be read or used.
pub fn load(config: &Config) -> Result<Lists, ListError> {
    read(config, tell)
}

/// What the configuration and the files that it names say; providers that have to be asked have not said anything yet.
/// Services that name the same file (and read it in the same way) share what it says, and what was understood of it is
/// told once.
///
/// # Errors
/// All lists that cannot be read or used.
pub fn read(config: &Config, mut understood: impl FnMut(&Path, &Account)) -> Result<Lists, ListError> {
    let mut read: BTreeMap<(PathBuf, Rules), Part> = BTreeMap::new();
    let mut lists = Lists::new();
    let mut errors = Vec::new();
    for (name, spec) in &config.services {
        let port = spec.remotes.default_remote_port;
        let mut part = |provider: &Provider| match provider {
            Provider::File(file) => {
                let part = read.entry((file.path.clone(), rules(file.on_bad_line, port)));
                let part = part.or_insert_with_key(|(path, rules)| match list_file::load(path, *rules) {
                    Ok(list) => {
                        understood(path, &list.account);
                        list.into()
                    }
                    Err(error) => {
                        errors.push(error);
                        Part::default()
                    }
                });
                part.clone()
            }
            Provider::Inline(entries) => {
                let list = list_file::read_entries(entries, port);
                debug_assert!(list.is_ok(), "checked with the configuration");
                list.map_or_else(|_| Part::default(), Part::from)
            }
            Provider::Dns(_) | Provider::Srv(_) | Provider::Http(_) => Part::default(),
        };
        let parts = spec.remotes.providers.iter().map(|supply| Part {
            max_connections: supply.max_connections,
            ..part(&supply.provider)
        });
        let parts = parts.collect();
        lists.insert(name.clone(), Listed::of(parts));
    }
    if errors.is_empty() {
        Ok(lists)
    } else {
        Err(ListError { errors })
    }
}

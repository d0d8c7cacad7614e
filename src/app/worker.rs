//! The worker: the one thread that makes calls that block.
//!
//! Owns the configuration that is in force and the listen addresses; it is the only writer of the directory (but for the
//! stop) and of the candidate lists. A reload is all or nothing: whatever can be refused is asked for before anything
//! is published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use super::admin::{AdminChange, AdminPort};
use super::assemble::{Past, assemble, publish_lists};
use super::certificates::{self, Certificates};
use super::circular::ask_all;
use super::error::AppError;
use super::faults;
use super::handle::{self, Errand, Handle};
use super::inherited::Inherited;
use super::journals::{self, Journals};
use super::lists::{self, Listed, Lists, Part};
use super::ports::{self, Port};
#[cfg(unix)]
use super::takeover;
use crate::admin;
use crate::base::clock;
use crate::base::file_watch::{FileWatch, LAZY_LOOK_INTERVAL, LOOK_INTERVAL, must_be_regular};
use crate::candidates::Rules;
use crate::candidates::watch::Watch;
use crate::config::{self, Config, ServiceName, Supply};
use crate::fleet::Sharer;
#[cfg(unix)]
use crate::handover::Claimed;
use crate::logging;
use crate::reactor::limits::Limits;
use crate::reactor::{Letter, Mailbox};
use crate::service::events::What;
use crate::service::reloads::{Fault, Outcome};
use crate::service::{Directory, Hub, Phase, Service};
use crate::state::Keeper;
use crate::systemd::{Notice, Notifier};
use crate::tls::Credentials;

/// What is in force, and what may be changed of it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) hub: Arc<Hub>,
    pub(super) mailboxes: Arc<[Arc<Mailbox>]>,
    pub(super) errands: Receiver<Errand>,
    /// The file of the configuration; none if that was made in memory.
    pub(super) file: Option<PathBuf>,
    pub(super) config: Config,
    /// What all providers have said last.
    pub(super) lists: Lists,
    pub(super) certificates: Certificates,
    pub(super) journals: Journals,
    pub(super) ports: Vec<Port>,
    /// Descriptors for connections.
    pub(super) room: usize,
    /// `server.reactors` as this process was started with.
    pub(super) started_reactors: usize,
    pub(super) needs_restart: bool,
    pub(super) admin: AdminPort,
    pub(super) handle: Handle,
    pub(super) notifier: Arc<Notifier>,
    pub(super) watches: Watches,
    pub(super) keeper: Keeper,
    /// The number of this process in a fleet, until there is a thread that has it.
    pub(super) node: Option<u64>,
}

/// The files that are followed.
#[derive(Debug, Default)]
pub(super) struct Watches {
    config: Option<FileWatch>,
    /// By path, and how it is read.
    lists: BTreeMap<(PathBuf, Rules), Watch>,
    /// Certificates, keys and authorities.
    certificates: Vec<FileWatch>,
    next_look: Option<Instant>,
}

impl Worker {
    /// The body of the thread; returns when the stop begins.
    pub(super) fn run(mut self) {
        self.watches.follow(&self.config, self.file.as_ref());
        while !self.hub.is_stopping() {
            let next = self.step(clock::now());
            self.hub.bells.worker.wait(next);
        }
        // Of two processes, one of which has handed over to the other, the new one has read this when it was asked to.
        self.save();
    }

    /// Writes the state file, if anything has changed.
    fn save(&mut self) {
        let (questions, lists) = (self.hub.provided.questions.load(), &self.lists);
        self.keeper
            .write(|| lists::answers(&questions, lists), clock::now());
    }

    /// Does what it was asked for, and looks at files if it is time; when the next look is due.
    fn step(&mut self, now: Instant) -> Option<Instant> {
        for errand in handle::merged(self.errands.try_iter()) {
            match errand {
                Errand::Reload => drop(self.reload("asked to")),
                Errand::Apply(next) => {
                    let (config, lists) = *next;
                    let outcome = self.apply(config, lists);
                    drop(self.note(outcome));
                }
                Errand::ReopenLogs => {
                    logging::reopen();
                    logging::reopen_lines();
                }
                #[cfg(unix)]
                Errand::HandOver(claimed) => self.hand_over(*claimed),
            }
        }
        while let Ok(errand) = self.admin.errands.try_recv() {
            match errand {
                admin::Errand::Reload(ticket) => {
                    let outcome = self.reload("asked to over HTTP");
                    if let Some(ticket) = ticket {
                        let page = admin::reload_page(&outcome, self.needs_restart);
                        self.admin.handle.deliver(ticket, page);
                    }
                }
                admin::Errand::Connections(ticket, limit) => {
                    let told = ask_all(&self.mailboxes, |reply| Letter::List(limit, reply));
                    let page = admin::connections_page(&told, self.mailboxes.len(), limit);
                    self.admin.handle.deliver(ticket, page);
                }
                admin::Errand::Takeover(guest) => self.offer(guest),
            }
        }
        self.take_said();
        let (questions, lists) = (self.hub.provided.questions.load(), &self.lists);
        self.keeper.step(|| lists::answers(&questions, lists), now);
        if self
            .watches
            .is_due(now, look_interval(&self.hub.directory.load()))
        {
            if self.watches.config.as_mut().is_some_and(FileWatch::look) {
                drop(self.reload("the file has changed"));
            }
            self.look_at_lists();
            self.look_at_certificates();
        }
        [self.watches.next_look, self.keeper.next()]
            .into_iter()
            .flatten()
            .min()
    }

    #[cfg(unix)]
    fn offer(&mut self, guest: admin::Guest) {
        // Whoever asks reads it next.
        self.save();
        takeover::offer(
            guest,
            &self.mailboxes,
            &self.ports,
            &self.admin.doors,
            &self.handle,
        );
    }

    #[cfg(not(unix))]
    fn offer(&mut self, guest: admin::Guest) {
        debug_assert!(false, "there is no control socket to ask at");
        drop(guest);
    }

    /// Hands over to a new process that is ready, and stops.
    #[cfg(unix)]
    fn hand_over(&mut self, claimed: Claimed) {
        // Of two that were ready at once, the second one comes here after the first one has everything.
        if self.hub.is_stopping() {
            warn!("not handed over once more: this process is stopping");
            return claimed.refuse("the process that it would replace is stopping");
        }
        match takeover::give_up(claimed, &self.mailboxes, &self.ports) {
            Ok(pid) => {
                info!("handed over to process {pid}");
                self.notifier.leave_to(pid);
                self.admin.handle.close_metrics();
                self.admin.handle.close_control();
                self.admin.doors.metrics = None;
                if let Some(control) = self.admin.doors.control.take() {
                    control.leave();
                }
                self.handle.stop();
            }
            Err(error) => warn!("not handed over, this process goes on: {error}"),
        }
    }

    /// Reads the configuration and the lists again; applies all of it or nothing.
    fn reload(&mut self, why: &str) -> Outcome {
        info!("reloading: {why}");
        self.notifier.tell(&[Notice::Reloading]);
        let outcome = self.read().and_then(|(config, lists)| self.apply(config, lists));
        let outcome = self.note(outcome);
        self.notifier
            .tell(&[Notice::Ready, Notice::Status(&status(&self.hub))]);
        outcome
    }

    /// Tells log, metrics and API what became of a reload.
    fn note(&self, outcome: Result<Vec<String>, Vec<Fault>>) -> Outcome {
        let mut reloads = (*self.hub.reloads.load()).clone();
        let outcome = match outcome {
            Ok(changes) => {
                info!("reloaded: {}", in_words(&changes));
                reloads.applied += 1;
                let told = changes.clone();
                self.hub.events.tell(None, What::Reloaded { changes: told });
                Outcome::Applied(changes)
            }
            Err(faults) => {
                for fault in &faults {
                    error!("not reloaded: {fault}");
                }
                reloads.refused += 1;
                let told = faults.iter().map(Fault::to_string).collect();
                self.hub.events.tell(None, What::ReloadRefused { faults: told });
                Outcome::Refused(faults)
            }
        };
        reloads.needs_restart = self.needs_restart;
        reloads.last = Some((clock::wall(), outcome.clone()));
        self.hub.reloads.publish(Arc::new(reloads));
        outcome
    }

    /// Reads what is to be in force.
    fn read(&self) -> Result<(Config, Lists), Vec<Fault>> {
        let Some(file) = &self.file else {
            return Err(vec![Fault::of("there is no configuration file")]);
        };
        let unreadable = |source| config::LoadError::Unreadable {
            file: file.clone(),
            source,
        };
        // This thread must not wait for whoever writes a pipe.
        let config = must_be_regular(file)
            .map_err(unreadable)
            .and_then(|()| config::load(file))
            .map_err(|error| faults::of_config(&error))?;
        let lists = lists::reload(&config).map_err(|error| faults::of_lists(&error))?;
        Ok((config, lists))
    }

    /// Puts a configuration in force, or nothing of it; what changes, in words.
    fn apply(&mut self, config: Config, mut lists: Lists) -> Result<Vec<String>, Vec<Fault>> {
        let refused = |error: &dyn std::fmt::Display| vec![Fault::of(error)];
        let mut nothing = Inherited::default();
        let plan = config::plan(&self.config, &config);
        let certificates = certificates::reload(&config, &self.hub.directory.load());
        let certificates = certificates.map_err(|error| faults::of_certificates(&error))?;
        let reserved = ports::reserve(
            &config,
            &self.ports,
            &mut Inherited::default(),
            self.mailboxes.len(),
        );
        let reserved = reserved.map_err(|error| refused(&error))?;
        let admin = AdminChange::prepare(Some(&self.config.process), &config.process, &mut nothing);
        let admin = admin.map_err(|error| refused(&error))?;
        let log_changes = self.config.process.logging != config.process.logging;
        let log = log_changes.then(|| logging::prepare(&config.process.logging));
        let log = log.transpose().map_err(|error| refused(&error))?;
        let journals = journals::open(&config).map_err(|error| refused(&error))?;
        // Last, so that nobody connects to what a refusal closes again.
        let opened = reserved.listen().map_err(|error| refused(&error))?;
        // Nothing can be refused any more.
        if let Some(log) = log {
            log.make();
        }
        admin.make(&self.admin.handle, &mut self.admin.doors);
        let before = std::mem::replace(&mut self.ports, opened.deliver(&self.mailboxes));
        self.needs_restart = self.started_reactors != config.process.reactors;
        let asked = self.hub.provided.questions.load();
        lists::carry(&mut lists, (&config, &certificates), (&self.lists, &asked));
        self.config = config;
        self.lists = lists;
        self.certificates = certificates;
        self.journals = journals;
        self.publish(&Past::default());
        // All files were read, or this would have been refused.
        for service in &self.hub.directory.load().services {
            let places: Vec<usize> = service.live.refused.load().keys().copied().collect();
            tell_refusal(service, &places, None);
        }
        if let Err(error) = self.start_sharing() {
            error!("nothing is shared: {error}");
        }
        self.keeper.adopt(&self.config.process.state, clock::now());
        self.wait_until_closed(&before);
        self.watches.follow(&self.config, self.file.as_ref());
        if self.needs_restart {
            warn!("server.reactors takes effect in a new process only; the rest is in force");
        }
        Ok(plan.changes)
    }

    /// Starts the thread that shares with a fleet, once the configuration wants that; it follows the configuration by itself.
    pub(super) fn start_sharing(&mut self) -> Result<(), AppError> {
        // A build that cannot share has refused a configuration that wants to, and has no code for it.
        if !cfg!(feature = "cluster") || self.config.process.cluster.url.is_none() {
            return Ok(());
        }
        if let Some(node) = self.node.take() {
            let sharer = Sharer::new(Arc::clone(&self.hub), node);
            // Nobody awaits its end: it may wait for a Redis, and leaves nothing behind.
            drop(self.handle.spawner.spawn("fleet".to_owned(), move || {
                sharer.run();
                Ok(())
            })?);
        }
        Ok(())
    }

    /// Waits until the listeners that have left are closed: whoever hears that the reload is done may listen there, this
    /// process with its next reload too.
    fn wait_until_closed(&self, before: &[Port]) {
        let has_left = |port: &Port| self.ports.iter().all(|other| other.id != port.id);
        // A reactor that has ended by itself answers no more, and has closed everything.
        if before.iter().any(has_left) && !self.hub.is_stopping() {
            ask_all(&self.mailboxes, Letter::Follow);
        }
    }

    /// Publishes the directory of the configuration that is in force now, unless the process stops.
    pub(super) fn publish(&mut self, past: &Past) {
        let limits = Limits::of(self.room, self.config.process.max_connections);
        let now = clock::now();
        self.hub.config.publish(Arc::new(Some(self.config.clone())));
        let before = self.hub.directory.load();
        publish_lists(&before, &self.lists);
        self.tell_remarks(&before);
        self.hub.directory.replace(|present| {
            let next = || {
                Arc::new(assemble(
                    present,
                    (&self.config, &self.lists, past),
                    (&self.certificates, &self.journals),
                    (&self.ports, limits),
                    (&self.hub.bells, now),
                ))
            };
            (present.phase == Phase::Serving).then(next)
        });
        self.keeper.follow(&self.hub.directory.load());
        self.ask();
    }

    /// Says what people should know of certificates that are new.
    fn tell_remarks(&self, before: &Directory) {
        for (name, spec) in &self.config.services {
            let before = before.service(name.as_str());
            let before = before.map(|service| service.tls.clone()).unwrap_or_default();
            let now = self.certificates.get(name).cloned().unwrap_or_default();
            for remark in certificates::remarks(spec, &before, &now) {
                warn!(target: "tcp_forwarder::tls", service = name.as_str(); "{remark}");
            }
        }
    }

    /// Takes up certificates that have changed, if all of them can be used.
    fn look_at_certificates(&mut self) {
        let looked = self.watches.certificates.iter_mut().map(FileWatch::look);
        if !looked.fold(false, |any, has_changed| any | has_changed) {
            return;
        }
        let present = self.hub.directory.load();
        match certificates::reload(&self.config, &present) {
            Ok(certificates) => {
                let is_new = |(name, new): &(&ServiceName, &Credentials)| {
                    let before = self.certificates.get(*name);
                    before.is_none_or(|before| !before.is_same(new))
                };
                let renewed: Vec<String> = certificates
                    .iter()
                    .filter(is_new)
                    .map(|(name, _)| name.to_string())
                    .collect();
                if renewed.is_empty() {
                    return;
                }
                info!(target: "tcp_forwarder::tls", "certificates have changed, of: {}", renewed.join(", "));
                self.certificates = certificates;
                self.publish(&Past::default());
            }
            Err(error) => {
                for (name, fault) in &error.faults {
                    if let Some(service) = present.service(name.as_str()) {
                        service
                            .live
                            .counts
                            .certificate_errors
                            .fetch_add(1, Ordering::Relaxed);
                    }
                    error!(
                        target: "tcp_forwarder::tls",
                        service = name.as_str();
                        "the changed certificates are not used, the last good ones stay: {fault}"
                    );
                }
            }
        }
    }

    fn look_at_lists(&mut self) {
        let directory = self.hub.directory.load();
        let mut is_news = false;
        for ((path, rules), watch) in &mut self.watches.lists {
            match watch.look() {
                Ok(None) => {}
                Ok(Some(list)) => {
                    is_news = true;
                    let account = list.account.clone();
                    let part = Part::from(list);
                    let mut has_changed = false;
                    for service in &directory.services {
                        let places = places_of(service, (path, *rules));
                        if let Some(listed) = self.lists.get_mut(&service.name)
                            && !places.is_empty()
                        {
                            tell_refusal(service, &places, None);
                            listed.hold(places.into_iter().map(|place| (place, part.clone())));
                            has_changed |= service.live.candidates.load() != listed.union;
                            tell_change(service, listed);
                        }
                    }
                    // What was told of the list at the start is not told again by the first look.
                    if has_changed {
                        lists::tell(path, &account);
                    }
                }
                Err(error) => {
                    for service in &directory.services {
                        let places = places_of(service, (path, *rules));
                        if !places.is_empty() {
                            tell_refusal(service, &places, Some(&error.to_string()));
                            let errors = &service.live.counts.candidate_list_errors;
                            errors.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    error!("the changed candidate list is not used, the last good one stays: {error}");
                }
            }
        }
        publish_lists(&directory, &self.lists);
        if is_news {
            self.ask();
        }
    }

    /// Has asked what is to be asked, if that is something else than before.
    fn ask(&self) {
        let questions = lists::questions(&self.config, &self.lists, &self.certificates);
        let present = self.hub.provided.questions.load();
        if present.iter().map(|known| &**known).ne(&questions) {
            let questions = questions.into_iter().map(Arc::new).collect();
            self.hub.provided.questions.publish(Arc::new(questions));
        }
    }

    /// Takes up what providers say.
    fn take_said(&mut self) {
        let said = self.hub.provided.take();
        if said.is_empty() {
            return;
        }
        let directory = self.hub.directory.load();
        let questions = self.hub.provided.questions.load();
        let mut has_hosts = false;
        for said in said {
            // What is not asked any more is nobody's.
            let question = Arc::clone(&said.question);
            let (name, _) = &question.place;
            if let Some(listed) = self.lists.get_mut(name)
                && questions.contains(&question)
            {
                has_hosts |= listed.hear(said);
                if let Some(service) = directory.service(name.as_str()) {
                    tell_change(service, listed);
                }
            }
        }
        publish_lists(&directory, &self.lists);
        self.keeper.hear_answers();
        if has_hosts {
            self.ask();
        }
    }
}

impl Watches {
    /// Follows the files that a configuration wants to be followed.
    fn follow(&mut self, config: &Config, file: Option<&PathBuf>) {
        let followed = file.filter(|_| config.process.reload.watch);
        if followed.map(PathBuf::as_path) != self.config.as_ref().map(FileWatch::path) {
            self.config = followed.cloned().map(FileWatch::new);
        }
        let mut before = std::mem::take(&mut self.lists);
        let files = config.services.values().flat_map(|spec| {
            let files = spec.remotes.providers.iter().filter_map(Supply::file);
            files.map(|file| (file, spec.remotes.default_remote_port))
        });
        for (file, port) in files.filter(|(file, _)| file.watch) {
            let key = (file.path.clone(), lists::rules(file.on_bad_line, port));
            let watch = before.remove(&key);
            let new = || Watch::new(key.0.clone(), key.1);
            self.lists
                .entry(key.clone())
                .or_insert_with(|| watch.unwrap_or_else(new));
        }
        self.follow_certificates(config);
        let is_idle = self.config.is_none() && self.lists.is_empty() && self.certificates.is_empty();
        self.next_look = (!is_idle).then(|| self.next_look.unwrap_or_else(|| clock::now() + LOOK_INTERVAL));
    }

    /// Follows the files of all certificates and keys.
    fn follow_certificates(&mut self, config: &Config) {
        let files = config.services.values().flat_map(|spec| Credentials::files(spec));
        let files: BTreeSet<PathBuf> = files.collect();
        self.certificates.retain(|watch| files.contains(watch.path()));
        for file in files {
            if !self.certificates.iter().any(|watch| watch.path() == file) {
                self.certificates.push(FileWatch::new(file));
            }
        }
    }

    /// Whether it is time to look; then the next time is one interval later, and never is it more than that from now.
    fn is_due(&mut self, now: Instant, interval: Duration) -> bool {
        let Some(at) = self.next_look else {
            return false;
        };
        let is_due = at <= now;
        let next = now + interval;
        self.next_look = Some(if is_due { next } else { at.min(next) });
        is_due
    }
}

/// Which providers of a service are a file.
fn places_of(service: &Service, (path, rules): (&PathBuf, Rules)) -> Vec<usize> {
    let remotes = &service.spec.remotes;
    let port = remotes.default_remote_port;
    let is_it = |supply: &Supply| {
        let file = supply.file();
        file.is_some_and(|file| file.path == *path && lists::rules(file.on_bad_line, port) == rules)
    };
    let places = remotes.providers.iter().enumerate();
    let places = places.filter(|(_, supply)| is_it(supply));
    places.map(|(place, _)| place).collect()
}

/// Says why the file of these providers is not used, or that it is.
fn tell_refusal(service: &Service, places: &[usize], why: Option<&str>) {
    let present = service.live.refused.load();
    let mut next = (*present).clone();
    for place in places {
        next.remove(place);
        next.extend(why.map(|why| (*place, why.to_owned())));
    }
    if next != *present {
        service.live.refused.publish(Arc::new(next));
    }
}

/// Says what has changed about the candidates of a service, if anything has.
fn tell_change(service: &Service, listed: &Listed) {
    let (before, set) = (service.live.candidates.load(), &listed.union);
    if before == *set {
        return;
    }
    info!(
        service = service.name.as_str();
        "the candidate list has changed: {} candidates in {} ranges, {} added, {} removed",
        set.len(),
        set.range_count(),
        set.beyond(&before),
        before.beyond(set)
    );
}

/// How often files are looked at.
fn look_interval(directory: &Directory) -> Duration {
    if directory.is_asleep() {
        LAZY_LOOK_INTERVAL
    } else {
        LOOK_INTERVAL
    }
}

fn in_words(changes: &[String]) -> String {
    if changes.is_empty() {
        "nothing has changed".to_owned()
    } else {
        changes.join("; ")
    }
}

/// How the services stand, in one line for people.
pub(super) fn status(hub: &Hub) -> String {
    let directory = hub.directory.load();
    let is_served = |service: &&Arc<Service>| !service.live.active.load().footing.is_fallback();
    let good = directory.services.iter().filter(is_served).count();
    let members: usize = directory
        .services
        .iter()
        .map(|service| service.live.active.load().backends.len())
        .sum();
    let (services, clients) = (directory.services.len(), hub.clients.count());
    format!("{good} of {services} services well, {members} backends active, {clients} connections")
}

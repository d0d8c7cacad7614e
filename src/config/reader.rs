//! Walks the tree along a shape and collects every error.
//!
//! The top level is read first, whatever the order in the text: it is what each service begins with, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::configuration::Config;
use super::draft::{Draft, beside};
use super::error::{ConfigError, ConfigErrors, LoadError};
use super::keys::{Field, Key};
use super::layer::{Item, Layer};
use super::listeners::Listeners;
use super::mobile::Baseline;
use super::platform::Platform;
use super::process::{LogOutput, Process};
use super::providers::{ProviderDraft, ProviderKind};
use super::rules::{self, Rule};
use super::service_name::ServiceName;
use super::shape::{self, Entry, Section};
use super::suggest::{self, MAX_COMPARED_BYTES};
use super::tree::{self, Address, Node};
use super::value::{MASK, Refusal, show, show_text};
use super::variables::{self, Variables};

/// Size of a configuration file. The shipped one, comments and all, has a hundredth of a quarter of it; one of a
/// thousand services a tenth.
const MAX_BYTES: u64 = 4 << 20;

/// Errors that are located and shown; a file that is no configuration at all has thousands.
const MAX_ERRORS: usize = 100;

/// Providers of one service.
const MAX_PROVIDERS: usize = 16;

/// The key of the listen addresses.
const LISTEN: &str = "server.listen_addr";

/// The key of the routes.
const ROUTES: &str = "server.routes";

/// The key of the service for clients that speak no TLS.
const PLAIN: &str = "server.plain";

/// What clients are shown.
const CERTIFICATES: [&str; 3] = ["server.tls.cert", "server.tls.key", "server.tls.certificates"];

/// The key of the metrics port.
const METRICS: &str = "metrics.listen_addr";

/// The section of one provider, without which its keys stand in a list.
const PROVIDER: &str = "remotes.provider";

/// The key of its type, which may be left out where one of the sections of types is given.
const TYPE: &str = "remotes.provider.type";

/// The key of the candidate list.
const LIST: &str = "remotes.provider.file.path";

pub(super) fn load(path: &Path) -> Result<Config, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        file: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let invalid = |line, message: String| LoadError::Invalid(only(path, line, message));
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(invalid(1, format!("too large; allowed: {MAX_BYTES} bytes")));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => parse(text, path, Surroundings::here()).map_err(LoadError::Invalid),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            Err(invalid(line, "not UTF-8; allowed: text in UTF-8".to_owned()))
        }
    }
}

/// What a configuration is read in.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'v> {
    pub(super) platform: Platform,
    pub(super) variables: Variables<'v>,
}

impl Surroundings<'static> {
    /// This system, and this process's environment.
    pub(super) fn here() -> Self {
        Self {
            platform: Platform::here(),
            variables: variables::ENVIRONMENT,
        }
    }
}

pub(super) fn parse(text: &str, file: &Path, here: Surroundings<'_>) -> Result<Config, ConfigErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = tree::parse(text)
        .map_err(|error| only(file, error.line, format!("not valid YAML: {}", error.message)))?;
    let mut reader = Reader::new(text, here.variables);
    let mut layers = reader.read(&root);
    reader.check(&mut layers, here.platform);
    reader.finish(layers, file)
}

/// The keys that the top level of a text gives, in its order; none when it is no configuration.
#[cfg(test)]
pub(super) fn keys_given(text: &str) -> Vec<&'static str> {
    let root = tree::parse(text).unwrap_or(Node::Null);
    Reader::new(text, variables::ENVIRONMENT)
        .read(&root)
        .top
        .keys_given()
}

fn only(file: &Path, line: usize, message: String) -> ConfigErrors {
    ConfigErrors {
        file: file.to_owned(),
        errors: vec![ConfigError {
            line,
            key: String::new(),
            message,
        }],
        omitted: 0,
        lists: Vec::new(),
    }
}

/// What the file says, level by level.
struct Layers {
    top: Layer,
    services: Services,
}

impl Layers {
    /// The top level, and each service.
    fn levels(&self) -> Vec<&Layer> {
        let named: &[Service] = match &self.services {
            Services::Unsaid => &[],
            Services::Named(services) => services,
        };
        let of_services = named.iter().map(|service| &service.layer);
        std::iter::once(&self.top).chain(of_services).collect()
    }
}

/// The services that the file names.
enum Services {
    /// None: there is one, made of the top level.
    Unsaid,
    /// Each that has a name, in the order of the text.
    Named(Vec<Service>),
}

struct Service {
    name: ServiceName,
    layer: Layer,
}

/// Where the walk stands.
#[derive(Debug, Clone, Default)]
struct Place {
    /// As errors show it.
    path: String,
    address: Address,
}

impl Place {
    /// Goes into an entry; what `leave` takes is returned.
    fn enter(&mut self, index: usize, name: &str) -> usize {
        let back = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&plain(name));
        self.address.push(index);
        back
    }

    /// Goes to an item of a list; what `leave` takes is returned.
    fn item(&mut self, index: usize) -> usize {
        let back = self.path.len();
        self.path = format!("{}[{index}]", self.path);
        self.address.push(index);
        back
    }

    fn leave(&mut self, back: usize) {
        self.path.truncate(back);
        self.address.pop();
    }
}

/// One entry of a section: its number, its name, its value.
type Named<'n> = (usize, &'n str, &'n Node);

struct Reader<'n> {
    text: &'n str,
    variables: Variables<'n>,
    process: Process,
    /// Where the services stand, until the top level has been read.
    services: Option<(&'n Node, Place)>,
    errors: Vec<ConfigError>,
    omitted: usize,
}

impl<'n> Reader<'n> {
    fn new(text: &'n str, variables: Variables<'n>) -> Self {
        Self {
            text,
            variables,
            process: Baseline::here().process,
            services: None,
            errors: Vec::new(),
            omitted: 0,
        }
    }

    fn report(&mut self, address: &[usize], key: &str, message: String) {
        if self.errors.len() == MAX_ERRORS {
            self.omitted += 1;
            return;
        }
        self.errors.push(ConfigError {
            line: tree::line_of(self.text, address),
            key: key.to_owned(),
            message,
        });
    }

    fn read(&mut self, root: &'n Node) -> Layers {
        let mut top = Layer::top(Baseline::here().draft);
        self.section((&mut top, &shape::TOP), &shape::TOP, root, &mut Place::default());
        let services = match self.services.take() {
            None => Services::Unsaid,
            Some((node, at)) => {
                if let Some(address) = top.given(LISTEN) {
                    let message = "each service has its own; allowed: services.NAME.listen_addr";
                    self.report(address, LISTEN, message.to_owned());
                }
                Services::Named(self.services(&top, node, at))
            }
        };
        Layers { top, services }
    }

    /// Reads a section of a level. A section without entries is what is left when all of them are commented out, so it
    /// means defaults.
    fn section(
        &mut self,
        (layer, shape): (&mut Layer, &'static Section),
        section: &'static Section,
        node: &'n Node,
        at: &mut Place,
    ) {
        let allowed = || section.names().join(", ");
        if let Node::Null = node {
            return;
        }
        for (index, name, value) in self.entries(node, at, &allowed) {
            let back = at.enter(index, name);
            match section.entry(name) {
                Some(Entry::Key(key)) => self.value(layer, key, value, at),
                Some(Entry::Section(inner)) => self.section((layer, shape), inner, value, at),
                Some(Entry::Providers(inner)) => self.providers((layer, shape), inner, value, at),
                Some(Entry::Services) => self.services = Some((value, at.clone())),
                Some(Entry::Elsewhere(where_to)) => self.report(&at.address, &at.path, where_to.clone()),
                None => {
                    let message = suggest::unknown(section, name, (shape, layer.prefix()));
                    self.report(&at.address, &at.path, message);
                }
            }
            at.leave(back);
        }
    }

    /// Reads one provider, or a list of them; a list stands for itself, whatever the level above says.
    fn providers(
        &mut self,
        (layer, shape): (&mut Layer, &'static Section),
        section: &'static Section,
        node: &'n Node,
        at: &mut Place,
    ) {
        let Node::List(items) = node else {
            if let Node::Map(_) = node {
                layer.draft.provider_list = None;
            }
            return self.provider((layer, shape), section, node, at);
        };
        if items.is_empty() || items.len() > MAX_PROVIDERS {
            let message = format!(
                "a list of {} providers is out of range; allowed: one provider, or a list of 1 to {MAX_PROVIDERS}",
                items.len()
            );
            return self.report(&at.address, &at.path, message);
        }
        for (index, item) in items.iter().enumerate() {
            let mut provider = layer.provider();
            let back = at.item(index);
            self.provider((&mut provider, shape), section, item, at);
            layer.providers.push(Item {
                path: at.path.clone(),
                address: at.address.clone(),
                layer: provider,
            });
            at.leave(back);
        }
        let drafts = layer
            .providers
            .iter()
            .map(|item| item.layer.draft.provider.clone());
        layer.draft.provider_list = Some(drafts.collect());
    }

    /// Reads one provider. Of one that does not say its type, the section that it gives does; which of several is meant
    /// nobody can know.
    fn provider(
        &mut self,
        (layer, shape): (&mut Layer, &'static Section),
        section: &'static Section,
        node: &'n Node,
        at: &mut Place,
    ) {
        self.section((layer, shape), section, node, at);
        let Node::Map(entries) = node else { return };
        if layer.given(TYPE).is_some() {
            return;
        }
        let section_of = |kind: &ProviderKind| {
            let is_its = |(key, value): &(Node, Node)| {
                matches!(key, Node::Text(name) if name == kind.name()) && matches!(value, Node::Map(_))
            };
            Some((*kind, entries.iter().position(is_its)?))
        };
        let given: Vec<(ProviderKind, usize)> = ProviderKind::ALL.iter().filter_map(section_of).collect();
        match given[..] {
            [] => {}
            [(kind, index)] => {
                layer.draft.provider.kind = kind;
                layer.give(TYPE, [&at.address[..], &[index]].concat());
            }
            [.., (kind, _)] => {
                // Whichever is meant, nothing else is said of it.
                layer.draft.provider.kind = kind;
                layer.give(TYPE, at.address.clone());
                layer.refuse(TYPE);
                let names: Vec<&str> = given.iter().map(|(kind, _)| kind.name()).collect();
                let message = format!(
                    "there is more than one section that says where candidates come from, and no type; allowed: type: {}",
                    names.join(", or type: ")
                );
                self.report(&at.address, &at.path, message);
            }
        }
    }

    /// The entries of a section, each name once; what is no entry is reported.
    fn entries(&mut self, node: &'n Node, at: &Place, allowed: &dyn Fn() -> String) -> Vec<Named<'n>> {
        let Node::Map(entries) = node else {
            let message = format!(
                "{} is not a section; allowed: a section with {}",
                show(node),
                allowed()
            );
            self.report(&at.address, &at.path, message);
            return Vec::new();
        };
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut named = Vec::with_capacity(entries.len());
        let mut here = at.clone();
        for (index, (key, value)) in entries.iter().enumerate() {
            let Node::Text(name) = key else {
                here.address.push(index);
                let message = format!("{} is not a key; allowed: {}", show(key), allowed());
                self.report(&here.address, &here.path, message);
                here.address.pop();
                continue;
            };
            let Some(first) = seen.insert(name, index) else {
                named.push((index, name.as_str(), value));
                continue;
            };
            here.address.push(first);
            let line = tree::line_of(self.text, &here.address);
            here.address.pop();
            let back = here.enter(index, name);
            let message = format!("given twice, first on line {line}; allowed: once");
            self.report(&here.address, &here.path, message);
            here.leave(back);
        }
        named
    }

    fn value(&mut self, layer: &mut Layer, key: &'static Key, value: &Node, at: &mut Place) {
        layer.give(key.path, at.address.clone());
        let filled = if variables::has_variables(value) {
            self.replaced(layer, key, value, at)
        } else {
            self.fill(layer, key, value)
        };
        let Err(refusals) = filled else {
            return;
        };
        layer.refuse(key.path);
        for Refusal { item, what } in refusals {
            let message = format!("{what}; allowed: {}", key.allowed());
            if let Some(item) = item {
                at.address.push(item);
                self.report(&at.address, &format!("{}[{item}]", at.path), message);
                at.address.pop();
            } else {
                self.report(&at.address, &at.path, message);
            }
        }
    }

    /// Puts a value into its field.
    fn fill(&mut self, layer: &mut Layer, key: &'static Key, value: &Node) -> Result<(), Vec<Refusal>> {
        match &key.field {
            Field::Process(slot) => {
                debug_assert!(layer.prefix().is_empty(), "{} in a service", key.path);
                slot.fill(&mut self.process, value)
            }
            Field::Service(slot) => slot.fill(&mut layer.draft, value),
            Field::Provider(slot) => slot.fill(&mut layer.draft.provider, value),
        }
    }

    /// Puts a value with variables into its field. Whether it stands in quotes does not matter, for within braces it
    /// has to: it is what the key takes, a number or a text. What a variable stands for may be a secret, so refusals
    /// show what is written.
    fn replaced(
        &mut self,
        layer: &mut Layer,
        key: &'static Key,
        value: &Node,
        at: &Place,
    ) -> Result<(), Vec<Refusal>> {
        if key.kind() == "text" {
            layer.veil(key.path);
        }
        let replace = |read| variables::replace(value, self.variables, read);
        let (typed, text) = match (replace(tree::scalar), replace(Node::Text)) {
            (Ok(typed), Ok(text)) => (typed, text),
            (Err(faults), _) | (_, Err(faults)) => {
                layer.refuse(key.path);
                for fault in faults {
                    let address = [&at.address[..], &fault.address].concat();
                    let message = if key.is_secret() {
                        format!("{MASK} {}", fault.why)
                    } else {
                        format!("{} {}", show_text(&fault.written), fault.why)
                    };
                    self.report(&address, &format!("{}{}", at.path, fault.path), message);
                }
                return Ok(());
            }
        };
        if self.fill(layer, key, &typed).is_ok() {
            return Ok(());
        }
        self.fill(layer, key, &text).map_err(|refusals| {
            let refusals = refusals.into_iter();
            refusals.map(|refusal| as_written(key, value, refusal)).collect()
        })
    }

    fn services(&mut self, top: &Layer, node: &'n Node, mut at: Place) -> Vec<Service> {
        let is_empty = match node {
            Node::Null => true,
            Node::Map(entries) => entries.is_empty(),
            Node::Flag(_)
            | Node::Integer(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::List(_)
            | Node::Tagged(_) => false,
        };
        if is_empty {
            let message = "there is no service in it; allowed: at least one, or no services at all";
            self.report(&at.address, &at.path, message.to_owned());
            return Vec::new();
        }
        let allowed = || {
            format!(
                "names of services: {}, digits alone in quotes",
                ServiceName::ALLOWED
            )
        };
        let mut services = Vec::new();
        for (index, name, value) in self.entries(node, &at, &allowed) {
            let back = at.enter(index, name);
            services.extend(self.service(top, name, value, &mut at));
            at.leave(back);
        }
        services
    }

    /// Reads a service, also one whose name is wrong, so that the errors in it are said; it is none then.
    fn service(&mut self, top: &Layer, text: &str, node: &'n Node, at: &mut Place) -> Option<Service> {
        let name = ServiceName::parse(text);
        if name.is_none() {
            let message = format!("not a name of a service; allowed: {}", ServiceName::ALLOWED);
            self.report(&at.address, &at.path, message);
        }
        let mut layer = Layer::service(&at.path, top);
        self.section((&mut layer, &shape::SERVICE), &shape::SERVICE, node, at);
        let is_section = matches!(node, Node::Map(_) | Node::Null);
        if is_section && layer.given(LISTEN).is_none() {
            let message =
                "it does not say where it listens; allowed: listen_addr, an address or a list of them";
            self.report(&at.address, &at.path, message.to_owned());
        }
        Some(Service { name: name?, layer })
    }

    /// What goes together is asked once everything has been read.
    fn check(&mut self, layers: &mut Layers, platform: Platform) {
        let Layers { top, services } = layers;
        if let Services::Named(services) = services {
            for Service { layer, .. } in services {
                layer.apply_weights(Some(top));
            }
        }
        top.apply_weights(None);
        for rule in rules::OF_PROCESS {
            let broken = (rule.broken)(&self.process, platform);
            self.broken(rule.keys, top, None, broken);
        }
        for rule in rules::OF_SERVICE {
            self.rule(rule, layers, platform);
        }
        for rule in rules::OF_PROVIDER {
            self.rule(rule, layers, platform);
            for level in layers.levels() {
                self.provider_rule(rule, level, platform);
            }
        }
        self.listeners(layers);
        self.targets(layers);
        self.sessions(layers);
    }

    /// What is said of sessions with clients is for a service that has a certificate to show; what all inherit, for any.
    fn sessions(&mut self, layers: &Layers) {
        let levels = layers.levels();
        let speaks_tls = |level: &&Layer| level.draft.server.tls.names_certificates();
        let does_anybody = levels.iter().any(speaks_tls);
        for level in levels {
            let is_top = level.prefix().is_empty();
            // What was refused may have been the certificate.
            let is_in_vain = if is_top {
                !does_anybody && self.errors.is_empty()
            } else {
                let is_refused = |key: &&str| level.is_refused(key, Some(&layers.top));
                !speaks_tls(&level) && !CERTIFICATES.iter().any(is_refused)
            };
            let said = level.draft.server.tls.said_of_sessions();
            if is_in_vain && level.first_given(&said).is_some() {
                let message = "no certificate is shown, so clients are served in clear; allowed with it: server.tls.cert and \
                               key, or certificates";
                self.broken(&said, level, Some(&layers.top), vec![message.to_owned()]);
            }
        }
    }

    /// Routes lead to services that there are.
    fn targets(&mut self, layers: &Layers) {
        let names: BTreeSet<ServiceName> = match &layers.services {
            Services::Unsaid => BTreeSet::from([ServiceName::default_service()]),
            Services::Named(services) => services.iter().map(|service| service.name.clone()).collect(),
        };
        for level in layers.levels() {
            let server = &level.draft.server;
            for (index, route) in server.routes.iter().enumerate() {
                if let Some(address) = level.given(ROUTES).filter(|_| !names.contains(&route.to)) {
                    let mut address = address.clone();
                    address.push(index);
                    let key = format!("{}[{index}]", level.key(ROUTES));
                    self.report(&address, &key, no_service(&route.to, &names));
                }
            }
            if let (Some(address), Some(plain)) = (level.given(PLAIN), &server.plain)
                && !server.routes.is_empty()
                && !names.contains(plain)
            {
                self.report(&address.clone(), &level.key(PLAIN), no_service(plain, &names));
            }
        }
    }

    /// Asks a rule of each service that gives one of its keys; what all others inherit is wrong once.
    fn rule(&mut self, rule: &Rule<Draft>, layers: &Layers, platform: Platform) {
        let top = &layers.top;
        let mut is_inherited = matches!(layers.services, Services::Unsaid);
        if let Services::Named(services) = &layers.services {
            for Service { layer, .. } in services {
                if layer.first_given(rule.keys).is_none() {
                    is_inherited = true;
                    continue;
                }
                let broken = (rule.broken)(&layer.draft, platform);
                self.broken(rule.keys, layer, Some(top), broken);
            }
        }
        if is_inherited {
            let broken = (rule.broken)(&top.draft, platform);
            self.broken(rule.keys, top, None, broken);
        }
    }

    /// Asks a rule of each provider in a list that a level gives. What else its service says is that level's.
    fn provider_rule(&mut self, rule: &Rule<Draft>, level: &Layer, platform: Platform) {
        for item in &level.providers {
            let mut draft = level.draft.clone();
            draft.provider = item.layer.draft.provider.clone();
            let messages = (rule.broken)(&draft, platform);
            if messages.is_empty() || rule.keys.iter().any(|key| item.layer.is_refused(key, None)) {
                continue;
            }
            let given = item.layer.first_given(rule.keys);
            let (key, address) = match given {
                Some((key, address)) => {
                    let name = key.strip_prefix(PROVIDER).unwrap_or(key);
                    (format!("{}{name}", item.path), address)
                }
                None => (item.path.clone(), &item.address),
            };
            let is_veiled = rule.keys.iter().any(|key| item.layer.is_veiled(key, None));
            for message in messages {
                let message = if is_veiled { veiled(&message) } else { message };
                self.report(address, &key, message);
            }
        }
    }

    /// Reports a broken rule at the first of its keys that the level gives, unless one of its values was refused.
    fn broken(&mut self, keys: &[&'static str], layer: &Layer, below: Option<&Layer>, messages: Vec<String>) {
        if messages.is_empty() || keys.iter().any(|key| layer.is_refused(key, below)) {
            return;
        }
        let place = layer.first_given(keys);
        debug_assert!(place.is_some(), "the defaults break a rule: {messages:?}");
        let (key, address) = place.map_or_else(Default::default, |(key, address)| {
            (layer.key(key), address.clone())
        });
        let is_veiled = keys.iter().any(|key| layer.is_veiled(key, below));
        for message in messages {
            let message = if is_veiled { veiled(&message) } else { message };
            self.report(&address, &key, message);
        }
    }

    /// Listen addresses take no port from each other.
    fn listeners(&mut self, layers: &Layers) {
        let top = &layers.top;
        let levels: Vec<&Layer> = match &layers.services {
            Services::Unsaid => vec![top],
            Services::Named(services) => services.iter().map(|service| &service.layer).collect(),
        };
        let mut listeners = Listeners::default();
        // Owner 0 is the metrics port, the others are the levels in their order.
        if self.process.metrics.enabled && !top.is_refused(METRICS, None) {
            let taken = listeners.take(0, self.process.metrics.listen_addr);
            debug_assert!(taken.is_ok(), "it is the first");
        }
        for (index, level) in levels.iter().enumerate() {
            let is_told = level.given(LISTEN).is_some() || level.prefix().is_empty();
            if !is_told || level.is_refused(LISTEN, None) {
                continue;
            }
            for addr in &level.draft.server.listen_addrs {
                let Err(taken) = listeners.take(index + 1, *addr) else {
                    continue;
                };
                let owner = taken.owner.checked_sub(1).and_then(|owner| levels.get(owner));
                if let Some(owner) = owner {
                    let message = format!(
                        "{addr} is taken by {} {}; allowed: two addresses that do not overlap",
                        owner.key(LISTEN),
                        taken.addr
                    );
                    self.broken(&[LISTEN], level, None, vec![message]);
                } else {
                    self.metrics_port_taken(top, level, *addr);
                }
            }
        }
    }

    /// The error stands at the metrics port, if that is given.
    fn metrics_port_taken(&mut self, top: &Layer, level: &Layer, addr: SocketAddr) {
        let message = format!(
            "{METRICS} {} is taken by {} {addr}; allowed: two addresses that do not overlap",
            self.process.metrics.listen_addr,
            level.key(LISTEN)
        );
        let (keys, place) = match top.given(METRICS) {
            Some(_) => ([METRICS], top),
            None => ([LISTEN], level),
        };
        self.broken(&keys, place, None, vec![message]);
    }

    fn finish(mut self, layers: Layers, file: &Path) -> Result<Config, ConfigErrors> {
        if !self.errors.is_empty() {
            self.errors.sort();
            return Err(ConfigErrors {
                file: file.to_owned(),
                errors: self.errors,
                omitted: self.omitted,
                lists: lists(&layers, file),
            });
        }
        let process = finish_process(self.process, file);
        Ok(match layers.services {
            Services::Unsaid => Config::of_one(process, layers.top.draft.finish(file)),
            Services::Named(services) => {
                let finish = |service: Service| (service.name, service.layer.draft.finish(file));
                Config::of_many(process, services.into_iter().map(finish))
            }
        })
    }
}

/// A refusal that does not say what a variable of the value stands for.
fn as_written(key: &Key, value: &Node, refusal: Refusal) -> Refusal {
    let written = match (value, refusal.item) {
        (Node::List(items), Some(item)) => items.get(item).unwrap_or(value),
        _ => value,
    };
    // Of a list as a whole it says how long it is.
    let is_of_list = matches!(written, Node::List(_)) && refusal.item.is_none();
    if key.is_secret() || is_of_list || !variables::has_variables(written) {
        return refusal;
    }
    Refusal {
        what: format!(
            "{} is something else once its variables are replaced",
            show(written)
        ),
        ..refusal
    }
}

/// What a broken rule allows, without what it says of the values.
fn veiled(message: &str) -> String {
    let allowed = message.split_once("; allowed").map_or("", |(_, allowed)| allowed);
    let what = "what its variables stand for does not do";
    if allowed.is_empty() {
        what.to_owned()
    } else {
        format!("{what}; allowed{allowed}")
    }
}

fn no_service(name: &ServiceName, names: &BTreeSet<ServiceName>) -> String {
    const MOST: usize = 20;
    let shown: Vec<&str> = names.iter().take(MOST).map(ServiceName::as_str).collect();
    let more = if names.len() > MOST { ", and others" } else { "" };
    format!("there is no service {name}; allowed: {}{more}", shown.join(", "))
}

/// The candidate lists that a wrong file names all the same, each once.
fn lists(layers: &Layers, file: &Path) -> Vec<PathBuf> {
    let Layers { top, services } = layers;
    let one = |provider: &ProviderDraft| {
        let is_file = provider.kind == ProviderKind::File;
        is_file.then(|| beside(file, &provider.file.path))
    };
    let paths = |layer: &Layer, below: Option<&Layer>| -> Vec<PathBuf> {
        if layer.draft.provider_list.is_none() {
            let is_told = !layer.is_refused(LIST, below);
            return one(&layer.draft.provider)
                .filter(|_| is_told)
                .into_iter()
                .collect();
        }
        let given = if layer.providers.is_empty() {
            below
        } else {
            Some(layer)
        };
        let items = given.map_or(&[][..], |layer| &layer.providers);
        let told = items.iter().filter(|item| !item.layer.is_refused(LIST, None));
        told.filter_map(|item| one(&item.layer.draft.provider)).collect()
    };
    let all: BTreeSet<PathBuf> = match services {
        Services::Unsaid => paths(top, None).into_iter().collect(),
        Services::Named(services) => {
            let told = services
                .iter()
                .flat_map(|service| paths(&service.layer, Some(top)));
            told.collect()
        }
    };
    all.into_iter().collect()
}

/// Relative paths become relative to the folder of `file`.
fn finish_process(mut process: Process, file: &Path) -> Process {
    if let LogOutput::File(path) = &mut process.logging.output {
        *path = beside(file, path);
    }
    process.control_socket = process.control_socket.map(|path| beside(file, &path));
    process.state.path = process.state.path.map(|path| beside(file, &path));
    let authorities = &mut process.cluster.tls.ca;
    *authorities = authorities.take().map(|path| beside(file, &path));
    process
}

/// A key as an error shows it: plain when it looks like one, else in quotes, escaped and cut short.
fn plain(name: &str) -> String {
    let looks_like_a_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= MAX_COMPARED_BYTES && name.chars().all(looks_like_a_key) {
        name.to_owned()
    } else {
        show_text(name)
    }
}

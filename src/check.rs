//! `tcp-forwarder check`: what the configuration and the candidate lists say, without binding anything.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::app::{Listed, Lists};
use crate::candidates::{Account, CandidateSet, unreached};
use crate::config::{
    BandwidthLimits, Bind, ClientAuth, ClientTls, Config, ListFormat, LogOutput, NoMatch, Process, Provider,
    Server, ServiceName, Spec, Strategy, Supply, TlsVersion,
};
use crate::tls::Credentials;

/// What was understood, for people.
#[derive(Debug)]
pub struct Report<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The candidates of each service.
    pub candidates: &'a Lists,
    /// What was understood of each list file.
    pub accounts: &'a BTreeMap<PathBuf, Account>,
    /// What each service has for TLS.
    pub certificates: &'a BTreeMap<ServiceName, Credentials>,
}

impl fmt::Display for Report<'_> {
    /// One fact a line, `name: value`. Of many services each has a block of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = ProcessPart(&self.config.process);
        if let Some(spec) = self.config.only()
            && let Some(set) = self.candidates.get(&ServiceName::default_service())
        {
            let certificates = self.certificates.get(&ServiceName::default_service());
            write!(f, "{}", Listening { spec, indent: "" })?;
            write!(
                f,
                "{}",
                Encrypted {
                    spec,
                    certificates,
                    indent: ""
                }
            )?;
            write!(f, "{process}")?;
            return write!(
                f,
                "{}",
                Remotes {
                    spec,
                    listed: (set, self.accounts),
                    indent: ""
                }
            );
        }
        write!(f, "{process}")?;
        write!(f, "services: {}", self.config.services.len())?;
        for (name, spec) in &self.config.services {
            let indent = "  ";
            write!(f, "\n\nservice {name}:\n{}", Listening { spec, indent })?;
            let certificates = self.certificates.get(name);
            write!(
                f,
                "{}",
                Encrypted {
                    spec,
                    certificates,
                    indent
                }
            )?;
            let set = self.candidates.get(name);
            debug_assert!(set.is_some(), "no candidates for {name}");
            if let Some(set) = set {
                let listed = (set, self.accounts);
                write!(f, "{}", Remotes { spec, listed, indent })?;
            }
        }
        Ok(())
    }
}

/// What is the process's alone; each line is ended.
struct ProcessPart<'a>(&'a Process);

impl fmt::Display for ProcessPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(process) = self;
        let metrics = &process.metrics;
        if metrics.enabled {
            write!(f, "metrics: http://{}{}", metrics.listen_addr, metrics.path)?;
            let token = metrics.admin_token.as_ref();
            writeln!(f, "{}", token.map_or("", |_| ", admin token ***"))?;
        } else {
            writeln!(f, "metrics: off")?;
        }
        if let Some(socket) = &process.control_socket {
            writeln!(f, "control socket: {}", socket.display())?;
        }
        Ok(())
    }
}

/// Where a service listens, and for whom; each line is ended.
struct Listening<'a> {
    spec: &'a Spec,
    indent: &'a str,
}

impl fmt::Display for Listening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, indent } = self;
        let server = &spec.server;
        let listeners: Vec<String> = server.listen_addrs.iter().map(ToString::to_string).collect();
        writeln!(f, "{indent}listeners: {}", listeners.join(", "))?;
        if let Some(limits) = Clients::of(server) {
            writeln!(f, "{indent}clients: {limits}")?;
        }
        if let Some(limits) = Speed::of(server.bandwidth) {
            writeln!(f, "{indent}bandwidth: {limits}")?;
        }
        write!(f, "{}", Routed { server, indent })?;
        match &spec.access_log.output {
            None => Ok(()),
            Some(LogOutput::Stdout) => writeln!(f, "{indent}access log: stdout"),
            Some(LogOutput::Stderr) => writeln!(f, "{indent}access log: stderr"),
            Some(LogOutput::File(file)) => writeln!(f, "{indent}access log: {}", file.display()),
        }
    }
}

/// To whose backends clients go, where that depends on what they ask for; each line is ended.
struct Routed<'a> {
    server: &'a Server,
    indent: &'a str,
}

impl fmt::Display for Routed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, indent } = self;
        if server.routes.is_empty() {
            return Ok(());
        }
        for route in &server.routes {
            let of = |key: &str, names: &[String]| {
                (!names.is_empty()).then(|| format!("{key} {}", names.join(", ")))
            };
            let asked: Vec<String> = [of("sni", &route.sni), of("alpn", &route.alpn)]
                .into_iter()
                .flatten()
                .collect();
            let asked = if asked.is_empty() {
                "whatever is asked for".to_owned()
            } else {
                asked.join(" and ")
            };
            writeln!(f, "{indent}route: {asked} -> {}", route.to)?;
        }
        let others = match server.no_match {
            NoMatch::Own => "own backends",
            NoMatch::Close => "closed",
        };
        let plain = server.plain.as_ref().map_or("closed", ServiceName::as_str);
        writeln!(f, "{indent}no route: {others}; without tls: {plain}")
    }
}

/// What clients are shown, if they speak TLS; each line is ended.
struct Encrypted<'a> {
    spec: &'a Spec,
    certificates: Option<&'a Credentials>,
    indent: &'a str,
}

impl fmt::Display for Encrypted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(certificates) = self.certificates.and_then(|tls| tls.termination.as_ref()) else {
            return Ok(());
        };
        let indent = self.indent;
        let tls = &self.spec.server.tls;
        let version = match tls.min_version {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        };
        let clients = match tls.client_auth {
            ClientAuth::Off => "",
            ClientAuth::Optional => ", clients may show a certificate",
            ClientAuth::Required => ", clients must show a certificate",
        };
        writeln!(f, "{indent}tls: from version {version}{clients}")?;
        for one in certificates.shown() {
            let names = if one.names.is_empty() {
                "no names".to_owned()
            } else {
                one.names.join(", ")
            };
            let end = humantime::format_rfc3339_seconds(one.end());
            writeln!(
                f,
                "{indent}certificate: {} for {names}, until {end}",
                one.path.display()
            )?;
        }
        Ok(())
    }
}

/// Where a service forwards to; the last line is not ended.
struct Remotes<'a> {
    spec: &'a Spec,
    /// The candidates, and what was understood of each list file.
    listed: (&'a Listed, &'a BTreeMap<PathBuf, Account>),
    indent: &'a str,
}

impl fmt::Display for Remotes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, listed, indent } = self;
        let (set, accounts) = *listed;
        let account = |supply: &Supply| accounts.get(&supply.file()?.path);
        if let [only] = &spec.remotes.providers[..] {
            if only.provider.is_asked() {
                writeln!(f, "{indent}candidates: asked for at run time ({})", Named(only))?;
            } else {
                writeln!(f, "{indent}candidates: {} ({})", Size(&set.union), Named(only))?;
            }
            if let Some(account) = account(only) {
                writeln!(f, "{indent}list: {}", account.counts)?;
            }
        } else {
            writeln!(f, "{indent}candidates: {}", Size(&set.union))?;
            for (index, provider) in spec.remotes.providers.iter().enumerate() {
                match set.part(index).and_then(|part| part.own.as_ref()) {
                    Some(own) => writeln!(f, "{indent}  {} ({})", Size(own), Named(provider))?,
                    None => writeln!(f, "{indent}  asked for at run time ({})", Named(provider))?,
                }
                if let Some(account) = account(provider) {
                    writeln!(f, "{indent}    list: {}", account.counts)?;
                }
            }
        }
        if let Some(source) = Source::of(spec, &set.union) {
            writeln!(f, "{indent}source: {source}")?;
        }
        let size = spec.remotes.selector.active_set_size;
        writeln!(f, "{indent}active set: {size} of them")?;
        if let Some(tls) = spec.remotes.tls.to_backends() {
            writeln!(f, "{indent}tls to backends: {}", Spoken(tls))?;
        }
        let check = &spec.remotes.probing.check;
        if let Some(tls) = spec.remotes.tls.to_candidates(check) {
            writeln!(
                f,
                "{indent}check: {} over tls, {}",
                check.kind.name(),
                Spoken(&tls)
            )?;
        }
        writeln!(f, "{indent}balancing: {}", spec.pools.algorithm.name())?;
        write!(f, "{indent}pools: {}", Pools(&spec.pools.strategy))
    }
}

/// How TLS is spoken to others.
struct Spoken<'a>(&'a ClientTls);

impl fmt::Display for Spoken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(tls) = self;
        match tls.sni.as_str() {
            "" => write!(f, "to their addresses")?,
            name => write!(f, "to {name}")?,
        }
        match &tls.ca {
            _ if !tls.verify => write!(f, ", not verified"),
            Some(ca) => write!(f, ", verified by {}", ca.display()),
            None => write!(f, ", verified by the system's authorities"),
        }
    }
}

/// Where connections to candidates leave from, when the system does not choose.
struct Source<'a> {
    bind: &'a Bind,
    set: &'a CandidateSet,
}

impl<'a> Source<'a> {
    fn of(spec: &'a Spec, set: &'a CandidateSet) -> Option<Self> {
        let bind = &spec.remotes.bind;
        (!bind.is_any()).then_some(Self { bind, set })
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bind, set } = self;
        let addresses: Vec<String> = bind.addresses.iter().map(ToString::to_string).collect();
        let interface = bind.interface.iter().map(|name| format!("interface {name}"));
        let all: Vec<String> = addresses.into_iter().chain(interface).collect();
        write!(f, "{}", all.join(", "))?;
        if let Some(family) = unreached(bind, set) {
            write!(
                f,
                "; no candidate of {family} is reached, for it has no address of that"
            )?;
        }
        Ok(())
    }
}

/// How many candidates there are.
struct Size<'a>(&'a CandidateSet);

impl fmt::Display for Size<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.range_count();
        let ranges = if count == 1 { "range" } else { "ranges" };
        write!(f, "{} in {count} {ranges}", self.0.len())
    }
}

/// Which provider it is.
struct Named<'a>(&'a Supply);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(supply) = self;
        match &supply.provider {
            Provider::File(file) => {
                let watch = if file.watch { ", watched" } else { "" };
                write!(f, "{}{watch}", file.path.display())
            }
            Provider::Inline(_) => write!(f, "inline"),
            Provider::Dns(dns) => write!(f, "dns {}", dns.name),
            Provider::Srv(srv) => write!(f, "srv {}", srv.name),
            Provider::Http(http) => {
                f.write_str(&supply.provider.source())?;
                if http.format == ListFormat::Json {
                    write!(f, ", json {}", http.pointer)?;
                }
                match http.to_server() {
                    Some(tls) if !tls.verify => f.write_str(", not verified"),
                    Some(ClientTls { ca: Some(ca), .. }) => write!(f, ", verified by {}", ca.display()),
                    Some(_) | None => Ok(()),
                }
            }
        }?;
        match supply.max_connections {
            Some(max) => write!(f, ", {max} connections each at once"),
            None => Ok(()),
        }
    }
}

/// Who may connect, when not everybody may.
struct Clients<'a>(&'a Server);

impl<'a> Clients<'a> {
    fn of(server: &'a Server) -> Option<Self> {
        let is_open = server.allow.is_empty() && server.deny.is_empty();
        let is_limited = server.max_connections_per_ip > 0 || server.connection_rate_per_ip > 0.0;
        (!is_open || is_limited).then_some(Self(server))
    }
}

impl fmt::Display for Clients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(server) = self;
        match server.allow.len() {
            0 => write!(f, "of all networks")?,
            1 => write!(f, "of 1 network")?,
            count => write!(f, "of {count} networks")?,
        }
        if !server.deny.is_empty() {
            write!(f, " but {}", server.deny.len())?;
        }
        if server.max_connections_per_ip > 0 {
            write!(f, ", up to {} connections each", server.max_connections_per_ip)?;
        }
        if server.connection_rate_per_ip > 0.0 {
            write!(
                f,
                ", up to {} new ones a second each",
                server.connection_rate_per_ip
            )?;
        }
        Ok(())
    }
}

/// How fast bytes may move, when that is limited.
struct Speed(BandwidthLimits);

impl Speed {
    fn of(limits: BandwidthLimits) -> Option<Self> {
        (limits != BandwidthLimits::default()).then_some(Self(limits))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(limits) = self;
        let of = |limit, whose: &str| (limit > 0).then(|| format!("{limit} bytes a second {whose}"));
        let parts = [
            of(limits.per_connection, "per connection"),
            of(limits.total, "in total"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        write!(f, "{}, each direction", parts.join(", "))
    }
}

struct Pools<'a>(&'a Strategy);

impl fmt::Display for Pools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Strategy::Off => write!(f, "off, every connection is dialled"),
            Strategy::Static { size_per_remote } => {
                write!(f, "static, {size_per_remote} warm connections per backend")
            }
            Strategy::Dynamic(dynamic) => {
                write!(
                    f,
                    "dynamic, {} to {} connections per backend",
                    dynamic.min_size, dynamic.max_size
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Part;
    use std::sync::Arc;

    /// The same list for each service of a configuration.
    fn lists(config: &Config, text: &str) -> Lists {
        let set = Arc::new(CandidateSet::parse(text, 80).expect("a good list"));
        let names = config.services.keys();
        names
            .map(|name| (name.clone(), Listed::of(vec![Part::holding(&set)])))
            .collect()
    }

    fn report(config: &Config, list: &str) -> String {
        let candidates = &lists(config, list);
        Report {
            config,
            candidates,
            accounts: &BTreeMap::new(),
            certificates: &BTreeMap::new(),
        }
        .to_string()
    }

    const WATCHED: &str = if cfg!(feature = "mobile") { "" } else { ", watched" };

    const POOLS: &str = if cfg!(feature = "mobile") {
        "pools: dynamic, 2 to 50 connections per backend"
    } else {
        "pools: dynamic, 20 to 500 connections per backend"
    };

    #[test]
    fn says_what_was_understood() {
        assert_eq!(
            report(&Config::default(), "127.0.0.0/8\n127.0.0.1:8080"),
            format!(
                "listeners: 127.0.0.1:1234\n\
                 metrics: http://127.0.0.1:9099/metrics\n\
                 candidates: 16777215 in 2 ranges (./ip_list.txt{WATCHED})\n\
                 active set: 3 of them\n\
                 balancing: least_connections\n\
                 {POOLS}"
            )
        );
    }

    #[test]
    fn each_of_many_services_has_its_block() {
        let text = "server: { control_socket: /run/forwarder }\n\
                    metrics: { admin_token: hush }\n\
                    services:\n  \
                      web: { listen_addr: ['127.0.0.1:1', '[::1]:1'], max_connections_per_ip: 5 }\n  \
                      redis: { listen_addr: 127.0.0.1:2, pools: { algorithm: random } }\n";
        let file = std::path::Path::new("config.yaml");
        let config = crate::config::parse(text, file).expect("valid");
        assert_eq!(
            report(&config, "127.0.0.2"),
            format!(
                "metrics: http://127.0.0.1:9099/metrics, admin token ***\n\
                 control socket: /run/forwarder\n\
                 services: 2\n\
                 \n\
                 service redis:\n  \
                   listeners: 127.0.0.1:2\n  \
                   candidates: 1 in 1 range (ip_list.txt{WATCHED})\n  \
                   active set: 3 of them\n  \
                   balancing: random\n  \
                   {POOLS}\n\
                 \n\
                 service web:\n  \
                   listeners: 127.0.0.1:1, [::1]:1\n  \
                   clients: of all networks, up to 5 connections each\n  \
                   candidates: 1 in 1 range (ip_list.txt{WATCHED})\n  \
                   active set: 3 of them\n  \
                   balancing: least_connections\n  \
                   {POOLS}"
            )
        );
    }

    #[test]
    fn says_where_routes_lead() {
        let routed = |more: &str| {
            let text = format!(
                "services:\n  \
                   door:\n    \
                     listen_addr: '127.0.0.1:1234'\n    \
                     routes:\n      \
                       - {{ sni: ['example.org', '*.example.org'], alpn: h2, to: fast }}\n      \
                       - {{ alpn: [h2, http/1.1], to: web }}\n      \
                       - {{ to: web }}\n\
                 {more}  \
                   fast: {{ listen_addr: '127.0.0.1:2' }}\n  \
                   web: {{ listen_addr: '127.0.0.1:3' }}\n"
            );
            let config = crate::config::parse(&text, std::path::Path::new("config.yaml")).expect("valid");
            report(&config, "127.0.0.2")
        };
        let routes = "\n  listeners: 127.0.0.1:1234\n  \
                      route: sni example.org, *.example.org and alpn h2 -> fast\n  \
                      route: alpn h2, http/1.1 -> web\n  \
                      route: whatever is asked for -> web\n  ";
        let own = routed("");
        assert!(
            own.contains(&format!("{routes}no route: own backends; without tls: closed\n")),
            "{own}"
        );
        let closed = routed("    no_match: close\n    plain: web\n");
        assert!(
            closed.contains(&format!("{routes}no route: closed; without tls: web\n")),
            "{closed}"
        );
        assert_eq!(own.matches("route").count(), 4, "others have none: {own}");
    }

    #[test]
    fn says_who_may_connect_if_not_everybody() {
        let mut config = Config::default();
        let report = |config: &Config| report(config, "127.0.0.2");
        assert!(!report(&config).contains("clients:"));
        config.edit(|spec| {
            spec.server.deny = vec!["192.0.2.0/24".parse().expect("a network")];
            spec.server.connection_rate_per_ip = 0.5;
        });
        let fact = "clients: of all networks but 1, up to 0.5 new ones a second each\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
        config.edit(|spec| {
            spec.server.allow = spec.server.deny.clone();
            spec.server.max_connections_per_ip = 7;
            spec.server.bandwidth.total = 2048;
        });
        let fact = "bandwidth: 2048 bytes a second in total, each direction\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
        let fact =
            "clients: of 1 network but 1, up to 7 connections each, up to 0.5 new ones a second each\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
    }

    #[test]
    fn says_what_was_understood_of_the_list() {
        let config = Config::default();
        let candidates = &lists(&config, "127.0.0.2");
        let mut account = Account::default();
        (account.counts.addresses, account.counts.named) = (1, 1);
        let path = &config.only().expect("one service").remotes.providers[0];
        let path = path.file().expect("a file").path.clone();
        let report = Report {
            config: &config,
            candidates,
            accounts: &BTreeMap::from([(path, account)]),
            certificates: &BTreeMap::new(),
        };
        let fact = "\nlist: 1 address; 1 with a name\n";
        assert!(report.to_string().contains(fact), "{report}");
    }

    #[test]
    fn one_range_is_one() {
        let report = report(&Config::default(), "127.0.0.2\n127.0.0.3");
        let fact = format!("candidates: 2 in 1 range (./ip_list.txt{WATCHED})\n");
        assert!(report.contains(&fact), "{report}");
    }
}

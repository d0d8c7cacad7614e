//! `remotes.provider`: where candidates come from, checked. One, or a list of them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::http_provider::HttpProvider;
use super::on_bad_line::OnBadLine;

/// One provider of a service, and what holds for whom it names unless their entries say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    /// Where its candidates come from.
    pub provider: Provider,
    /// Connections that each of them takes at once; none: as many as come.
    pub max_connections: Option<NonZeroU32>,
}

impl From<Provider> for Supply {
    /// A provider of which nothing else is said.
    fn from(provider: Provider) -> Self {
        Self {
            provider,
            max_connections: None,
        }
    }
}

impl Supply {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FileProvider> {
        self.provider.file()
    }
}

/// Where candidates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// A file.
    File(FileProvider),
    /// The configuration itself: these entries.
    Inline(Vec<String>),
    /// The addresses of a name.
    Dns(DnsProvider),
    /// The places of a service, as SRV records name them.
    Srv(SrvProvider),
    /// A list that stands at a URL.
    Http(HttpProvider),
}

/// `remotes.provider` of type `dns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProvider {
    /// The name.
    pub name: String,
    /// The port of its addresses; 0 is `remotes.default_remote_port`.
    pub port: u16,
    /// Which addresses count.
    pub family: Family,
}

/// `remotes.provider` of type `srv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvProvider {
    /// The name of the service, such as `_http._tcp.example.org`.
    pub name: String,
    /// Which addresses of its places count.
    pub family: Family,
}

/// `remotes.provider.dns.family`, `remotes.provider.srv.family`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Both.
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Any, Self::Ipv4, Self::Ipv6];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The one of this name; `any` for any other.
    pub(super) fn of(name: &str) -> Self {
        let named = Self::ALL.into_iter().find(|family| family.name() == name);
        named.unwrap_or(Self::Any)
    }
}

/// `remotes.dns`: how names are looked up, for all providers of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dns {
    /// The servers that are asked, in this order; empty: those of `/etc/resolv.conf`.
    pub resolver: Vec<SocketAddr>,
    /// How long an answer of one server is waited for.
    pub timeout: Duration,
    /// An answer holds for no less than this, whatever it says itself.
    pub min_ttl: Duration,
    /// And for no more than this.
    pub max_ttl: Duration,
}

/// `remotes.provider` of type `file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProvider {
    /// The list, resolved against the configuration file's folder.
    pub path: PathBuf,
    /// Whether a changed file is read again.
    pub watch: bool,
    /// What becomes of a list with bad lines.
    pub on_bad_line: OnBadLine,
}

impl Provider {
    /// A file that is not followed.
    #[must_use]
    pub fn of_file(path: PathBuf) -> Self {
        Self::File(FileProvider {
            path,
            watch: false,
            on_bad_line: OnBadLine::Error,
        })
    }

    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FileProvider> {
        match self {
            Self::File(file) => Some(file),
            Self::Inline(_) | Self::Dns(_) | Self::Srv(_) | Self::Http(_) => None,
        }
    }

    /// The list at a URL, if it is one.
    #[must_use]
    pub fn http(&self) -> Option<&HttpProvider> {
        match self {
            Self::Http(http) => Some(http),
            Self::File(_) | Self::Inline(_) | Self::Dns(_) | Self::Srv(_) => None,
        }
    }

    /// Whether others are asked for its candidates while the process runs.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        match self {
            Self::File(_) | Self::Inline(_) => false,
            Self::Dns(_) | Self::Srv(_) | Self::Http(_) => true,
        }
    }

    /// Where it looks, in a few words: its file, its name.
    #[must_use]
    pub fn source(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Inline(entries) if entries.len() == 1 => "1 entry".to_owned(),
            Self::Inline(entries) => format!("{} entries", entries.len()),
            Self::Dns(dns) if dns.port == 0 => dns.name.clone(),
            Self::Dns(dns) => format!("{}:{}", dns.name, dns.port),
            Self::Srv(srv) => srv.name.clone(),
            Self::Http(http) => http.url.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Which type it is.
    #[must_use]
    pub fn kind(&self) -> ProviderKind {
        match self {
            Self::File(_) => ProviderKind::File,
            Self::Inline(_) => ProviderKind::Inline,
            Self::Dns(_) => ProviderKind::Dns,
            Self::Srv(_) => ProviderKind::Srv,
            Self::Http(_) => ProviderKind::Http,
        }
    }
}

/// `remotes.provider.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    /// A file.
    File,
    /// Entries in the configuration.
    Inline,
    /// The addresses of a name.
    Dns,
    /// SRV records.
    Srv,
    /// A list at a URL.
    Http,
}

impl ProviderKind {
    /// A provider in one word: its place in the list of its service, from 0, and its type.
    #[must_use]
    pub fn at(self, index: usize) -> String {
        format!("{index}:{}", self.name())
    }

    /// All of them.
    pub const ALL: [Self; 5] = [Self::File, Self::Inline, Self::Dns, Self::Srv, Self::Http];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Inline => "inline",
            Self::Dns => "dns",
            Self::Srv => "srv",
            Self::Http => "http",
        }
    }
}

/// Every key's value of one provider, those of other types than its own included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProviderDraft {
    pub(super) kind: ProviderKind,
    pub(super) on_bad_line: OnBadLine,
    pub(super) file: FileProvider,
    pub(super) entries: Vec<String>,
    pub(super) dns: DnsProvider,
    pub(super) srv: SrvProvider,
    pub(super) http: HttpProvider,
    /// 0: as many as come.
    pub(super) max_connections: u32,
}

impl ProviderDraft {
    /// What a provider was made of; what it has no use for has its default.
    pub(super) fn of(supply: &Supply) -> Self {
        let mut draft = Self {
            kind: supply.provider.kind(),
            max_connections: supply.max_connections.map_or(0, NonZeroU32::get),
            ..Self::default()
        };
        match &supply.provider {
            Provider::File(file) => {
                draft.on_bad_line = file.on_bad_line;
                draft.file = file.clone();
            }
            Provider::Inline(entries) => draft.entries.clone_from(entries),
            Provider::Dns(dns) => draft.dns = dns.clone(),
            Provider::Srv(srv) => draft.srv = srv.clone(),
            Provider::Http(http) => {
                draft.on_bad_line = http.on_bad_line;
                draft.http = http.clone();
            }
        }
        draft
    }

    /// The provider, with paths as they were given.
    pub(super) fn compose(self) -> Supply {
        let max_connections = NonZeroU32::new(self.max_connections);
        let provider = match self.kind {
            ProviderKind::File => Provider::File(FileProvider {
                on_bad_line: self.on_bad_line,
                ..self.file
            }),
            ProviderKind::Inline => Provider::Inline(self.entries),
            ProviderKind::Dns => Provider::Dns(self.dns),
            ProviderKind::Srv => Provider::Srv(self.srv),
            ProviderKind::Http => Provider::Http(HttpProvider {
                on_bad_line: self.on_bad_line,
                ..self.http
            }),
        };
        Supply {
            provider,
            max_connections,
        }
    }
}

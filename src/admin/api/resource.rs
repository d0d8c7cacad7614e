//! Which path below `/api/v1/` names what, and with which methods it is asked. Pure.

use super::query::decode;
use crate::service::AdminState;

/// What a path below `/api/v1/` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) enum Resource {
    Document,
    Services,
    Service(String),
    Candidates(String),
    Explain(String),
    Space(String),
    Config,
    Connections,
    Events,
    Fleet,
    Level,
    State(String, AdminState),
    Probe(String),
}

impl Resource {
    /// The resource of a path, if there is one.
    pub(in crate::admin) fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/api/v1/")?;
        let mut parts = path.split('/').map(decode);
        let (first, name, what) = (parts.next()??, parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        let resource = match (first.as_str(), name, what) {
            ("openapi.json", None, None) => Self::Document,
            ("services", None, None) => Self::Services,
            ("config", None, None) => Self::Config,
            ("connections", None, None) => Self::Connections,
            ("events", None, None) => Self::Events,
            ("fleet", None, None) => Self::Fleet,
            ("loglevel", None, None) => Self::Level,
            ("services", Some(name), None) => Self::Service(name?),
            ("services", Some(name), Some(what)) => {
                let (name, what) = (name?, what?);
                let state = AdminState::ALL.into_iter().find(|state| state.label() == what);
                match (what.as_str(), state) {
                    (_, Some(state)) => Self::State(name, state),
                    ("candidates", None) => Self::Candidates(name),
                    ("space", None) => Self::Space(name),
                    ("explain", None) => Self::Explain(name),
                    ("probe", None) => Self::Probe(name),
                    _ => return None,
                }
            }
            _ => return None,
        };
        Some(resource)
    }

    /// The methods that it answers.
    pub(in crate::admin) fn allow(&self) -> &'static str {
        match self {
            Self::State(..) | Self::Probe(_) => "POST",
            Self::Level => "GET, HEAD, POST",
            Self::Document
            | Self::Services
            | Self::Service(_)
            | Self::Candidates(_)
            | Self::Explain(_)
            | Self::Space(_)
            | Self::Config
            | Self::Connections
            | Self::Events
            | Self::Fleet => "GET, HEAD",
        }
    }
}

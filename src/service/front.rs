//! What stands before the backends of a service: which prefaces are awaited of a client, in which order, and where they
//! lead it.
//!
//! Made of the spec, once; a service that awaits nothing has none. To add a preface: a variant, its place in
//! [`Front::next`], and what the reactor does with it (`reactor/openings.rs`).

use std::net::IpAddr;

use crate::admission::Networks;
use crate::config::{NoMatch, ProxyAccept, Route, Server, ServiceName};
use crate::preface::client_hello::ClientHello;

/// What is awaited of a client before it gets a backend; in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// Who the client is, as whoever passes its connection on says.
    ProxyHeader,
    /// Whom it asks for.
    ClientHello,
    /// The keys of TLS, under which everything else is said.
    Handshake,
}

/// What stands before the backends of a service.
#[derive(Debug)]
pub struct Front {
    /// Which headers are awaited of those who are believed.
    pub accept: ProxyAccept,
    believed: Networks,
    routes: Vec<Route>,
    no_match: NoMatch,
    plain: Option<ServiceName>,
    /// Whether clients speak TLS.
    is_encrypted: bool,
}

/// Whose backends a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Those of the service that it came to.
    Own,
    /// Another service's.
    Of(&'a ServiceName),
    /// Nobody's.
    None,
}

impl Front {
    /// What `server` says; none when nothing is awaited of anybody.
    #[must_use]
    pub fn of(server: &Server) -> Option<Self> {
        let proxy = &server.proxy_protocol;
        let is_encrypted = server.tls.is_on();
        let awaits = proxy.accept != ProxyAccept::Off || !server.routes.is_empty() || is_encrypted;
        awaits.then(|| Self {
            accept: proxy.accept,
            believed: Networks::of(&proxy.from),
            routes: server.routes.clone(),
            no_match: server.no_match,
            plain: server.plain.clone(),
            is_encrypted,
        })
    }

    /// Whether whoever connects from this address (canonical) begins with a PROXY header, and is believed.
    #[must_use]
    pub fn believes(&self, peer: IpAddr) -> bool {
        self.accept != ProxyAccept::Off && self.believed.contains(peer)
    }

    /// What is awaited of a client first.
    #[must_use]
    pub fn first(&self, is_believed: bool) -> Option<Preface> {
        if is_believed {
            Some(Preface::ProxyHeader)
        } else {
            self.next(Preface::ProxyHeader)
        }
    }

    /// What is awaited of a client after this; nothing more: it gets a backend.
    #[must_use]
    pub fn next(&self, done: Preface) -> Option<Preface> {
        match done {
            Preface::ProxyHeader if !self.routes.is_empty() => Some(Preface::ClientHello),
            Preface::ProxyHeader | Preface::ClientHello => self.is_encrypted.then_some(Preface::Handshake),
            Preface::Handshake => None,
        }
    }

    /// Whose backends a client gets that asks for this.
    #[must_use]
    pub fn target(&self, hello: &ClientHello) -> Target<'_> {
        let route = self.routes.iter().find(|route| is_match(route, hello));
        match (route, self.no_match) {
            (Some(route), _) => Target::Of(&route.to),
            (None, NoMatch::Own) => Target::Own,
            (None, NoMatch::Close) => Target::None,
        }
    }

    /// Whose backends a client gets that speaks no TLS.
    #[must_use]
    pub fn plain(&self) -> Target<'_> {
        self.plain.as_ref().map_or(Target::None, Target::Of)
    }
}

fn is_match(route: &Route, hello: &ClientHello) -> bool {
    let names = |name: &[u8]| route.sni.iter().any(|pattern| is_named(pattern.as_bytes(), name));
    let offers = |wanted: &String| hello.protocols.iter().any(|one| **one == *wanted.as_bytes());
    (route.sni.is_empty() || hello.name.as_deref().is_some_and(names))
        && (route.alpn.is_empty() || route.alpn.iter().any(offers))
}

/// Whether a pattern stands for a name; both are in lower case.
fn is_named(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        b"*" => true,
        // All names below it, however far; not itself.
        [b'*', below @ ..] => name.len() > below.len() && name.ends_with(below),
        _ => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Spec;

    fn route(sni: &[&str], alpn: &[&str], to: &str) -> Route {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Route {
            sni: all(sni),
            alpn: all(alpn),
            to: ServiceName::parse(to).expect("a name"),
        }
    }

    fn hello(name: &str, protocols: &[&str]) -> ClientHello {
        ClientHello {
            name: (!name.is_empty()).then(|| name.as_bytes().into()),
            protocols: protocols.iter().map(|one| one.as_bytes().into()).collect(),
        }
    }

    fn front(no_match: NoMatch, routes: Vec<Route>) -> Front {
        let mut server = Spec::default().server;
        (server.routes, server.no_match) = (routes, no_match);
        Front::of(&server).expect("something is awaited")
    }

    #[test]
    fn the_first_route_that_matches_counts() {
        let front = front(
            NoMatch::Own,
            vec![
                route(&["a.example"], &["h2"], "both"),
                route(&["a.example", "b.example"], &[], "names"),
                route(&["*.example"], &[], "below"),
                route(&[], &["acme-tls/1"], "acme"),
                route(&["*"], &["h2"], "any"),
            ],
        );
        for (name, protocols, expected) in [
            ("a.example", &["http/1.1", "h2"][..], "both"),
            ("a.example", &["http/1.1"], "names"),
            ("b.example", &["h2"], "names"),
            ("c.example", &[], "below"),
            ("c.d.example", &[], "below"),
            ("example", &[], ""),
            (".example", &[], ""),
            ("a.example.org", &[], ""),
            ("xexample", &[], ""),
            ("", &["acme-tls/1"], "acme"),
            ("", &["h2"], ""),
            ("example", &["h2"], "any"),
        ] {
            let target = match front.target(&hello(name, protocols)) {
                Target::Of(service) => service.as_str(),
                Target::Own => "",
                Target::None => "nobody",
            };
            assert_eq!(target, expected, "{name} {protocols:?}");
        }
    }

    #[test]
    fn nobody_is_taken_where_none_matches_and_the_rest_is_closed() {
        let front = front(NoMatch::Close, vec![route(&["a.example"], &[], "a")]);
        assert_eq!(front.target(&hello("b.example", &[])), Target::None);
        assert_eq!(front.plain(), Target::None);
        assert_eq!(front.first(false), Some(Preface::ClientHello));
        assert_eq!(front.next(Preface::ClientHello), None);
        assert!(
            Front::of(&Spec::default().server).is_none(),
            "nothing is awaited by itself"
        );
    }
}

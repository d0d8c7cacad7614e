//! What stands before the backends of a service: which prefaces are awaited of a client, in which order.
//!
//! Made of the spec, once; a service that awaits nothing has none. To add a preface: a variant, its place in
//! [`Front::next`], and what the reactor does with it (`reactor/openings.rs`).

use std::net::IpAddr;

use crate::admission::Networks;
use crate::config::{ProxyAccept, Server};

/// What is awaited of a client before it gets a backend; in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preface {
    /// Who the client is, as whoever passes its connection on says.
    ProxyHeader,
}

/// What stands before the backends of a service.
#[derive(Debug)]
pub struct Front {
    /// Which headers are awaited of those who are believed.
    pub accept: ProxyAccept,
    believed: Networks,
}

impl Front {
    /// What `server` says; none when nothing is awaited of anybody.
    #[must_use]
    pub fn of(server: &Server) -> Option<Self> {
        let proxy = &server.proxy_protocol;
        (proxy.accept != ProxyAccept::Off).then(|| Self {
            accept: proxy.accept,
            believed: Networks::of(&proxy.from),
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
        is_believed
            .then_some(Preface::ProxyHeader)
            .or_else(|| self.next(Preface::ProxyHeader))
    }

    /// What is awaited of a client after this; nothing more: it gets a backend.
    #[must_use]
    pub fn next(&self, done: Preface) -> Option<Preface> {
        match done {
            Preface::ProxyHeader => None,
        }
    }
}

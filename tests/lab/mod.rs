//! The latency lab: two network namespaces joined by a user-space wire with a will of its own.
//!
//! Loopback has no latency, and scores live from it. Here a *client* namespace and a *server* namespace each
//! have one TUN device; a router thread carries the packets between them and delays, jitters, drops and caps
//! them by server address (and, where asked, by client address too). In the server namespace a whole prefix is
//! local, so one process answers for tens of thousands of candidates. All addresses are from the benchmarking
//! ranges and exist only inside the two namespaces.
//!
//! Owns the namespaces, devices, router thread and programs it started; all of them end when it is dropped,
//! also when a test panics. Only `forwarder.rs` knows whom all this is for. One lab exists at a time in a process, so that
//! tests do not disturb each other's clocks; processes may run side by side.
//!
//! Needs Linux, root, `/dev/net/tun` and iproute2. Where one is missing, [`open`] says so and gives `None`;
//! with `LATENCY_LAB=required` in the environment that is a failure.

#![allow(dead_code, unused_imports, reason = "each test binary uses its part of it")]

mod forwarder;
mod link;
mod links;
mod load;
mod namespace;
mod packet;
mod program;
mod responder;
mod router;
mod scrape;
#[path = "../support/tools.rs"]
mod tools;
#[path = "../support/waiting.rs"]
mod waiting;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tcp_forwarder::base::clock;

pub(crate) use forwarder::{Forwarder, LISTEN, METRICS, Reading};
pub(crate) use link::{Jitter, Link, Order};
pub(crate) use links::{Links, RouterReport};
pub(crate) use load::{Load, LoadReport, Percentiles};
pub(crate) use namespace::{Addresses, Namespace};
pub(crate) use program::Program;
pub(crate) use responder::{Responder, Service};
pub(crate) use router::Router;
pub(crate) use scrape::{http_body, series};
pub(crate) use tools::{find, say, wanted};
pub(crate) use waiting::{comes_true, pause};

/// Address of the client namespace; the whole of 198.19.0.0/16 is local to it.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// The same in IPv6; the whole of `2001:2:0:19::/64` is local to it.
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0x19, 0, 0, 0, 1);

/// The server address number `index`: within 198.18.0.0/16, all of which answers.
pub(crate) fn server(index: u16) -> IpAddr {
    let [high, low] = index.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(198, 18, high, low))
}

/// The IPv6 server address number `index`: within `2001:2:0:18::/64`, all of which answers.
pub(crate) fn server_v6(index: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0x18, 0, 0, 0, index))
}

const CLIENT_SIDE: Addresses = Addresses {
    own: "198.19.0.1/32",
    local: "198.19.0.0/16",
    remote: "198.18.0.0/16",
    own_v6: "2001:2:0:19::1/128",
    local_v6: "2001:2:0:19::/64",
    remote_v6: "2001:2:0:18::/64",
};

const SERVER_SIDE: Addresses = Addresses {
    own: "198.18.0.1/32",
    local: "198.18.0.0/16",
    remote: "198.19.0.0/16",
    own_v6: "2001:2:0:18::1/128",
    local_v6: "2001:2:0:18::/64",
    remote_v6: "2001:2:0:19::/64",
};

/// One lab at a time: two of them on a small machine would be each other's jitter.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Two namespaces and the wire between them.
pub(crate) struct Lab {
    // Dropped in this order: the router lets go of the devices before the namespaces go.
    router: Router,
    client: Namespace,
    server: Namespace,
    seed: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// Where the forwarder and its clients live.
    pub(crate) fn client(&self) -> &Namespace {
        &self.client
    }

    /// Where the backends live.
    pub(crate) fn server(&self) -> &Namespace {
        &self.server
    }

    /// The wire's qualities, to be changed at any time.
    pub(crate) fn links(&self) -> &Links {
        self.router.links()
    }

    /// What the wire has done so far.
    pub(crate) fn report(&self) -> RouterReport {
        self.router.report()
    }

    /// The seed of everything random in this lab.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

/// Opens a lab, or says on standard error why there is none here and gives `None`.
///
/// The seed comes from `LAB_SEED`, else from the clock, and is printed.
///
/// # Panics
/// When the machine has what a lab needs, and it cannot be set up all the same; and when there is none though
/// `LATENCY_LAB=required` asks for one.
pub(crate) fn open(test: &str) -> Option<Lab> {
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = seed();
    match namespace::missing_here() {
        None => {
            say(&format!("{test}: LAB_SEED={seed}"));
            Some(build(seed, turn).expect("the lab can be set up"))
        }
        Some(reason) => {
            let required = std::env::var("LATENCY_LAB").is_ok_and(|value| value == "required");
            assert!(!required, "{test}: a lab is required, but {reason}");
            say(&format!("{test}: SKIPPED, the latency lab cannot run: {reason}"));
            None
        }
    }
}

fn build(seed: u64, turn: MutexGuard<'static, ()>) -> io::Result<Lab> {
    namespace::sweep();
    let client = Namespace::create("c")?;
    let server = Namespace::create("s")?;
    let client_device = client.join_wire(&CLIENT_SIDE)?;
    let server_device = server.join_wire(&SERVER_SIDE)?;
    let router = Router::start(client_device, server_device, seed)?;
    Ok(Lab {
        router,
        client,
        server,
        seed,
        _turn: turn,
    })
}

fn seed() -> u64 {
    let given = std::env::var("LAB_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let age = clock::wall().duration_since(std::time::UNIX_EPOCH);
        u64::from(age.map_or(0, |age| age.subsec_nanos())) ^ u64::from(std::process::id()) << 32
    })
}

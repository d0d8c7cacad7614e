//! The demonstration: a cast of backends in this process, a configuration in memory, and a live table.
//!
//! Needs no file and no network beyond loopback. It must not know how the forwarder is put together: whoever
//! calls [`run`] starts it from the [`Setup`], and the narrator asks it for a reload after a while.
//!
//! Two services share the backends: `web` keeps the best three, `solo` the best one, and after the reload the best two.
//!
//! Connects on loopback take no time, so the backends differ in what they answer late (which a client sees)
//! and in how often they are down (which probes, and so the scores, see).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use crate::app::{Listed, Lists, Part};
use crate::candidates::CandidateSet;
use crate::config::{
    CheckKind, Config, Dynamic, LatencySource, LogOutput, Process, Provider, ServiceName, Spec, Strategy,
};

pub mod backends;
pub mod narrator;
pub mod server;

pub use backends::Backends;
pub use narrator::{Narration, Narrator};
pub use server::Role;

/// The port of the service `web`, if it is free.
const WEB: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1234);
/// The port of the service `solo`, if it is free.
const SOLO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1235);
/// The port of the metrics, if it is free.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9099);

/// The backends of the demonstration: three good ones for three places, and three to be avoided.
pub const CAST: [Role; 6] = [
    Role::steady("quick", Duration::ZERO),
    Role::steady("brisk", Duration::from_millis(10)),
    Role::steady("calm", Duration::from_millis(40)),
    Role::unsteady(
        "tired",
        Duration::from_millis(250),
        Duration::from_secs(9),
        Duration::from_secs(3),
    ),
    Role::unsteady(
        "flaky",
        Duration::from_millis(80),
        Duration::from_secs(5),
        Duration::from_secs(5),
    ),
    Role::dead("dead"),
];

/// What the forwarder is started with.
#[derive(Debug)]
pub struct Setup {
    /// The configuration; ports are the usual ones, or 0 where those are taken.
    pub config: Config,
    /// The addresses of the backends, for each service.
    pub lists: Lists,
    /// Tells the user what goes on, once the forwarder serves.
    pub narrator: Narrator,
}

/// Starts the backends and calls `serve`, which starts the forwarder, begins the narration and returns when
/// the forwarder has stopped; then the backends stop. What is told goes to `out`.
///
/// # Errors
/// When no backend can be started, and whatever `serve` returns.
pub fn run<T, E: From<io::Error>>(
    out: Box<dyn io::Write + Send>,
    serve: impl FnOnce(Setup) -> Result<T, E>,
) -> Result<T, E> {
    let backends = Backends::start(&CAST)?;
    let candidates = CandidateSet::parse(&candidate_text(&backends), 80).map_err(io::Error::other)?;
    let (web, solo, metrics) = (free_or_any(WEB), free_or_any(SOLO), free_or_any(METRICS));
    let candidates = Arc::new(candidates);
    let config = config((web, solo), metrics, 1);
    let lists: Lists = config
        .services
        .keys()
        .map(|name| (name.clone(), Listed::of(vec![Part::holding(&candidates)])))
        .collect();
    let next = (self::config((web, solo), metrics, 2), lists.clone());
    serve(Setup {
        config,
        lists,
        narrator: Narrator::new(backends.cast().to_vec(), next, out),
    })
}

/// The candidate list of the backends, in the format of a list file.
#[must_use]
pub fn candidate_text(backends: &Backends) -> String {
    let line = |(role, addr): &(Role, SocketAddr)| format!("{addr}  # {}", role.name);
    let lines: Vec<_> = backends.cast().iter().map(line).collect();
    lines.join("\n")
}

/// The configuration of the demonstration: the defaults at a pace that can be watched. `solo` keeps so many backends.
#[must_use]
pub fn config((web, solo): (SocketAddr, SocketAddr), metrics: SocketAddr, kept: usize) -> Config {
    let service = |name: &str, listen: SocketAddr, kept: usize| {
        let mut spec = Spec::default();
        spec.server.listen_addrs = vec![listen];
        // Candidates are made here; a file of that name is somebody else's.
        spec.remotes.providers = vec![Provider::of_file("demonstration".into()).into()];
        spec.remotes.probing.interval = Duration::from_secs(2);
        spec.remotes.probing.timeout = Duration::from_millis(500);
        spec.remotes.scoring.success_rate.ewma_alpha = 0.25;
        spec.remotes.scoring.latency.source = LatencySource::FirstByte;
        spec.remotes.probing.check.kind = CheckKind::Http;
        spec.remotes.selector.active_set_size = kept;
        spec.remotes.selector.evaluation_interval = Duration::from_secs(3);
        spec.remotes.selector.debounce_interval = Duration::from_secs(10);
        spec.pools.drain_timeout = Duration::from_secs(5);
        spec.pools.strategy = Strategy::Dynamic(Dynamic {
            min_size: 4,
            max_size: 100,
            ..Dynamic::default()
        });
        ServiceName::parse(name).map(|name| (name, spec))
    };
    let mut process = Process::default();
    process.metrics.listen_addr = metrics;
    process.logging.level = log::LevelFilter::Warn;
    process.logging.output = LogOutput::Stderr;
    let services = [service("web", web, 3), service("solo", solo, kept)];
    Config::of_many(process, services.into_iter().flatten())
}

/// The address, or the same with port 0 when somebody has it already.
fn free_or_any(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_any() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let addr = taken.local_addr().expect("address");
        assert_eq!(free_or_any(addr), SocketAddr::new(addr.ip(), 0));
        drop(taken);
        assert_eq!(free_or_any(addr), addr);
    }

    #[test]
    fn run_hands_over_all_backends_and_stops_them_after() {
        let mut addrs = Vec::new();
        let answer: Result<_, io::Error> = run(Box::new(io::sink()), |setup| {
            assert_eq!(setup.config.services.len(), 2);
            let set = &setup.lists.values().next().expect("a list").union;
            addrs = (0..set.len()).filter_map(|i| set.at(i)).collect();
            let reached = addrs
                .iter()
                .filter(|addr| std::net::TcpStream::connect(addr).is_ok());
            Ok(reached.count())
        });
        assert_eq!(addrs.len(), CAST.len());
        assert_eq!(answer.expect("started"), CAST.len() - 1, "all but the dead one");
        assert!(
            addrs
                .iter()
                .all(|addr| std::net::TcpStream::connect(addr).is_err())
        );
    }
}

//! The forwarder under test inside the client namespace, and what it tells on its metrics port.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::{Lab, Program, comes_true, http_body, series};

/// Where it listens; the namespace has nobody else on these ports.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1234);
/// Its metrics port.
pub(crate) const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9099);

/// A running forwarder with a folder of its own.
pub(crate) struct Forwarder {
    program: Program,
    _folder: TempDir,
}

impl Forwarder {
    /// Writes the configuration and the candidate list and starts the forwarder.
    ///
    /// # Errors
    /// When files cannot be written or the program cannot be started.
    pub(crate) fn start(lab: &Lab, config: &str, candidates: &str) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let file = |name: &str, text: &str| -> io::Result<PathBuf> {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        file("ip_list.txt", candidates)?;
        let config = file("config.yaml", config)?;
        let mut command = lab.client().command(env!("CARGO_BIN_EXE_tcp-forwarder"));
        let program = Program::start(command.arg("--config").arg(config))?;
        Ok(Self {
            program,
            _folder: folder,
        })
    }

    /// Waits until it accepts connections; false when it ends first or takes too long.
    pub(crate) fn wait_until_listening(&mut self, lab: &Lab, patience: Duration) -> bool {
        let accepts = || TcpStream::connect(LISTEN).is_ok();
        comes_true(patience, || {
            lab.client().run(accepts).unwrap_or(false) || !self.program.is_running()
        }) && self.program.is_running()
    }

    /// Its process, to be watched or stopped.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// The same, to be consumed.
    pub(crate) fn into_program(self) -> Program {
        self.program
    }
}

/// One reading of the metrics port.
pub(crate) struct Reading {
    text: String,
}

impl Reading {
    /// Reads the metrics of the lab's forwarder.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn take(lab: &Lab) -> io::Result<Self> {
        Self::of(lab, METRICS)
    }

    /// The same of one of several, at another port.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn of(lab: &Lab, metrics: SocketAddr) -> io::Result<Self> {
        let text = lab.client().run(|| http_body(metrics, "/metrics"))??;
        Ok(Self { text })
    }

    /// The active set: only active backends have a series of live connections.
    pub(crate) fn active(&self) -> BTreeSet<SocketAddr> {
        let backends = series(&self.text, "tcp_forwarder_lb_backend_connections", "server");
        backends.keys().filter_map(|server| server.parse().ok()).collect()
    }

    /// The sum of a family over all its series.
    pub(crate) fn sum(&self, family: &str) -> f64 {
        series(&self.text, &format!("tcp_forwarder_{family}"), "server")
            .values()
            .sum()
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

//! The section `server.tls`, checked: what clients are shown, and asked for.

use std::path::PathBuf;

/// `server.tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate that clients get who ask for no name that is known, with its chain; none: `certificates` alone.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// More certificates, for the names that stand in them.
    pub certificates: Vec<CertificateFiles>,
    /// Protocols behind TLS (ALPN), the best first; empty: whatever the client wants.
    pub alpn: Vec<String>,
    /// The oldest version that a client may speak.
    pub min_version: TlsVersion,
    /// Authorities that vouch for clients.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Whether clients can take up the keys of an earlier connection.
    pub session_tickets: bool,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateFiles {
    /// The certificate, with its chain behind it; PEM.
    pub cert: PathBuf,
    /// The private key; PEM.
    pub key: PathBuf,
}

/// `server.tls.min_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// `server.tls.client_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    Off,
    /// They may; one that is shown must be good.
    Optional,
    /// They must.
    Required,
}

impl ServerTls {
    /// Whether clients speak TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.pairs().next().is_some()
    }

    /// Whether it names any file to be shown, were it half of a pair.
    pub(super) fn names_certificates(&self) -> bool {
        self.cert.is_some() || self.key.is_some() || !self.certificates.is_empty()
    }

    /// The keys of it that say other than what is so anyway, and nothing where no certificate is shown.
    pub(super) fn said_of_sessions(&self) -> Vec<&'static str> {
        let all = [
            ("server.tls.alpn", !self.alpn.is_empty()),
            ("server.tls.min_version", self.min_version != TlsVersion::V1_2),
            ("server.tls.client_auth", self.client_auth != ClientAuth::Off),
            ("server.tls.session_tickets", !self.session_tickets),
        ];
        let said = all.into_iter().filter(|(_, is_said)| *is_said);
        said.map(|(key, _)| key).collect()
    }

    /// All certificates and their keys, the default first.
    pub fn pairs(&self) -> impl Iterator<Item = CertificateFiles> + '_ {
        let own = self.cert.clone().zip(self.key.clone());
        let own = own.map(|(cert, key)| CertificateFiles { cert, key });
        own.into_iter().chain(self.certificates.iter().cloned())
    }

    /// All files that it names and uses.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let is_asked = self.is_on() && self.client_auth != ClientAuth::Off;
        let authorities = self.client_ca.clone().filter(|_| is_asked);
        self.pairs()
            .flat_map(|pair| [pair.cert, pair.key])
            .chain(authorities)
    }

    /// All paths of it, to be changed.
    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let single = [&mut self.cert, &mut self.key, &mut self.client_ca];
        let pairs = self.certificates.iter_mut();
        single
            .into_iter()
            .flatten()
            .chain(pairs.flat_map(|pair| [&mut pair.cert, &mut pair.key]))
    }
}

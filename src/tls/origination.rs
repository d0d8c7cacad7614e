//! How TLS is spoken to others: whom certificates are believed of, which name is asked for, what is offered.
//!
//! Immutable once it is loaded, but for the keys of earlier sessions, which are kept for each address by itself: what one
//! backend has given is of no use with another. Loaded again, files that say the same are the same origination, so that a
//! reload that does not concern them costs no keys and no warm connections.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version};

use super::fault::{Fault, Problem};
use super::pem;
use crate::base::lru::Lru;
use crate::config::ClientTls;

#[cfg(test)]
mod tests;

/// Where systems keep the authorities that they trust, in files or folders of files. In the order in which they are looked
/// for: Debian and its like, Fedora and its like, SUSE, `OpenWrt` and BSDs, `FreeBSD`, Android.
const SYSTEM: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
    "/apex/com.android.conscrypt/cacerts",
    "/system/etc/security/cacerts",
];

/// Files of a folder of authorities.
const MOST_FILES: usize = 1000;

/// Addresses whose keys are kept.
const MOST_ADDRESSES: usize = 1024;

/// Sessions of one address that may be taken up; a ticket of TLS 1.3 is good for one.
const SESSIONS: usize = 8;

/// Whether the keys of earlier sessions are taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// They are: a handshake is cheaper by that.
    Yes,
    /// Each session begins anew: a certificate that is to be looked at has to be shown.
    No,
}

/// How TLS is spoken to others.
#[derive(Debug)]
pub struct Origination {
    /// Tells it from all others of this process.
    id: u64,
    config: Arc<ClientConfig>,
    /// The name that is asked for; none: the peer's address is.
    name: Option<ServerName<'static>>,
    /// The same for each address, with the keys of earlier sessions; none where they are not taken up.
    of_addresses: Option<Mutex<Lru<SocketAddr, Option<Arc<ClientConfig>>>>>,
    made_of: Materials,
}

/// Those made of the same are the same.
impl PartialEq for Origination {
    fn eq(&self, other: &Self) -> bool {
        self.made_of == other.made_of
    }
}

impl Eq for Origination {}

/// All that an origination is made of.
#[derive(Debug, PartialEq, Eq)]
struct Materials {
    tls: ClientTls,
    authorities: Vec<CertificateDer<'static>>,
    resume: Resume,
}

impl Origination {
    /// What these settings make; none where there are none. `before` is what was loaded last.
    ///
    /// # Errors
    /// What is wrong with the file of authorities, or that there is none.
    pub fn load(
        tls: Option<&ClientTls>,
        resume: Resume,
        before: Option<&Arc<Self>>,
    ) -> Result<Option<Arc<Self>>, Fault> {
        let load = |tls| Self::load_from(tls, resume, &SYSTEM.map(Path::new), before);
        tls.map(load).transpose()
    }

    fn load_from(
        tls: &ClientTls,
        resume: Resume,
        system: &[&Path],
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Fault> {
        let authorities = match &tls.ca {
            _ if !tls.verify => Vec::new(),
            Some(path) => pem::certificates(path)?,
            None => of_system(system)?,
        };
        let made_of = Materials {
            tls: tls.clone(),
            authorities,
            resume,
        };
        match before.filter(|before| before.made_of == made_of) {
            Some(before) => Ok(Arc::clone(before)),
            None => made_of.make().map(Arc::new),
        }
    }

    /// Tells it from all others of this process.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// What a session with the peer at this address is made of: its settings, and the name that the peer must have.
    pub(super) fn towards(&self, addr: SocketAddr) -> (Arc<ClientConfig>, ServerName<'static>) {
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| ServerName::IpAddress(addr.ip().into()));
        let Some(of_addresses) = &self.of_addresses else {
            return (Arc::clone(&self.config), name);
        };
        let mut of_addresses = of_addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_address, _forgotten) = of_addresses.touch(addr);
        let config = of_address.get_or_insert_with(|| {
            let mut config = ClientConfig::clone(&self.config);
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Arc::new(config)
        });
        (Arc::clone(config), name)
    }
}

/// The file of authorities that settings lead to, to be followed; none where nobody is vouched for, or a folder is read.
pub(super) fn followed(tls: &ClientTls) -> Option<PathBuf> {
    if !tls.verify {
        return None;
    }
    let of_system = || SYSTEM.iter().map(Path::new).find(|path| path.exists());
    let path = tls.ca.as_deref().or_else(of_system)?;
    path.is_file().then(|| path.to_owned())
}

/// The authorities that the system trusts.
fn of_system(places: &[&Path]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let Some(place) = places.iter().find(|place| place.exists()) else {
        let first = places.first().copied().unwrap_or(Path::new(""));
        return Err(Fault::new(first, Problem::NoSystemAuthorities));
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return pem::certificates(place);
    };
    // Whatever else is in such a folder is none of ours.
    let files = entries.flatten().take(MOST_FILES);
    let all: Vec<_> = files
        .filter_map(|file| pem::certificates(&file.path()).ok())
        .flatten()
        .collect();
    if all.is_empty() {
        return Err(Fault::new(*place, Problem::NoCertificate));
    }
    Ok(all)
}

impl Materials {
    fn make(self) -> Result<Origination, Fault> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let concerned = self.tls.ca.clone().unwrap_or_default();
        let refused = |why: String| Fault::new(concerned.clone(), Problem::Refused(why));
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| refused(error.to_string()))?;
        let builder = if self.tls.verify {
            builder.with_root_certificates(self.roots()?)
        } else {
            let anybody = Anybody { provider };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(anybody))
        };
        let mut config = builder.with_no_client_auth();
        let protocols = self.tls.alpn.iter();
        config.alpn_protocols = protocols.map(|name| name.clone().into_bytes()).collect();
        config.resumption = Resumption::disabled();
        let name = match self.tls.sni.as_str() {
            "" => None,
            sni => Some(ServerName::try_from(sni.to_owned()).map_err(|error| refused(error.to_string()))?),
        };
        let keeps_keys = self.resume == Resume::Yes;
        Ok(Origination {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            config: Arc::new(config),
            name,
            of_addresses: keeps_keys.then(|| Mutex::new(Lru::new(MOST_ADDRESSES))),
            made_of: self,
        })
    }

    /// Each authority of a file that the configuration names must be one; of the system's some may be too odd to be read.
    fn roots(&self) -> Result<RootCertStore, Fault> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.tls.ca else {
            roots.add_parsable_certificates(self.authorities.iter().cloned());
            return Ok(roots);
        };
        for (index, authority) in self.authorities.iter().enumerate() {
            roots.add(authority.clone()).map_err(|error| {
                let problem = Problem::BadCertificate(index + 1, error.to_string());
                Fault::new(path, problem)
            })?;
        }
        Ok(roots)
    }
}

/// Takes any certificate, and whoever shows it.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // That somebody has the key of a certificate which anybody may have made tells nothing, and old certificates cannot be
    // parsed so far.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _own: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

//! What a service shows its clients: certificates and keys, made of files, and how it asks clients for theirs.
//!
//! Immutable once it is loaded. Loaded again, files that say the same are the same termination, so that a reload that
//! does not concern them costs nobody the keys of earlier connections.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use webpki::EndEntityCert;

use super::der::Facts;
use super::fault::{Fault, Problem};
use super::names::Names;
use super::pem;
use super::shown::{Chain, Shown};
use crate::config::{CertificateFiles, ClientAuth, ServerTls, TlsVersion};

#[cfg(test)]
mod tests;

/// What a service shows its clients.
#[derive(Debug)]
pub struct Termination {
    /// What each session is made of.
    pub(super) config: Arc<ServerConfig>,
    certificates: Vec<Shown>,
    made_of: Materials,
}

/// All that a termination is made of.
#[derive(Debug, PartialEq)]
struct Materials {
    tls: ServerTls,
    pairs: Vec<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Termination {
    /// What these files make; none where there is no certificate to show. `before` is what was loaded last.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(tls: &ServerTls, before: Option<&Arc<Self>>) -> Result<Option<Arc<Self>>, Vec<Fault>> {
        if !tls.is_on() {
            return Ok(None);
        }
        let made_of = Materials::read(tls)?;
        if let Some(before) = before.filter(|before| before.made_of == made_of) {
            return Ok(Some(Arc::clone(before)));
        }
        made_of.make(before.map(Arc::as_ref)).map(Arc::new).map(Some)
    }

    /// Its certificates, the default first.
    #[must_use]
    pub fn shown(&self) -> &[Shown] {
        &self.certificates
    }
}

/// A file of certificates, as people see it.
fn shown(path: &Path, chain: &[CertificateDer<'static>]) -> Result<Shown, Problem> {
    let bad = |number: usize, why: &str| Problem::BadCertificate(number, why.to_owned());
    let mut all = Vec::with_capacity(chain.len());
    for (index, certificate) in chain.iter().enumerate() {
        all.push(Facts::of(certificate).ok_or_else(|| bad(index + 1, "it is cut off or no X.509"))?);
    }
    let (Some(own), Some(first)) = (all.first(), chain.first()) else {
        return Err(Problem::NoCertificate);
    };
    let parsed = EndEntityCert::try_from(first).map_err(|error| bad(1, &error.to_string()))?;
    let is_issued_by_next = |pair: &[Facts<'_>]| matches!(pair, [one, next] if one.issuer == next.subject);
    let chain = match all.windows(2).position(|pair| !is_issued_by_next(pair)) {
        Some(place) => Chain::Broken(place + 1),
        None if all.len() == 1 && own.issuer != own.subject => Chain::Missing,
        None => Chain::Whole,
    };
    Ok(Shown {
        path: path.to_owned(),
        names: parsed.valid_dns_names().map(str::to_owned).collect(),
        not_before: own.not_before,
        not_after: own.not_after,
        chain,
    })
}

impl Materials {
    fn read(tls: &ServerTls) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut pairs = Vec::new();
        for files in tls.pairs() {
            match (pem::certificates(&files.cert), pem::key(&files.key)) {
                (Ok(chain), Ok(key)) => pairs.push((chain, key)),
                (chain, key) => faults.extend(chain.err().into_iter().chain(key.err())),
            }
        }
        let authorities = match &tls.client_ca {
            Some(path) if tls.client_auth != ClientAuth::Off => {
                pem::certificates(path).unwrap_or_else(|fault| {
                    faults.push(fault);
                    Vec::new()
                })
            }
            Some(_) | None => Vec::new(),
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            tls: tls.clone(),
            pairs,
            authorities,
        })
    }

    fn make(self, before: Option<&Termination>) -> Result<Termination, Vec<Fault>> {
        let provider = Arc::new(ring::default_provider());
        let (mut certificates, mut certified, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (files, (chain, key)) in self.tls.pairs().zip(&self.pairs) {
            match certify(&provider, &files, chain, key) {
                Ok((shown, key)) => {
                    certified.push((Arc::new(key), shown.names.clone()));
                    certificates.push(shown);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let resolver = Resolver(Names::new(certified));
        let config = self
            .config(&provider, resolver, before)
            .map_err(|fault| vec![fault])?;
        Ok(Termination {
            config: Arc::new(config),
            certificates,
            made_of: self,
        })
    }

    fn config(
        &self,
        provider: &Arc<CryptoProvider>,
        resolver: Resolver,
        before: Option<&Termination>,
    ) -> Result<ServerConfig, Fault> {
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
        let concerned = self.tls.client_ca.clone().unwrap_or_default();
        let refused = |why: String| Fault::new(concerned.clone(), Problem::Refused(why));
        let versions = match self.tls.min_version {
            TlsVersion::V1_2 => BOTH,
            TlsVersion::V1_3 => NEWEST,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(|error| refused(error.to_string()))?;
        let builder = if self.tls.client_auth == ClientAuth::Off {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            for (index, authority) in self.authorities.iter().enumerate() {
                roots.add(authority.clone()).map_err(|error| {
                    let problem = Problem::BadCertificate(index + 1, error.to_string());
                    Fault::new(concerned.clone(), problem)
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            let verifier = match self.tls.client_auth {
                ClientAuth::Optional => verifier.allow_unauthenticated(),
                ClientAuth::Required | ClientAuth::Off => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refused(error.to_string()))?)
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = self
            .tls
            .alpn
            .iter()
            .map(|name| name.clone().into_bytes())
            .collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if self.tls.session_tickets {
            config.ticketer = match before.and_then(|before| before.tickets_for(self)) {
                Some(tickets) => tickets,
                None => ring::Ticketer::new().map_err(|error| refused(error.to_string()))?,
            };
        } else {
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

impl Termination {
    /// What makes tickets, where those of this termination are to be taken by the next one: who was let in by other
    /// authorities must not come back without being asked again.
    fn tickets_for(&self, next: &Materials) -> Option<Arc<dyn ProducesTickets>> {
        let (was, is) = (&self.made_of, next);
        let is_asked_alike = was.tls.client_auth == is.tls.client_auth && was.authorities == is.authorities;
        (is_asked_alike && was.tls.session_tickets).then(|| Arc::clone(&self.config.ticketer))
    }
}

/// A certificate with its key, and how it is shown.
fn certify(
    provider: &CryptoProvider,
    files: &CertificateFiles,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(Shown, CertifiedKey), Fault> {
    let shown = shown(&files.cert, chain).map_err(|problem| Fault::new(&files.cert, problem))?;
    let of_key = |problem| Fault::new(&files.key, problem);
    let key = provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| of_key(Problem::BadKey(error.to_string())))?;
    let certified = CertifiedKey::new(chain.to_vec(), key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok((shown, certified)),
        Err(_) => Err(of_key(Problem::KeyOfAnother(files.cert.clone()))),
    }
}

/// Gives each client its certificate.
struct Resolver(Names<Arc<CertifiedKey>>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let suits = |one: &Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        self.0.choose(hello.server_name(), suits).cloned()
    }
}

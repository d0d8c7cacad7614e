//! The section `remotes.tls`, checked, and what of it counts for checks.

use super::check::{Check, CheckKind};
use super::client_tls::ClientTls;
use crate::base::host_name::is_host_name;

/// `remotes.tls`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemoteTls {
    /// Whether connections to backends are encrypted.
    pub enabled: bool,
    /// How.
    pub client: ClientTls,
}

impl RemoteTls {
    /// How TLS is spoken to backends, if it is.
    #[must_use]
    pub fn to_backends(&self) -> Option<&ClientTls> {
        self.enabled.then_some(&self.client)
    }

    /// How TLS is spoken by a check, if it is: what the check does not say is as with backends.
    #[must_use]
    pub fn to_candidates(&self, check: &Check) -> Option<ClientTls> {
        // Clients' connections to the port that is checked speak it, too.
        let is_backends_own = self.enabled && check.port == 0;
        let speaks = match check.kind {
            CheckKind::Connect => false,
            CheckKind::Tls | CheckKind::Https => true,
            CheckKind::Http | CheckKind::SendExpect => is_backends_own,
        };
        let own = &check.tls;
        let backends = self.to_backends();
        let asks_by_http = matches!(check.kind, CheckKind::Http | CheckKind::Https);
        let names = [
            Some(own.sni.as_str()),
            backends.map(|tls| tls.sni.as_str()),
            asks_by_http.then(|| name_of_host(&check.http.host)),
        ];
        let sni = names.into_iter().flatten().find(|name| !name.is_empty());
        speaks.then(|| ClientTls {
            sni: sni.unwrap_or_default().to_owned(),
            verify: own.verify && backends.is_none_or(|tls| tls.verify),
            ca: own.ca.clone().or_else(|| backends?.ca.clone()),
            alpn: if asks_by_http {
                vec!["http/1.1".to_owned()]
            } else {
                let own_port = backends.filter(|_| is_backends_own);
                own_port.map_or_else(Vec::new, |tls| tls.alpn.clone())
            },
        })
    }
}

/// The name in the header `Host`; empty where that is an address.
fn name_of_host(host: &str) -> &str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if is_host_name(name) { name } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_speaks_as_backends_are_spoken_to_but_for_what_it_says_itself() {
        let mut check = Check {
            kind: CheckKind::Http,
            ..Check::default()
        };
        check.http.host = "host.example:80".to_owned();
        let mut tls = RemoteTls::default();
        assert_eq!(tls.to_candidates(&check), None);
        check.kind = CheckKind::Https;
        let sni = |tls: &RemoteTls, check: &Check| tls.to_candidates(check).map(|one| one.sni);
        assert_eq!(sni(&tls, &check).as_deref(), Some("host.example"));
        tls.enabled = true;
        tls.client.sni = "backend.example".to_owned();
        tls.client.verify = false;
        check.kind = CheckKind::Http;
        assert_eq!(sni(&tls, &check).as_deref(), Some("backend.example"));
        assert_eq!(tls.to_candidates(&check).map(|one| one.verify), Some(false));
        check.tls.sni = "check.example".to_owned();
        assert_eq!(sni(&tls, &check).as_deref(), Some("check.example"));
        check.port = 8080;
        assert_eq!(sni(&tls, &check), None, "another server");
        check.kind = CheckKind::Connect;
        assert_eq!(sni(&tls, &check), None);
    }

    #[test]
    fn the_name_of_a_host_is_no_address() {
        assert_eq!(name_of_host("example.org:8443"), "example.org");
        assert_eq!((name_of_host("127.0.0.1:1"), name_of_host("[::1]:1")), ("", ""));
    }
}

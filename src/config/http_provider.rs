//! `remotes.provider` of type `http`, checked.

use std::fmt;
use std::time::Duration;

use super::client_tls::ClientTls;
use super::http_url::HttpUrl;
use super::on_bad_line::OnBadLine;

/// `remotes.provider` of type `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProvider {
    /// Where the list stands; none only where the type is another one.
    pub url: Option<HttpUrl>,
    /// Time between two looks.
    pub interval: Duration,
    /// How long one look may take, from the name to the last byte.
    pub timeout: Duration,
    /// What is said beside what every request says; secrets.
    pub headers: Vec<Header>,
    /// What stands there.
    pub format: ListFormat,
    /// Where in a document of JSON the entries are.
    pub pointer: String,
    /// How TLS is spoken with an `https://`.
    pub tls: ClientTls,
    /// What becomes of a list with bad lines.
    pub on_bad_line: OnBadLine,
}

impl HttpProvider {
    /// How TLS is spoken, if it is.
    #[must_use]
    pub fn to_server(&self) -> Option<ClientTls> {
        self.url.as_ref().is_some_and(|url| url.tls).then(|| ClientTls {
            alpn: vec!["http/1.1".to_owned()],
            ..self.tls.clone()
        })
    }
}

/// One header of a request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Header {
    /// Its name, a token.
    pub name: String,
    /// Its value: visible ASCII characters and blanks. A secret.
    pub value: String,
}

impl fmt::Debug for Header {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ***", self.name)
    }
}

/// `remotes.provider.http.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListFormat {
    /// Lines, as in a list file.
    List,
    /// A document of JSON.
    Json,
}

impl ListFormat {
    /// Both.
    pub const ALL: [Self; 2] = [Self::List, Self::Json];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Json => "json",
        }
    }

    /// The one of this name; `list` for any other.
    pub(super) fn of(name: &str) -> Self {
        let named = Self::ALL.into_iter().find(|format| format.name() == name);
        named.unwrap_or(Self::List)
    }
}

//! What is asked of a server, and where a redirect leads. Pure.
//!
//! What the configuration says beside what every request says, and what tells the version that is known, is said to whom it is
//! meant for: headers to the origin of the configured URL, a version to the very URL that it was had from.

use std::fmt;

use super::answer::Validators;
use crate::config::{HttpUrl, ListFormat, UrlFault};
use crate::service::provided::RemoteList;

/// Redirects that are followed in a row.
pub const MOST_REDIRECTS: u32 = 5;

/// The version of a list that is known, and the URL that it was had from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// After all redirects.
    pub url: HttpUrl,
    /// What tells it from other versions.
    pub validators: Validators,
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Astray {
    /// There were too many.
    TooMany,
    /// It leads to no URL.
    NoUrl(UrlFault),
    /// It leads from TLS to none.
    Unencrypted,
    /// It leads from no TLS to TLS.
    Encrypted,
}

impl fmt::Display for Astray {
    /// Behind the name of the server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "redirects more than {MOST_REDIRECTS} times"),
            Self::NoUrl(fault) => write!(f, "redirects to a URL that {fault}"),
            Self::Unencrypted => f.write_str("redirects from https to http, which is not followed"),
            Self::Encrypted => f.write_str("redirects to https: write the URL with https://"),
        }
    }
}

/// Where a redirect leads to that is the one of this number, from 1.
///
/// # Errors
/// Why it is not followed.
pub fn follow(url: &HttpUrl, location: &str, number: u32) -> Result<HttpUrl, Astray> {
    if number > MOST_REDIRECTS {
        return Err(Astray::TooMany);
    }
    let next = url.join(location).map_err(Astray::NoUrl)?;
    match (url.tls, next.tls) {
        (true, false) => Err(Astray::Unencrypted),
        (false, true) => Err(Astray::Encrypted),
        (true, true) | (false, false) => Ok(next),
    }
}

/// The version that may be asked for at a URL.
#[must_use]
pub fn known_at<'k>(known: Option<&'k Known>, url: &HttpUrl) -> Option<&'k Validators> {
    let known = known.filter(|known| known.url == *url && !known.validators.is_empty());
    known.map(|known| &known.validators)
}

/// The name that a server's certificate must have.
#[must_use]
pub fn name_of<'l>(list: &'l RemoteList, url: &'l HttpUrl) -> &'l str {
    let sni = list.http.tls.sni.as_str();
    if sni.is_empty() || !url.is_of_same_origin(&list.url) {
        &url.host
    } else {
        sni
    }
}

/// The request for a list, at the URL that it has been redirected to.
#[must_use]
pub fn text(list: &RemoteList, url: &HttpUrl, known: Option<&Validators>) -> String {
    let headers = if url.is_of_same_origin(&list.url) {
        &list.http.headers[..]
    } else {
        &[]
    };
    let accept = match list.http.format {
        ListFormat::List => "text/plain, */*;q=0.5",
        ListFormat::Json => "application/json, */*;q=0.5",
    };
    let agent = concat!("tcp-forwarder/", env!("CARGO_PKG_VERSION"));
    let authority = url.authority();
    let usual = [
        ("Host", authority.as_str()),
        ("User-Agent", agent),
        ("Accept", accept),
    ];
    let is_said = |name: &str| {
        headers
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case(name))
    };
    let version = known.map_or([None, None], |known| {
        [
            known.etag.as_deref().map(|etag| ("If-None-Match", etag)),
            known
                .last_modified
                .as_deref()
                .map(|date| ("If-Modified-Since", date)),
        ]
    });
    let all = usual
        .into_iter()
        .filter(|(name, _)| !is_said(name))
        .chain([("Accept-Encoding", "identity"), ("Connection", "close")])
        .chain(version.into_iter().flatten())
        .chain(
            headers
                .iter()
                .map(|header| (header.name.as_str(), header.value.as_str())),
        );
    let mut text = format!("GET {} HTTP/1.1\r\n", url.target);
    for (name, value) in all {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::list_at;
    use super::*;
    use crate::config::Header;

    fn list() -> RemoteList {
        let mut list = list_at("https://a.example:8443/ips?key=1", ListFormat::List, "");
        let header = |name: &str, value: &str| Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        list.http.headers = vec![header("Authorization", "Bearer hush"), header("user-agent", "me")];
        list
    }

    #[test]
    fn a_request_says_what_it_must_and_what_is_configured() {
        let list = list();
        let text = text(&list, &list.url, None);
        let mut lines = text.split("\r\n");
        assert_eq!(lines.next(), Some("GET /ips?key=1 HTTP/1.1"));
        let said: Vec<&str> = lines.collect();
        let expected = [
            "Host: a.example:8443",
            "Accept: text/plain, */*;q=0.5",
            "Accept-Encoding: identity",
            "Connection: close",
            "Authorization: Bearer hush",
            "user-agent: me",
            "",
            "",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn versions_are_asked_for_where_they_come_from() {
        let list = list();
        let validators = Validators {
            etag: Some("\"1\"".to_owned()),
            last_modified: None,
        };
        let known = Known {
            url: list.url.clone(),
            validators: validators.clone(),
        };
        assert_eq!(known_at(Some(&known), &list.url), Some(&validators));
        let elsewhere = list.url.join("/other").expect("a URL");
        assert_eq!(known_at(Some(&known), &elsewhere), None);
        let said = text(&list, &list.url, Some(&validators));
        assert!(said.contains("\r\nIf-None-Match: \"1\"\r\n"));
        assert!(!said.contains("If-Modified-Since"));
    }

    #[test]
    fn secrets_and_names_are_the_first_origins_alone() {
        let mut list = list();
        list.http.tls.sni = "b.example".to_owned();
        for (location, is_same) in [
            ("/other", true),
            ("https://a.example:8443/", true),
            ("https://a.example/", false),
            ("//c.example:8443/", false),
        ] {
            let url = follow(&list.url, location, 1).expect("a URL");
            assert_eq!(text(&list, &url, None).contains("hush"), is_same, "{location}");
            let name = if is_same { "b.example" } else { &url.host };
            assert_eq!(name_of(&list, &url), name, "{location}");
        }
    }

    #[test]
    fn redirects_are_followed_as_far_as_they_lead_somewhere_safe() {
        let (secure, plain) = (list().url, HttpUrl::parse("http://a.example/").expect("a URL"));
        assert_eq!(follow(&secure, "http://a.example/", 1), Err(Astray::Unencrypted));
        assert_eq!(follow(&plain, "https://a.example/", 1), Err(Astray::Encrypted));
        assert_eq!(follow(&plain, "/x", MOST_REDIRECTS + 1), Err(Astray::TooMany));
        assert!(follow(&plain, "/x", MOST_REDIRECTS).is_ok());
        assert_eq!(
            follow(&plain, "ftp://a.example/", 1),
            Err(Astray::NoUrl(UrlFault::Scheme))
        );
        assert_eq!(
            follow(&plain, "http://me:hush@a.example/", 1),
            Err(Astray::NoUrl(UrlFault::User))
        );
    }
}

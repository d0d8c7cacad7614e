//! Who may do what (pure).
//!
//! The control socket is a file with permissions: whoever can open it may do everything. On the TCP port
//! everybody may look, and only who knows the token may change something.
//!
//! A browser is a stranger's hand inside the house: pages of other sites can make it send requests here, and a
//! name that first led to them and then leads here (DNS rebinding) makes it read the answers. So the API
//! answers no request that says it comes from another site, and over TCP none that calls this machine by a
//! name other than `localhost`, for an address cannot be rebound. Whoever shows the token is no browser
//! that was misled, and may use any name. The scrape and the front page are left out of this: they change
//! nothing, no other site can read them, links lead to them, and scrapers call machines by their names.

use std::net::IpAddr;

use super::http::request::{Body, Claims, Request};

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The TCP port.
    Metrics,
    /// The Unix socket.
    Control,
}

/// Why a request is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It comes from a page of another site.
    CrossSite,
    /// It calls this machine by a name that anybody could have given it.
    Name,
    /// It shows no token, or a wrong one.
    NoToken,
    /// There is no token that it could show.
    ReadOnly,
    /// It has a body that a form of another site could have sent.
    NotJson,
}

/// Whether a request may see what the API tells.
pub(super) fn may_read(request: &Request, door: Door, token: Option<&str>) -> Result<(), Refusal> {
    let claims = &request.claims;
    if is_cross_site(claims) {
        return Err(Refusal::CrossSite);
    }
    let is_named = claims.host.as_deref().is_none_or(|host| !is_address(host));
    match door {
        Door::Metrics if is_named && !shows(claims, token) => Err(Refusal::Name),
        Door::Metrics | Door::Control => Ok(()),
    }
}

/// Whether a request may change something.
pub(super) fn may_write(request: &Request, door: Door, token: Option<&str>) -> Result<(), Refusal> {
    may_read(request, door, token)?;
    match Access::of(request, door, token) {
        Access::Read => return Err(Refusal::ReadOnly),
        Access::NeedsToken => return Err(Refusal::NoToken),
        Access::Write => {}
    }
    if request.body == Body::Length(0) || is_json(&request.claims) {
        Ok(())
    } else {
        Err(Refusal::NotJson)
    }
}

/// What whoever sends a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Write,
    /// Everything, with the token, which this request does not show.
    NeedsToken,
    /// Nothing but look: there is no token.
    Read,
}

impl Access {
    /// For a request that may look.
    pub(super) fn of(request: &Request, door: Door, token: Option<&str>) -> Self {
        match (door, token) {
            (Door::Control, _) => Self::Write,
            (Door::Metrics, None) => Self::Read,
            (Door::Metrics, Some(_)) if shows(&request.claims, token) => Self::Write,
            (Door::Metrics, Some(_)) => Self::NeedsToken,
        }
    }

    /// In one word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::NeedsToken => "needs_token",
            Self::Read => "read",
        }
    }
}

fn is_cross_site(claims: &Claims) -> bool {
    let from_elsewhere = claims
        .fetch_site
        .as_deref()
        .is_some_and(|site| !["same-origin", "none"].contains(&site));
    let from_another = claims.origin.as_deref().is_some_and(|origin| {
        let host = origin.strip_prefix("http://");
        match (host, claims.host.as_deref()) {
            (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
            (None, _) | (_, None) => true,
        }
    });
    from_elsewhere || from_another
}

/// Whether a value of `Host` is an address or `localhost`, with or without a port.
fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let bracketed = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .is_some_and(|name| matches!(name.parse(), Ok(IpAddr::V6(_))));
    let plain = matches!(name.parse(), Ok(IpAddr::V4(_)));
    bracketed || plain || name.eq_ignore_ascii_case("localhost")
}

fn is_json(claims: &Claims) -> bool {
    claims.content_type.as_deref().is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or(value).trim();
        kind.eq_ignore_ascii_case("application/json")
    })
}

fn shows(claims: &Claims, token: Option<&str>) -> bool {
    let shown = claims.authorization.as_deref().and_then(bearer);
    shown
        .zip(token)
        .is_some_and(|(shown, token)| is_same(shown, token))
}

/// The token in a value of `Authorization`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// Compares in a time that tells nothing but the lengths.
fn is_same(shown: &str, token: &str) -> bool {
    let pairs = shown.bytes().zip(token.bytes());
    let difference = pairs.fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    // An empty token would be no secret.
    shown.len() == token.len() && difference == 0 && !token.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::http::request::{Parsed, parse};

    const TOKEN: Option<&str> = Some("s3cret");

    fn request(lines: &str) -> Request {
        let head = format!("POST / HTTP/1.1\r\n{lines}\r\n");
        let parsed = parse(head.as_bytes());
        if let Parsed::Complete(request) = parsed {
            return request;
        }
        panic!("{head:?} is {parsed:?}");
    }

    #[test]
    fn names_are_for_those_who_know_the_token() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:90",
            "[::1]",
            "[::1]:90",
            "localhost",
            "LocalHost:1",
        ] {
            let asked = request(&format!("Host: {host}\r\n"));
            assert_eq!(may_read(&asked, Door::Metrics, None), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:90",
            "localhost.evil.example",
            "127.0.0.1.example",
            "[127.0.0.1]",
            "::1",
            "",
            "127.0.0.1:",
            "127.0.0.1:x",
        ] {
            let line = format!("Host: {host}\r\n");
            let asked = request(&line);
            assert_eq!(
                may_read(&asked, Door::Metrics, TOKEN),
                Err(Refusal::Name),
                "{host}"
            );
            assert_eq!(may_read(&asked, Door::Control, None), Ok(()), "{host}");
            let asked = request(&format!("{line}Authorization: Bearer s3cret\r\n"));
            assert_eq!(may_write(&asked, Door::Metrics, TOKEN), Ok(()), "{host}");
        }
        assert_eq!(may_read(&request(""), Door::Metrics, None), Err(Refusal::Name));
        assert_eq!(may_read(&request(""), Door::Control, None), Ok(()));
    }

    #[test]
    fn other_sites_are_refused_at_both_doors() {
        let foreign = [
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: https://127.0.0.1:90\r\n",
            "Origin: http://127.0.0.1:91\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
        ];
        let own = [
            "",
            "Origin: http://127.0.0.1:90\r\n",
            "Sec-Fetch-Site: same-origin\r\n",
            "Sec-Fetch-Site: none\r\n",
        ];
        for door in [Door::Metrics, Door::Control] {
            for line in foreign {
                let asked = request(&format!("Host: 127.0.0.1:90\r\n{line}"));
                assert_eq!(may_read(&asked, door, None), Err(Refusal::CrossSite), "{line}");
            }
            for line in own {
                let asked = request(&format!("Host: 127.0.0.1:90\r\n{line}"));
                assert_eq!(may_read(&asked, door, None), Ok(()), "{line}");
            }
        }
        let nowhere = request("Origin: http://127.0.0.1\r\n");
        assert_eq!(may_read(&nowhere, Door::Control, None), Err(Refusal::CrossSite));
    }

    #[test]
    fn writing_needs_the_token_or_the_control_socket() {
        let host = "Host: localhost\r\n";
        let plain = request(host);
        assert_eq!(may_write(&plain, Door::Control, None), Ok(()));
        assert_eq!(may_write(&plain, Door::Metrics, None), Err(Refusal::ReadOnly));
        assert_eq!(may_write(&plain, Door::Metrics, TOKEN), Err(Refusal::NoToken));
        for wrong in [
            "Bearer s3cre",
            "Bearer s3creT",
            "Bearer s3cret1",
            "Bearer",
            "Basic s3cret",
            "s3cret",
        ] {
            let asked = request(&format!("{host}Authorization: {wrong}\r\n"));
            assert_eq!(
                may_write(&asked, Door::Metrics, TOKEN),
                Err(Refusal::NoToken),
                "{wrong}"
            );
        }
        let asked = request(&format!("{host}Authorization: bearer s3cret\r\n"));
        assert_eq!(may_write(&asked, Door::Metrics, TOKEN), Ok(()));
        assert_eq!(may_write(&asked, Door::Metrics, None), Err(Refusal::ReadOnly));
        let empty = request(&format!("{host}Authorization: Bearer \r\n"));
        assert_eq!(may_write(&empty, Door::Metrics, Some("")), Err(Refusal::NoToken));
    }

    #[test]
    fn a_form_changes_nothing() {
        let asked = |kind: &str| request(&format!("Content-Length: 2\r\nContent-Type: {kind}\r\n"));
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
        ] {
            assert_eq!(
                may_write(&asked(kind), Door::Control, None),
                Err(Refusal::NotJson),
                "{kind}"
            );
        }
        for kind in ["application/json", "Application/JSON; charset=utf-8"] {
            assert_eq!(may_write(&asked(kind), Door::Control, None), Ok(()), "{kind}");
        }
    }
}

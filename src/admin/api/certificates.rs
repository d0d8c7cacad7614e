//! The certificates that clients of a service are shown.

use std::time::SystemTime;

use serde::Serialize;

use crate::base::clock;
use crate::service::Service;
use crate::tls::Shown;

/// A certificate, as it is written.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Certificate {
    path: String,
    names: Vec<String>,
    expires: String,
    /// Below zero since it has expired.
    expires_in_seconds: i64,
}

impl Certificate {
    /// All of a service, the default first.
    pub(in crate::admin) fn all(service: &Service) -> Vec<Self> {
        let now = clock::wall();
        let shown = service.tls.termination.as_ref().map(|tls| tls.shown());
        let shown = shown.unwrap_or_default();
        shown.iter().map(|one| Self::of(one, now)).collect()
    }

    fn of(one: &Shown, now: SystemTime) -> Self {
        let end = one.end();
        let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Self {
            path: one.path.display().to_string(),
            names: one.names.clone(),
            expires: humantime::format_rfc3339_seconds(end).to_string(),
            expires_in_seconds: end
                .duration_since(now)
                .map_or_else(|late| -seconds(late.duration()), seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::tls::Chain;

    #[test]
    fn how_long_it_lasts_and_since_when_it_does_not() {
        let one = Shown {
            path: "a.pem".into(),
            names: vec!["a.example".to_owned()],
            not_before: 0,
            not_after: 86_400,
            chain: Chain::Whole,
        };
        let told = |seconds| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            serde_json::to_value(Certificate::of(&one, now)).expect("JSON")
        };
        let expected = |left| {
            json!({
                "path": "a.pem", "names": ["a.example"], "expires": "1970-01-02T00:00:00Z", "expires_in_seconds": left,
            })
        };
        assert_eq!(told(86_000), expected(400));
        assert_eq!(told(86_401), expected(-1));
        let endless = Shown {
            not_after: i64::MAX,
            ..one.clone()
        };
        let told = serde_json::to_value(Certificate::of(&endless, SystemTime::UNIX_EPOCH)).expect("JSON");
        assert_eq!(told["expires"], "9999-12-31T23:59:59Z");
    }
}

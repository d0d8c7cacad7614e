//! In which format a scrape is written, by what is asked for (pure).
//!
//! `Accept` of RFC 9110, 12.5.1. `OpenMetrics` is for those who name it; whoever takes everything gets the older format, which
//! everybody reads.

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    #[default]
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

/// How well something is named by `Accept`, the best last, and how much it is wanted: 0 to 1.
type Wanted = (Precision, f32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    /// `*/*`.
    Everything,
    /// `text/*`.
    Kind,
    /// `text/plain`.
    Type,
    /// `text/plain; version=0.0.4`.
    Version,
}

impl Format {
    /// The format for a request with this `Accept`: empty if it has none.
    #[must_use]
    pub fn asked_for(accept: &str) -> Self {
        let text = Self::Text.wanted(accept).map_or(0.0, |(_, quality)| quality);
        match Self::OpenMetrics.wanted(accept) {
            Some((Precision::Type | Precision::Version, quality)) if quality > 0.0 && quality >= text => {
                Self::OpenMetrics
            }
            _ => Self::Text,
        }
    }

    /// What `Content-Type` says of it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Its type, in two halves, and its version.
    fn names(self) -> ([&'static str; 2], &'static str) {
        match self {
            Self::Text => (["text", "plain"], "0.0.4"),
            Self::OpenMetrics => (["application", "openmetrics-text"], "1.0.0"),
        }
    }

    /// What the most precise of the ranges that it is in says.
    fn wanted(self, accept: &str) -> Option<Wanted> {
        let ranges = accept.split(',').filter_map(|range| self.within(range));
        ranges.max_by(|(a, _), (b, _)| a.cmp(b))
    }

    /// What one range says of it; none if it is not in there.
    fn within(self, range: &str) -> Option<Wanted> {
        let ([kind, name], version) = self.names();
        let mut parts = range.split(';').map(str::trim);
        let (asked_kind, asked_name) = parts.next()?.split_once('/')?;
        let mut precision = match (asked_kind, asked_name) {
            ("*", "*") => Precision::Everything,
            (asked, "*") if asked.eq_ignore_ascii_case(kind) => Precision::Kind,
            (asked, other) if asked.eq_ignore_ascii_case(kind) && other.eq_ignore_ascii_case(name) => {
                Precision::Type
            }
            _ => return None,
        };
        let mut quality = 1.0;
        for (parameter, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            if parameter.trim_end().eq_ignore_ascii_case("q") {
                quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?;
            } else if parameter.trim_end().eq_ignore_ascii_case("version") {
                precision = (value == version).then_some(Precision::Version)?;
            }
        }
        Some((precision, quality))
    }
}

#[cfg(test)]
mod tests {
    use super::Format::{OpenMetrics, Text};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_scrapers_ask_for() {
        for (who, accept, format) in [
            (
                "Prometheus 2",
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "Prometheus 3",
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "Prometheus 1",
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                 text/plain;version=0.0.4;q=0.3,application/json;schema=\"prometheus/telemetry\";version=0.0.2;q=0.2,*/*;q=0.1",
                Text,
            ),
            ("curl", "*/*", Text),
            (
                "a browser",
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Text,
            ),
            ("nobody", "", Text),
        ] {
            assert_eq!(Format::asked_for(accept), format, "{who}");
        }
    }

    #[test]
    fn the_most_precise_range_counts_and_more_is_better() {
        for (accept, format) in [
            ("application/openmetrics-text", OpenMetrics),
            (
                "Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=1",
                OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text", OpenMetrics),
            (
                "text/plain;q=0.4, application/openmetrics-text;q=0.5",
                OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text;q=0.9", Text),
            ("text/*;q=0.9, application/openmetrics-text;q=0.8", Text),
            (
                "text/plain;version=0.0.4;q=0.1, text/plain, application/openmetrics-text;q=0.5",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0, application/openmetrics-text",
                Text,
            ),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=7", Text),
            ("application/openmetrics-text;q=nan", Text),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/*", Text),
            ("application/openmetrics-textual", Text),
            (",;=,/,*/*;q", Text),
        ] {
            assert_eq!(Format::asked_for(accept), format, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_there_is_an_answer(accept in "([a-z*/;,=\" .0-9]|q=|text/plain|openmetrics-text){0,40}") {
            let format = Format::asked_for(&accept);
            prop_assert!(format == Text || accept.contains("openmetrics-text"));
        }
    }
}

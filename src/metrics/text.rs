//! The text of metrics in each [`Format`], from the data model of the `prometheus` crate (pure).
//!
//! As [`Format::Text`] it writes byte for byte what the crate's own encoder writes, but faster: a label without special
//! characters is not searched thrice, a count is written as the integer that it is, and nothing is allocated
//! per value. A scrape of a thousand services has a hundred thousand lines. `OpenMetrics`, which the crate does not
//! write, differs in few places: a counter's family is named without `_total`, a unit has a line of its own, bounds of
//! buckets have a point (so that a label value is the same whoever wrote it), and a last line says that it is all.

use std::fmt::Write as _;

use prometheus::proto::{Histogram, LabelPair, Metric, MetricType};

use super::format::Format;

/// Counts up to this are whole numbers as doubles, too.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Units that names end with, as `OpenMetrics` knows them.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// Writes the lines that come before the series of a family.
pub(super) fn write_head(text: &mut String, name: &str, help: &str, kind: MetricType, format: Format) {
    debug_assert!(
        !help.contains(['\\', '\n', '"']),
        "{name}: no help text needs escapes"
    );
    let name = match format {
        Format::OpenMetrics if kind == MetricType::COUNTER => family_of_counter(name),
        Format::OpenMetrics | Format::Text => name,
    };
    let word = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "untyped",
    };
    for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", word, "\n"] {
        text.push_str(part);
    }
    if let (Format::OpenMetrics, Some(unit)) = (format, unit_of(name)) {
        for part in ["# UNIT ", name, " ", unit, "\n"] {
            text.push_str(part);
        }
    }
}

/// Writes what comes after all families.
pub(super) fn write_end(text: &mut String, format: Format) {
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
}

fn family_of_counter(name: &str) -> &str {
    let family = name.strip_suffix("_total");
    debug_assert!(family.is_some(), "{name}: counters are totals");
    family.unwrap_or(name)
}

fn unit_of(name: &str) -> Option<&'static str> {
    let (_, last) = name.rsplit_once('_')?;
    UNITS.into_iter().find(|unit| *unit == last)
}

/// Writes all lines of one series.
pub(super) fn write_series(text: &mut String, name: &str, kind: MetricType, metric: &Metric, format: Format) {
    let labels = metric.get_label();
    match kind {
        MetricType::COUNTER => line(text, [name, ""], labels, metric.get_counter().get_value()),
        MetricType::GAUGE => line(text, [name, ""], labels, metric.get_gauge().get_value()),
        MetricType::HISTOGRAM => write_histogram(text, name, labels, metric.get_histogram(), format),
        MetricType::SUMMARY | MetricType::UNTYPED => debug_assert!(false, "{name}: there is no such family"),
    }
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &[LabelPair],
    histogram: &Histogram,
    format: Format,
) {
    // All buckets of a series begin alike.
    let begin = text.len();
    write_labels(text, [name, "_bucket"], labels);
    text.push_str(if labels.is_empty() { "{le=\"" } else { ",le=\"" });
    let alike = begin..text.len();
    for bucket in histogram.get_bucket() {
        debug_assert!(
            bucket.upper_bound().is_finite(),
            "{name}: all are in the last bucket"
        );
        write_bound(text, bucket.upper_bound(), format);
        text.push_str("\"} ");
        write_number(text, float(bucket.cumulative_count()));
        text.push('\n');
        text.extend_from_within(alike.clone());
    }
    text.push_str("+Inf\"} ");
    let count = float(histogram.get_sample_count());
    write_number(text, count);
    text.push('\n');
    line(text, [name, "_sum"], labels, histogram.get_sample_sum());
    line(text, [name, "_count"], labels, count);
}

fn line(text: &mut String, name: [&str; 2], labels: &[LabelPair], value: f64) {
    write_labels(text, name, labels);
    text.push_str(if labels.is_empty() { " " } else { "} " });
    write_number(text, value);
    text.push('\n');
}

/// Writes a name and its labels, but for the brace that closes them.
fn write_labels(text: &mut String, name: [&str; 2], labels: &[LabelPair]) {
    for part in name {
        text.push_str(part);
    }
    let mut separator = '{';
    for label in labels {
        text.push(separator);
        text.push_str(label.name());
        text.push_str("=\"");
        write_escaped(text, label.value());
        text.push('"');
        separator = ',';
    }
}

fn write_escaped(text: &mut String, value: &str) {
    let is_special = |byte| matches!(byte, b'\\' | b'"' | b'\n');
    if !value.bytes().any(is_special) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// A bound is a label: two texts that mean one number would be two series.
fn write_bound(text: &mut String, bound: f64, format: Format) {
    write_number(text, bound);
    if format == Format::OpenMetrics && bound.fract() == 0.0 {
        text.push_str(".0");
    }
}

fn write_number(text: &mut String, value: f64) {
    let is_count = (0.0..EXACT).contains(&value) && value.is_sign_positive() && value.fract() == 0.0;
    let written = if is_count {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a whole number within the range of both"
        )]
        let count = value as u64;
        write!(text, "{count}")
    } else {
        write!(text, "{value}")
    };
    debug_assert!(written.is_ok(), "writing to a text cannot fail");
}

/// The count as a sample value. Above 2^53 the nearest representable value is taken, as in every
/// Prometheus client.
#[expect(
    clippy::cast_precision_loss,
    reason = "a Prometheus sample is a double by definition"
)]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;
    use prometheus::proto::{Bucket, Counter, Gauge, MetricFamily};
    use proptest::prelude::*;

    /// What the crate's encoder writes of the same series, and what is written here.
    fn both(kind: MetricType, metrics: Vec<Metric>) -> (String, String) {
        let mut ours = String::new();
        write_head(&mut ours, "a_name", "In words.", kind, Format::Text);
        for metric in &metrics {
            write_series(&mut ours, "a_name", kind, metric, Format::Text);
        }
        let mut family = MetricFamily::default();
        family.set_name("a_name".to_owned());
        family.set_help("In words.".to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        let theirs = TextEncoder::new().encode_to_string(&[family]).expect("valid");
        (theirs, ours)
    }

    fn metric(labels: &[String]) -> Metric {
        let pairs = labels.iter().zip(["one", "two", "three"]).map(|(value, name)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.clone());
            pair
        });
        Metric::from_label(pairs.collect())
    }

    fn numbers() -> impl Strategy<Value = f64> {
        let edges = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            1e15,
            EXACT,
            EXACT - 1.0,
            EXACT + 2.0,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        prop_oneof![
            any::<f64>(),
            (0..1u64 << 60).prop_map(float),
            proptest::sample::select(Vec::from(edges))
        ]
    }

    fn labels() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[a-z\"\\\\\n\u{e9}]{0,6}", 0..3)
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_crate_writes_them(
            series in proptest::collection::vec((labels(), numbers()), 1..5),
        ) {
            let mut counters = Vec::new();
            let mut gauges = Vec::new();
            for (labels, value) in &series {
                let mut counter = Counter::default();
                counter.set_value(*value);
                counters.push(metric(labels));
                counters.last_mut().expect("one").set_counter(counter);
                let mut gauge = Gauge::default();
                gauge.set_value(*value);
                gauges.push(metric(labels));
                gauges.last_mut().expect("one").set_gauge(gauge);
            }
            for (kind, metrics) in [(MetricType::COUNTER, counters), (MetricType::GAUGE, gauges)] {
                let (theirs, ours) = both(kind, metrics);
                prop_assert_eq!(theirs, ours);
            }
        }

        #[test]
        fn histograms_are_written_as_the_crate_writes_them(
            labels in labels(),
            buckets in proptest::collection::vec((-1e9..1e9, any::<u64>()), 0..5),
            (sum, count) in (numbers(), any::<u64>()),
        ) {
            let mut histogram = Histogram::default();
            let bucket = |(bound, count): &(f64, u64)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(*count);
                bucket
            };
            histogram.set_bucket(buckets.iter().map(bucket).collect());
            histogram.set_sample_sum(sum);
            histogram.set_sample_count(count);
            let mut metric = metric(&labels);
            metric.set_histogram(histogram);
            let (theirs, ours) = both(MetricType::HISTOGRAM, vec![metric]);
            prop_assert_eq!(theirs, ours);
        }
    }
}

//! `OpenMetrics` 1.0, read by a parser that takes nothing that the standard forbids; what it reads is what the older format says.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricType};
use proptest::prelude::*;

use super::*;
use crate::metrics::format::Format;
use crate::metrics::text::{write_end, write_head, write_series};

/// Names and values, in the order of the text.
type Labels = Vec<(String, String)>;

/// Name and labels of a series.
type Series = (String, Labels);

/// What one text says.
#[derive(Debug, Default)]
struct Exposition {
    families: BTreeMap<String, Declared>,
    samples: Vec<(Series, f64)>,
}

#[derive(Debug, Default)]
struct Declared {
    kind: String,
    unit: Option<String>,
    help: Option<String>,
}

impl Declared {
    /// What may follow the name of the family in the name of a sample.
    fn suffixes(&self) -> &'static [&'static str] {
        match self.kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        }
    }
}

impl Exposition {
    fn of(text: &str) -> Self {
        let lines = text
            .strip_suffix("# EOF\n")
            .expect("a last line and nothing after it");
        let mut read = Self::default();
        let mut open = String::new();
        let mut has_samples = false;
        for line in lines
            .strip_suffix('\n')
            .into_iter()
            .flat_map(|all| all.split('\n'))
        {
            if let Some(said) = line.strip_prefix("# ") {
                let mut words = said.splitn(3, ' ');
                let [what, name, rest] = [(); 3].map(|()| words.next().expect("three words"));
                if name != open || has_samples {
                    let is_new = !read.families.contains_key(name);
                    assert!(is_new, "{line}: families are not mixed");
                    (open, has_samples) = (name.to_owned(), false);
                }
                read.declare(what, name, rest);
            } else {
                has_samples = true;
                let (series, value) = sample(line);
                let family = read.families.get(&open).expect("declared before");
                let suffix = series
                    .0
                    .strip_prefix(&open)
                    .unwrap_or_else(|| panic!("{line} under {open}"));
                assert!(family.suffixes().contains(&suffix), "{line}: {family:?}");
                let is_count = family.kind != "gauge" && suffix != "_sum";
                assert!(!is_count || value >= 0.0, "{line}");
                read.samples.push((series, value));
            }
        }
        read.check();
        read
    }

    fn declare(&mut self, what: &str, name: &str, rest: &str) {
        let family = self.families.entry(name.to_owned()).or_default();
        match what {
            "TYPE" => {
                assert!(
                    ["counter", "gauge", "histogram"].contains(&rest),
                    "{name}: {rest}"
                );
                assert_eq!(std::mem::replace(&mut family.kind, rest.to_owned()), "", "{name}");
            }
            "UNIT" => {
                assert!(name.ends_with(&format!("_{rest}")), "{name}: {rest}");
                assert_eq!(family.unit.replace(rest.to_owned()), None, "{name}");
            }
            "HELP" => assert_eq!(family.help.replace(unescaped(rest)), None, "{name}"),
            _ => panic!("{what} {name}"),
        }
    }

    /// What holds of all together.
    fn check(&self) {
        let mut names = BTreeSet::new();
        for (name, family) in &self.families {
            assert!(!family.kind.is_empty(), "{name} has no type");
            // Suffixes of any type: what has one of them could be a sample of another family.
            for suffix in [
                "", "_total", "_created", "_bucket", "_sum", "_count", "_gcount", "_gsum",
            ] {
                let is_own = suffix.is_empty() || family.suffixes().contains(&suffix);
                assert!(
                    !is_own || names.insert(format!("{name}{suffix}")),
                    "{name}{suffix} twice"
                );
            }
            assert!(!name.ends_with("_total") && !name.ends_with("_bucket"), "{name}");
        }
        let all: BTreeSet<&Series> = self.samples.iter().map(|(series, _)| series).collect();
        assert_eq!(all.len(), self.samples.len(), "a series is there once");
        for (name, family) in &self.families {
            if family.kind == "histogram" {
                self.check_histogram(name);
            }
        }
    }

    /// The buckets of each series follow one another, with bounds that grow; the last one has all.
    fn check_histogram(&self, name: &str) {
        let of = |suffix: &str| {
            let wanted = format!("{name}{suffix}");
            let samples = self.samples.iter();
            samples.filter(move |((name, _), _)| *name == wanted)
        };
        let mut by_labels: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for ((_, labels), count) in of("_bucket") {
            let (last, others) = labels.split_last().expect("a bound");
            assert_eq!(last.0, "le", "{name}");
            let is_canonical = last.1 == "+Inf" || last.1.contains('.');
            assert!(is_canonical, "{name}: {}", last.1);
            let bound = last.1.parse().expect("a number");
            by_labels
                .entry(others.to_vec())
                .or_default()
                .push((bound, *count));
        }
        assert_eq!(of("_count").count(), by_labels.len(), "{name}");
        assert_eq!(of("_sum").count(), by_labels.len(), "{name}");
        for ((_, labels), count) in of("_count") {
            let buckets = &by_labels[labels];
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0), "{name}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name}");
        }
    }
}

fn sample(line: &str) -> (Series, f64) {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(after) = rest.strip_prefix('{') {
        rest = after;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect("a label");
            let mut end = 0;
            while !after[end..].starts_with('"') {
                let is_escape = after[end..].starts_with('\\');
                end += after[end..]
                    .chars()
                    .take(1 + usize::from(is_escape))
                    .map(char::len_utf8)
                    .sum::<usize>();
            }
            labels.push((label.to_owned(), unescaped(&after[..end])));
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let value = rest
        .strip_prefix(' ')
        .expect("one blank")
        .parse()
        .expect("a number");
    let names = labels.iter().map(|(name, _)| name.as_str()).chain([name]);
    for name in names {
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        assert!(is_name && !name.is_empty(), "{line}");
    }
    ((name.to_owned(), labels), value)
}

fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut out = String::new();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(other @ ('\\' | '"')) => other,
                other => panic!("{text:?}: {other:?}"),
            },
            '"' => panic!("{text:?}: a bare quotation mark"),
            other => other,
        });
    }
    out
}

#[test]
fn a_scrape_says_the_same_in_both_formats() {
    let world = World::new(&[backend(2), backend(3)]);
    for (movement, _, _) in movements::ALL {
        movement(&world, &backend(2));
    }
    let older = world.scrape();
    let text = world.exporter.text(Format::OpenMetrics).concat();
    let newer = Exposition::of(&text);
    // All but what moves between two scrapes.
    let moving = [
        "process_",
        "tcp_forwarder_uptime",
        "tcp_forwarder_provider_answer_age",
    ];
    let stands = |name: &str| !moving.iter().any(|beginning| name.starts_with(beginning));
    let mut told = 0;
    for ((name, labels), value) in newer.samples.iter().filter(|((name, _), _)| stands(name)) {
        let bound = |value: &str| value.strip_suffix(".0").unwrap_or(value).to_owned();
        let pairs = labels.iter().map(|(name, value)| match name.as_str() {
            "le" => format!("le=\"{}\"", bound(value)),
            _ => format!("{name}=\"{}\"", value.replace('\\', "\\\\")),
        });
        let pairs = pairs.collect::<Vec<_>>().join(",");
        let series = if pairs.is_empty() {
            name.clone()
        } else {
            format!("{name}{{{pairs}}}")
        };
        assert_eq!(older.samples.get(&series), Some(value), "{series}");
        told += 1;
    }
    let before = older.samples.keys().filter(|series| stands(series)).count();
    assert_eq!(told, before);
    for family in family::ALL
        .iter()
        .filter(|family| older.help.contains_key(family.name))
    {
        let name = family.name.strip_suffix("_total").unwrap_or(family.name);
        let declared = newer.families.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(declared.help.as_deref(), Some(family.help));
        assert_eq!(Some(&declared.kind), older.kinds.get(family.name), "{name}");
        assert_eq!(
            declared.unit.as_deref(),
            ["seconds", "bytes"]
                .into_iter()
                .find(|unit| name.ends_with(&format!("_{unit}")))
        );
    }
}

proptest! {
    #[test]
    fn labels_and_numbers_are_read_as_they_are(
        values in proptest::collection::vec("[a-z\"\\\\\n,={}\u{e9} ]{0,6}", 0..3),
        number in prop_oneof![any::<f64>(), (0..1u32 << 20).prop_map(f64::from)],
        bounds in proptest::collection::btree_set(0..50_000u32, 0..5),
    ) {
        let labels: Vec<(String, String)> = ["one", "two", "three"]
            .map(str::to_owned)
            .into_iter()
            .zip(values)
            .collect();
        let pairs = labels.iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.clone());
            pair.set_value(value.clone());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        let mut gauge = Gauge::default();
        gauge.set_value(number);
        metric.set_gauge(gauge);
        let mut counter = Counter::default();
        counter.set_value(number.abs());
        metric.set_counter(counter);
        let mut histogram = Histogram::default();
        histogram.set_bucket(bounds.iter().map(|bound| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(f64::from(*bound) / 1000.0);
            bucket
        }).collect());
        metric.set_histogram(histogram);
        let mut text = String::new();
        for (name, kind) in [
            ("a_count_total", MetricType::COUNTER),
            ("a_gauge", MetricType::GAUGE),
            ("a_time_seconds", MetricType::HISTOGRAM),
        ] {
            write_head(&mut text, name, "In words.", kind, Format::OpenMetrics);
            if kind != MetricType::COUNTER || !number.is_nan() {
                write_series(&mut text, name, kind, &metric, Format::OpenMetrics);
            }
        }
        write_end(&mut text, Format::OpenMetrics);
        let read = Exposition::of(&text);
        let gauge = (("a_gauge".to_owned(), labels), number);
        let found = read.samples.iter().find(|((name, _), _)| name == "a_gauge");
        let found = found.expect("a gauge");
        prop_assert_eq!(&found.0, &gauge.0);
        prop_assert!(found.1.to_bits() == number.to_bits() || found.1.is_nan() && number.is_nan());
        let buckets = read.samples.iter().filter(|((name, _), _)| name == "a_time_seconds_bucket");
        prop_assert_eq!(buckets.count(), bounds.len() + 1);
        prop_assert_eq!(read.families["a_time_seconds"].unit.as_deref(), Some("seconds"));
    }
}

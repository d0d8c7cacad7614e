//! Writes the series of one scrape, family by family.
//!
//! Each series is a `Metric` of the `prometheus` crate for as long as it takes to write it: kept until all are
//! there, those of a thousand services would cost more than their text. They come service by service and are
//! wanted family by family, so each family has a text of its own until the end.
//!
//! The only file (with `exporter.rs` and `text.rs`) that knows the data model of the crate.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricType};

use super::family::{Family, Kind};
use super::text::{self, float};
use crate::base::counters::HistogramReading;

/// The text of one scrape, as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Output {
    families: BTreeMap<&'static str, String>,
}

impl Output {
    /// Adds a series to a counter or gauge family; `labels` are values in the family's order.
    pub(super) fn number(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        let mut metric = labelled(family, labels);
        match family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Kind::Histogram => debug_assert!(false, "{} is a histogram", family.name),
        }
        self.write(family, &metric);
    }

    /// Adds a series of a count.
    pub(super) fn count(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        self.number(family, labels, float(value));
    }

    /// Adds a series to a histogram family.
    pub(super) fn histogram(&mut self, family: &'static Family, labels: &[&str], reading: &HistogramReading) {
        debug_assert_eq!(family.kind, Kind::Histogram, "{}", family.name);
        let buckets = reading
            .buckets
            .iter()
            .map(|(bound, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(*count);
                bucket
            })
            .collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(reading.count);
        histogram.set_sample_sum(reading.sum);
        let mut metric = labelled(family, labels);
        metric.set_histogram(histogram);
        self.write(family, &metric);
    }

    fn write(&mut self, family: &'static Family, metric: &Metric) {
        let kind = match family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        };
        let text = self.families.entry(family.name).or_insert_with(|| {
            let mut text = String::new();
            text::write_head(&mut text, family.name, family.help, kind);
            text
        });
        text::write_series(text, family.name, kind, metric);
    }

    /// The whole text, in the order of the names.
    pub(super) fn into_text(self) -> String {
        let mut whole = String::with_capacity(self.families.values().map(String::len).sum());
        for text in self.families.into_values() {
            // Each part is given back once it is copied, so that there are never two of a large text.
            whole.push_str(&text);
        }
        whole
    }
}

fn labelled(family: &'static Family, values: &[&str]) -> Metric {
    debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
    let pairs = family
        .labels
        .iter()
        .zip(values)
        // No label and an empty one are the same.
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        })
        .collect();
    Metric::from_label(pairs)
}

#[cfg(test)]
mod tests;

//! Collects the series of one scrape, family by family.
//!
//! The only file (with `mod.rs`) that knows the data model of the `prometheus` crate.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::counters::HistogramReading;
use super::family::{Family, Kind};

/// The series of one scrape.
#[derive(Debug, Default)]
pub(super) struct Output {
    families: BTreeMap<&'static str, MetricFamily>,
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
        self.push(family, metric);
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
        self.push(family, metric);
    }

    fn push(&mut self, family: &'static Family, metric: Metric) {
        self.families
            .entry(family.name)
            .or_insert_with(|| {
                let mut entry = MetricFamily::default();
                entry.set_name(family.name.to_owned());
                entry.set_help(family.help.to_owned());
                entry.set_field_type(match family.kind {
                    Kind::Counter => MetricType::COUNTER,
                    Kind::Gauge => MetricType::GAUGE,
                    Kind::Histogram => MetricType::HISTOGRAM,
                });
                entry
            })
            .mut_metric()
            .push(metric);
    }

    /// What was collected, in the order of the names.
    pub(super) fn into_families(self) -> Vec<MetricFamily> {
        self.families.into_values().collect()
    }
}

fn labelled(family: &'static Family, values: &[&str]) -> Metric {
    debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
    let pairs = family
        .labels
        .iter()
        .zip(values)
        // An empty label is the same as none.
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

/// The count as a sample value. Above 2^53 the nearest representable value is taken, as in every
/// Prometheus client.
#[expect(
    clippy::cast_precision_loss,
    reason = "a Prometheus sample is a double by definition"
)]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

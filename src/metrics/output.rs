//! Writes the series of one scrape, family by family.
//!
//! A series is a `Metric` of the `prometheus` crate only while it is written: kept until all are there, those of a
//! thousand services would cost more than their text. They come service by service and are wanted family by
//! family, so each family has a text of its own, in parts that are never copied again.
//!
//! The only file (with `exporter.rs` and `text.rs`) that knows the data model of the crate.

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricType};

use super::family::{Family, Kind};
use super::format::Format;
use super::text::{self, float};
use crate::base::counters::HistogramReading;

/// A part that has as much is full; the next series begins a new one.
const PART_BYTES: usize = 64 * 1024;
/// Room for the series that makes a part full.
const SPARE_BYTES: usize = 4 * 1024;

/// The text of one scrape, as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Output {
    format: Format,
    families: BTreeMap<&'static str, Section>,
}

/// One family's text.
#[derive(Debug)]
struct Section {
    format: Format,
    full: Vec<String>,
    part: String,
    /// The series that is written now, or was last.
    series: Metric,
}

impl Output {
    /// Nothing yet, to be written in this format.
    pub(super) fn of(format: Format) -> Self {
        Self {
            format,
            families: BTreeMap::new(),
        }
    }

    /// Adds a series to a counter or gauge family; `labels` are values in the family's order.
    pub(super) fn number(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        let section = self.section(family, labels);
        match family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                section.series.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                section.series.set_gauge(gauge);
            }
            Kind::Histogram => debug_assert!(false, "{} is a histogram", family.name),
        }
        section.write(family);
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
        let section = self.section(family, labels);
        section.series.set_histogram(histogram);
        section.write(family);
    }

    /// The section of a family, whose series has these labels now.
    fn section(&mut self, family: &'static Family, labels: &[&str]) -> &mut Section {
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        let section = self
            .families
            .entry(family.name)
            .or_insert_with(|| Section::new(family, self.format));
        let mut pairs = section.series.take_label();
        pairs.clear();
        // No label and an empty one are the same.
        let given = family
            .labels
            .iter()
            .zip(labels)
            .filter(|(_, value)| !value.is_empty());
        pairs.extend(given.map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        }));
        section.series.set_label(pairs);
        section
    }

    /// The whole text, in the order of the names and in parts that follow one another.
    pub(super) fn into_parts(self) -> Vec<String> {
        let mut end = String::new();
        text::write_end(&mut end, self.format);
        let sections = self.families.into_values();
        sections
            .flat_map(|section| section.full.into_iter().chain([section.part]))
            .chain([end])
            .collect()
    }
}

impl Section {
    fn new(family: &'static Family, format: Format) -> Self {
        let mut part = String::new();
        text::write_head(&mut part, family.name, family.help, kind_of(family), format);
        Self {
            format,
            full: Vec::new(),
            part,
            series: Metric::default(),
        }
    }

    fn write(&mut self, family: &'static Family) {
        if self.part.len() >= PART_BYTES {
            let next = String::with_capacity(PART_BYTES + SPARE_BYTES);
            self.full.push(std::mem::replace(&mut self.part, next));
        }
        let kind = kind_of(family);
        text::write_series(&mut self.part, family.name, kind, &self.series, self.format);
    }
}

fn kind_of(family: &Family) -> MetricType {
    match family.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    }
}

#[cfg(test)]
mod tests;

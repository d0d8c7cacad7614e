//! A scrape of very many services.

use super::*;
use crate::base::clock;
use std::time::Duration;

const SERVICES: usize = 1000;

/// Families that no program has: 57 numbers and 3 histograms.
fn families() -> Vec<&'static Family> {
    (0..60)
        .map(|i| {
            let name: &'static str = format!("tcp_forwarder_synthetic_family_{i}_total").leak();
            let family = Family {
                name,
                help: "A family that stands for many.",
                kind: match i {
                    0..47 => Kind::Counter,
                    47..57 => Kind::Gauge,
                    _ => Kind::Histogram,
                },
                labels: &["service", "server"],
            };
            &*Box::leak(Box::new(family))
        })
        .collect()
}

fn synthetic(families: &[&'static Family]) -> Output {
    let mut output = Output::default();
    let mut rng = fastrand::Rng::with_seed(1);
    let reading = HistogramReading {
        buckets: (1..=14)
            .map(|i| (f64::from(i) / 1000.0, rng.u64(0..100_000)))
            .collect(),
        count: 123_456,
        sum: 1_234.567_891,
    };
    for service in 0..SERVICES {
        let service = format!("service-{service}");
        for family in families {
            let labels = [service.as_str(), "198.51.100.77:8443"];
            match family.kind {
                Kind::Histogram => output.histogram(family, &labels, &reading),
                Kind::Counter => output.count(family, &labels, rng.u64(..1 << 40)),
                Kind::Gauge => output.number(family, &labels, rng.f64() * 100.0),
            }
        }
    }
    output
}

#[test]
fn a_thousand_services_are_written_in_time() {
    let families = families();
    let mut best = Duration::MAX;
    let mut text = String::new();
    for _ in 0..10 {
        let begun = clock::now();
        let parts = synthetic(&families).into_parts();
        best = best.min(clock::now() - begun);
        assert!(parts.iter().all(|part| part.capacity() <= 2 * PART_BYTES));
        text = parts.concat();
    }
    let lines = text.lines().count();
    println!("{lines} lines, {} bytes: {best:?}", text.len());
    assert_eq!(lines, 60 * 2 + SERVICES * (57 + 3 * 17));
    // A build for tests is some ten times slower.
    let limit = if cfg!(debug_assertions) { 2000 } else { 100 };
    assert!(best < Duration::from_millis(limit), "{best:?}");
}

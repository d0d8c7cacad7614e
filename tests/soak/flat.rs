//! Whether a row of samples stays flat (pure).
//!
//! Samples of a process under changing load scatter, so medians are compared: what a leak does to them is the same
//! however much they scatter.

use serde_json::{Value, json};

/// Points that the last half is reduced to before its slope is taken.
const POINTS: usize = 24;

/// Samples without which nothing is judged.
const FEWEST: usize = 40;

/// A row of samples, judged.
#[derive(Debug)]
pub struct Flatness {
    pub name: &'static str,
    pub unit: &'static str,
    /// Median of the samples from 15 to 40 % of the time, when the load has come to its level.
    pub early: f64,
    /// Median of the last 15 %.
    pub last: f64,
    /// Slope of the last half (Theil-Sen: the median of all slopes between two points), times its length.
    pub drift: f64,
    /// Both `last - early` and `drift` must not be more.
    pub bound: f64,
    pub is_flat: bool,
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Medians of the values in `points` spans of equal length.
fn reduced(rows: &[(f64, f64)], points: usize) -> Vec<(f64, f64)> {
    let size = rows.len().div_ceil(points).max(1);
    let middle = |span: &[(f64, f64)]| {
        let (times, values) = span.iter().copied().unzip();
        (median(times), median(values))
    };
    rows.chunks(size).map(middle).collect()
}

fn slope(points: &[(f64, f64)]) -> f64 {
    let mut slopes = Vec::new();
    for (place, first) in points.iter().enumerate() {
        for second in &points[place + 1..] {
            slopes.push((second.1 - first.1) / (second.0 - first.0));
        }
    }
    median(slopes)
}

impl Flatness {
    /// Judges samples (seconds, value); none if there are too few of them.
    pub fn of(name: &'static str, unit: &'static str, bound: f64, rows: &[(f64, f64)]) -> Option<Self> {
        if rows.len() < FEWEST {
            return None;
        }
        let part = |from: usize, to: usize| &rows[rows.len() * from / 100..rows.len() * to / 100];
        let level = |rows: &[(f64, f64)]| median(rows.iter().map(|row| row.1).collect());
        let half = part(50, 100);
        let length = half.last()?.0 - half.first()?.0;
        let (early, last) = (level(part(15, 40)), level(part(85, 100)));
        let drift = slope(&reduced(half, POINTS)) * length;
        Some(Self {
            name,
            unit,
            early,
            last,
            drift,
            bound,
            is_flat: drift <= bound && last <= early + bound,
        })
    }

    pub fn to_json(&self) -> Value {
        json!({
            "figure": self.name,
            "unit": self.unit,
            "early": self.early,
            "last": self.last,
            "drift_of_last_half": self.drift,
            "bound": self.bound,
            "flat": self.is_flat,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes of samples every five seconds that scatter by 200, and a leak of so much per minute.
    fn rows(leak: f64) -> Vec<(f64, f64)> {
        let mut rng = fastrand::Rng::with_seed(7);
        let row = |place: u32| {
            let seconds = f64::from(place) * 5.0;
            let ramp = 4000.0 * (1.0 - (-seconds / 20.0).exp());
            (seconds, ramp + 200.0 * rng.f64() + leak * seconds / 60.0)
        };
        (0..120).map(row).collect()
    }

    #[test]
    fn a_ramp_that_ends_is_flat_and_a_leak_is_not() {
        let judged = |leak| Flatness::of("memory", "kB", 300.0, &rows(leak)).unwrap();
        assert!(judged(0.0).is_flat, "{:?}", judged(0.0));
        assert!(judged(-50.0).is_flat, "{:?}", judged(-50.0));
        assert!(!judged(80.0).is_flat, "{:?}", judged(80.0));
        // What came late and stays is no slope of the last half only.
        let mut late = rows(0.0);
        late[100..].iter_mut().for_each(|row| row.1 += 900.0);
        assert!(!Flatness::of("memory", "kB", 300.0, &late).unwrap().is_flat);
    }
}

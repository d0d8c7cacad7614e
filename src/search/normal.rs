//! What is needed of the normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// One drawing of the standard normal distribution (Box and Muller, 1958).
pub(super) fn draw(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (2.0 * PI * rng.f64()).cos()
}

/// What a value of this mean and deviation is below a bound by, on average, if being above it counts as 0: the expected
/// improvement (Močkus, 1975).
pub(super) fn improvement(mean: f64, deviation: f64, bound: f64) -> f64 {
    if deviation <= 0.0 {
        return (bound - mean).max(0.0);
    }
    let z = (bound - mean) / deviation;
    let density = (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    if z < -4.0 {
        // Both terms are nearly equal here: the tail by its expansion, `density (1/z^2 - 3/z^4)`.
        let square = z * z;
        return deviation * density * (1.0 - 3.0 / square) / square;
    }
    deviation * (density + z * below(z))
}

/// The share of the standard normal distribution below `z`; to 1.5e-7 (Abramowitz and Stegun, 7.1.26).
fn below(z: f64) -> f64 {
    let x = z.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let series = [
        0.254_829_592,
        -0.284_496_736,
        1.421_413_741,
        -1.453_152_027,
        1.061_405_429,
    ];
    let sum = series.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    let tail = 0.5 * sum * (-x * x).exp();
    if z < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improvements_are_those_of_the_literature() {
        // Of a standard normal against 0: 1 / sqrt(2 pi).
        assert!((improvement(0.0, 1.0, 0.0) - 0.398_942_28).abs() < 1e-6);
        assert!((improvement(5.0, 0.0, 7.0) - 2.0).abs() < 1e-12);
        assert!((improvement(-10.0, 1.0, 0.0) - 10.0).abs() < 1e-6);
        // Tails stay positive and in order, and join what lies before them.
        let tail: Vec<f64> = (0..120)
            .map(|step| improvement(f64::from(step) / 4.0, 1.0, 0.0))
            .collect();
        assert!(
            tail.windows(2).all(|pair| pair[0] > pair[1] && pair[1] > 0.0),
            "{tail:?}"
        );
        assert!(improvement(3.999, 1.0, 0.0) / improvement(4.001, 1.0, 0.0) < 1.2);
    }

    #[test]
    fn drawings_have_the_mean_and_the_deviation() {
        let mut rng = fastrand::Rng::with_seed(3);
        let drawn: Vec<f64> = (0..20_000).map(|_| draw(&mut rng)).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
    }
}

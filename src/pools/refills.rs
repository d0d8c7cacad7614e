//! Which refills clients have earned. Pure.
//!
//! A backend that closes what is unused would be dialled without end, though no client comes. So each client earns two
//! refills: one for the connection that it took, and one by which a pool grows under demand. What is not earned comes
//! at [`PER_MINUTE`] a backend, which is enough for connections that live for minutes.

use std::time::{Duration, Instant};

/// Refills that one client earns.
const PER_CLIENT: f64 = 2.0;

/// Refills of one backend that come by themselves.
const PER_MINUTE: f64 = 6.0;

/// Refills that may be saved up at least, however small a pool is.
const LEAST: f64 = 4.0;

/// What one reactor may refill of one backend.
#[derive(Debug, Clone, Copy)]
pub struct Refills {
    saved: f64,
    counted_at: Option<Instant>,
}

impl Default for Refills {
    fn default() -> Self {
        Self {
            saved: f64::INFINITY,
            counted_at: None,
        }
    }
}

impl Refills {
    /// A client came.
    pub fn earn(&mut self) {
        self.saved += PER_CLIENT;
    }

    /// A refill came to nothing.
    pub fn refund(&mut self) {
        self.saved += 1.0;
    }

    /// What ended was not the backend's doing: as many as may be saved.
    pub fn fill(&mut self) {
        self.saved = f64::INFINITY;
    }

    /// Takes one, of a pool of this size in one of so many reactors.
    ///
    /// # Errors
    /// When there is none: when there will be.
    pub fn take(&mut self, size: u32, reactors: u32, now: Instant) -> Result<(), Instant> {
        let per_second = PER_MINUTE / 60.0 / f64::from(reactors.max(1));
        if let Some(before) = self.counted_at.replace(now) {
            self.saved += now.saturating_duration_since(before).as_secs_f64() * per_second;
        }
        self.saved = self.saved.min(f64::from(size).max(LEAST));
        if self.saved >= 1.0 {
            self.saved -= 1.0;
            return Ok(());
        }
        Err(now + Duration::from_secs_f64((1.0 - self.saved) / per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_pool_is_filled_once_and_then_by_its_clients() {
        let now = clock::now();
        let mut refills = Refills::default();
        let all = |refills: &mut Refills, now| (0..100).filter(|_| refills.take(20, 2, now).is_ok()).count();
        assert_eq!(all(&mut refills, now), 20);
        assert_eq!(refills.take(20, 2, now), Err(now + Duration::from_secs(20)));
        refills.earn();
        assert_eq!(all(&mut refills, now), 2);
        assert_eq!(
            all(&mut refills, now + Duration::from_secs(61)),
            3,
            "half of six a minute"
        );
        refills.fill();
        assert_eq!(all(&mut refills, now + Duration::from_secs(61)), 20);
    }

    #[test]
    fn at_rest_there_are_as_many_as_promised() {
        let mut now = clock::now();
        let mut refills = Refills::default();
        while refills.take(20, 1, now).is_ok() {}
        let mut taken = 0;
        for _ in 0..3_600 {
            now += Duration::from_secs(1);
            taken += u32::from(refills.take(20, 1, now).is_ok());
        }
        assert!((355..=361).contains(&taken), "{taken} in an hour");
    }
}

//! Which members of the active set are looked at while their service is asleep, and when. Pure.
//!
//! Owns the time of the next look, and who is left of the present one. All services with the same interval have theirs at
//! the same time, and all members theirs at once: what wakes a radio and a core is when, not how much.
//!
//! Invariants: nobody is asked but members; a member is asked once in a look; what could not begin is not made up for.

use std::net::SocketAddr;
use std::time::Instant;

use crate::backend::ActiveSet;
use crate::base::grid::Grid;

/// The looks at the active set of one service that is asleep.
#[derive(Debug)]
pub struct Looks {
    grid: Grid,
    next_at: Instant,
    /// Who is left of the present look.
    left: Vec<SocketAddr>,
}

impl Looks {
    /// The first look is at the next time of the grid.
    #[must_use]
    pub fn new(grid: Grid, now: Instant) -> Self {
        Self {
            grid,
            next_at: grid.next(now),
            left: Vec::new(),
        }
    }

    /// Has them at other times from now on.
    pub fn adopt(&mut self, grid: Grid, now: Instant) {
        if grid.interval() != self.grid.interval() {
            *self = Self::new(grid, now);
        }
    }

    /// When [`begin`](Self::begin) should be asked.
    #[must_use]
    pub fn next_at(&self, now: Instant) -> Instant {
        if self.left.is_empty() { self.next_at } else { now }
    }

    /// Who is asked now, if anybody is.
    pub fn begin(&mut self, now: Instant, active: &ActiveSet) -> Option<SocketAddr> {
        if self.next_at <= now {
            self.next_at = self.grid.next(now);
            let members = active.backends.iter().rev();
            self.left = members.map(|backend| backend.addr).collect();
        }
        while let Some(addr) = self.left.pop() {
            // Who left meanwhile is not asked.
            if active.contains(&addr) {
                return Some(addr);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use crate::base::clock;
    use crate::selector::decide::Footing;
    use std::sync::Arc;
    use std::time::Duration;

    fn set(ports: &[u16], now: Instant) -> ActiveSet {
        let addr = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
        let backend = |port| Arc::new(Backend::new(addr(port), now, 1));
        ActiveSet::new(ports.iter().map(backend).collect(), Footing::Good)
    }

    #[test]
    fn every_member_is_asked_once_an_interval() {
        let start = clock::now();
        let grid = Grid::new(start, Duration::from_secs(600));
        let mut now = start + Duration::from_secs(450);
        let mut looks = Looks::new(grid, now);
        let active = set(&[1, 2, 3], now);
        let mut asked = Vec::new();
        for _ in 0..10 {
            assert!(looks.begin(now, &active).is_none(), "not before its time");
            now = looks.next_at(now);
            while let Some(addr) = looks.begin(now, &active) {
                asked.push(addr.port());
            }
        }
        assert_eq!(asked, [1, 2, 3].repeat(10));
        assert_eq!(now, start + Duration::from_secs(6_000));
    }

    #[test]
    fn who_left_is_not_asked_and_another_interval_counts_at_once() {
        let start = clock::now();
        let mut looks = Looks::new(Grid::new(start, Duration::from_secs(600)), start);
        let now = looks.next_at(start);
        assert_eq!(
            looks.begin(now, &set(&[1, 2], now)).map(|addr| addr.port()),
            Some(1)
        );
        assert_eq!(looks.next_at(now), now, "one is left");
        assert_eq!(looks.begin(now, &set(&[1, 3], now)), None);
        looks.adopt(Grid::new(start, Duration::from_secs(60)), now);
        assert_eq!(looks.next_at(now), now + Duration::from_secs(60));
    }
}

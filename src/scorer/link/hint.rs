//! What others say of their links is worth to ours: a look at our own, and no more. Pure.
//!
//! Those of one vantage leave by the same line, so that who loses it has most often lost it for all, and who has it back has it back
//! for all; but each may have lost what is its own alone: a cable, a radio, a route. Whoever judged by the word of others would
//! hold failures of candidates against nobody because somebody lies, or against candidates because somebody else is well.
//! So a hint makes our own probes come sooner, and the [judge](super::LinkWatch) never hears of it.

use std::time::{Duration, Instant};

use super::view::Phase;
use crate::service::fleet::Links;

/// Least time between two looks that others are the reason of: so much is the most that liars cost.
const HINT_PAUSE: Duration = Duration::from_secs(2);

/// What is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A member: if it fails, others are asked at once, as in every doubt.
    Member,
    /// Whether our own link, which is down, is back: now, and not after the pause.
    Link,
}

/// Follows what others say.
#[derive(Debug, Default)]
pub struct Hints {
    said: Links,
    looked_at: Option<Instant>,
}

impl Hints {
    /// What is to be looked at, now that others say this and our own link is in this phase.
    pub fn hear(&mut self, links: Links, own: Phase, now: Instant) -> Option<Look> {
        let before = std::mem::replace(&mut self.said, links);
        let look = match own {
            Phase::Up if links.down > before.down => Look::Member,
            Phase::Down if links.up > before.up => Look::Link,
            // A doubt is looked into already.
            Phase::Up | Phase::Down | Phase::Suspect | Phase::Settling => return None,
        };
        let since = self.looked_at.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < HINT_PAUSE) {
            return None;
        }
        self.looked_at = Some(now);
        Some(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn news_are_a_reason_to_look_and_nothing_else_is() {
        let links = |down, up| Links { down, up };
        let mut now = clock::now();
        let mut hints = Hints::default();
        let mut hear = |links, own| {
            now += HINT_PAUSE;
            hints.hear(links, own, now)
        };
        assert_eq!(hear(links(0, 2), Phase::Up), None, "who is there is no news");
        assert_eq!(hear(links(1, 1), Phase::Up), Some(Look::Member));
        assert_eq!(hear(links(1, 1), Phase::Up), None, "it was looked at");
        assert_eq!(hear(links(2, 0), Phase::Suspect), None);
        assert_eq!(hear(links(2, 0), Phase::Down), None);
        assert_eq!(hear(links(1, 1), Phase::Down), Some(Look::Link));
        assert_eq!(hear(links(1, 1), Phase::Down), None);
        assert_eq!(hear(links(0, 2), Phase::Settling), None);
        assert_eq!(
            hear(links(0, 0), Phase::Up),
            None,
            "who leaves is no news of a link"
        );
    }

    #[test]
    fn liars_cost_one_look_in_a_while() {
        let start = clock::now();
        let mut hints = Hints::default();
        let looks = (0..10_000_u32).filter(|step| {
            let links = Links {
                down: usize::from(step % 2 == 0),
                up: 1,
            };
            let now = start + Duration::from_millis(1) * *step;
            hints.hear(links, Phase::Up, now).is_some()
        });
        assert_eq!(looks.count(), 5);
    }
}

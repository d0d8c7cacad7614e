//! Members of whom others of a fleet say that they fail: how often their word counts. Pure.
//!
//! It counts for nothing until the member fails here, too, and then for as much as if it had been seen here, whether it was said
//! before or is said after that; so one failure that a node sees for itself is enough to be rid of whom all of them see failing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often others' word counts beside what was seen here once.
const MOST: u8 = 8;

/// For how long what was said waits for what is seen here, and the other way round.
const HOLDS_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
enum Accused {
    /// It has not failed here: how often others say so, and when they did last.
    Unseen { times: u8, at: Instant },
    /// It has failed here: when it did last, and how often others' word counts yet.
    Seen { at: Instant, left: u8 },
}

/// What others' word is worth, once they have said that a member fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It has failed here, too, and that is not long ago: it counts as if it had been seen here.
    Counts,
    /// It counts once the member fails here, which is to be found out.
    Waits,
    /// As much of it as may count has.
    Spent,
}

/// Who is accused, of the members of one service.
#[derive(Debug, Default)]
pub(super) struct Accusations {
    of: HashMap<SocketAddr, Accused>,
}

impl Accusations {
    pub(super) fn retain(&mut self, is_member: impl Fn(&SocketAddr) -> bool) {
        self.of.retain(|addr, _| is_member(addr));
    }

    /// Others say that a member fails.
    pub(super) fn accuse(&mut self, addr: SocketAddr, now: Instant) -> Word {
        let accused = self
            .of
            .entry(addr)
            .or_insert(Accused::Unseen { times: 0, at: now });
        match accused {
            Accused::Seen { at, left } if now.saturating_duration_since(*at) < HOLDS_FOR => {
                if *left == 0 {
                    return Word::Spent;
                }
                *left -= 1;
                Word::Counts
            }
            Accused::Unseen { times, at } => {
                *times = (*times + 1).min(MOST);
                *at = now;
                Word::Waits
            }
            Accused::Seen { .. } => {
                *accused = Accused::Unseen { times: 1, at: now };
                Word::Waits
            }
        }
    }

    /// A member has failed here: how often what others have said before counts.
    pub(super) fn fails(&mut self, addr: SocketAddr, at: Instant) -> u8 {
        let is_recent = |said_at| at.saturating_duration_since(said_at) < HOLDS_FOR;
        let times = match self.of.get(&addr) {
            Some(&Accused::Unseen { times, at }) if is_recent(at) => times,
            Some(Accused::Unseen { .. } | Accused::Seen { .. }) | None => 0,
        };
        let left = MOST - times;
        self.of.insert(addr, Accused::Seen { at, left });
        times
    }

    /// A member has answered here: whoever has said that it fails was wrong.
    pub(super) fn answers(&mut self, addr: &SocketAddr) {
        self.of.remove(addr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    #[test]
    fn what_is_said_counts_once_it_is_seen_and_from_then_on() {
        let now = crate::base::clock::now();
        let mut accusations = Accusations::default();
        assert_eq!(accusations.fails(addr(), now), 0, "nobody has said so");
        assert_eq!(accusations.accuse(addr(), now), Word::Counts, "it was seen");
        accusations.answers(&addr());
        for _ in 0..3 {
            assert_eq!(accusations.accuse(addr(), now), Word::Waits, "it is not seen");
        }
        assert_eq!(accusations.fails(addr(), now), 3);
        let counts = |_: &u8| accusations.accuse(addr(), now) == Word::Counts;
        assert_eq!((0..20).take_while(counts).count(), 5, "eight in all");
        assert_eq!(accusations.accuse(addr(), now), Word::Spent);
        assert_eq!(
            accusations.fails(addr(), now),
            0,
            "what counted does not count again"
        );
        assert_eq!(accusations.accuse(addr(), now), Word::Counts);
    }

    #[test]
    fn neither_waits_for_the_other_for_ever() {
        let now = crate::base::clock::now();
        let late = now + HOLDS_FOR;
        let mut accusations = Accusations::default();
        accusations.accuse(addr(), now);
        assert_eq!(accusations.fails(addr(), late), 0, "it was said long before");
        let later = late + HOLDS_FOR;
        assert_eq!(
            accusations.accuse(addr(), later),
            Word::Waits,
            "it was seen long before"
        );
        assert_eq!(accusations.fails(addr(), later), 1, "what was said after that");
        accusations.retain(|_| false);
        assert_eq!(accusations.accuse(addr(), later), Word::Waits, "it was forgotten");
    }
}

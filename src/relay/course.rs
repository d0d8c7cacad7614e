//! Who has spoken on a relay, as far as its backend is judged by it. Pure.
//!
//! ```text
//! Quiet ──(client's first bytes went to the backend)──► Asked ──(too long)──► Overdue
//!   │                                                    │ │                    │ │
//!   │ backend speaks             the backend has ended,  │ │ backend speaks     │ │
//!   ▼                                 and its client not ▼ ▼                    ▼ ▼
//! Answered                                         Unserved · Answered       (the same)
//! ```
//! A backend that ends while all is quiet leads to Unserved, too.
//!
//! A client that has gone, finished or failed first is nobody's fault; nor is silence when nobody has asked, or while the
//! client still speaks: a wait begins with its last word before the answer, so that an upload takes as long as it takes.

use std::time::{Duration, Instant};

/// How far a relay has come with its present backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Course {
    /// Nobody has said anything.
    #[default]
    Quiet,
    /// The client has, at this time for the last time.
    Asked(Instant),
    /// The client has, at this time for the last time, and has waited for too long.
    Overdue(Instant),
    /// The backend has: it will not be judged by this relay any more.
    Answered,
    /// The backend ended without a word.
    Unserved,
}

/// What is new about a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The client has spoken first.
    Asked,
    /// The backend has spoken, so long after its client if that spoke first.
    Answered(Option<Duration>),
    /// The backend has ended without a word; its client had spoken at this time, and waits, not overdue yet.
    Unserved(Instant),
    /// The backend has ended before anybody had spoken, and its client has not.
    ClosedUnasked,
}

/// What one turn of a relay met.
#[derive(Debug, Clone, Copy)]
pub struct Met {
    /// Whether bytes of the client went to the backend.
    pub asked: bool,
    /// Whether bytes of the backend came.
    pub answered: bool,
    /// Who has ended.
    pub ended: Ended,
}

/// Whether the backend of a relay has finished or failed, and its client before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The backend goes on.
    No,
    /// The backend has ended while its client waits.
    Backend,
    /// Both have, or the way between us and the backend: it may only have followed.
    Both,
}

impl Course {
    /// Whether there may be a next step.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Quiet | Self::Asked(_) | Self::Overdue(_) => true,
            Self::Answered | Self::Unserved => false,
        }
    }

    /// When the client last spoke that waits for the backend's first word.
    #[must_use]
    pub fn asked_at(self) -> Option<Instant> {
        match self {
            Self::Asked(at) | Self::Overdue(at) => Some(at),
            Self::Quiet | Self::Answered | Self::Unserved => None,
        }
    }

    /// Goes on by what one turn met; what is new, if anything is.
    pub fn advance(&mut self, met: Met, now: Instant) -> Option<Step> {
        debug_assert!(self.is_open(), "what is over does not go on");
        if met.answered {
            // What the client says in the same turn is not what this answers.
            let waited = self.asked_at().map(|at| now.saturating_duration_since(at));
            *self = Self::Answered;
            return Some(Step::Answered(waited));
        }
        let Some(at) = met.asked.then_some(now).or(self.asked_at()) else {
            if met.ended != Ended::No {
                *self = Self::Unserved;
            }
            return (met.ended == Ended::Backend).then_some(Step::ClosedUnasked);
        };
        if met.ended != Ended::No {
            // Of a client that has waited for too long it was told before.
            let is_news = met.ended == Ended::Backend && !self.is_overdue();
            *self = Self::Unserved;
            return is_news.then_some(Step::Unserved(at));
        }
        let was_quiet = *self == Self::Quiet;
        *self = if self.is_overdue() {
            Self::Overdue(at)
        } else {
            Self::Asked(at)
        };
        was_quiet.then_some(Step::Asked)
    }

    /// Whether its client has waited for too long.
    #[must_use]
    pub fn is_overdue(self) -> bool {
        matches!(self, Self::Overdue(_))
    }

    /// The client has waited for too long; false if it does not wait, or was told so before.
    pub fn becomes_overdue(&mut self) -> bool {
        match *self {
            Self::Asked(at) => {
                *self = Self::Overdue(at);
                true
            }
            Self::Quiet | Self::Overdue(_) | Self::Answered | Self::Unserved => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const NOTHING: Met = Met {
        asked: false,
        answered: false,
        ended: Ended::No,
    };
    const ASKED: Met = Met {
        asked: true,
        ..NOTHING
    };
    const ANSWERED: Met = Met {
        answered: true,
        ..NOTHING
    };
    const ENDED: Met = Met {
        ended: Ended::Backend,
        ..NOTHING
    };
    const BOTH_ENDED: Met = Met {
        ended: Ended::Both,
        ..NOTHING
    };

    #[test]
    fn an_answer_is_timed_from_the_last_word_of_the_question() {
        let (mut course, now) = (Course::default(), clock::now());
        assert_eq!(course.advance(NOTHING, now), None);
        assert_eq!(course.advance(ASKED, now), Some(Step::Asked));
        let spoken = now + Duration::from_secs(60);
        assert_eq!(course.advance(ASKED, spoken), None, "it goes on speaking");
        assert_eq!(course.asked_at(), Some(spoken), "an upload is no silence");
        assert!(course.becomes_overdue() && !course.becomes_overdue(), "told once");
        assert_eq!(course.advance(ASKED, spoken), None);
        assert!(!course.becomes_overdue());
        let wait = Duration::from_millis(7);
        let both = Met {
            asked: true,
            ..ANSWERED
        };
        let step = course.advance(both, spoken + wait);
        assert_eq!(step, Some(Step::Answered(Some(wait))));
        assert!(!course.is_open());
    }

    #[test]
    fn who_speaks_first_has_not_been_asked() {
        for met in [
            ANSWERED,
            Met {
                asked: true,
                ..ANSWERED
            },
        ] {
            let mut course = Course::default();
            assert_eq!(course.advance(met, clock::now()), Some(Step::Answered(None)));
        }
    }

    #[test]
    fn a_backend_is_to_blame_only_while_its_client_waits() {
        let now = clock::now();
        for (met, step) in [(ENDED, Some(Step::Unserved(now))), (BOTH_ENDED, None)] {
            let mut course = Course::Asked(now);
            assert_eq!(course.advance(met, now), step);
            assert!(!course.is_open());
        }
        let mut course = Course::Overdue(now);
        assert_eq!(course.advance(ENDED, now), None, "one client counts once");
        assert_eq!(course, Course::Unserved);
        let mut course = Course::default();
        assert_eq!(course.advance(ENDED, now), Some(Step::ClosedUnasked));
        assert!(!course.is_open());
        let mut course = Course::default();
        assert_eq!(course.advance(BOTH_ENDED, now), None, "its client ended first");
        let mut course = Course::default();
        let both = Met {
            ended: Ended::Backend,
            ..ASKED
        };
        assert_eq!(course.advance(both, now), Some(Step::Unserved(now)));
    }
}

//! Whom somebody wants probed before the time: by hand, of one service.
//!
//! Bounded, and never waited for: whoever asks leaves the request, and the prober takes it. What became of the probe is
//! on the score board.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::doorbell::{Request, Ring};

/// Requests that wait at once.
const MOST: usize = 64;

/// Whom to probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeRequest {
    /// This candidate, next.
    One(SocketAddr),
    /// Everybody anew, as at the start.
    All,
}

/// Requests of one service.
#[derive(Debug)]
pub struct ProbeRequests {
    waiting: Mutex<Vec<ProbeRequest>>,
    /// Keeps the prober, which looks whenever it is rung, from a lock that is hardly ever of use.
    asked: Request,
}

impl ProbeRequests {
    /// Nobody has asked yet; the prober hears `bell`.
    #[must_use]
    pub fn to(bell: Arc<impl Ring + 'static>) -> Self {
        Self {
            waiting: Mutex::default(),
            asked: Request::to(bell),
        }
    }

    /// Asks; whether there was room. The same request twice is one.
    pub fn ask(&self, request: ProbeRequest) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = waiting.contains(&request);
        if !is_known && waiting.len() >= MOST {
            return false;
        }
        if !is_known {
            waiting.push(request);
        }
        drop(waiting);
        self.asked.ask();
        true
    }

    /// Takes what was asked for since the last call.
    pub fn take(&self) -> Vec<ProbeRequest> {
        if !self.asked.take() {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::doorbell::Doorbell;

    #[test]
    fn requests_are_bounded_and_taken_once() {
        let bell = Arc::new(Doorbell::default());
        let requests = ProbeRequests::to(Arc::clone(&bell));
        assert!(requests.take().is_empty());
        let one = |port: u16| ProbeRequest::One(SocketAddr::from(([127, 0, 0, 1], port)));
        for port in 0..64 {
            assert!(requests.ask(one(port)) && requests.ask(one(port)));
        }
        assert!(!requests.ask(ProbeRequest::All));
        assert!(bell.answer());
        assert_eq!(requests.take().len(), 64);
        assert!(requests.take().is_empty());
        assert!(requests.ask(ProbeRequest::All) && bell.answer());
    }
}

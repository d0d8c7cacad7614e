//! Candidates of whom nothing is known: in which order they are asked. Pure.
//!
//! Of a list that can be looked at whole, and where search is off, evenly; of a longer one where a model promises most.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::candidates::{CandidateSet, Sampler};
use crate::config::{LatencySource, Search};
use crate::scorer::sample::{Heard, Sample, Touched};
use crate::search::{MOST_PARTS, Model, Space};

/// Candidates that are looked at for one of whom nothing is known.
const MOST_LOOKS: usize = 1024;

/// Whom a service has not asked yet.
#[derive(Debug)]
pub struct Strangers {
    config: Search,
    sampler: Sampler,
    /// Of a list that is searched.
    model: Option<Box<Model>>,
}

impl Strangers {
    /// All of a list.
    pub fn new(list: Arc<CandidateSet>, config: &Search, now: Instant, rng: &mut fastrand::Rng) -> Self {
        let mut strangers = Self {
            config: config.clone(),
            sampler: Sampler::new(list, rng),
            model: None,
        };
        strangers.fit_model(now, rng);
        strangers
    }

    /// The list.
    pub fn list(&self) -> &Arc<CandidateSet> {
        self.sampler.set()
    }

    /// Whether the list is too long to be looked at whole, and is searched.
    pub fn are_searched(&self) -> bool {
        self.model.is_some()
    }

    /// Follows another list.
    pub fn relist(&mut self, list: Arc<CandidateSet>, now: Instant, rng: &mut fastrand::Rng) {
        self.sampler = Sampler::new(list, rng);
        if let Some(model) = &mut self.model {
            model.relist(Arc::clone(self.sampler.set()), rng);
        }
        self.fit_model(now, rng);
    }

    /// Follows another configuration.
    pub fn adopt(&mut self, config: &Search, now: Instant, rng: &mut fastrand::Rng) {
        if self.config.model_nodes != config.model_nodes {
            self.model = None;
        }
        self.config = config.clone();
        if let Some(model) = &mut self.model {
            model.set_half_life(config.half_life);
        }
        self.fit_model(now, rng);
    }

    /// Sees to it that there is a model where there should be one.
    fn fit_model(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        let is_long = self.list().len() > u128::try_from(self.config.start_budget).unwrap_or(u128::MAX);
        if !self.config.enabled || !is_long {
            self.model = None;
        } else if self.model.is_none() {
            let list = Arc::clone(self.list());
            let model = Model::new(list, self.config.model_nodes, self.config.half_life, now, rng);
            self.model = Some(Box::new(model));
        }
    }

    /// Begins anew, without what was learned.
    pub fn forget(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.begin_anew(rng);
        self.model = None;
        self.fit_model(now, rng);
    }

    /// Takes in what is on a board, if nothing was learned yet.
    pub fn remember(&mut self, known: impl Iterator<Item = Touched>, rng: &mut fastrand::Rng) {
        // What it has learned by itself is newer.
        let Some(model) = self.model.as_mut().filter(|model| model.nodes() == 0) else {
            return;
        };
        model.restore(known.map(|touched| touched.leaf()), rng);
    }

    /// Takes in what a probe came to; whether that puts all that was learned in doubt.
    pub fn learn(&mut self, sample: &Sample, source: LatencySource, rng: &mut fastrand::Rng) -> bool {
        let Some(model) = &mut self.model else {
            return false;
        };
        let latency: Option<Duration> = match (sample.outcome.latency(), sample.heard, source) {
            (None, _, _) | (Some(_), Heard::Wrong(_), _) => None,
            (Some(connect), _, LatencySource::Connect) => Some(connect),
            (Some(_), Heard::Answer(first_byte), LatencySource::FirstByte) => Some(first_byte),
            // It accepts, which says nothing of when it would answer.
            (Some(_), Heard::NotAsked, LatencySource::FirstByte) => return false,
        };
        model.learn(&sample.candidate.addr, latency, sample.at, rng)
    }

    /// What is known of the list, prefix by prefix, if it is searched.
    pub fn space(&self, now: Instant) -> Option<Space> {
        let model = self.model.as_ref()?;
        Some(Space::of(self.list(), model.leaves(), MOST_PARTS, now))
    }

    /// Anybody on the list, known or not; evenly.
    pub fn anybody(&mut self, rng: &mut fastrand::Rng) -> Option<SocketAddr> {
        self.sampler.next(rng).or_else(|| {
            self.begin_anew(rng);
            self.sampler.next(rng)
        })
    }

    /// The next of whom nothing is known; none if one walk over the list has ended, or if there is hardly anybody left.
    pub fn next(
        &mut self,
        is_known: impl Fn(&SocketAddr) -> bool,
        rng: &mut fastrand::Rng,
    ) -> Option<SocketAddr> {
        match &mut self.model {
            Some(model) => {
                let mut promising = std::iter::from_fn(|| model.next(rng)).take(MOST_LOOKS);
                promising.find(|addr| !is_known(addr))
            }
            None => std::iter::from_fn(|| self.sampler.next(rng)).find(|addr| !is_known(addr)),
        }
    }

    /// Up to `count` of whom nothing is known; a walk over the list that ends begins anew.
    pub fn some(
        &mut self,
        count: usize,
        is_known: impl Fn(&SocketAddr) -> bool,
        rng: &mut fastrand::Rng,
    ) -> Vec<SocketAddr> {
        let mut chosen: Vec<SocketAddr> = Vec::with_capacity(count);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..MOST_LOOKS.max(count) {
            if chosen.len() == count {
                break;
            }
            let next = match &mut self.model {
                Some(model) => model.next(rng),
                None => self.sampler.next(rng),
            };
            match next {
                Some(addr) if !is_known(&addr) && seen.insert(addr) => chosen.push(addr),
                Some(_) => {}
                None if self.model.is_some() => break,
                None => self.begin_anew(rng),
            }
        }
        chosen
    }

    fn begin_anew(&mut self, rng: &mut fastrand::Rng) {
        self.sampler = Sampler::new(Arc::clone(self.list()), rng);
    }
}

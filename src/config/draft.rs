//! From what was read to a `Config`: the rules between keys.
//!
//! A [`Draft`] holds every key of the file, those that a `Config` does not need included (the weights, the
//! sizes of a strategy that is not in use). Each of its values is in range; [`Draft::conflicts`] says which do
//! not go together.

use std::path::{Path, PathBuf};

use super::defaults::{MOBILE, STATIC_SIZE_PER_REMOTE};
use super::value::show_duration;
use super::{
    Config, Dynamic, LogOutput, Platform, Pools, Process, Remotes, Server, Spec, Splice, Strategy, networks,
};

/// The sections, as they were read.
#[derive(Debug, Clone)]
pub(super) struct Sections {
    pub(super) process: Process,
    pub(super) server: Server,
    pub(super) remotes: Remotes,
    pub(super) pools: Pools,
}

/// Every key's value, in range each.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) config: Sections,
    pub(super) weights: Weights,
    pub(super) strategy: StrategyKind,
    pub(super) static_size: usize,
    pub(super) dynamic: Dynamic,
}

/// `remotes.scoring.weights`.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    pub(super) latency: f64,
    pub(super) jitter: f64,
    pub(super) success_rate: f64,
}

/// `pools.strategy.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StrategyKind {
    Off,
    Static,
    Dynamic,
}

impl StrategyKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Static => "static",
            Self::Dynamic => "dynamic",
        }
    }

    pub(super) fn named(name: &str) -> Self {
        match name {
            "off" => Self::Off,
            "static" => Self::Static,
            _ => Self::Dynamic,
        }
    }
}

impl Default for Draft {
    /// The defaults of this build.
    fn default() -> Self {
        if cfg!(feature = "mobile") {
            Self::mobile()
        } else {
            Self::desktop()
        }
    }
}

impl Default for Spec {
    /// The defaults of this build: see the feature `mobile` for what it changes.
    fn default() -> Self {
        Draft::default().spec_as_given()
    }
}

impl Default for Config {
    /// One service called `default`, with the defaults of this build.
    fn default() -> Self {
        Self::of_one(Draft::default().config.process, Spec::default())
    }
}

impl Draft {
    /// The defaults of phones, whatever this build has.
    pub(super) fn mobile() -> Self {
        let mut draft = Self::desktop();
        for default in MOBILE {
            (default.apply)(&mut draft);
        }
        draft
    }

    /// The defaults of desktops and servers, whatever this build has.
    pub(super) fn desktop() -> Self {
        let config = Sections {
            process: Process::default(),
            server: Server::default(),
            remotes: Remotes::default(),
            pools: Pools::default(),
        };
        Self::of(config)
    }

    /// The draft that such sections come from, as far as they tell.
    pub(super) fn of(config: Sections) -> Self {
        let scoring = &config.remotes.scoring;
        let weights = Weights {
            latency: scoring.latency.max_score / 100.0,
            jitter: scoring.jitter.max_score / 100.0,
            success_rate: scoring.success_rate.max_score / 100.0,
        };
        let (strategy, static_size, dynamic) = match &config.pools.strategy {
            Strategy::Off => (StrategyKind::Off, STATIC_SIZE_PER_REMOTE, Dynamic::default()),
            Strategy::Static { size_per_remote } => {
                (StrategyKind::Static, *size_per_remote, Dynamic::default())
            }
            Strategy::Dynamic(dynamic) => (StrategyKind::Dynamic, STATIC_SIZE_PER_REMOTE, dynamic.clone()),
        };
        Self {
            config,
            weights,
            strategy,
            static_size,
            dynamic,
        }
    }
}

/// Values that are in range each, and do not go together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The keys concerned; the error stands at the first of them that the file gives.
    pub(super) keys: &'static [&'static str],
    pub(super) message: String,
}

impl Draft {
    /// Works out the maximum scores that follow from weights. `given` says whether the file has a key.
    pub(super) fn apply_weights(&mut self, given: impl Fn(&str) -> bool) {
        let scoring = &mut self.config.remotes.scoring;
        for (key, weight, max_score) in [
            (
                "remotes.scoring.latency.max_score",
                self.weights.latency,
                &mut scoring.latency.max_score,
            ),
            (
                "remotes.scoring.jitter.max_score",
                self.weights.jitter,
                &mut scoring.jitter.max_score,
            ),
            (
                "remotes.scoring.success_rate.max_score",
                self.weights.success_rate,
                &mut scoring.success_rate.max_score,
            ),
        ] {
            if !given(key) {
                // Rounded, because 0.55 x 100 is 55.00000000000001.
                *max_score = (weight * 1e8).round() / 1e6;
            }
        }
    }

    /// Every rule between keys, and between a key and the system, that does not hold.
    pub(super) fn conflicts(&self, platform: Platform) -> Vec<Conflict> {
        let mut found = Vec::new();
        if self.config.server.splice == Splice::On && !platform.splice {
            found.push(Conflict {
                keys: &["server.splice"],
                message: "on is not possible, this system has no splice; allowed here: auto, off".to_owned(),
            });
        }
        self.scoring_conflicts(&mut found);
        self.network_conflicts(&mut found);
        let (least, most) = (self.dynamic.min_size, self.dynamic.max_size);
        if least > most {
            found.push(Conflict {
                keys: &[
                    "pools.strategy.dynamic.min_size",
                    "pools.strategy.dynamic.max_size",
                ],
                message: format!("min_size {least} is above max_size {most}; allowed: min_size <= max_size"),
            });
        }
        found
    }

    fn scoring_conflicts(&self, found: &mut Vec<Conflict>) {
        let scoring = &self.config.remotes.scoring;
        let (base, most) = (scoring.latency.base, scoring.latency.max_acceptable);
        if base >= most {
            found.push(Conflict {
                keys: &[
                    "remotes.scoring.latency.base_latency",
                    "remotes.scoring.latency.max_acceptable_latency",
                ],
                message: format!(
                    "base_latency {} is not below max_acceptable_latency {}; \
                     allowed: base_latency < max_acceptable_latency",
                    show_duration(base),
                    show_duration(most)
                ),
            });
        }
        let (base, most) = (scoring.jitter.base, scoring.jitter.max_acceptable);
        if base >= most {
            found.push(Conflict {
                keys: &[
                    "remotes.scoring.jitter.base_jitter",
                    "remotes.scoring.jitter.max_acceptable_jitter",
                ],
                message: format!(
                    "base_jitter {} is not below max_acceptable_jitter {}; \
                     allowed: base_jitter < max_acceptable_jitter",
                    show_duration(base),
                    show_duration(most)
                ),
            });
        }
        let (base, most) = (
            scoring.failure_penalty.base_penalty,
            scoring.failure_penalty.max_penalty,
        );
        if base > most {
            found.push(Conflict {
                keys: &[
                    "remotes.scoring.failure_penalty.base_penalty",
                    "remotes.scoring.failure_penalty.max_penalty",
                ],
                message: format!(
                    "base_penalty {base} is above max_penalty {most}; allowed: base_penalty <= max_penalty"
                ),
            });
        }
        self.threshold_conflicts(found);
    }

    fn threshold_conflicts(&self, found: &mut Vec<Conflict>) {
        const KEYS: &[&str] = &[
            "remotes.selector.min_score_threshold",
            "remotes.scoring.latency.max_score",
            "remotes.scoring.jitter.max_score",
            "remotes.scoring.success_rate.max_score",
            "remotes.scoring.weights.latency",
            "remotes.scoring.weights.jitter",
            "remotes.scoring.weights.success_rate",
            "remotes.scoring.historical_bonus.max_bonus",
        ];
        let scoring = &self.config.remotes.scoring;
        // The bonus is left out: it takes days to earn, and nothing would be selected until then.
        let highest = scoring.latency.max_score + scoring.jitter.max_score + scoring.success_rate.max_score;
        let threshold = self.config.remotes.selector.min_score_threshold;
        if threshold > highest {
            found.push(Conflict {
                keys: KEYS,
                message: format!(
                    "no candidate can reach min_score_threshold {threshold}, the three max_scores add up to \
                     {highest}; allowed: min_score_threshold <= their sum"
                ),
            });
        }
    }

    fn network_conflicts(&self, found: &mut Vec<Conflict>) {
        let server = &self.config.server;
        for (allow, deny) in networks::overruled(&server.allow, &server.deny) {
            found.push(Conflict {
                keys: &["server.allow", "server.deny"],
                message: format!(
                    "{allow} can never connect, for deny has {deny} and goes before allow; allowed: networks that are \
                     not denied as a whole"
                ),
            });
        }
    }

    /// The process; relative paths become relative to the folder of `file`.
    pub(super) fn process(&self, file: &Path) -> Process {
        let mut process = self.config.process.clone();
        if let LogOutput::File(path) = &mut process.logging.output {
            *path = beside(file, path);
        }
        if let Some(path) = &mut process.control_socket {
            *path = beside(file, path);
        }
        process
    }

    /// The service; relative paths become relative to the folder of `file`.
    pub(super) fn spec(&self, file: &Path) -> Spec {
        let mut spec = self.spec_as_given();
        spec.remotes.provider.path = beside(file, &spec.remotes.provider.path);
        spec
    }

    /// The service, with paths as they were given.
    fn spec_as_given(&self) -> Spec {
        let mut pools = self.config.pools.clone();
        pools.strategy = match self.strategy {
            StrategyKind::Off => Strategy::Off,
            StrategyKind::Static => Strategy::Static {
                size_per_remote: self.static_size,
            },
            StrategyKind::Dynamic => Strategy::Dynamic(self.dynamic.clone()),
        };
        Spec {
            server: self.config.server.clone(),
            remotes: self.config.remotes.clone(),
            pools,
        }
    }
}

/// `path` seen from the folder of `file`; an absolute path stays what it is.
fn beside(file: &Path, path: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    folder.join(path.strip_prefix(".").unwrap_or(path))
}

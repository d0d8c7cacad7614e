//! Every key's value of one service, on the way from the text to a [`Spec`].
//!
//! A [`Draft`] holds also what a [`Spec`] does not need (the weights, the sizes of a strategy that is not in use),
//! because a service begins with what the top level says, key by key. Each value is in range; `rules.rs` says which
//! do not go together.

use std::path::{Path, PathBuf};

use super::access_log::AccessLog;
use super::configuration::Spec;
use super::defaults::STATIC_SIZE_PER_REMOTE;
use super::pools::{Dynamic, Pools, Strategy};
use super::process::LogOutput;
use super::providers::{Provider, ProviderDraft};
use super::remotes::Remotes;
use super::server::Server;
use super::sleep::Sleep;

/// Every key's value of one service, in range each.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) server: Server,
    /// All but the providers, which are worked out from what follows.
    pub(super) remotes: Remotes,
    /// The provider, where there is one.
    pub(super) provider: ProviderDraft,
    /// The providers, where they are a list.
    pub(super) provider_list: Option<Vec<ProviderDraft>>,
    /// All but the strategy, which is worked out from what follows.
    pub(super) pools: Pools,
    pub(super) weights: Weights,
    pub(super) strategy: StrategyKind,
    pub(super) static_size: usize,
    pub(super) dynamic: Dynamic,
    pub(super) sleep: Sleep,
    pub(super) access_log: AccessLog,
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

    /// The kind of this name, which is one of the allowed ones.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "off" => Self::Off,
            "static" => Self::Static,
            _ => Self::Dynamic,
        }
    }
}

impl Default for Draft {
    /// The defaults of desktops and servers, whatever this build has.
    fn default() -> Self {
        Self::of(&Spec::default())
    }
}

impl Draft {
    /// Works out the maximum scores that follow from weights. `given` says whether the file has a key.
    pub(super) fn apply_weights(&mut self, given: impl Fn(&str) -> bool) {
        let scoring = &mut self.remotes.scoring;
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

    /// What a spec was made of, as far as it tells: what it has no use for has its default.
    pub(super) fn of(spec: &Spec) -> Self {
        let scoring = super::remotes::Scoring::default();
        let (strategy, static_size, dynamic) = match &spec.pools.strategy {
            Strategy::Off => (StrategyKind::Off, STATIC_SIZE_PER_REMOTE, Dynamic::default()),
            Strategy::Static { size_per_remote } => {
                (StrategyKind::Static, *size_per_remote, Dynamic::default())
            }
            Strategy::Dynamic(dynamic) => (StrategyKind::Dynamic, STATIC_SIZE_PER_REMOTE, dynamic.clone()),
        };
        let (provider, provider_list) = match &spec.remotes.providers[..] {
            [one] => (ProviderDraft::of(one), None),
            all => (
                ProviderDraft::default(),
                Some(all.iter().map(ProviderDraft::of).collect()),
            ),
        };
        Self {
            server: spec.server.clone(),
            remotes: spec.remotes.clone(),
            provider,
            provider_list,
            pools: spec.pools.clone(),
            weights: Weights {
                latency: scoring.latency.max_score / 100.0,
                jitter: scoring.jitter.max_score / 100.0,
                success_rate: scoring.success_rate.max_score / 100.0,
            },
            strategy,
            static_size,
            dynamic,
            sleep: spec.sleep,
            access_log: spec.access_log.clone(),
        }
    }

    /// The providers, however many they are.
    pub(super) fn providers(&self) -> Vec<ProviderDraft> {
        match &self.provider_list {
            Some(all) => all.clone(),
            None => vec![self.provider.clone()],
        }
    }

    /// The spec, with paths as they were given.
    pub(super) fn compose(self) -> Spec {
        let strategy = match self.strategy {
            StrategyKind::Off => Strategy::Off,
            StrategyKind::Static => Strategy::Static {
                size_per_remote: self.static_size,
            },
            StrategyKind::Dynamic => Strategy::Dynamic(self.dynamic),
        };
        let providers = match self.provider_list {
            Some(all) => all.into_iter().map(ProviderDraft::compose).collect(),
            None => vec![self.provider.compose()],
        };
        Spec {
            server: self.server,
            remotes: Remotes {
                providers,
                ..self.remotes
            },
            pools: Pools {
                strategy,
                ..self.pools
            },
            sleep: self.sleep,
            access_log: self.access_log,
        }
    }

    /// The spec; relative paths become relative to the folder of `file`.
    pub(super) fn finish(self, file: &Path) -> Spec {
        let mut spec = self.compose();
        if let Some(LogOutput::File(path)) = &mut spec.access_log.output {
            *path = beside(file, path);
        }
        for provider in &mut spec.remotes.providers {
            match &mut provider.provider {
                Provider::File(list) => list.path = beside(file, &list.path),
                Provider::Http(http) => {
                    let authorities = &mut http.tls.ca;
                    *authorities = authorities.take().map(|path| beside(file, &path));
                }
                Provider::Inline(_) | Provider::Dns(_) | Provider::Srv(_) => {}
            }
        }
        let Remotes { tls, probing, .. } = &mut spec.remotes;
        let of_remotes = [&mut tls.client.ca, &mut probing.check.tls.ca];
        for path in spec
            .server
            .tls
            .paths_mut()
            .chain(of_remotes.into_iter().flatten())
        {
            *path = beside(file, path);
        }
        spec
    }
}

/// `path` seen from the folder of `file`; an absolute path stays what it is.
pub(super) fn beside(file: &Path, path: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    folder.join(path.strip_prefix(".").unwrap_or(path))
}

//! What a file begins with: the defaults of desktops and servers, or those of phones, which are the same but for a
//! table, with the reasons.

use std::time::Duration;

use super::configuration::Config;
use super::draft::Draft;
use super::process::Process;

/// Every default.
#[derive(Debug, Clone)]
pub(super) struct Baseline {
    pub(super) process: Process,
    pub(super) draft: Draft,
}

impl Baseline {
    /// The defaults of this build: see the feature `mobile` for what it changes.
    pub(super) fn here() -> Self {
        if cfg!(feature = "mobile") {
            Self::mobile()
        } else {
            Self::desktop()
        }
    }

    /// The defaults of phones, whatever this build has.
    pub(super) fn mobile() -> Self {
        let mut baseline = Self::desktop();
        for default in MOBILE {
            match default.apply {
                Apply::Process(apply) => apply(&mut baseline.process),
                Apply::Service(apply) => apply(&mut baseline.draft),
            }
        }
        baseline
    }

    /// The defaults of desktops and servers, whatever this build has.
    pub(super) fn desktop() -> Self {
        Self {
            process: Process::default(),
            draft: Draft::default(),
        }
    }
}

impl Default for Config {
    /// The defaults of this build: one service, called `default`.
    fn default() -> Self {
        let Baseline { process, draft } = Baseline::here();
        Self::of_one(process, draft.compose())
    }
}

/// One default that a phone has otherwise.
pub(super) struct MobileDefault {
    /// The key.
    pub(super) path: &'static str,
    /// Why, in one line.
    pub(super) why: &'static str,
    /// Puts the value of phones in its place.
    pub(super) apply: Apply,
}

/// Puts a value into the process, or into a service.
pub(super) enum Apply {
    Process(fn(&mut Process)),
    Service(fn(&mut Draft)),
}

const fn mobile(path: &'static str, why: &'static str, apply: fn(&mut Draft)) -> MobileDefault {
    let apply = Apply::Service(apply);
    MobileDefault { path, why, apply }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What the feature `mobile` changes; whatever is not listed stays what it is.
///
/// Two things cost on a phone: each packet in a quiet minute wakes the radio for some seconds, and each
/// wake-up of a thread keeps a core from its deep sleep. And a radio that sleeps answers late: a second or
/// two pass before the first packet leaves.
pub(super) const MOBILE: &[MobileDefault] = &[
    MobileDefault {
        path: "server.reactors",
        why: "one thread carries more than a phone's link; more of them wake more cores",
        apply: Apply::Process(|d| d.reactors = 1),
    },
    mobile(
        "server.keepalive.idle",
        "each keep-alive packet wakes the radio; carriers keep idle connections for longer than this",
        |d| d.server.keepalive.idle = secs(240),
    ),
    mobile(
        "remotes.provider.file.watch",
        "a look at the file every two seconds wakes a core",
        |d| d.provider.file.watch = false,
    ),
    mobile(
        "remotes.provider.http.interval",
        "each look wakes the radio: twice an hour instead of twelve times",
        |d| d.provider.http.interval = secs(1800),
    ),
    mobile(
        "remotes.probing.interval",
        "a round wakes the radio: 30 times an hour instead of 240",
        |d| d.remotes.probing.interval = secs(120),
    ),
    mobile(
        "remotes.probing.timeout",
        "a radio that sleeps needs a second or two for its first packet: late, not dead",
        |d| d.remotes.probing.timeout = secs(3),
    ),
    mobile(
        "remotes.probing.probe_candidate_count",
        "the active set and one more; at about 400 bytes a probe, 1 MB a day instead of 23 MB",
        |d| d.remotes.probing.probe_candidate_count = 4,
    ),
    mobile(
        "remotes.probing.initial.max_concurrency",
        "a burst of 100 connects fills a slow uplink, and the queue would be measured instead of the path",
        |d| d.remotes.probing.initial.max_concurrency = 20,
    ),
    mobile(
        "remotes.probing.initial.timeout",
        "the first probes meet a radio that sleeps",
        |d| d.remotes.probing.initial.timeout = secs(2),
    ),
    mobile(
        "remotes.probing.search.start_budget",
        "a thousand probes keep a radio awake for a minute",
        |d| d.remotes.probing.search.start_budget = 200,
    ),
    mobile(
        "remotes.selector.evaluation_interval",
        "nothing is new before the next probing round",
        |d| d.remotes.selector.evaluation_interval = secs(120),
    ),
    mobile(
        "remotes.selector.switching.debounce_interval",
        "a switch dials the pools anew, and mobile latencies swing",
        |d| d.remotes.selector.debounce_interval = secs(300),
    ),
    mobile(
        "pools.common.dial_timeout",
        "as for probes: the first packet may wait for the radio",
        |d| d.pools.dial_timeout = secs(3),
    ),
    mobile(
        "pools.strategy.static.size_per_remote",
        "warm connections cost keep-alive and replacement while nobody uses them",
        |d| d.static_size = 4,
    ),
    mobile(
        "pools.strategy.dynamic.min_size",
        "the same: two are ready for the first request after a pause",
        |d| d.dynamic.min_size = 2,
    ),
    mobile(
        "pools.strategy.dynamic.max_size",
        "one person's traffic; carriers limit the connections of a subscriber",
        |d| d.dynamic.max_size = 50,
    ),
    mobile(
        "pools.strategy.dynamic.scaling.interval",
        "a wake-up of the pools' thread every second is what keeps an idle phone awake",
        |d| d.dynamic.interval = secs(15),
    ),
    mobile(
        "pools.strategy.dynamic.scaling.scale_up_increment",
        "no burst of dials on a slow uplink",
        |d| d.dynamic.scale_up_increment = 4,
    ),
    mobile(
        "sleep.after",
        "an app that nobody uses then costs no packet and no wake-up but one look at the active set in ten minutes",
        |d| d.sleep.after = secs(300),
    ),
];

#[cfg(test)]
mod tests {
    use super::super::platform::Platform;
    use super::super::reference::{KeyDoc, reference};
    use super::super::{keys, reader, rules};
    use super::*;
    use std::path::Path;

    const HERE: Platform = Platform {
        splice: true,
        unix_sockets: true,
        interfaces: true,
        tls: true,
        cluster: true,
    };

    #[test]
    fn what_phones_have_otherwise_is_in_the_reference() {
        let rows: Vec<KeyDoc> = reference()
            .into_iter()
            .filter(|key| key.mobile.is_some())
            .collect();
        assert_eq!(rows.len(), MOBILE.len(), "each row is of one key");
        let shown = |all: &mut Baseline, path| {
            let key = keys::all().find(|key| key.path == path).expect("the key");
            key.shown(&mut all.process, &mut all.draft)
        };
        for key in &rows {
            let mobile = key.mobile.as_ref().expect("filtered");
            assert_ne!(mobile.default, key.default, "{}", key.path);
            assert!(
                !mobile.why.is_empty() && !mobile.why.contains('\n'),
                "{}",
                key.path
            );
            let names: Vec<&str> = key.path.split('.').collect();
            let text = format!(
                "{}: {:?}{}",
                names.join(": { "),
                mobile.default,
                " }".repeat(names.len() - 1)
            );
            // Else the section says the type, which needs more than one key.
            let text = text.replace("provider: { http", "provider: { type: file, http");
            let text = if matches!(key.kind, "integer" | "flag") {
                text.replace('"', "")
            } else {
                text
            };
            let here = reader::Surroundings {
                platform: HERE,
                variables: &|_| None,
            };
            reader::parse(&text, Path::new("config.yaml"), here).expect("in range");
            let mut all = Baseline::desktop();
            let row = MOBILE.iter().find(|row| row.path == key.path).expect("the row");
            match row.apply {
                Apply::Process(apply) => apply(&mut all.process),
                Apply::Service(apply) => apply(&mut all.draft),
            }
            for other in reference() {
                let expected = if other.path == key.path {
                    &mobile.default
                } else {
                    &other.default
                };
                assert_eq!(&shown(&mut all, other.path), expected, "{}", other.path);
            }
        }
        for all in [Baseline::mobile(), Baseline::desktop()] {
            for rule in rules::OF_SERVICE {
                assert!((rule.broken)(&all.draft, HERE).is_empty(), "{:?}", rule.keys);
            }
        }
    }
}

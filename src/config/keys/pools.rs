//! The rows of `pools`: balancing and warm connections.

use super::super::draft::StrategyKind;
use super::super::pools::{Algorithm, Rescue};
use super::super::slot::{Choice, Slot};
use super::key::{Key, hours, ms, of_service, secs};
use Slot::{Count, Duration as Time, DurationOrAuto, Flag, Number, Size};

pub(super) const POOLS: &[Key] = &[
    of_service(
        "pools.algorithm",
        Slot::Choice(Choice {
            names: &[
                "least_connections",
                "round_robin",
                "random",
                "two_choices",
                "least_time",
                "source_hash",
            ],
            name: |d| d.pools.algorithm.name(),
            choose: |d, name| {
                for algorithm in Algorithm::ALL {
                    if algorithm.name() == name {
                        d.pools.algorithm = algorithm;
                    }
                }
            },
        }),
        "how a backend is chosen for a client",
    ),
    of_service(
        "pools.rescue",
        Slot::Choice(Choice {
            names: &["off", "safe", "always"],
            name: |d| match d.pools.rescue {
                Rescue::Off => "off",
                Rescue::Safe => "safe",
                Rescue::Always => "always",
            },
            choose: |d, name| {
                d.pools.rescue = match name {
                    "off" => Rescue::Off,
                    "always" => Rescue::Always,
                    _ => Rescue::Safe,
                }
            },
        }),
        "whether a client's first bytes go to another backend when a warm connection dies before its first reply",
    ),
    of_service(
        "pools.common.dial_timeout",
        Time((ms(1), secs(60)), |d| &mut d.pools.dial_timeout),
        "a dial that takes longer has failed",
    ),
    of_service(
        "pools.common.queue_timeout",
        Time((ms(0), hours(1)), |d| &mut d.pools.queue_timeout),
        "how long a client waits while all backends have their max_connections; 0s: it is closed at once",
    ),
    of_service(
        "pools.common.idle_timeout",
        DurationOrAuto((ms(10), hours(24)), |d| &mut d.pools.idle_timeout),
        "a warm connection older than this is replaced; auto: as old as each backend is found to allow, at most 10m",
    ),
    of_service(
        "pools.common.race.width",
        Count((1, 2), |d| &mut d.pools.race.width),
        "dials of one client at once: 2 tries the next backend beside one that takes too long, 1 does not",
    ),
    of_service(
        "pools.common.race.delay",
        DurationOrAuto((ms(1), secs(60)), |d| &mut d.pools.race.delay),
        "a dial that takes longer gets a second one beside it; auto: longer than 95 % of its backend's",
    ),
    of_service(
        "pools.common.drain_timeout",
        Time((ms(0), hours(24)), |d| &mut d.pools.drain_timeout),
        "how long relays may finish when the process stops",
    ),
    of_service(
        "pools.common.dial_attempts",
        Count((1, 100), |d| &mut d.pools.dial_attempts),
        "dials for one client before it is closed",
    ),
    of_service(
        "pools.common.reset_on_removal",
        Flag(|d| &mut d.pools.reset_on_removal),
        "whether relays of a backend that left the active set end after drain_timeout",
    ),
    of_service(
        "pools.strategy.type",
        Slot::Choice(Choice {
            names: &["dynamic", "static", "off"],
            name: |d| d.strategy.name(),
            choose: |d, name| d.strategy = StrategyKind::named(name),
        }),
        "warm connections follow demand, are a fixed number, or are not kept",
    ),
    of_service(
        "pools.strategy.static.size_per_remote",
        Size((1, 100_000), |d| &mut d.static_size),
        "warm connections per backend",
    ),
    of_service(
        "pools.strategy.dynamic.min_size",
        Size((0, 100_000), |d| &mut d.dynamic.min_size),
        "smallest pool per backend, warm plus in use",
    ),
    of_service(
        "pools.strategy.dynamic.max_size",
        Size((1, 100_000), |d| &mut d.dynamic.max_size),
        "largest pool per backend, warm plus in use; at least min_size",
    ),
    of_service(
        "pools.strategy.dynamic.scaling.interval",
        Time((ms(10), hours(1)), |d| &mut d.dynamic.interval),
        "time between two adjustments",
    ),
    of_service(
        "pools.strategy.dynamic.scaling.target_buffer_ratio",
        Number((0.0, 10.0), |d| &mut d.dynamic.target_buffer_ratio),
        "spare connections as a share of the recent peak",
    ),
    of_service(
        "pools.strategy.dynamic.scaling.scale_up_increment",
        Size((1, 10_000), |d| &mut d.dynamic.scale_up_increment),
        "the most connections added per adjustment",
    ),
    of_service(
        "pools.strategy.dynamic.scaling.scale_down_increment",
        Size((1, 10_000), |d| &mut d.dynamic.scale_down_increment),
        "the most connections given up per adjustment",
    ),
];

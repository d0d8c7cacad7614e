//! Peers that behave as badly as TCP lets them, and what it must not cost anybody.

use tcp_forwarder::config::{Config, Strategy};

use crate::rig::{Rig, TestBackend, wait_for};

fn config(strategy: Strategy) -> Config {
    let mut config = Config::default();
    config.pools.strategy = strategy;
    config
}

fn upstreams(rig: &Rig) -> u64 {
    rig.shared.counters.iter().map(|one| one.upstreams.value()).sum()
}

/// Waits until neither relays nor connections to backends are left, but for warm ones.
fn wait_until_quiet(rig: &Rig) {
    wait_for("nothing is left", || {
        rig.active() == 0 && upstreams(rig) == u64::from(rig.warm())
    });
}

#[test]
fn a_warm_connection_that_is_dead_at_birth_does_not_stay() {
    // Dials of one wave are looked at after the backend has closed the first of them: connect and close come
    // as one event.
    let backend = TestBackend::start(drop);
    let config = config(Strategy::Static { size_per_remote: 60 });
    let rig = Rig::start(&config, &[backend.addr], 1);
    let dials = || rig.shared.active_set.load().backends[0].dial_durations.totals().0;
    wait_for("a few waves of dials", || dials() > 150);
    wait_for("none is left of what the backend has closed", || rig.warm() == 0);
    wait_until_quiet(&rig);
}

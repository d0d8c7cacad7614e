//! What is asked and said of services.

use super::*;
use crate::selector::decide::Footing;
use crate::service::Slumber;
use crate::service::stage;

#[test]
fn a_service_that_sleeps_is_not_named() {
    let hub = stage::hub();
    let service = |name| stage::service(&hub, name, 1..=2, stage::spec(|_| ()));
    let (awake, asleep) = (service("awake"), service("asleep"));
    stage::publish(&hub, &[&awake, &asleep]);
    let served = || served(&hub.directory.load());
    assert_eq!(served(), [awake.key, asleep.key]);
    let last_at = hub.started_at;
    asleep.live.slumber.publish(Arc::new(Slumber::Asleep { last_at }));
    assert_eq!(served(), [awake.key], "others ask what it would");
    asleep.live.slumber.publish(Arc::new(Slumber::NEW));
    assert_eq!(served(), [awake.key, asleep.key]);
}

#[test]
fn all_that_begin_have_their_turn_to_ask() {
    let hub = stage::hub();
    let name = |number| format!("s{number}");
    let some = (0..40).map(|number| stage::service(&hub, &name(number), 1..=2, stage::spec(|_| ())));
    let nobody = crate::candidates::CandidateSet::nobody;
    let mut all: Vec<_> = some.collect();
    all.extend((40..60).map(|number| stage::service_of(&hub, &name(number), nobody(), stage::spec(|_| ()))));
    let with_set = stage::service(&hub, "set", 1..=2, stage::spec(|_| ()));
    stage::activate(&with_set, &[1], Footing::Good);
    all.insert(0, with_set);
    // Those without candidates come first, too.
    all.rotate_right(10);
    stage::publish(&hub, &all.iter().collect::<Vec<_>>());
    let directory = hub.directory.load();
    let (mut from, mut asked) = (0, std::collections::BTreeSet::new());
    for _ in 0..3 {
        let some = beginners(&directory, from);
        assert_eq!(some.len(), MOST_OUTSETS);
        from += some.len();
        asked.extend(some.iter().map(|one| one.name.as_str().to_owned()));
    }
    let expected: std::collections::BTreeSet<_> = (0..40).map(name).collect();
    assert_eq!(asked, expected);
    stage::publish(&hub, &all.iter().take(12).collect::<Vec<_>>());
    assert_eq!(beginners(&hub.directory.load(), from).len(), 1, "each once");
    stage::publish(&hub, &[]);
    assert!(beginners(&hub.directory.load(), from).is_empty());
}

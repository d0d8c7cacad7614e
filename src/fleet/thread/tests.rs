//! What is asked and said of services.

use super::*;
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

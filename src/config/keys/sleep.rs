//! The rows of `sleep`: what a service does while nobody uses it.

use super::super::slot::Slot;
use super::key::{Key, hours, ms, of_service, secs};
use Slot::Duration as Time;

pub(super) const SLEEP: &[Key] = &[
    of_service(
        "sleep.after",
        Time((ms(0), hours(720)), |d| &mut d.sleep.after),
        "without clients for this long, a service closes its pools and stops probing until one comes; 0s = never",
    ),
    of_service(
        "sleep.interval",
        Time((secs(1), hours(24)), |d| &mut d.sleep.interval),
        "time between two probes of the active set of a service that is asleep",
    ),
];

//! The section `sleep`, checked: what a service does while nobody uses it.

use std::time::Duration;

/// `sleep`: pools and probes of a service that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sleep {
    /// A service without clients for this long falls asleep; zero: never.
    pub after: Duration,
    /// Time between two looks at the active set of a service that is asleep.
    pub interval: Duration,
}

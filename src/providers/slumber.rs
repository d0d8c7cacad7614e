//! When what is due is asked for, while some who want it sleep. Pure.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::base::grid::Grid;
use crate::config::ServiceName;

/// The services that are asleep, and when they have their looks.
pub(super) type Asleep = BTreeMap<ServiceName, Grid>;

/// When something is asked for that is due at a time: then, or if all who want it are asleep, at the next of their looks. `looks`
/// are those of each who wants it; none: it is awake.
pub(super) fn planned_at(due: Instant, looks: impl Iterator<Item = Option<Grid>>) -> Instant {
    // None, which is whoever is awake, comes before all looks.
    let next = looks.map(|looks| Some(looks?.next(due))).min().flatten();
    next.unwrap_or(due)
}

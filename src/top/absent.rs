//! In a build without the feature `tui`: what cannot be.

use std::sync::atomic::AtomicBool;

use crate::ask::{Client, Failure};

/// Shows nothing.
///
/// # Errors
/// Always.
pub fn run(_: &Client, _: Option<String>, _: &AtomicBool) -> Result<(), Failure> {
    Err(Failure::Misuse(
        "this build has no top (it was made without the feature tui); there is status".to_owned(),
    ))
}

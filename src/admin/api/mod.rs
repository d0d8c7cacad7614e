//! The API below `/api/v1/`: what each path tells and takes.
//!
//! Knows no socket and nothing of who may do what. Every path is in the `OpenAPI` document [`DOCUMENT`], and a test holds the
//! two to each other.

mod answer;
mod candidates;
mod certificates;
mod config;
mod connections;
mod document;
mod events;
mod explain;
mod fleet;
mod places;
mod providers;
mod query;
mod resource;
mod services;
mod shapes;
mod space;
mod steer;
#[cfg(test)]
mod tests;

pub(super) use answer::{Outcome, Wish, answer, stream};
pub(super) use certificates::Certificate;
pub use connections::page as connections_page;
pub use document::DOCUMENT;
pub(super) use providers::Provider;
pub(super) use resource::Resource;
pub(super) use shapes::Withdrawn;

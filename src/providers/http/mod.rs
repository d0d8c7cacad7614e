//! Lists that stand at URLs: which, when, and what they say.
//!
//! `answer.rs`, `json.rs` and `document.rs` read what comes, whatever comes; `request.rs` says what is asked, and where a
//! redirect leads; `agenda.rs` knows what is due and what was said last; `conversation.rs` and `fetches.rs` have the sockets.

pub mod agenda;
pub mod answer;
mod conversation;
pub mod document;
mod fetches;
pub mod json;
pub mod request;

pub(super) use fetches::{Ended as Fetched, Fetches, MOST_FETCHES};

//! Names that are looked up by DNS: which, when, by whom, and what comes of it.
//!
//! The system's own resolver is not used: it blocks, knows no time to live, and no records but addresses.

pub mod book;
pub mod exchange;
mod flights;
pub mod message;
mod resolv_conf;

pub(super) use flights::{Ended, Flights, MOST_FLIGHTS};
pub(super) use resolv_conf::servers;

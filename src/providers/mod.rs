//! Providers that have to be asked for their candidates.
//!
//! One thread for all services. It is told what to ask by the worker, and tells it what is said; it blocks nobody, and waits
//! for nothing but its poll. What was said last stays in force until something else is said.

mod backoff;
pub mod dns;
pub mod http;
mod slumber;
mod thread;

pub use thread::Providers;

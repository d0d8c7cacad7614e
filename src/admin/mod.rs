//! The admin port: what the process tells over HTTP, on one thread, with a fixed bound on everything.
//!
//! It must not know how a value came about, and touches nothing of the data path.

pub mod http;
mod site;

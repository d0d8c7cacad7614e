//! The admin port: what the process tells and takes over HTTP, at a TCP port and a Unix socket.
//!
//! One thread, with a fixed bound on everything; a flood costs the time of this thread and nothing else. It
//! must not know how a value came about, decides nothing about the data path and touches none of it. What takes time
//! or may block is left on a [`Desk`] for others, whose answers come back through the [`AdminHandle`].

mod access;
mod api;
mod desk;
mod front;
pub mod http;
mod page;
mod reload;
mod site;
mod status;

pub use access::Door;
pub use api::{DOCUMENT, connections_page};
pub use desk::{Desk, Errand, Guest, Ticket, Unavailable};
pub use http::{AdminHandle, AdminLoop, bind};
pub use page::Page;
pub use reload::{page as reload_page, stopping};
pub use site::{Site, TAKEOVER};

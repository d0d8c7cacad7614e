//! Services: what the file says of one, what outlives a reload, and all of them as one published value.
//!
//! A [`Service`] is a name, a [`Spec`](crate::config::Spec) that never changes, and a [`Live`] that every reload hands on. Threads
//! meet here and nowhere else: in the [`Hub`], in a service's `Live`, and in the values published there, which
//! wake whoever listens.

pub mod admin_state; // whom somebody has taken out by hand
pub mod directory; // all services of one configuration, and who listens where
pub mod doorbells; // how each thread is woken
pub mod events; // what has happened lately
pub mod fleet; // what forwarders tell one another
pub mod front; // what stands before its backends
pub mod headcount; // how many clients there are
pub mod hub; // what all threads share
pub mod id; // which service
pub mod live; // what of a service outlives a reload
pub mod probe_requests; // whom somebody wants probed before the time
pub mod provided; // what is asked of providers, and what they say
pub mod reloads; // what became of reloads
pub mod slumber; // whether a service is asleep
#[cfg(test)]
pub(crate) mod stage; // tests: a hub with services, without threads
pub mod traffic; // what a service's connections come to, for each reactor
pub mod uplink; // which way to the network is in use

pub use admin_state::{AdminState, AdminStates};
pub use directory::{Directory, ListenerId, Listening, Phase, Service};
pub use doorbells::Doorbells;
pub use events::{Event, Events};
pub use hub::Hub;
pub use id::{Candidate, ServiceId};
pub use live::Live;
pub use probe_requests::{ProbeRequest, ProbeRequests};
pub use reloads::Reloads;
pub use slumber::Slumber;
pub use uplink::Uplink;

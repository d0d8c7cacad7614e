//! Probing: which candidates answer, and how fast.
//!
//! Owns the prober thread, which probes the candidates of all services: initially, then in rounds, and besides to learn
//! of our own link. It must not know what a sample does to a score, nor who becomes active; it hands in samples and
//! reads snapshots.

pub mod agenda; // when one service probes whom (pure)
pub mod check; // what a candidate is asked beyond a connect, and whether its answer is right (pure)
pub mod connect; // a batch of probes on one poll
pub mod dispatch; // which probes begin now, over all services: the step
pub mod looks; // which members are looked at while their service is asleep (pure)
mod places; // where the probes of a round lie in time (pure)
pub mod probe; // one probe that is to be made, and what became of it
mod probe_place; // the place of a probe at a member that takes only so many connections
pub mod schedule; // who is probed in a round (pure)
pub mod sentinels; // whom to ask about our own link (pure)
mod strangers; // whom nobody has asked yet, in which order (pure)
mod talk; // a question to a candidate and its answer
#[cfg(test)]
mod tests;
mod thread; // the thread
pub mod uplinks; // whether our way to the network has changed (pure)

pub use dispatch::Dispatch;
pub use thread::Prober;

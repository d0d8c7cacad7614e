//! `tcp-forwarder scan`: the best of a list, found and told, without forwarding anything.
//!
//! `hunt` decides whom to ask and when it is enough, `pace` when, `strain` how fast our own link lets it; all are pure. `run` has the sockets and the loop, `download`
//! tests how fast the best are, `progress` and `report` tell, `record` keeps for a service what it would know. It knows nothing of services that run.

mod download;
mod hunt;
mod notes;
mod pace;
mod progress;
mod record;
mod report;
mod run;
mod strain;
mod walk;

pub use download::Target;
pub use report::{Form, Output};
pub use run::{Options, Subject, run};

//! Composition root: the only place that makes threads, seeds and the start time; ordered start and stop.
//!
//! Start: everything that the system can refuse (ports, descriptors, polls) is asked for first, so that a refusal
//! leaves nothing half started; then the threads; then the directory, which they follow; once each service has its
//! first active set, the ports are opened. A reload does the last steps again. Stop: an empty directory, the last one;
//! reactors drain, the admin port ends last.

mod admin; // the sockets of the admin port
mod assemble; // from a configuration to the next directory
mod boot; // the ordered start
mod certificates; // of all services
mod circular; // one letter to all reactors, and their answers
mod error; // why it cannot start or go on
mod faults; // what is wrong with a reload
mod handle; // how a process is asked for something
mod inherited; // sockets that listen already
mod journals; // access logs of all services
mod lists; // what the providers of all services say
mod lookup; // what providers say, asked once
mod ports; // listen addresses: bound, opened, kept
mod run; // a running process, and its end
mod supervise; // what the service manager hears
#[cfg(unix)]
mod takeover; // handing over to a new process
mod threads; // how each thread is made, and who hears of its end
mod worker; // calls that block: files, reload

pub use boot::{Boot, Launch};
pub use certificates::{
    CertificateError, Certificates, load as load_certificates, remarks as certificate_remarks,
};
pub use error::AppError;
pub use handle::{Errand, Handle};
pub use inherited::Inherited;
pub use lists::{ListError, Listed, Lists, Part, load as load_lists, read as read_lists, tell as tell_list};
pub use lookup::{Looked, look_up};
pub use run::App;

//! A TCP forwarder that always sends a connection to the best of many candidate addresses.
//!
//! Two flows that meet only in published snapshots. *Data*: accept, pick, checkout or dial, relay, close;
//! inside one reactor thread from first byte to last. *Control*: candidates, probe, sample, score, select,
//! publish; in std threads, where each value has exactly one writer. `ARCHITECTURE.md` is the long form.
//!
//! The modules in reading order:

pub mod base; // what knows nothing of forwarding: time, published values, slabs, timers

pub mod last_words; // how the process ends when it must

pub mod cli; // arguments
pub mod terminal; // how large it is

pub mod signals; // what the process is asked to do from outside
pub mod systemd; // what a service manager is told, and the sockets that it passes

pub mod control_socket; // the Unix socket that steers this process
pub mod handover; // a new process takes the listening sockets of an old one

pub mod config; // YAML text -> checked `Config`, or every error with its line
pub mod logging; // text and JSON lines, `RUST_LOG`
pub mod net; // socket options, bind, "did this connect succeed"

pub mod candidates; // ranges and counts, never expanded
pub mod search; // which prefixes are near, and whom to ask next

pub mod backend; // one member of the active set and its live counts
pub mod loadbalancer; // active set -> order of backends for one connection

pub mod access_log; // a line for each connection when it ends
pub mod admission; // who may connect
pub mod preface; // what a connection says before it gets a backend
pub mod relay; // two halves of one connection
pub mod service; // what the file says of a service, what outlives a reload, and all services as one value
pub mod tls; // certificates, and wires that are encrypted

pub mod probing; // who is probed next, and a batch of connects on one poll
pub mod providers; // whom to ask for candidates, and what they say: DNS, lists at URLs
pub mod scorer; // sample -> score, and the bounded score board
pub mod selector; // scores -> active set

pub mod state; // what outlives the process: a file, written whole or not at all

pub mod pools; // demand -> pool size
pub mod reactor; // poll loop: accept, checkout, dial, relay, close

pub mod fleet; // forwarders that share what they know
pub mod metrics; // every family with its help text

pub mod admin; // what the process tells and takes over HTTP

pub mod app; // composition root: makes the threads, starts and stops them in order
pub mod ask; // commands that ask a process which runs
pub mod check; // what `check` prints
pub mod demo; // embedded backends and configuration
pub mod scan; // the best of a list, found and told
pub mod top; // services and members of a process, as they change

//! The data path: one poll loop per thread, from accept to close.
//!
//! A reactor owns its listeners, its clients, its connections to backends (dialling, warm, in use) and their
//! timers; nothing of it is shared but counters, and it takes no lock and allocates nothing per event. What
//! control threads decide reaches it as published values and numbers, announced by its doorbell; what it is to own
//! comes through its mailbox.
//!
//! One turn of the loop: what the doorbell was rung for; warm connections that died and dials that ended, so that nobody
//! is given a dead connection; then relays; then accepting; then timers; then pools. A turn costs what happened in it,
//! however many clients, pools, listeners and services there are.
//!
//! ```text
//! client:    accept ─► (opening ─►) seeking ─(warm connection, or a dial that succeeds)─► relaying ─► leaving ─► closed
//!                                   ▲                                                     │  │                  ▲
//!                                   └──────────(stale; rescued)───────────────────────────┘  └──────────────────┘
//! upstream:  dialling ─► warm ─► in use ─► closed
//!                  └──────────────▲
//! ```
//!
//! A service is a **tenant** here, under one spec. A backend leaves, a service leaves, a service gets another spec, the
//! process stops: each is the same retirement, of a pool or of a tenant. What is retired gets nobody new, closes what is
//! warm, and goes when its last client has.

mod accept; // listeners: in turns, paused when full, resumed by themselves
mod appraisal; // what clients got of their backends
mod books; // what must add up after each turn
mod client; // a client and its stage
mod clients; // clients: events, turns, deadlines, the end
mod core; // the reactor itself
mod cut; // a pool whose relays are looked for, to be ended
mod cutting; // relays that are ended from here
mod due; // whose handshake can go on
mod farewell; // how a reactor ended
mod follow; // following the directory and the active sets; retirement
mod handshakes; // TLS with a client; whose turn a handshake is
mod leave; // ends that wait for bytes which a reset would destroy
mod letters; // what is delivered: listeners come, change hands and go
pub mod limits; // which descriptors are for what
mod lines;
mod listed; // connections as they are told of
mod listener; // one listener
mod listing; // what is told of clients
pub mod mailbox; // what a reactor is to own
mod opening; // what a client has said before it gets a backend
mod openings; // what stands before a backend: each preface is read
mod place_queue; // who waits for a place, in order
mod places; // places at backends that take only so many connections
mod pools; // pools brought to their size
mod queue; // what is due, round by round
mod race; // a second dial beside one that takes too long
mod securing; // TLS with a backend
mod seek; // which connection a client gets
mod signal; // what an event told
mod story;
mod tenant; // a service under one spec inside one reactor
mod time; // the reactor's own time
pub mod token; // token <-> what it names
mod turn; // the loop
mod upstream; // a connection to a backend
mod upstreams; // dialling, warm, in use: events and deadlines

pub use self::core::{Bursts, Reactor};
pub use client::CLIENT_BYTES;
pub use farewell::Farewell;
pub use listed::{Listed, Row, Stage};
pub use mailbox::{Letter, Mailbox};
pub use upstream::UPSTREAM_BYTES;

//! What knows nothing of forwarding: time, published values, doorbells.

pub mod burst; // what is logged once a burst
pub mod clock; // the only reader of the clock
pub mod counters; // counters with one writer, histograms
pub mod deadlines; // deadlines by key
pub mod doorbell; // wakes one sleeping thread, from any thread
pub mod file_identity; // which file stands at a path
pub mod file_watch; // whether a file has changed
pub mod grid; // multiples of an interval: what is due together
pub mod hash; // hashes that are the same on all machines
pub mod host_name; // names of hosts
pub mod http_parts; // parts of messages by HTTP/1
pub mod lru; // a bounded table that forgets what was not touched for longest
pub mod percent; // percent-encoding, undone
pub mod published; // one writer, many readers, a version; rings whoever listens
pub mod ready; // at which of many things one thread is to look
pub mod slots; // a slab with generational keys
pub mod timers; // deadlines by slab index
pub mod told; // what the log hears of a condition that comes and goes

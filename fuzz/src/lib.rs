//! What the fuzz targets check: each module takes bytes and panics when something is wrong.
//!
//! Knows nothing of a fuzzer. `targets/` hands it what libFuzzer makes up; `tests/corpus.rs` includes this
//! file and runs the committed corpus through it with the stable toolchain. Uses what is public only.

pub mod admission;
pub mod answer;
pub mod candidates;
pub mod choices;
pub mod client_hello;
pub mod configuration;
pub mod dns_message;
pub mod flight;
pub mod list_answer;
pub mod log_filter;
pub mod proxy;
pub mod pump;
pub mod relay;
pub mod relay_world;
pub mod request;
pub mod scrape;
pub mod search;
pub mod slots;
pub mod takeover;
pub mod timers;
pub mod tls;
pub mod tls_backend;

/// Takes an input; panics when what it checks does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder in the corpus.
pub const TARGETS: [(&str, Target); 20] = [
    ("admission", admission::run),
    ("answer", answer::run),
    ("candidates", candidates::run),
    ("client_hello", client_hello::run),
    ("configuration", configuration::run),
    ("dns_message", dns_message::run),
    ("flight", flight::run),
    ("list_answer", list_answer::run),
    ("log_filter", log_filter::run),
    ("proxy", proxy::run),
    ("pump", pump::run),
    ("relay", relay::run),
    ("request", request::run),
    ("scrape", scrape::run),
    ("search", search::run),
    ("slots", slots::run),
    ("takeover", takeover::run),
    ("timers", timers::run),
    ("tls", tls::run),
    ("tls_backend", tls_backend::run),
];

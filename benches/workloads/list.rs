//! A candidate list is read: ten thousand lines that are an address and its port each, or in the forms that lists have most.

use std::fmt::Write;
use std::hint::black_box;

use tcp_forwarder::candidates::{Rules, list_file};

use super::Workload;

/// Lines of the list.
const LINES: u32 = 10_000;

/// One reading after the other; how much memory the list takes, `tests/scale.rs` holds.
pub(super) struct Lines(String);

impl Lines {
    /// An address and its port each.
    pub(super) fn plain() -> Self {
        let mut text = String::new();
        for number in 0..LINES {
            let [_, a, b, c] = (number * 3).to_be_bytes();
            let written = writeln!(text, "10.{a}.{b}.{c}:8443");
            debug_assert!(written.is_ok(), "memory takes it");
        }
        Self(text)
    }

    /// With ports, without, with remarks, options, blanks, and of IPv6.
    pub(super) fn mixed() -> Self {
        let mut text = String::new();
        for number in 0..LINES {
            let [_, a, b, c] = (number * 3).to_be_bytes();
            let written = match number % 10 {
                0..4 => writeln!(text, "10.{a}.{b}.{c}:8443"),
                4..6 => writeln!(text, "10.{a}.{b}.{c}"),
                6 => writeln!(text, "10.{a}.{b}.{c}:2053#HK"),
                7 => writeln!(text, "10.{a}.{b}.{c}:443 weight=2 # US"),
                8 => writeln!(text, "[2001:db8::{number:x}]:443"),
                _ => writeln!(text, "10.{a}.{b}.{c} 8443"),
            };
            debug_assert!(written.is_ok(), "memory takes it");
        }
        Self(text)
    }
}

impl Workload for Lines {
    fn step(&mut self) {
        let read = list_file::read(black_box(self.0.as_bytes()), Rules::with_names(443));
        let count = read.ok().and_then(Result::ok).map(|list| list.set.len());
        assert_eq!(count, Some(LINES.into()), "every line is an address of its own");
    }
}

//! The usual `process_*` values, read from `/proc/self` at scrape time.
//!
//! Where there is no such folder nothing is offered. It must not know our own counters.

use std::fs;
use std::path::Path;

use super::family;
use super::output::Output;
use super::text::float;

/// Clock ticks a second in `/proc` (`USER_HZ`): 100 by the kernel's ABI on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What does not change while the process runs.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since the epoch at which the process started, if the system tells.
    started: Option<f64>,
}

impl Process {
    /// Reads the start time.
    pub(super) fn new() -> Self {
        Self {
            started: start_time(),
        }
    }

    /// Adds every value that the system offers.
    pub(super) fn collect(&self, output: &mut Output) {
        let mut offer = |family, value: Option<f64>| {
            if let Some(value) = value {
                output.number(family, &[], value);
            }
        };
        offer(&family::PROCESS_START_TIME, self.started);
        offer(&family::PROCESS_OPEN_FDS, open_descriptors());
        let stat = read("self/stat");
        offer(&family::PROCESS_CPU, stat.as_deref().and_then(cpu_seconds));
        let status = read("self/status");
        let status = status.as_deref();
        offer(
            &family::PROCESS_THREADS,
            status.and_then(|text| status_field(text, "Threads:")),
        );
        let kilobytes = |name| {
            status
                .and_then(|text| status_field(text, name))
                .map(|kb| kb * 1024.0)
        };
        offer(&family::PROCESS_RESIDENT_MEMORY, kilobytes("VmRSS:"));
        offer(&family::PROCESS_VIRTUAL_MEMORY, kilobytes("VmSize:"));
        let limits = read("self/limits");
        offer(
            &family::PROCESS_MAX_FDS,
            limits.as_deref().and_then(descriptor_limit),
        );
    }
}

fn read(name: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc").join(name)).ok()
}

fn open_descriptors() -> Option<f64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the open folder itself.
    Some(float(u64::try_from(entries).ok()?.saturating_sub(1)))
}

/// Field `number` of `/proc/self/stat`, counted from 1 as in proc(5).
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    // The second field is the name in parentheses and may hold anything, even spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_ascii_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

fn status_field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn descriptor_limit(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

fn start_time() -> Option<f64> {
    let since_boot = stat_field(&read("self/stat")?, 22)? / TICKS_PER_SECOND;
    let boot: f64 = read("stat")?
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(boot + since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "77 (a) b (c) S 1 77 77 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 5 0 4200 9 9";

    #[test]
    fn a_name_with_parentheses_shifts_nothing() {
        assert_eq!(cpu_seconds(STAT), Some(2.0));
        assert_eq!(stat_field(STAT, 22), Some(4200.0));
    }

    #[test]
    fn text_of_an_unknown_shape_offers_nothing() {
        for text in ["", ")", "1 (x) S", "Max open files", "Threads:", "Threads: many"] {
            assert_eq!(cpu_seconds(text), None);
            assert_eq!(descriptor_limit(text), None);
            assert_eq!(status_field(text, "Threads:"), None);
        }
    }

    #[test]
    fn limits_and_status_are_read() {
        assert_eq!(
            status_field("Name:\tx\nVmRSS:\t    120 kB\n", "VmRSS:"),
            Some(120.0)
        );
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(descriptor_limit(limits), Some(1024.0));
        let limits = "Max open files            unlimited            unlimited            files\n";
        assert_eq!(descriptor_limit(limits), Some(f64::INFINITY));
    }
}

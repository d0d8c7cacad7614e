//! What 50,000 lines a second of an access log take of a processor: `access_log [ROUNDS]`, 7 rounds unless more or fewer are asked for.
//!
//! Turns of two seconds in which lines are handed in at that rate, as reactors hand them in, to a log in a file: nothing, then text,
//! then JSON, over and over. What counts is the processor time of all threads of this process beyond that of the turn without,
//! in the same round; of the rounds the median. Writing to the file counts, bringing it to the disk does not. Linux only.

#[expect(dead_code, reason = "each of the programs has its own part of them")]
mod workloads;

use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tcp_forwarder::access_log::Journal;
use tcp_forwarder::config::{AccessLog, LogFormat, LogOutput};
use tcp_forwarder::logging;

/// Lines are handed in so many at a time, as a reactor does that has many events in a turn.
const BATCH: u32 = 50;
/// Time from one batch to the next: 50,000 lines a second.
const PAUSE: Duration = Duration::from_millis(1);
const TURN: Duration = Duration::from_secs(2);
/// The most that it may take, as a share of one processor.
const LIMIT: f64 = 0.05;

#[expect(clippy::print_stdout, reason = "its output is the figures")]
fn main() -> ExitCode {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let rounds = rounds.unwrap_or(7_usize).max(1);
    let Ok(folder) = tempfile::tempdir() else {
        println!("access_log: no temporary folder");
        return ExitCode::from(3);
    };
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let mut beyond = formats.map(|_| Vec::new());
    let mut without = Vec::new();
    for _ in 0..rounds {
        let Some(idle) = turn(None) else {
            println!("access_log: processor time is not known here");
            return ExitCode::from(3);
        };
        without.push(idle);
        for ((name, format), found) in formats.iter().zip(&mut beyond) {
            let log = AccessLog {
                output: Some(LogOutput::File(folder.path().join(name))),
                format: *format,
                ..AccessLog::default()
            };
            let Ok(Some(journal)) = Journal::open(&log) else {
                println!("access_log: the log cannot be opened");
                return ExitCode::from(3);
            };
            found.extend(turn(Some(&journal)).map(|share| share - idle));
        }
    }
    logging::flush_lines();
    let lost = logging::lost_access_lines();
    println!("lines  share of a processor at 50,000 a second, lowest to highest of {rounds} rounds");
    println!("none   {}", shown(&mut without));
    let mut is_held = lost == 0;
    for ((name, _), found) in formats.iter().zip(&mut beyond) {
        println!("{name}   {} more", shown(found));
        is_held &= median(found) < LIMIT;
    }
    println!("{lost} lines were lost");
    if is_held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The share of a processor that one turn takes.
#[expect(clippy::disallowed_methods, reason = "it measures time, and keeps to a rate")]
fn turn(journal: Option<&Journal>) -> Option<f64> {
    let record = workloads::line::record();
    let mut room = Vec::new();
    let (begun, before) = (Instant::now(), processor_seconds()?);
    let mut batches = 0;
    while begun.elapsed() < TURN {
        for _ in 0..BATCH {
            let record = black_box(&record);
            if let Some(journal) = journal {
                journal.write(record, &mut room);
            }
        }
        batches += 1;
        let next = begun + PAUSE * batches;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // What was gathered last belongs to this turn.
    logging::flush_lines();
    Some((processor_seconds()? - before) / begun.elapsed().as_secs_f64())
}

/// Processor time of all threads of this process, to the nanosecond.
fn processor_seconds() -> Option<f64> {
    let mut nanoseconds = 0.0;
    for thread in fs::read_dir("/proc/self/task").ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split_ascii_whitespace().next()?.parse::<f64>().ok()?;
    }
    Some(nanoseconds / 1e9)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn shown(values: &mut [f64]) -> String {
    let middle = median(values) * 100.0;
    let ends = values.first().zip(values.last());
    let (low, high) = ends.map_or((f64::NAN, f64::NAN), |(low, high)| (low * 100.0, high * 100.0));
    format!("{middle:.2} % ({low:.2} to {high:.2})")
}

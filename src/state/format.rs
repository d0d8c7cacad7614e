//! The state file: snapshot <-> bytes. Pure.
//!
//! ```text
//! tcp-forwarder-state 2 <bytes that follow> <their checksum>
//! {"saved_at_ms":1764000000000}
//! {"service":"web"}
//! {"active":"192.0.2.1:443"}
//! {"lifetime":{"addr":"192.0.2.1:443","life_ms":42000}}
//! {"answer":1234567890}
//! {"said":"192.0.2.1:443 # hk1"}
//! {"row":{"addr":"192.0.2.1:443","age_ms":1200,"history":{ ... }}}
//! ```
//!
//! Lines of JSON: people can read them, each is bounded and stands for itself, and the parser is the one that the hand-over has
//! anyway. The first line is no JSON, so that who wrote the file, in which version and whether it is whole is known before
//! anything is parsed. A kind of line that is added is a new [`VERSION`].
//!
//! Invariants: at most [`MAX_BYTES`]; a file that was cut, or in which any one byte differs, is refused.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::snapshot::{
    MAX_ANSWER_LINES, MAX_MEMBERS, MAX_ROWS, SavedAnswer, SavedLifetime, ServiceState, State,
};
use crate::base::hash;
use crate::scorer::board::SavedRow;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 2;

/// The longest file, in bytes.
pub const MAX_BYTES: usize = 8 << 20;

/// The longest line, in bytes, with its end.
const MAX_LINE_BYTES: usize = 1024;

/// The longest first line.
const MAX_HEADER_BYTES: usize = 80;

/// What every file begins with, whatever its version.
const MAGIC: &[u8] = b"tcp-forwarder-state ";

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    SavedAtMs(u64),
    /// What follows is this service's.
    Service(String),
    Active(SocketAddr),
    Lifetime(SavedLifetime),
    /// What follows was said to this question.
    Answer(u64),
    Said(String),
    Row(SavedRow),
}

/// Why a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Nothing is in it.
    Empty,
    /// It is no state file.
    Foreign,
    /// It is of this version, which is unknown here.
    Version(u32),
    /// It is longer than [`MAX_BYTES`].
    TooLong,
    /// It was cut, or bytes were added.
    Length,
    /// Bytes differ from those that were written.
    Checksum,
    /// This line makes no sense, counted from 1.
    Line(usize),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Foreign => f.write_str("it is no state file of tcp-forwarder"),
            Self::Version(version) => {
                write!(f, "it is of version {version}, and this program reads {VERSION}")
            }
            Self::TooLong => write!(f, "it is longer than {MAX_BYTES} bytes"),
            Self::Length => f.write_str("it was cut, or bytes were added"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Line(line) => write!(f, "line {line} makes no sense"),
        }
    }
}

/// The bytes of a snapshot. What would be too much is left out: answers as a whole, for half of one was never said, then rows from
/// the end of each service's.
#[must_use]
pub fn encode(state: &State) -> Vec<u8> {
    let mut body = Body::default();
    body.add(&Line::SavedAtMs(state.saved_at_ms));
    // Of so many services each has a share for its rows.
    let share = (MAX_BYTES - MAX_HEADER_BYTES) / state.services.len().max(1);
    for (name, service) in &state.services {
        let begin = body.bytes.len();
        let is_there = body.add(&Line::Service(name.clone()));
        if !is_there {
            break;
        }
        for addr in service.active.iter().take(MAX_MEMBERS) {
            body.add(&Line::Active(*addr));
        }
        for lifetime in service.lifetimes.iter().take(MAX_MEMBERS) {
            body.add(&Line::Lifetime(*lifetime));
        }
        // Half of the share is for rows.
        let room = (begin + share / 2).min(MAX_BYTES - MAX_HEADER_BYTES);
        let mut lines = MAX_ANSWER_LINES;
        for answer in &service.answers {
            if answer.lines.len() <= lines && body.add_answer(answer, room) {
                lines -= answer.lines.len();
            }
        }
        for row in service.rows.iter().take(MAX_ROWS) {
            if body.bytes.len() - begin + MAX_LINE_BYTES <= share {
                body.add(&Line::Row(*row));
            }
        }
    }
    let body = body.bytes;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(format!("{VERSION} {} {:016x}\n", body.len(), checksum(&body)).bytes());
    debug_assert!(bytes.len() <= MAX_HEADER_BYTES, "the first line is bounded");
    bytes.extend(body);
    debug_assert!(bytes.len() <= MAX_BYTES, "a file is bounded");
    bytes
}

/// Lines that are to be written.
#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
}

impl Body {
    /// Adds an answer, if all of it has room before this place; whether it had.
    fn add_answer(&mut self, answer: &SavedAnswer, room: usize) -> bool {
        let begin = self.bytes.len();
        let mut lines = answer.lines.iter().map(|line| Line::Said(line.clone()));
        let fits = self.add(&Line::Answer(answer.asked))
            && lines.all(|line| self.bytes.len() <= room && self.add(&line))
            && self.bytes.len() <= room;
        if !fits {
            self.bytes.truncate(begin);
        }
        fits
    }

    /// Adds a line, if there is room for it; whether there was.
    fn add(&mut self, line: &Line) -> bool {
        let Ok(mut text) = serde_json::to_vec(line) else {
            debug_assert!(false, "plain values can be written");
            return false;
        };
        text.push(b'\n');
        let fits =
            text.len() <= MAX_LINE_BYTES && self.bytes.len() + text.len() <= MAX_BYTES - MAX_HEADER_BYTES;
        if fits {
            self.bytes.extend(text);
        }
        fits
    }
}

/// The snapshot that bytes stand for.
///
/// # Errors
/// When they are not exactly what one [`encode`] of this [`VERSION`] made.
pub fn decode(bytes: &[u8]) -> Result<State, Broken> {
    let body = body_of(bytes)?;
    let mut state = State::default();
    let mut service: Option<&mut ServiceState> = None;
    for (i, line) in body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let broken = Broken::Line(i + 2);
        if line.len() > MAX_LINE_BYTES {
            return Err(broken);
        }
        let line = serde_json::from_slice(line).map_err(|_| broken)?;
        match (line, &mut service) {
            (Line::SavedAtMs(at), None) if i == 0 => state.saved_at_ms = at,
            (Line::Service(name), _) if i > 0 => service = Some(state.services.entry(name).or_default()),
            (Line::Active(addr), Some(service)) if service.active.len() < MAX_MEMBERS => {
                service.active.push(addr);
            }
            (Line::Lifetime(lifetime), Some(service)) if service.lifetimes.len() < MAX_MEMBERS => {
                service.lifetimes.push(lifetime);
            }
            (Line::Row(row), Some(service)) if service.rows.len() < MAX_ROWS => service.rows.push(row),
            (Line::Answer(asked), Some(service)) if service.answers.len() < MAX_MEMBERS => {
                service.answers.push(SavedAnswer {
                    asked,
                    lines: Vec::new(),
                });
            }
            (Line::Said(line), Some(service)) => add_line(service, line).ok_or(broken)?,
            (
                Line::SavedAtMs(_)
                | Line::Service(_)
                | Line::Active(_)
                | Line::Lifetime(_)
                | Line::Answer(_)
                | Line::Said(_)
                | Line::Row(_),
                _,
            ) => return Err(broken),
        }
    }
    Ok(state)
}

/// Adds a line to the last answer; none if there is no answer, or there are too many lines.
fn add_line(service: &mut ServiceState, line: String) -> Option<()> {
    let lines: usize = service.answers.iter().map(|answer| answer.lines.len()).sum();
    let answer = service.answers.last_mut()?;
    (lines < MAX_ANSWER_LINES).then(|| answer.lines.push(line))
}

/// What follows the first line, if that is right about it.
fn body_of(bytes: &[u8]) -> Result<&[u8], Broken> {
    if bytes.is_empty() {
        return Err(Broken::Empty);
    }
    if bytes.len() > MAX_BYTES {
        return Err(Broken::TooLong);
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        let is_cut = MAGIC.starts_with(bytes);
        return Err(if is_cut { Broken::Length } else { Broken::Foreign });
    };
    let header = &rest[..rest.len().min(MAX_HEADER_BYTES)];
    let words = header
        .split(|byte| *byte == b'\n')
        .next()
        .and_then(|line| std::str::from_utf8(line).ok());
    let mut words = words.ok_or(Broken::Foreign)?.split(' ');
    let version = words.next().and_then(|word| word.parse::<u32>().ok());
    match version {
        Some(VERSION) => {}
        Some(version) => return Err(Broken::Version(version)),
        None => return Err(Broken::Length),
    }
    let end = header
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(Broken::Length)?;
    let body = &rest[end + 1..];
    let length = words.next().and_then(|word| word.parse::<usize>().ok());
    if length != Some(body.len()) {
        return Err(Broken::Length);
    }
    // Compared as text: there is one way to write it.
    if words.next() != Some(format!("{:016x}", checksum(body)).as_str()) || words.next().is_some() {
        return Err(Broken::Checksum);
    }
    Ok(body)
}

fn checksum(bytes: &[u8]) -> u64 {
    hash::fnv1a(bytes.iter().copied())
}

#[cfg(test)]
mod tests;

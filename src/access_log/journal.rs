//! The access log of one service, as its configuration has it.

use std::sync::Arc;
use std::time::Duration;

use super::format;
use super::record::Record;
use crate::config::{AccessField, AccessLog, LogFormat};
use crate::logging::{Lines, LogError};

/// Where the lines of a service go, and what they say.
#[derive(Debug)]
pub struct Journal {
    lines: Arc<Lines>,
    format: LogFormat,
    fields: Box<[AccessField]>,
    sample: f64,
    min_duration: Duration,
}

impl Journal {
    /// What a service's configuration asks for; none if that is nothing. Services that name the same output share it.
    ///
    /// # Errors
    /// When the output cannot be opened, or the system gives no thread.
    pub fn open(config: &AccessLog) -> Result<Option<Self>, LogError> {
        let Some(output) = &config.output else {
            return Ok(None);
        };
        let fields: &[AccessField] = if config.fields.is_empty() {
            &AccessField::ALL
        } else {
            &config.fields
        };
        Ok(Some(Self {
            lines: Lines::open(output)?,
            format: config.format,
            fields: fields.into(),
            sample: config.sample,
            min_duration: config.min_duration,
        }))
    }

    /// Whether a connection is among those that have a line.
    #[must_use]
    pub fn samples(&self, rng: &mut fastrand::Rng) -> bool {
        self.sample >= 1.0 || rng.f64() < self.sample
    }

    /// Whether a line says how its backend is called.
    #[must_use]
    pub fn names_backends(&self) -> bool {
        self.fields.contains(&AccessField::BackendName)
    }

    /// Hands in the line of a connection, unless it was too short; `room` is for the line, and kept for its memory.
    pub fn write(&self, record: &Record<'_>, room: &mut Vec<u8>) {
        if record.total < self.min_duration {
            return;
        }
        room.clear();
        format::write(room, record, self.format, &self.fields);
        self.lines.push(room);
    }
}

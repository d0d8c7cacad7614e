//! One record in words: the time, the rest of a text line, a JSON object. It writes nowhere itself.

use std::fmt::{self, Display, Write as _};
use std::io::Write as _;
use std::time::SystemTime;

use log::Record;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::base::clock;

/// The names that every JSON line has; a field of the same name gets a `_` behind it.
const RESERVED: [&str; 4] = ["time", "level", "target", "message"];

/// Writes the wall clock as RFC 3339 in UTC, with milliseconds.
pub(super) fn write_time(line: &mut Vec<u8>) {
    // Written to memory, which fails only for a year that RFC 3339 cannot say: then the line has no time.
    drop(write!(line, "{} ", time()));
}

fn time() -> humantime::Rfc3339Timestamp {
    // A device that has lost its clock may believe in a time before 1970, which humantime cannot say.
    humantime::format_rfc3339_millis(clock::wall().max(SystemTime::UNIX_EPOCH))
}

/// Message and fields of a text line: `message key=value key="two words"`, control characters escaped.
pub(super) struct TextLine<'r>(pub(super) &'r Record<'r>);

impl Display for TextLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaped = Escaped(f);
        write!(escaped, "{}", self.0.args())?;
        let mut fields = TextFields(escaped);
        self.0.key_values().visit(&mut fields).map_err(|_| fmt::Error)
    }
}

/// Escapes control characters, so that nobody can begin a line of their own.
struct Escaped<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.char_indices().next_back() {
                Some((start, last)) if last.is_control() => {
                    self.0.write_str(part.get(..start).unwrap_or_default())?;
                    write!(self.0, "{}", last.escape_default())?;
                }
                Some(_) | None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

struct TextFields<'a, 'f>(Escaped<'a, 'f>);

impl<'kvs> VisitSource<'kvs> for TextFields<'_, '_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        let plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || "\"=".contains(c));
        if plain {
            write!(self.0, " {key}={value}")?;
        } else {
            write!(self.0, " {key}={value:?}")?;
        }
        Ok(())
    }
}

/// A JSON object: time, level, target, message, then the fields in their order.
pub(super) struct JsonLine<'r>(pub(super) &'r Record<'r>);

impl Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &Shown(time()))?;
        map.serialize_entry("level", record.level().as_str())?;
        map.serialize_entry("target", record.target())?;
        map.serialize_entry("message", &Shown(record.args()))?;
        let mut fields = JsonFields {
            map: &mut map,
            failed: None,
        };
        // Its own error says nothing that `failed` does not.
        drop(record.key_values().visit(&mut fields));
        match fields.failed {
            Some(error) => Err(error),
            None => map.end(),
        }
    }
}

/// Serializes what it shows, without a string in between.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct JsonFields<'m, M: SerializeMap> {
    map: &'m mut M,
    failed: Option<M::Error>,
}

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for JsonFields<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut json = JsonValue(serde_json::Value::Null);
        value.visit(&mut json)?;
        let suffix = if RESERVED.contains(&key.as_str()) { "_" } else { "" };
        self.map
            .serialize_entry(&Shown(format_args!("{key}{suffix}")), &json.0)
            .map_err(|error| {
                self.failed = Some(error);
                Error::msg("a field cannot be written")
            })
    }
}

struct JsonValue(serde_json::Value);

impl VisitValue<'_> for JsonValue {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.0 = serde_json::Value::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        // JSON has no NaN and no infinity.
        self.0 = if value.is_finite() {
            value.into()
        } else {
            value.to_string().into()
        };
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }
}

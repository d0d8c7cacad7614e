//! One type of value: from YAML into its field, and back into words.
//!
//! A [`Slot`] is where a key's value goes and which values it takes. The same slot reads a value, says what is
//! allowed, and shows the default, so none of the three can drift from the others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::draft::Draft;
use super::tree::Node;
use super::value::{
    MAX_ADDRESSES, Refusal, address, addresses, duration, file_name, flag, integer, number, show_duration,
    text, url_path,
};
use super::{LogOutput, byte_rate, networks};

/// The field that a value goes to.
type Field<T> = fn(&mut Draft) -> &mut T;

/// A type of value with its range (both ends allowed) and its field.
pub(super) enum Slot {
    Flag(Field<bool>),
    Size((usize, usize), Field<usize>),
    Count((u32, u32), Field<u32>),
    Port(Field<u16>),
    Number((f64, f64), Field<f64>),
    Duration((Duration, Duration), Field<Duration>),
    Choice(Choice),
    Address(Field<SocketAddr>),
    Addresses(Field<Vec<SocketAddr>>),
    Networks(Field<Vec<IpNet>>),
    ByteRate(Field<u64>),
    File(Field<PathBuf>),
    /// A file, or none for an empty text.
    OptionalFile(Field<Option<PathBuf>>),
    /// A text that is not shown to anybody, or none for an empty one.
    Secret(Field<Option<String>>),
    Output(Field<LogOutput>),
    UrlPath(Field<String>),
}

/// One name out of a few.
pub(super) struct Choice {
    pub(super) names: &'static [&'static str],
    pub(super) name: fn(&Draft) -> &'static str,
    /// Called with one of `names` only.
    pub(super) choose: fn(&mut Draft, &str),
}

impl Slot {
    /// Puts a value into its field, or leaves the field alone and says all that is wrong with the value.
    pub(super) fn fill(&self, draft: &mut Draft, node: &Node) -> Result<(), Vec<Refusal>> {
        match self {
            Self::Flag(field) => *field(draft) = flag(node)?,
            Self::Size(range, field) => *field(draft) = integer(node, *range)?,
            Self::Count(range, field) => *field(draft) = integer(node, *range)?,
            Self::Port(field) => *field(draft) = integer(node, (1, u16::MAX))?,
            Self::Number(range, field) => *field(draft) = number(node, *range)?,
            Self::Duration(range, field) => *field(draft) = duration(node, *range)?,
            Self::Choice(choice) => {
                let name = text(node)?;
                if !choice.names.contains(&name) {
                    return Err(Refusal::because(node, "is not one of the names").into());
                }
                (choice.choose)(draft, name);
            }
            Self::Address(field) => *field(draft) = address(node)?,
            Self::Addresses(field) => *field(draft) = addresses(node)?,
            Self::Networks(field) => *field(draft) = networks::read(node)?,
            Self::ByteRate(field) => *field(draft) = byte_rate::read(node)?,
            Self::File(field) => *field(draft) = PathBuf::from(file_name(node)?),
            Self::OptionalFile(field) => {
                let name = text(node)?;
                *field(draft) = if name.is_empty() {
                    None
                } else {
                    Some(PathBuf::from(file_name(node)?))
                };
            }
            Self::Secret(field) => {
                let secret = text(node)?;
                if !secret.chars().all(|c| c.is_ascii_graphic()) {
                    return Err(Refusal::of_secret("has a character that cannot be sent in a header").into());
                }
                *field(draft) = (!secret.is_empty()).then(|| secret.to_owned());
            }
            Self::Output(field) => {
                *field(draft) = match file_name(node)? {
                    "stdout" => LogOutput::Stdout,
                    "stderr" => LogOutput::Stderr,
                    path => LogOutput::File(PathBuf::from(path)),
                }
            }
            Self::UrlPath(field) => *field(draft) = url_path(node)?,
        }
        Ok(())
    }

    /// The name of the type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Size(..) | Self::Count(..) | Self::Port(_) => "integer",
            Self::Number(..) => "number",
            Self::Duration(..) => "duration",
            Self::Choice(_) => "choice",
            Self::Address(_) => "address",
            Self::Addresses(_) => "address or list",
            Self::Networks(_) => "network or list",
            Self::ByteRate(_) => "byte rate",
            Self::File(_) | Self::OptionalFile(_) | Self::Secret(_) | Self::Output(_) | Self::UrlPath(_) => {
                "text"
            }
        }
    }

    /// What is allowed, in words.
    pub(super) fn allowed(&self) -> String {
        match self {
            Self::Flag(_) => "true or false".to_owned(),
            Self::Size((least, most), _) => format!("a whole number from {least} to {most}"),
            Self::Count((least, most), _) => format!("a whole number from {least} to {most}"),
            Self::Port(_) => format!("a port number from 1 to {}", u16::MAX),
            Self::Number((least, most), _) => format!("a number from {least} to {most}"),
            Self::Duration((least, most), _) => format!(
                "{} to {}, such as 500ms, 15s, 1m30s",
                show_duration(*least),
                show_duration(*most)
            ),
            Self::Choice(choice) => choice.names.join(", "),
            Self::Address(_) => "IPv4:port or [IPv6]:port, such as 127.0.0.1:9099".to_owned(),
            Self::Addresses(_) => format!(
                "IPv4:port or [IPv6]:port, such as 127.0.0.1:1234, or a list of 1 to {MAX_ADDRESSES} of them"
            ),
            Self::Networks(_) => networks::allowed(),
            Self::ByteRate(_) => byte_rate::allowed(),
            Self::File(_) => "a file path; a relative one is relative to this file".to_owned(),
            Self::OptionalFile(_) => {
                "a file path, or an empty text; a relative one is relative to this file".to_owned()
            }
            Self::Secret(_) => "an empty text, or one of visible ASCII characters".to_owned(),
            Self::Output(_) => {
                "stdout, stderr, or a file path; a relative one is relative to this file".to_owned()
            }
            Self::UrlPath(_) => "a path that begins with / and has no blank, ? or #".to_owned(),
        }
    }

    /// The value in the draft, as it would be written in the file (without quotes).
    pub(super) fn shown(&self, draft: &mut Draft) -> String {
        match self {
            Self::Flag(field) => field(draft).to_string(),
            Self::Size(_, field) => field(draft).to_string(),
            Self::Count(_, field) => field(draft).to_string(),
            Self::Port(field) => field(draft).to_string(),
            Self::Number(_, field) => format!("{:?}", field(draft)),
            Self::Duration(_, field) => show_duration(*field(draft)),
            Self::Choice(choice) => (choice.name)(draft).to_owned(),
            Self::Address(field) => field(draft).to_string(),
            Self::Addresses(field) => {
                let all: Vec<String> = field(draft).iter().map(ToString::to_string).collect();
                all.join(", ")
            }
            Self::Networks(field) => networks::shown(field(draft)),
            Self::ByteRate(field) => byte_rate::shown(*field(draft)),
            Self::File(field) => field(draft).display().to_string(),
            Self::OptionalFile(field) => {
                let path = field(draft).as_ref();
                path.map_or_else(String::new, |path| path.display().to_string())
            }
            Self::Secret(field) => field(draft).as_ref().map_or("", |_| "***").to_owned(),
            Self::Output(field) => match field(draft) {
                LogOutput::Stdout => "stdout".to_owned(),
                LogOutput::Stderr => "stderr".to_owned(),
                LogOutput::File(path) => path.display().to_string(),
            },
            Self::UrlPath(field) => field(draft).clone(),
        }
    }
}

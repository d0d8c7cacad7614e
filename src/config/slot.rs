//! One type of value: from YAML into its field, and back into words.
//!
//! A [`Slot`] is where a key's value goes and which values it takes. The same slot reads a value, says what is
//! allowed, and shows the default, so none of the three can drift from the others.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::access_log::AccessField;
use super::check::{Pattern, Statuses};
use super::http_provider::Header;
use super::http_url::HttpUrl;
use super::process::LogOutput;
use super::server::Route;
use super::server_tls::CertificateFiles;
use super::service_name::ServiceName;
use super::tree::Node;
use super::value::{
    MASK, MAX_ADDRESSES, MAX_ENTRIES, MAX_SECRET_CHARS, MAX_SERVERS, MAX_TEXT_BYTES, Refusal, address,
    addresses, duration, file_name, file_or_none, flag, http_url, integer, interface_or_none, line, lines,
    number, pattern, secret, servers, show_duration, text, url_path,
};
use super::{access_fields, addresses as own, byte_rate, certificates, headers, networks, routes, statuses};

/// The field of `D` that a value goes to.
type Field<D, T> = fn(&mut D) -> &mut T;

/// A type of value with its range (both ends allowed) and its field.
pub(super) enum Slot<D> {
    Flag(Field<D, bool>),
    Size((usize, usize), Field<D, usize>),
    Count((u32, u32), Field<D, u32>),
    Port((u16, u16), Field<D, u16>),
    Number((f64, f64), Field<D, f64>),
    Duration((Duration, Duration), Field<D, Duration>),
    /// `auto` is none.
    DurationOrAuto((Duration, Duration), Field<D, Option<Duration>>),
    Choice(Choice<D>),
    Address(Field<D, SocketAddr>),
    Addresses(Field<D, Vec<SocketAddr>>),
    /// Addresses of servers of DNS; none is allowed.
    Servers(Field<D, Vec<SocketAddr>>),
    OwnAddresses(Field<D, Vec<IpAddr>>),
    Networks(Field<D, Vec<IpNet>>),
    Routes(Field<D, Vec<Route>>),
    /// The name of a service; the empty text is none.
    ServiceOrNone(Field<D, Option<ServiceName>>),
    /// With what 0 means.
    ByteRate(&'static str, Field<D, u64>),
    File(Field<D, PathBuf>),
    /// The empty text is none.
    FileOrNone(Field<D, Option<PathBuf>>),
    Output(Field<D, LogOutput>),
    /// `off` is none.
    OutputOrOff(Field<D, Option<LogOutput>>),
    AccessFields(Field<D, Vec<AccessField>>),
    UrlPath(Field<D, String>),
    /// The empty text is none.
    InterfaceOrNone(Field<D, Option<String>>),
    /// One line of printable characters, or nothing.
    Text(Field<D, String>),
    /// The same, of which a rule lets pass what these words say.
    Plain(&'static str, Field<D, String>),
    /// Any text, or pairs of hexadecimal digits; or nothing.
    Bytes(Field<D, Pattern>),
    Statuses(Field<D, Vec<Statuses>>),
    Certificates(Field<D, Vec<CertificateFiles>>),
    /// The empty text is none. Its query is not shown.
    HttpUrl(Field<D, Option<HttpUrl>>),
    /// Shown by their names.
    Headers(Field<D, Vec<Header>>),
    /// Lines of a list of candidates.
    Entries(Field<D, Vec<String>>),
    Protocols(Field<D, Vec<String>>),
    /// Shown nowhere; the empty text is none.
    Secret(Field<D, Option<String>>),
}

/// One name out of a few.
pub(super) struct Choice<D> {
    pub(super) names: &'static [&'static str],
    pub(super) name: fn(&D) -> &'static str,
    /// Called with one of `names` only.
    pub(super) choose: fn(&mut D, &str),
}

impl<D> Slot<D> {
    /// Puts a value into its field, or leaves the field alone and says all that is wrong with the value.
    pub(super) fn fill(&self, draft: &mut D, node: &Node) -> Result<(), Vec<Refusal>> {
        match self {
            Self::Flag(field) => *field(draft) = flag(node)?,
            Self::Size(range, field) => *field(draft) = integer(node, *range)?,
            Self::Count(range, field) => *field(draft) = integer(node, *range)?,
            Self::Port(range, field) => *field(draft) = integer(node, *range)?,
            Self::Number(range, field) => *field(draft) = number(node, *range)?,
            Self::Duration(range, field) => *field(draft) = duration(node, *range)?,
            Self::DurationOrAuto(range, field) => {
                *field(draft) = match text(node) {
                    Ok("auto") => None,
                    Ok(_) | Err(_) => Some(duration(node, *range)?),
                }
            }
            Self::Choice(choice) => {
                let name = name_of_choice(node)?;
                let name = name.as_ref();
                if !choice.names.contains(&name) {
                    return Err(Refusal::because(node, "is not one of the names").into());
                }
                (choice.choose)(draft, name);
            }
            Self::Address(field) => *field(draft) = address(node)?,
            Self::Addresses(field) => *field(draft) = addresses(node)?,
            Self::Servers(field) => *field(draft) = servers(node)?,
            Self::OwnAddresses(field) => *field(draft) = own::read(node)?,
            Self::Networks(field) => *field(draft) = networks::read(node)?,
            Self::Routes(field) => *field(draft) = routes::read(node)?,
            Self::ServiceOrNone(field) => *field(draft) = routes::service_or_none(node)?,
            Self::ByteRate(_, field) => *field(draft) = byte_rate::read(node)?,
            Self::File(field) => *field(draft) = PathBuf::from(file_name(node)?),
            Self::Output(field) => *field(draft) = output(file_name(node)?),
            Self::OutputOrOff(field) => {
                let name = file_name(node)?;
                *field(draft) = (name != "off").then(|| output(name));
            }
            Self::AccessFields(field) => *field(draft) = access_fields::read(node)?,
            Self::FileOrNone(field) => *field(draft) = file_or_none(node)?.map(PathBuf::from),
            Self::UrlPath(field) => *field(draft) = url_path(node)?,
            Self::Secret(field) => *field(draft) = secret(node)?,
            Self::InterfaceOrNone(field) => *field(draft) = interface_or_none(node)?,
            Self::Text(field) | Self::Plain(_, field) => *field(draft) = line(node)?,
            Self::Bytes(field) => *field(draft) = pattern(node)?,
            Self::Statuses(field) => *field(draft) = statuses::read(node)?,
            Self::Certificates(field) => *field(draft) = certificates::read(node)?,
            Self::HttpUrl(field) => *field(draft) = http_url(node)?,
            Self::Headers(field) => *field(draft) = headers::read(node)?,
            Self::Entries(field) => *field(draft) = lines(node)?,
            Self::Protocols(field) => *field(draft) = certificates::read_protocols(node)?,
        }
        Ok(())
    }

    /// The name of the type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Size(..) | Self::Count(..) | Self::Port(..) => "integer",
            Self::Number(..) => "number",
            Self::Duration(..) => "duration",
            Self::DurationOrAuto(..) => "duration or auto",
            Self::Choice(_) => "choice",
            Self::Address(_) => "address",
            Self::Addresses(_) => "address or list",
            Self::Servers(_) => "server or list",
            Self::OwnAddresses(_) => "own address or list",
            Self::InterfaceOrNone(_) => "interface",
            Self::Networks(_) => "network or list",
            Self::Routes(_) => "route or list",
            Self::ServiceOrNone(_) => "service",
            Self::ByteRate(..) => "byte rate",
            Self::Statuses(_) => "status or list",
            Self::Certificates(_) => "list of certificates",
            Self::HttpUrl(_) => "URL",
            Self::Headers(_) => "section of texts",
            Self::Entries(_) => "list of entries",
            Self::Protocols(_) => "list of names",
            Self::AccessFields(_) => "list of fields",
            Self::File(_)
            | Self::FileOrNone(_)
            | Self::Output(_)
            | Self::OutputOrOff(_)
            | Self::UrlPath(_)
            | Self::Secret(_)
            | Self::Text(_)
            | Self::Plain(..)
            | Self::Bytes(_) => "text",
        }
    }

    /// What is allowed, in words.
    pub(super) fn allowed(&self) -> String {
        match self {
            Self::Flag(_) => "true or false".to_owned(),
            Self::Size((least, most), _) => format!("a whole number from {least} to {most}"),
            Self::Count((least, most), _) => format!("a whole number from {least} to {most}"),
            Self::Port((least, most), _) => format!("a port number from {least} to {most}"),
            Self::Number((least, most), _) => format!("a number from {least} to {most}"),
            Self::Duration(range, _) => durations(*range),
            Self::DurationOrAuto(range, _) => format!("auto, or {}", durations(*range)),
            Self::Choice(choice) => choice.names.join(", "),
            Self::Address(_) => "IPv4:port or [IPv6]:port, such as 127.0.0.1:9099".to_owned(),
            Self::Addresses(_) => format!(
                "IPv4:port or [IPv6]:port, such as 127.0.0.1:1234, or a list of 1 to {MAX_ADDRESSES} of them"
            ),
            Self::Servers(_) => format!(
                "IPv4, IPv6, IPv4:port or [IPv6]:port (without one: 53), or a list of up to {MAX_SERVERS} of them"
            ),
            Self::OwnAddresses(_) => own::allowed(),
            Self::InterfaceOrNone(_) => "empty, or 1 to 15 visible characters without / and :".to_owned(),
            Self::Networks(_) => networks::allowed(),
            Self::Routes(_) => routes::allowed(),
            Self::ServiceOrNone(_) => "empty, or the name of a service".to_owned(),
            Self::ByteRate(zero, _) => byte_rate::allowed(zero),
            Self::File(_) => "a file path; a relative one is relative to this file".to_owned(),
            Self::FileOrNone(_) => {
                "empty, or a file path; a relative one is relative to this file".to_owned()
            }
            Self::Output(_) => {
                "stdout, stderr, or a file path; a relative one is relative to this file".to_owned()
            }
            Self::UrlPath(_) => "a path that begins with / and has no blank, ? or #".to_owned(),
            Self::Secret(_) => {
                format!("empty, or a text of 1 to {MAX_SECRET_CHARS} of the visible ASCII characters")
            }
            Self::Plain(words, _) => (*words).to_owned(),
            Self::Text(_) => {
                format!("empty, or one line of 1 to {MAX_TEXT_BYTES} bytes")
            }
            Self::Bytes(_) => format!(
                "empty, or a text of 1 to {MAX_TEXT_BYTES} bytes, or hex: and pairs of digits, such as hex:0d0a"
            ),
            Self::Statuses(_) => statuses::allowed(),
            Self::Certificates(_) => certificates::allowed(),
            Self::HttpUrl(_) => {
                "empty, or a URL that begins with http:// or https://, without a user".to_owned()
            }
            Self::Headers(_) => headers::allowed(),
            Self::Entries(_) => {
                format!("a list of up to {MAX_ENTRIES} texts, such as [127.0.0.1, \"127.0.0.2:8080\"]")
            }
            Self::Protocols(_) => certificates::allowed_protocols(),
            Self::AccessFields(_) => access_fields::allowed(),
            Self::OutputOrOff(_) => {
                "off, stdout, stderr, or a file path; a relative one is relative to this file".to_owned()
            }
        }
    }

    /// Whether two drafts have different values.
    pub(super) fn differs(&self, a: &mut D, b: &mut D) -> bool {
        // What is masked looks the same.
        if let Self::Secret(field) = self {
            return field(a) != field(b);
        }
        if let Self::HttpUrl(field) = self {
            return field(a) != field(b);
        }
        if let Self::Headers(field) = self {
            return field(a) != field(b);
        }
        self.shown(a) != self.shown(b)
    }

    /// The value in the draft, as it would be written in the file (without quotes); a secret is masked.
    pub(super) fn shown(&self, draft: &mut D) -> String {
        match self {
            Self::Flag(field) => field(draft).to_string(),
            Self::Size(_, field) => field(draft).to_string(),
            Self::Count(_, field) => field(draft).to_string(),
            Self::Port(_, field) => field(draft).to_string(),
            Self::Number(_, field) => format!("{:?}", field(draft)),
            Self::Duration(_, field) => show_duration(*field(draft)),
            Self::DurationOrAuto(_, field) => field(draft).map_or_else(|| "auto".to_owned(), show_duration),
            Self::Choice(choice) => (choice.name)(draft).to_owned(),
            Self::Address(field) => field(draft).to_string(),
            Self::Servers(field) => match &field(draft)[..] {
                [one] => one.to_string(),
                all => {
                    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                    format!("[{}]", all.join(", "))
                }
            },
            Self::Addresses(field) => {
                let all: Vec<String> = field(draft).iter().map(ToString::to_string).collect();
                all.join(", ")
            }
            Self::OwnAddresses(field) => own::shown(field(draft)),
            Self::Networks(field) => networks::shown(field(draft)),
            Self::Routes(field) => routes::shown(field(draft)),
            Self::ServiceOrNone(field) => {
                let name = field(draft).as_ref();
                name.map_or_else(String::new, ToString::to_string)
            }
            Self::ByteRate(_, field) => byte_rate::shown(*field(draft)),
            Self::File(field) => field(draft).display().to_string(),
            Self::FileOrNone(field) => {
                let path = field(draft).as_ref();
                path.map_or_else(String::new, |path| path.display().to_string())
            }
            Self::Output(field) => show_output(field(draft)),
            Self::OutputOrOff(field) => {
                let output = field(draft).as_ref();
                output.map_or_else(|| "off".to_owned(), show_output)
            }
            Self::AccessFields(field) => access_fields::shown(field(draft)),
            Self::UrlPath(field) | Self::Text(field) | Self::Plain(_, field) => field(draft).clone(),
            Self::InterfaceOrNone(field) => field(draft).clone().unwrap_or_default(),
            Self::Secret(field) => {
                let masked = field(draft).as_ref().map(|_| MASK.to_owned());
                masked.unwrap_or_default()
            }
            Self::Bytes(field) => field(draft).text.clone(),
            Self::Statuses(field) => statuses::shown(field(draft)),
            Self::Certificates(field) => certificates::shown(field(draft)),
            Self::HttpUrl(field) => {
                let url = field(draft).as_ref();
                url.map_or_else(String::new, ToString::to_string)
            }
            Self::Headers(field) => headers::shown(field(draft)),
            Self::Entries(field) => format!("[{}]", field(draft).join(", ")),
            Self::Protocols(field) => certificates::shown_protocols(field(draft)),
        }
    }
}

fn output(name: &str) -> LogOutput {
    match name {
        "stdout" => LogOutput::Stdout,
        "stderr" => LogOutput::Stderr,
        path => LogOutput::File(PathBuf::from(path)),
    }
}

fn show_output(output: &LogOutput) -> String {
    match output {
        LogOutput::Stdout => "stdout".to_owned(),
        LogOutput::Stderr => "stderr".to_owned(),
        LogOutput::File(path) => path.display().to_string(),
    }
}

/// A name out of a few; those of versions look like numbers.
fn name_of_choice(node: &Node) -> Result<Cow<'_, str>, Refusal> {
    if let Node::Number(number) = node {
        return Ok(Cow::Owned(number.to_string()));
    }
    text(node).map(Cow::Borrowed)
}

fn durations((least, most): (Duration, Duration)) -> String {
    format!(
        "{} to {}, such as 500ms, 15s, 1m30s",
        show_duration(least),
        show_duration(most)
    )
}

//! A record as a line: `name=value` for each field, or a JSON object. Pure.
//!
//! Lines are put together by hand: what formats anything costs several times as much for numbers and addresses, which is
//! what a line is made of. A line is one line, and valid JSON, whatever bytes a client has sent.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::record::{Record, Via};
use super::short::{OCTETS, Short, append, four, pair};
use crate::config::{AccessField, LogFormat};

/// Appends the line of a record, with its line feed.
pub fn write(line: &mut Vec<u8>, record: &Record<'_>, format: LogFormat, fields: &[AccessField]) {
    let mut pen = Pen { line, format };
    pen.begin();
    for (place, field) in fields.iter().enumerate() {
        pen.name(*field, place);
        value(&mut pen, record, *field);
    }
    pen.end();
}

fn value(pen: &mut Pen<'_>, record: &Record<'_>, field: AccessField) {
    match field {
        AccessField::Time => pen.time(record.ended_at),
        AccessField::Service => pen.word(Some(record.service)),
        AccessField::Client => pen.addr(Some(record.client)),
        AccessField::Listener => pen.addr(record.listener),
        AccessField::Proxy => pen.addr(record.proxy),
        AccessField::Backend => pen.addr(record.backend),
        AccessField::Via => pen.word(record.via.map(Via::word)),
        AccessField::Tries => pen.number(record.tries as u64),
        AccessField::Rescued => pen.flag(record.is_rescued),
        AccessField::Raced => pen.flag(record.is_raced),
        AccessField::Wait => pen.millis(record.wait),
        AccessField::Connect => pen.millis(record.connect),
        AccessField::FirstByte => pen.millis(record.first_byte),
        AccessField::Total => pen.millis(Some(record.total)),
        AccessField::BytesUp => pen.number(record.bytes_up),
        AccessField::BytesDown => pen.number(record.bytes_down),
        AccessField::End => pen.text(Some(&record.end.code())),
        AccessField::By => pen.word(Some(record.end.by.word())),
        AccessField::Phase => pen.word(record.end.phase.map(super::end::Phase::word)),
        AccessField::Reason => pen.word(Some(record.end.reason.label())),
        AccessField::Tls => pen.text(record.tls),
        AccessField::Sni => pen.text(record.sni),
        AccessField::Alpn => pen.text(record.alpn),
        AccessField::BackendName => pen.name_of_backend(record.backend_name),
    }
}

/// The names of fields with what stands around them.
macro_rules! names {
    ($($field:ident = $name:literal,)+) => {
        fn json_name(field: AccessField) -> &'static Short<LABEL_BYTES> {
            match field {
                $(AccessField::$field => const { &Short::new(concat!(",\"", $name, "\":")) },)+
            }
        }

        fn text_name(field: AccessField) -> &'static Short<LABEL_BYTES> {
            match field {
                $(AccessField::$field => const { &Short::new(concat!(" ", $name, "=")) },)+
            }
        }
    };
}

names! {
    Time = "time",
    Service = "service",
    Client = "client",
    Listener = "listener",
    Proxy = "proxy",
    Backend = "backend",
    Via = "via",
    Tries = "tries",
    Rescued = "rescued",
    Raced = "raced",
    Wait = "wait_ms",
    Connect = "connect_ms",
    FirstByte = "first_byte_ms",
    Total = "total_ms",
    BytesUp = "bytes_up",
    BytesDown = "bytes_down",
    End = "end",
    By = "by",
    Phase = "phase",
    Reason = "reason",
    Tls = "tls",
    Sni = "sni",
    Alpn = "alpn",
    BackendName = "backend_name",
}

/// Bytes of the longest name with what stands around it, and some more: a multiple of what a processor copies at once.
const LABEL_BYTES: usize = 24;

/// Whether a byte is visible ASCII that needs no escape.
static IS_PLAIN: [bool; 256] = {
    let mut is_plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        is_plain[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    is_plain
};

/// Writes a line.
struct Pen<'l> {
    line: &'l mut Vec<u8>,
    format: LogFormat,
}

impl Pen<'_> {
    fn begin(&mut self) {
        if self.format == LogFormat::Json {
            self.line.push(b'{');
        }
    }

    fn end(&mut self) {
        let end: &[u8] = match self.format {
            LogFormat::Json => b"}\n",
            LogFormat::Text => b"\n",
        };
        self.line.extend_from_slice(end);
    }

    fn name(&mut self, field: AccessField, place: usize) {
        let name = match self.format {
            LogFormat::Json => json_name(field),
            LogFormat::Text => text_name(field),
        };
        if place == 0 {
            // What stands between two fields is not before the first.
            let name = name.as_bytes().get(1..);
            self.line.extend_from_slice(name.unwrap_or_default());
        } else {
            name.append_to(self.line);
        }
    }

    /// There is no value.
    fn nothing(&mut self) {
        let nothing: &[u8] = match self.format {
            LogFormat::Json => b"null",
            LogFormat::Text => b"-",
        };
        self.line.extend_from_slice(nothing);
    }

    /// A quotation mark around texts, where the format wants one.
    fn quote(&mut self) {
        if self.format == LogFormat::Json {
            self.line.push(b'"');
        }
    }

    /// A word of ours, in which nothing is to be escaped.
    fn word(&mut self, word: Option<&str>) {
        let Some(word) = word else { return self.nothing() };
        self.quote();
        self.line.extend_from_slice(word.as_bytes());
        self.quote();
    }

    /// Any bytes: what is no visible ASCII is escaped as in JSON, a byte each.
    fn text(&mut self, text: Option<&[u8]>) {
        let Some(text) = text else { return self.nothing() };
        let is_plain = |byte: &u8| IS_PLAIN[usize::from(*byte)];
        self.quoted(text, text.iter().all(is_plain), |_| false);
    }

    /// A name of a list, in the letters of whatever script it has.
    fn name_of_backend(&mut self, name: Option<&str>) {
        let Some(name) = name else { return self.nothing() };
        let is_plain =
            |letter: char| !letter.is_whitespace() && !letter.is_control() && !"\"\\".contains(letter);
        // What is no ASCII is part of a letter.
        self.quoted(name.as_bytes(), name.chars().all(is_plain), |byte| {
            !byte.is_ascii()
        });
    }

    /// Bytes, of which only those that are plain, or raw, need no escape. In a line of text, what would look like something
    /// else stands in quotes.
    fn quoted(&mut self, bytes: &[u8], all_plain: bool, is_raw: fn(u8) -> bool) {
        let is_quoted = self.format == LogFormat::Json || !all_plain || bytes.is_empty() || bytes == b"-";
        if is_quoted {
            self.line.push(b'"');
        }
        if all_plain {
            self.line.extend_from_slice(bytes);
        } else {
            for byte in bytes {
                if is_raw(*byte) {
                    self.line.push(*byte);
                } else {
                    self.escaped(*byte);
                }
            }
        }
        if is_quoted {
            self.line.push(b'"');
        }
    }

    fn escaped(&mut self, byte: u8) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        match byte {
            b'"' | b'\\' => self.line.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => self.line.push(byte),
            _ => {
                let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
                self.line.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }

    fn flag(&mut self, flag: bool) {
        let word: &[u8] = if flag { b"true" } else { b"false" };
        self.line.extend_from_slice(word);
    }

    fn number(&mut self, number: u64) {
        if number >= 10_000 {
            self.number(number / 10_000);
            self.line.extend_from_slice(&four(number));
        } else {
            let zeros = usize::from(number < 10) + usize::from(number < 100) + usize::from(number < 1000);
            let digits = u32::from_be_bytes(four(number)) << (8 * zeros);
            append(self.line, digits.to_be_bytes(), 4 - zeros);
        }
    }

    /// Milliseconds, to the microsecond.
    fn millis(&mut self, duration: Option<Duration>) {
        let Some(duration) = duration else {
            return self.nothing();
        };
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.number(micros / 1000);
        let [_, a, b, c] = four(micros % 1000);
        self.line.extend_from_slice(&[b'.', a, b, c]);
    }

    fn addr(&mut self, addr: Option<SocketAddr>) {
        let Some(addr) = addr else { return self.nothing() };
        self.quote();
        match addr {
            SocketAddr::V4(addr) => {
                for octet in addr.ip().octets() {
                    OCTETS[usize::from(octet)].append_to(self.line);
                }
                // It stands where a fifth octet would be.
                self.line.pop();
                self.line.push(b':');
                self.number(addr.port().into());
            }
            // Written to memory, which cannot fail.
            SocketAddr::V6(addr) => drop(write!(self.line, "{addr}")),
        }
        self.quote();
    }

    /// The wall clock as RFC 3339 in UTC, with microseconds; before 1970 is 1970.
    fn time(&mut self, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = date(days);
        let micros = u64::from(since.subsec_micros());
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (place, number) in [
            (0, year / 100),
            (2, year),
            (5, month),
            (8, day),
            (11, seconds / 3600),
            (14, seconds / 60 % 60),
            (17, seconds % 60),
            (20, micros / 10_000),
            (22, micros / 100),
            (24, micros),
        ] {
            [text[place], text[place + 1]] = pair(number);
        }
        self.quote();
        self.line.extend_from_slice(&text);
        self.quote();
    }
}

/// Year, month and day so many days after the beginning of 1970: years that begin in March, of which 400 are a cycle
/// (Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::super::end::{By, End, Phase};
    use super::*;
    use crate::relay::close::CloseReason;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn record(sni: Option<&[u8]>) -> Record<'_> {
        Record {
            ended_at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_737_599_012_345),
            service: "web",
            client: addr("192.0.2.7:50123"),
            listener: Some(addr("[2001:db8::1]:443")),
            proxy: None,
            backend: Some(addr("198.51.100.10:8443")),
            via: Some(Via::Dialled),
            tries: 1,
            is_rescued: false,
            is_raced: true,
            wait: Some(Duration::from_micros(1_002)),
            connect: Some(Duration::from_micros(999)),
            first_byte: None,
            total: Duration::from_secs(61),
            bytes_up: 0,
            bytes_down: u64::MAX,
            end: End {
                by: By::Backend,
                phase: Some(Phase::FirstByte),
                reason: CloseReason::BackendReset,
            },
            tls: Some(b"TLSv1.3"),
            sni,
            alpn: None,
            backend_name: Some("香港 \"1\""),
        }
    }

    fn line(record: &Record<'_>, format: LogFormat, fields: &[AccessField]) -> String {
        let mut line = Vec::new();
        write(&mut line, record, format, fields);
        String::from_utf8(line).expect("ASCII")
    }

    #[test]
    fn a_line_of_text_has_every_field_in_order() {
        assert_eq!(
            line(&record(Some(b"example.org")), LogFormat::Text, &AccessField::ALL),
            "time=2026-11-26T23:59:59.012345Z service=web client=192.0.2.7:50123 listener=[2001:db8::1]:443 proxy=- \
             backend=198.51.100.10:8443 via=dialled tries=1 rescued=false raced=true wait_ms=1.002 connect_ms=0.999 \
             first_byte_ms=- total_ms=61000.000 bytes_up=0 bytes_down=18446744073709551615 end=SH by=backend \
             phase=first_byte reason=backend_reset tls=TLSv1.3 sni=example.org alpn=- backend_name=\"香港 \\\"1\\\"\"\n"
        );
        let fields = [AccessField::Sni, AccessField::End];
        assert_eq!(line(&record(None), LogFormat::Text, &fields), "sni=- end=SH\n");
        for (name, shown) in [
            (None, "-"),
            (Some("hk1"), "hk1"),
            (Some("香港"), "香港"),
            (Some("-"), "\"-\""),
        ] {
            let record = Record {
                backend_name: name,
                ..record(None)
            };
            let line = line(&record, LogFormat::Text, &[AccessField::BackendName]);
            assert_eq!(line, format!("backend_name={shown}\n"));
        }
    }

    #[test]
    fn a_line_of_json_has_the_same_values() {
        let line = line(&record(Some(b"example.org")), LogFormat::Json, &AccessField::ALL);
        let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            parsed.as_object().expect("an object").len(),
            AccessField::ALL.len()
        );
        assert_eq!(parsed["time"], "2026-11-26T23:59:59.012345Z");
        assert_eq!(parsed["proxy"], serde_json::Value::Null);
        assert_eq!(parsed["wait_ms"], 1.002);
        assert_eq!(parsed["bytes_down"], u64::MAX);
        assert_eq!(parsed["raced"], true);
        assert_eq!(parsed["listener"], "[2001:db8::1]:443");
        assert_eq!(parsed["end"], "SH");
    }

    #[test]
    fn what_would_look_like_something_else_stands_in_quotes() {
        for (sni, expected) in [
            (&b""[..], r#"sni="""#),
            (b"-", r#"sni="-""#),
            (b"a b", r#"sni="a b""#),
            (b"a\"\\", r#"sni="a\"\\""#),
            (b"\n\xff", r#"sni="\u000a\u00ff""#),
        ] {
            let text = line(&record(Some(sni)), LogFormat::Text, &[AccessField::Sni]);
            assert_eq!(text, format!("{expected}\n"));
        }
    }

    #[test]
    fn each_field_is_written_under_its_name() {
        for field in AccessField::ALL {
            let text = line(&record(None), LogFormat::Text, &[field]);
            assert_eq!(text.split('=').next(), Some(field.name()));
            let json = line(&record(None), LogFormat::Json, &[field]);
            assert!(json.starts_with(&format!("{{\"{}\":", field.name())), "{json}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_783, (2026, 11, 26)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_are_those_of_the_standard_library(
            bits: u64, shift in 0_u32..64, ip: [u8; 4], port: u16,
        ) {
            let number = bits >> shift;
            let mut record = record(None);
            record.bytes_up = number;
            record.client = SocketAddr::from((ip, port));
            record.total = Duration::from_micros(number);
            let text = line(&record, LogFormat::Text, &[AccessField::BytesUp, AccessField::Client, AccessField::Total]);
            let (millis, micros) = (number / 1000, number % 1000);
            let expected = format!("bytes_up={number} client={} total_ms={millis}.{micros:03}\n", record.client);
            prop_assert_eq!(text, expected);
        }

        #[test]
        fn any_bytes_are_one_line_and_come_back(sni in any::<Vec<u8>>(), name: String, micros in any::<u32>()) {
            let mut record = record(Some(&sni));
            record.backend_name = Some(&name);
            record.ended_at = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::from(micros) << 20);
            let json = line(&record, LogFormat::Json, &AccessField::ALL);
            prop_assert_eq!(json.matches('\n').count(), 1);
            let parsed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            let back: Vec<u8> = parsed["sni"].as_str().expect("a text").chars().map(|c| c as u8).collect();
            prop_assert_eq!(&back, &sni);
            prop_assert_eq!(parsed["backend_name"].as_str(), Some(name.as_str()));
            let time = humantime::format_rfc3339_micros(record.ended_at).to_string();
            prop_assert_eq!(parsed["time"].as_str(), Some(time.as_str()));
            let text = line(&record, LogFormat::Text, &AccessField::ALL);
            prop_assert!(text.is_ascii() || !name.is_ascii());
            prop_assert_eq!(text.matches('\n').count(), 1);
        }
    }
}

//! What a certificate says of itself that no verifier tells: how long it is valid, and who has issued it. Pure.
//!
//! Reads as much of X.509 (RFC 5280, section 4.1) as that takes, from bytes that a verifier has taken for a certificate.

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    /// When it begins to be valid: seconds since 1970.
    pub(super) not_before: i64,
    /// When it ends.
    pub(super) not_after: i64,
    /// The name of who has issued it, as it is encoded.
    pub(super) issuer: &'a [u8],
    /// Its own.
    pub(super) subject: &'a [u8],
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

impl<'a> Facts<'a> {
    /// What a certificate says; none if it is no certificate.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let (whole, _) = expect(certificate, SEQUENCE)?;
        let (signed, _) = expect(whole, SEQUENCE)?;
        let rest = expect(signed, VERSION).map_or(signed, |(_, rest)| rest);
        let (_serial, rest) = expect(rest, INTEGER)?;
        let (_algorithm, rest) = expect(rest, SEQUENCE)?;
        let (issuer, rest) = expect(rest, SEQUENCE)?;
        let (validity, rest) = expect(rest, SEQUENCE)?;
        let (subject, _) = expect(rest, SEQUENCE)?;
        let (not_before, validity) = time(validity)?;
        let (not_after, _) = time(validity)?;
        Some(Self {
            not_before,
            not_after,
            issuer,
            subject,
        })
    }
}

/// The contents of the value that `bytes` begin with, which has this tag, and what follows it.
fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = value(bytes)?;
    (found == tag).then_some((contents, rest))
}

/// The tag and the contents of the value that `bytes` begin with, and what follows it.
fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(*first & 0x7f))?;
        if digits.is_empty() || digits.len() > 3 {
            return None;
        }
        let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

/// The time that `bytes` begin with, in seconds since 1970, and what follows it.
fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (tag, text, rest) = value(bytes)?;
    let text = str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = match tag {
        UTC_TIME => {
            let century = if text.get(..2)? < "50" { "20" } else { "19" };
            format!("{century}{text}")
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if digits.len() != 14 {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
    let days = days_since_1970(part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let seconds = part(8, 10)? * 3600 + part(10, 12)? * 60 + part(12, 14)?;
    Some((days * 86_400 + seconds, rest))
}

/// Days from 1970 to a date: years that begin in March, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_calendars_do() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2026, 11, 26), 20_783);
        assert_eq!(days_since_1970(1969, 12, 31), -1);
    }

    #[test]
    fn times_of_both_kinds_are_read_and_nothing_else() {
        let encoded = |tag: u8, text: &str| {
            let mut bytes = vec![tag, u8::try_from(text.len()).expect("short")];
            bytes.extend(text.as_bytes());
            bytes
        };
        let read = |tag, text| time(&encoded(tag, text)).map(|(seconds, _)| seconds);
        assert_eq!(read(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(read(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        for wrong in ["", "Z", "700101000001", "70010100000Z", "7001010000+1Z"] {
            assert_eq!(read(UTC_TIME, wrong), None, "{wrong}");
        }
        assert_eq!(read(INTEGER, "700101000001Z"), None);
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let whole = [0x30, 0x82, 0x01, 0x00, 0x30];
        for length in 0..whole.len() {
            assert_eq!(Facts::of(whole.get(..length).expect("a part")), None);
        }
    }
}

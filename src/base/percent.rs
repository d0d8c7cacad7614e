//! Percent-encoding of URLs, undone. Pure.

/// The text that is meant; none where an escape is cut short or is no number, or where the bytes are no text.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => hex(left.next()?)? << 4 | hex(left.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_or_refused() {
        assert_eq!(decode("p%40s%e4%bd%a0+").as_deref(), Some("p@s你+"));
        for wrong in ["%", "%4", "%zz", "%+f", "%ff"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}

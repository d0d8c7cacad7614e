//! Lines of a text in UTF-8, or in UTF-16 with a byte order mark. Bounded: no more of a line is held than is looked at.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes of a line that are looked at: a few thousand entries.
pub(super) const LINE_BOUND: usize = 64 * 1024;

/// Calls back for each line, without its end; of one that is longer than [`LINE_BOUND`], with one byte more than that.
///
/// # Errors
/// When the source cannot be read.
pub(super) fn for_each(mut source: impl BufRead, line: impl FnMut(&[u8])) -> io::Result<()> {
    let mut mark = Vec::with_capacity(2);
    source.by_ref().take(2).read_to_end(&mut mark)?;
    match mark[..] {
        [0xff, 0xfe] => walk(BufReader::new(Utf16::new(source, u16::from_le_bytes)), line),
        [0xfe, 0xff] => walk(BufReader::new(Utf16::new(source, u16::from_be_bytes)), line),
        _ => walk(mark.as_slice().chain(source), line),
    }
}

fn walk(mut source: impl BufRead, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    let mut is_first = true;
    while next(&mut source, &mut line)? {
        let text = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| is_first);
        each(text.unwrap_or(&line));
        is_first = false;
    }
    Ok(())
}

/// Reads one line, or as much of it as is looked at and one byte; false at the end.
fn next(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let bound = u64::try_from(LINE_BOUND + 1).unwrap_or(u64::MAX);
    if source.by_ref().take(bound).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LINE_BOUND {
        source.skip_until(b'\n')?;
    }
    Ok(true)
}

/// The text of a line in whatever encoding: what is not UTF-8 becomes U+FFFD, and so does the byte behind one that is not
/// ASCII, which in GBK, Big5 and Shift JIS belongs to it and may look like a separator.
pub(super) fn legible(line: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(line) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte.is_ascii() {
            text.push(char::from(byte));
        } else {
            let _second = bytes.next_if(|byte| *byte >= 0x40);
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Cow::Owned(text)
}

/// UTF-16 as UTF-8; what is no character becomes U+FFFD.
struct Utf16<R> {
    source: R,
    unit: fn([u8; 2]) -> u16,
    /// A unit that was read, and belongs to the next character.
    held: Option<u16>,
    /// Bytes of a character that are still to be handed out.
    ready: Vec<u8>,
}

impl<R: BufRead> Utf16<R> {
    fn new(source: R, unit: fn([u8; 2]) -> u16) -> Self {
        Self {
            source,
            unit,
            held: None,
            ready: Vec::new(),
        }
    }

    fn next_unit(&mut self) -> io::Result<Option<u16>> {
        if let Some(unit) = self.held.take() {
            return Ok(Some(unit));
        }
        let mut bytes = [0; 2];
        let mut filled = 0;
        for byte in &mut bytes {
            filled += self.source.read(std::slice::from_mut(byte))?;
        }
        Ok(match filled {
            0 => None,
            1 => Some(0xfffd),
            _ => Some((self.unit)(bytes)),
        })
    }

    fn next_character(&mut self) -> io::Result<Option<char>> {
        let Some(unit) = self.next_unit()? else {
            return Ok(None);
        };
        let is_high = (0xd800..0xdc00).contains(&unit);
        let second = if is_high { self.next_unit()? } else { None };
        let mut decoded = char::decode_utf16([unit].into_iter().chain(second));
        let character = decoded.next().and_then(Result::ok);
        if character.is_none() {
            self.held = second;
        }
        Ok(Some(character.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let room = into.len();
        while self.ready.len() < room {
            let Some(character) = self.next_character()? else {
                break;
            };
            self.ready
                .extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        let count = self.ready.len().min(room);
        for (place, byte) in into.iter_mut().zip(self.ready.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for_each(bytes, |line| lines.push(legible(line).into_owned())).expect("memory can be read");
        lines
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    #[test]
    fn utf_16_is_read_like_utf_8() {
        let text = "10.0.0.1#香港 𝄞\r\n10.0.0.2";
        for bytes in [utf16(text, u16::to_le_bytes), utf16(text, u16::to_be_bytes)] {
            assert_eq!(lines(&bytes), ["10.0.0.1#香港 𝄞\r", "10.0.0.2"]);
        }
        let long = "香".repeat(100_000) + "\nend";
        let lines = lines(&utf16(&long, u16::to_le_bytes));
        assert_eq!((lines.len(), lines[1].as_str()), (2, "end"));
    }

    #[test]
    fn what_is_no_utf_16_becomes_a_replacement() {
        let bytes = [
            utf16("a", u16::to_le_bytes),
            vec![0x00, 0xd8, b'b', 0, 0x00, 0xdc, b'c'],
        ]
        .concat();
        assert_eq!(lines(&bytes), ["a\u{fffd}b\u{fffd}\u{fffd}"]);
        assert_eq!(lines(b"\xff\xfe"), [""; 0]);
        assert_eq!(lines(b"\xff"), ["\u{fffd}"]);
    }

    #[test]
    fn second_bytes_of_other_encodings_are_no_separators() {
        // 0x8d 0x7c is one character of GBK; 0x7c alone is `|`.
        assert_eq!(lines(b"\x8d|10.0.0.1|443"), ["\u{fffd}10.0.0.1|443"]);
        assert_eq!(lines(b"10.0.0.1,\xcf\xe3\xb8\xdb"), ["10.0.0.1,\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn only_the_first_line_may_begin_with_a_mark_and_no_line_is_held_whole() {
        assert_eq!(lines(b"\xef\xbb\xbfa\n\xef\xbb\xbfb"), ["a", "\u{feff}b"]);
        let text = [b"x".repeat(1 << 20).as_slice(), b"\nend\n"].concat();
        let lines = lines(&text);
        assert_eq!(
            (lines[0].len(), lines[1].as_str(), lines.len()),
            (LINE_BOUND + 1, "end", 2)
        );
    }
}

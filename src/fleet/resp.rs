//! The protocol of a Redis (RESP2), bounded. Pure.
//!
//! Invariants: an answer takes at most [`MOST_BYTES`] of memory, whatever it promises; what is no answer is a fault, never a wait.

/// Bytes of one answer.
pub const MOST_BYTES: usize = 256 * 1024;

/// Parts of one list, and lists in lists.
const MOST_PARTS: usize = 4096;
const MOST_DEPTH: usize = 4;

/// Bytes of the line that begins a value.
const MOST_LINE: usize = 512;

/// A value of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number.
    Number(i64),
    /// Words, or bytes.
    Bytes(Vec<u8>),
    /// What is wrong.
    Error(String),
    /// A list.
    List(Vec<Value>),
}

impl Value {
    /// Its bytes, if it has any.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Null | Self::Number(_) | Self::Error(_) | Self::List(_) => None,
        }
    }

    /// Its parts; none if it is no list.
    #[must_use]
    pub fn parts(&self) -> &[Self] {
        match self {
            Self::List(parts) => parts,
            Self::Null | Self::Number(_) | Self::Error(_) | Self::Bytes(_) => &[],
        }
    }

    /// It as a decimal number.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.bytes()?).ok()?.parse().ok()
    }
}

/// Appends a command.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n", word.len()).bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whatever is no answer of a Redis, or too long a one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

/// The first value of `bytes` and its length; none if it is not there as a whole yet.
///
/// # Errors
/// When there is none, or one beyond a bound.
pub fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, NoAnswer> {
    let mut cursor = Cursor {
        bytes,
        at: 0,
        parts: 0,
    };
    let value = cursor.value(0)?;
    if value.is_none() && bytes.len() >= MOST_BYTES {
        return Err(NoAnswer);
    }
    Ok(value.map(|value| (value, cursor.at)))
}

struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
    parts: usize,
}

impl Cursor<'_> {
    fn value(&mut self, depth: usize) -> Result<Option<Value>, NoAnswer> {
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let (kind, words) = line.split_at_checked(1).ok_or(NoAnswer)?;
        let number = || words.parse::<i64>().map_err(|_| NoAnswer);
        Ok(Some(match kind {
            "+" => Value::Bytes(words.as_bytes().to_vec()),
            "-" => Value::Error(words.to_owned()),
            ":" => Value::Number(number()?),
            "$" => match number()? {
                -1 => Value::Null,
                length => {
                    let length = usize::try_from(length)
                        .ok()
                        .filter(|length| *length <= MOST_BYTES);
                    let length = length.ok_or(NoAnswer)?;
                    let rest = self.bytes.get(self.at..).unwrap_or_default();
                    let Some(whole) = rest.get(..length + 2) else {
                        return Ok(None);
                    };
                    let (words, end) = whole.split_at(length);
                    if end != b"\r\n" {
                        return Err(NoAnswer);
                    }
                    self.at += length + 2;
                    Value::Bytes(words.to_vec())
                }
            },
            "*" => match number()? {
                -1 => Value::Null,
                count => {
                    let count = usize::try_from(count).map_err(|_| NoAnswer)?;
                    self.parts = self.parts.saturating_add(count);
                    if self.parts > MOST_PARTS || depth >= MOST_DEPTH {
                        return Err(NoAnswer);
                    }
                    let mut parts = Vec::new();
                    for _ in 0..count {
                        let Some(part) = self.value(depth + 1)? else {
                            return Ok(None);
                        };
                        parts.push(part);
                    }
                    Value::List(parts)
                }
            },
            _ => return Err(NoAnswer),
        }))
    }

    fn line(&mut self) -> Result<Option<String>, NoAnswer> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let seen = rest.get(..MOST_LINE).unwrap_or(rest);
        let Some(end) = seen.windows(2).position(|two| two == b"\r\n") else {
            return if seen.len() >= MOST_LINE {
                Err(NoAnswer)
            } else {
                Ok(None)
            };
        };
        self.at += end + 2;
        let line = seen.get(..end).unwrap_or_default();
        String::from_utf8(line.to_vec()).map(Some).map_err(|_| NoAnswer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whatever_comes_at_once() {
        let whole = b"*3\r\n$2\r\nab\r\n:-7\r\n*2\r\n$-1\r\n+OK\r\n-ERR no\r\n";
        for end in 0..whole.len() - 9 {
            assert_eq!(parse(&whole[..end]), Ok(None), "{end}");
        }
        let (value, length) = parse(whole).expect("sound").expect("whole");
        let inner = Value::List(vec![Value::Null, Value::Bytes(b"OK".to_vec())]);
        let expected = vec![Value::Bytes(b"ab".to_vec()), Value::Number(-7), inner];
        assert_eq!((value, length), (Value::List(expected), whole.len() - 9));
        let (error, _) = parse(&whole[length..]).expect("sound").expect("whole");
        assert_eq!(error, Value::Error("ERR no".to_owned()));
    }

    #[test]
    fn what_is_beyond_a_bound_is_refused_before_it_comes() {
        let deep = b"*1\r\n".repeat(6);
        let line = [b'+'; MOST_LINE];
        for wrong in [
            b"$999999999999\r\n".as_slice(),
            b"$-2\r\n",
            b"*5000\r\n",
            b"*9999999999999999999999\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"\r\n",
            b"$1\r\nabc",
            b":x\r\n",
            b"+\xff\r\n",
            &deep,
            &line,
        ] {
            assert_eq!(parse(wrong), Err(NoAnswer), "{}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn commands_are_lists_of_words() {
        let mut out = Vec::new();
        command(&mut out, &[b"GET", b"a\r\n"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n");
    }
}

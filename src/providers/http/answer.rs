//! One answer as it comes, and what it is to who asks for a list. Pure.
//!
//! Invariants, whatever comes: no more of a body is kept than [`MOST_BYTES`], of heads [`MOST_HEAD_BYTES`]; a list that was cut
//! off, or of whose length the answer says two things, is none.

use std::fmt;
use std::time::Duration;

use crate::base::http_parts::{Chunks, end_of_head, values};

/// Bytes of a list.
pub const MOST_BYTES: usize = 16 << 20;

/// Most bytes of a body as it comes: what stands around chunks must not be more than what is in them.
const MOST_RAW_BYTES: usize = 2 * MOST_BYTES;

/// Bytes of the heads of an answer.
pub const MOST_HEAD_BYTES: usize = 32 << 10;

/// Headers of an answer.
const MOST_HEADERS: usize = 128;

/// Bytes of what tells one version of a list from another, and of where a redirect leads to.
const MOST_VALUE_BYTES: usize = 4096;

/// The longest time that a server which refuses may ask for.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// What tells one version of a list from another, in the server's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Whether there is nothing to be asked with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// What an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The list, and what tells it from other versions.
    List(Vec<u8>, Validators),
    /// It is what it was.
    Unchanged,
    /// It is elsewhere: a reference to where.
    Elsewhere(String),
}

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not HTTP.
    NoHttp,
    /// Its heads are too long.
    LongHead,
    /// Another status than is wanted, and when to ask again, if the server says so.
    Status(u16, Option<Duration>),
    /// It says that nothing has changed, and was not asked whether something has.
    Unasked,
    /// A redirect that leads nowhere.
    Nowhere,
    /// It is compressed, which was not asked for.
    Compressed,
    /// It says two things about its length, or one that cannot be.
    Contradiction,
    /// It is too long.
    TooLong,
    /// It ends too early.
    Cut,
    /// It goes on behind its end.
    Beyond,
    /// Its chunks are broken.
    Chunks,
}

impl fmt::Display for Fault {
    /// Behind the name of the server.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHttp => f.write_str("does not answer by HTTP"),
            Self::LongHead => write!(
                f,
                "answers with a head of more than {} KiB",
                MOST_HEAD_BYTES >> 10
            ),
            Self::Status(status, _) => write!(f, "answers with status {status}"),
            Self::Unasked => {
                f.write_str("answers with status 304, and was not asked whether the list has changed")
            }
            Self::Nowhere => f.write_str("redirects to nowhere"),
            Self::Compressed => f.write_str("answers compressed, which it was not asked for"),
            Self::Contradiction => f.write_str("says two things about the length of the list"),
            Self::TooLong => write!(f, "sends more than {} MiB", MOST_BYTES >> 20),
            Self::Cut => f.write_str("ends before the list does"),
            Self::Beyond => f.write_str("sends more than it says that there is"),
            Self::Chunks => f.write_str("sends broken chunks"),
        }
    }
}

/// An answer while it comes.
#[derive(Debug)]
pub struct Answer {
    /// Whether it was asked whether the list has changed.
    is_conditional: bool,
    /// What of the heads has come, and how much of it was looked at.
    head: Vec<u8>,
    looked_at: usize,
    /// Bytes of heads that others followed.
    before: usize,
    body: Option<(Body, Validators)>,
    text: Vec<u8>,
    /// Bytes of the body as they came, with what stands around chunks.
    came: usize,
}

/// A body while it comes.
#[derive(Debug)]
enum Body {
    /// So many bytes are to come.
    Counted(usize),
    /// It is in chunks.
    Chunked(Chunks),
    /// It ends with the connection.
    ToTheEnd,
}

/// What a head says.
enum Head {
    /// Another one follows.
    Interim,
    /// All there is to know.
    Done(Outcome),
    /// A list follows.
    List(Body, Validators),
}

impl Answer {
    /// Nothing has come yet; `is_conditional`: it was asked whether the list has changed.
    #[must_use]
    pub fn new(is_conditional: bool) -> Self {
        Self {
            is_conditional,
            head: Vec::new(),
            looked_at: 0,
            before: 0,
            body: None,
            text: Vec::new(),
            came: 0,
        }
    }

    /// Takes in the next bytes; what the answer is, once that is known.
    ///
    /// # Errors
    /// Why it is none.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Outcome>, Fault> {
        if self.body.is_some() {
            return self.read(bytes);
        }
        self.head.extend_from_slice(bytes);
        while let Some(end) = end_of_head(&self.head, self.looked_at) {
            if self.before + end > MOST_HEAD_BYTES {
                return Err(Fault::LongHead);
            }
            let rest = self.head.split_off(end);
            let head = std::mem::replace(&mut self.head, rest);
            self.looked_at = 0;
            match self.judge(&head)? {
                Head::Interim => self.before += head.len(),
                Head::Done(outcome) => return Ok(Some(outcome)),
                Head::List(body, validators) => {
                    self.body = Some((body, validators));
                    let rest = std::mem::take(&mut self.head);
                    return self.read(&rest);
                }
            }
        }
        self.looked_at = self.head.len();
        if self.before + self.head.len() > MOST_HEAD_BYTES {
            return Err(Fault::LongHead);
        }
        Ok(None)
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// Why it is no answer.
    pub fn end(&mut self) -> Result<Outcome, Fault> {
        match self.body.take() {
            Some((Body::ToTheEnd, validators)) => {
                Ok(Outcome::List(std::mem::take(&mut self.text), validators))
            }
            Some((Body::Counted(_) | Body::Chunked(_), _)) => Err(Fault::Cut),
            None if self.head.is_empty() || self.head.starts_with(b"HTTP/") => Err(Fault::Cut),
            None => Err(Fault::NoHttp),
        }
    }

    fn judge(&self, head: &[u8]) -> Result<Head, Fault> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(_)) = answer.parse(head) else {
            return Err(Fault::NoHttp);
        };
        let status = answer.code.unwrap_or_default();
        let headers = Headers(answer.headers);
        match status {
            100 | 102..=199 => Ok(Head::Interim),
            200 => {
                let is_plain = |value: String| value.is_empty() || value.eq_ignore_ascii_case("identity");
                if !headers.all("content-encoding").all(is_plain) {
                    return Err(Fault::Compressed);
                }
                let validators = Validators {
                    etag: headers.short("etag"),
                    last_modified: headers.short("last-modified"),
                };
                Ok(Head::List(headers.body()?, validators))
            }
            304 if self.is_conditional => Ok(Head::Done(Outcome::Unchanged)),
            304 => Err(Fault::Unasked),
            301 | 302 | 303 | 307 | 308 => {
                let location = headers.short("location").ok_or(Fault::Nowhere)?;
                Ok(Head::Done(Outcome::Elsewhere(location)))
            }
            other => {
                let seconds = headers.short("retry-after").and_then(|value| value.parse().ok());
                let retry = seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY));
                Err(Fault::Status(other, retry))
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<Outcome>, Fault> {
        let Some((body, validators)) = &mut self.body else {
            return Ok(None);
        };
        let is_over = match body {
            Body::Counted(left) => {
                *left = left.checked_sub(bytes.len()).ok_or(Fault::Beyond)?;
                self.text.extend_from_slice(bytes);
                *left == 0
            }
            Body::ToTheEnd => {
                self.text.extend_from_slice(bytes);
                false
            }
            Body::Chunked(chunks) => {
                chunks.decode(bytes, &mut self.text);
                match chunks {
                    Chunks::Size(_) | Chunks::Data(_) | Chunks::Gap(_) => false,
                    Chunks::Over => true,
                    Chunks::Broken => return Err(Fault::Chunks),
                }
            }
        };
        self.came += bytes.len();
        if self.text.len() > MOST_BYTES || self.came > MOST_RAW_BYTES {
            return Err(Fault::TooLong);
        }
        if !is_over {
            return Ok(None);
        }
        let validators = std::mem::take(validators);
        Ok(Some(Outcome::List(std::mem::take(&mut self.text), validators)))
    }
}

/// The headers of an answer.
struct Headers<'a, 'b>(&'a [httparse::Header<'b>]);

impl Headers<'_, '_> {
    /// All values of a header, without blanks around them, as far as they are text.
    fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = String> + 's {
        values(self.0, name).map(|value| value.trim().to_owned())
    }

    /// The first value of a header, if it can be said again.
    fn short(&self, name: &str) -> Option<String> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let value = self.all(name).next()?;
        let can_be_said = (1..=MOST_VALUE_BYTES).contains(&value.len()) && value.bytes().all(is_plain);
        can_be_said.then_some(value)
    }

    /// The body that follows (RFC 9112, section 6.3), which must say one thing about its length.
    fn body(&self) -> Result<Body, Fault> {
        let codings: Vec<String> = self.all("transfer-encoding").collect();
        let lengths: Vec<String> = self.all("content-length").collect();
        match (&codings[..], &lengths[..]) {
            ([], []) => Ok(Body::ToTheEnd),
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Body::Chunked(Chunks::default())),
            ([], [first, ..]) => {
                let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
                if !is_number || lengths.iter().any(|other| other != first) {
                    return Err(Fault::Contradiction);
                }
                match first.parse() {
                    Ok(length) if length <= MOST_BYTES => Ok(Body::Counted(length)),
                    Ok(_) | Err(_) => Err(Fault::TooLong),
                }
            }
            _ => Err(Fault::Contradiction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an answer is that comes in pieces of this size and ends.
    fn in_pieces(answer: &[u8], piece: usize, is_conditional: bool) -> Result<Outcome, Fault> {
        let mut reading = Answer::new(is_conditional);
        for bytes in answer.chunks(piece) {
            if let Some(outcome) = reading.feed(bytes)? {
                return Ok(outcome);
            }
        }
        reading.end()
    }

    /// The same in pieces of every size; of a list, its text.
    fn read(answer: &str) -> Result<String, Fault> {
        let whole = in_pieces(answer.as_bytes(), answer.len().max(1), true);
        for piece in 1..answer.len().min(80) {
            let pieces = in_pieces(answer.as_bytes(), piece, true);
            // What comes behind the end is seen if it comes with it.
            if whole != Err(Fault::Beyond) {
                assert_eq!(pieces, whole, "in pieces of {piece}");
            }
        }
        whole.map(|outcome| match outcome {
            Outcome::List(bytes, _) => String::from_utf8(bytes).expect("text"),
            Outcome::Unchanged => "unchanged".to_owned(),
            Outcome::Elsewhere(place) => format!("at {place}"),
        })
    }

    #[test]
    fn lists_come_counted_in_chunks_and_to_the_end() {
        let counted = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n127.0.0.1";
        assert_eq!(read(counted).as_deref(), Ok("127.0.0.1"));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n4;x=y\r\n127.\r\n5\r\n0.0.1\r\n0\r\n\r\n";
        assert_eq!(read(chunked).as_deref(), Ok("127.0.0.1"));
        let to_the_end = "HTTP/1.0 200 OK\n\n127.0.0.1\n";
        assert_eq!(read(to_the_end).as_deref(), Ok("127.0.0.1\n"));
        let interim = format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{counted}");
        assert_eq!(read(&interim).as_deref(), Ok("127.0.0.1"));
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").as_deref(),
            Ok("")
        );
    }

    #[test]
    fn versions_are_told_from_each_other() {
        let answer = "HTTP/1.1 200 OK\r\nETag: W/\"1\"\r\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n";
        let outcome = in_pieces(answer.as_bytes(), 1000, false);
        let validators = Validators {
            etag: Some("W/\"1\"".to_owned()),
            last_modified: Some("Thu, 01 Jan 1970 00:00:00 GMT".to_owned()),
        };
        assert!(!validators.is_empty());
        assert_eq!(outcome, Ok(Outcome::List(Vec::new(), validators)));
        let odd = "HTTP/1.1 200 OK\r\nETag: \"\u{e4}\"\r\nContent-Length: 0\r\n\r\n";
        let outcome = in_pieces(odd.as_bytes(), 1000, false);
        assert_eq!(outcome, Ok(Outcome::List(Vec::new(), Validators::default())));
        let unchanged = b"HTTP/1.1 304 Not Modified\r\n\r\n";
        assert_eq!(in_pieces(unchanged, 100, true), Ok(Outcome::Unchanged));
        assert_eq!(in_pieces(unchanged, 100, false), Err(Fault::Unasked));
    }

    #[test]
    fn redirects_lead_somewhere() {
        for status in [301, 302, 303, 307, 308] {
            let answer = format!("HTTP/1.1 {status} x\r\nLocation: /b?c\r\nContent-Length: 100\r\n\r\n");
            assert_eq!(read(&answer).as_deref(), Ok("at /b?c"));
        }
        assert_eq!(read("HTTP/1.1 302 x\r\n\r\n"), Err(Fault::Nowhere));
        assert_eq!(read("HTTP/1.1 302 x\r\nLocation: \r\n\r\n"), Err(Fault::Nowhere));
    }

    #[test]
    fn what_stands_around_chunks_is_bounded_too() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("1;{}\r\nx\r\n", "y".repeat(1_000));
        let chunks = MOST_RAW_BYTES / chunk.len() + 1;
        let endless = format!("{head}{}", chunk.repeat(chunks));
        assert_eq!(in_pieces(endless.as_bytes(), 4096, false), Err(Fault::TooLong));
    }

    #[test]
    fn what_is_no_answer_says_why() {
        let head = "HTTP/1.1 200 OK\r\n";
        let length = |text: &str| format!("{head}Content-Length: {text}\r\n\r\n127.0.0.1");
        for (answer, fault) in [
            (String::new(), Fault::Cut),
            ("SSH-2.0-x\r\n".to_owned(), Fault::NoHttp),
            ("SSH-2.0-x\r\n\r\n".to_owned(), Fault::NoHttp),
            (head.to_owned(), Fault::Cut),
            (length("10"), Fault::Cut),
            (length("8"), Fault::Beyond),
            (length("9, 9"), Fault::Contradiction),
            (length("-9"), Fault::Contradiction),
            (length("0x9"), Fault::Contradiction),
            (length("9\r\nContent-Length: 8"), Fault::Contradiction),
            (length("9\r\nTransfer-Encoding: chunked"), Fault::Contradiction),
            (length("10000000000"), Fault::TooLong),
            (length("99999999999999999999999999"), Fault::TooLong),
            (
                format!("{head}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
                Fault::Contradiction,
            ),
            (
                format!("{head}Transfer-Encoding: chunked\r\n\r\n9\r\n127.0.0.1\r\n"),
                Fault::Cut,
            ),
            (
                format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\n127.0.0.1\r\n0\r\n\r\n"),
                Fault::Chunks,
            ),
            (
                format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
                Fault::Chunks,
            ),
            (
                format!("{head}Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"),
                Fault::Compressed,
            ),
            (
                "HTTP/1.1 503 x\r\nRetry-After: 120\r\n\r\n".to_owned(),
                Fault::Status(503, Some(Duration::from_secs(120))),
            ),
            (
                "HTTP/1.1 429 x\r\nRetry-After: 9999999\r\n\r\n".to_owned(),
                Fault::Status(429, Some(LONGEST_RETRY)),
            ),
            ("HTTP/1.1 404 x\r\n\r\n".to_owned(), Fault::Status(404, None)),
            ("HTTP/1.1 206 x\r\n\r\n".to_owned(), Fault::Status(206, None)),
            ("HTTP/1.1 101 x\r\n\r\n".to_owned(), Fault::Status(101, None)),
        ] {
            assert_eq!(read(&answer), Err(fault), "{answer:?}");
        }
    }

    #[test]
    fn heads_without_end_and_bodies_without_end_are_bounded() {
        let mut answer = Answer::new(false);
        let mut fed = 0;
        let fault = loop {
            fed += 1;
            match answer.feed(b"HTTP/1.1 100 Continue\r\n\r\n") {
                Ok(None) => {}
                Ok(Some(outcome)) => panic!("{outcome:?}"),
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault, Fault::LongHead);
        assert!(fed < 2000, "{fed}");
        let mut answer = Answer::new(false);
        answer.feed(b"HTTP/1.1 200 OK\r\n").expect("a line");
        let line = [b'x'; 1000];
        let fault = (0..100).find_map(|_| answer.feed(&line).err());
        assert_eq!(fault, Some(Fault::LongHead));
        let mut answer = Answer::new(false);
        answer.feed(b"HTTP/1.1 200 OK\r\n\r\n").expect("a head");
        let piece = vec![b'x'; 1 << 20];
        let fault = (0..100).position(|_| answer.feed(&piece) == Err(Fault::TooLong));
        assert_eq!(fault, Some(16));
    }
}

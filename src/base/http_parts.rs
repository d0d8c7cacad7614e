//! Parts of messages by HTTP/1, found as they come: where a head ends; bodies in chunks (RFC 9112, section 7.1). Pure.

/// Characters of the line before a chunk: its size and extensions.
const LONGEST_LINE: usize = 1024;

/// Where in a chunked body a decoder is.
#[derive(Debug)]
pub(crate) enum Chunks {
    /// In the line that says how long the next chunk is.
    Size(Vec<u8>),
    /// In a chunk; so much of it is to come.
    Data(u64),
    /// In the line break behind a chunk; so much of it is to come.
    Gap(u8),
    /// Behind the last chunk.
    Over,
    /// In what is no such body.
    Broken,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size(Vec::new())
    }
}

impl Chunks {
    /// Decodes the next bytes, and adds what they say to `text`.
    pub(crate) fn decode(&mut self, mut bytes: &[u8], text: &mut Vec<u8>) {
        while let Some((first, rest)) = bytes.split_first() {
            *self = match std::mem::replace(self, Self::Broken) {
                Self::Size(mut line) => {
                    bytes = rest;
                    line.push(*first);
                    if *first == b'\n' {
                        Self::after_size(&line)
                    } else if line.len() < LONGEST_LINE {
                        Self::Size(line)
                    } else {
                        Self::Broken
                    }
                }
                Self::Data(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    text.extend_from_slice(&bytes[..count]);
                    bytes = &bytes[count..];
                    match left - count as u64 {
                        0 => Self::Gap(2),
                        left => Self::Data(left),
                    }
                }
                Self::Gap(left) => {
                    bytes = rest;
                    match (*first, left) {
                        (b'\r', 2) => Self::Gap(1),
                        (b'\n', _) => Self::default(),
                        _ => Self::Broken,
                    }
                }
                end @ (Self::Over | Self::Broken) => {
                    *self = end;
                    return;
                }
            };
        }
    }

    fn after_size(line: &[u8]) -> Self {
        match httparse::parse_chunk_size(line) {
            Ok(httparse::Status::Complete((_, 0))) => Self::Over,
            Ok(httparse::Status::Complete((_, size))) => Self::Data(size),
            Ok(httparse::Status::Partial) | Err(_) => Self::Broken,
        }
    }
}

/// Whether a text is a token (RFC 9110, section 5.6.2), as names of methods and headers are.
pub(crate) fn is_token(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_inside)
}

/// The values of a header, as far as they are text.
pub(crate) fn values<'a>(
    headers: &'a [httparse::Header<'_>],
    name: &'a str,
) -> impl Iterator<Item = String> + 'a {
    let of_name = headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name));
    of_name.map(|header| String::from_utf8_lossy(header.value).into_owned())
}

/// Where the head ends that begins the text, of which so much was looked at before.
pub(crate) fn end_of_head(text: &[u8], looked_at: usize) -> Option<usize> {
    let from = looked_at.saturating_sub(2);
    (from..text.len()).find_map(|at| {
        let rest = &text[at..];
        let ends = |mark: &[u8]| rest.starts_with(mark).then_some(at + mark.len());
        ends(b"\n\r\n").or_else(|| ends(b"\n\n"))
    })
}

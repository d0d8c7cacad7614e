//! The candidate list as text: lines, comments, files.
//!
//! Owns the line structure and all errors of a list, each with its line. One entry a line; blank lines and
//! `#` comments, whole or trailing, are skipped; a UTF-8 byte order mark and CRLF are fine. Reads as a
//! stream: neither the text nor a bad line is held as a whole.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::entry::{self, Problem};
use super::set::{Builder, CandidateSet};

/// Bytes of a line that are looked at; an entry has at most 52.
const LINE_BOUND: usize = 4096;

/// Bad lines that are reported one by one; of more, the number is given.
const REPORTED_BOUND: usize = 10_000;

/// Characters of a bad line that are shown.
const SHOWN_CHARS: usize = 60;

/// A line that holds no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// How it begins.
    pub text: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}`: {}", self.line, self.text, self.problem)
    }
}

/// What is wrong with the text of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListErrors {
    /// No line holds an entry.
    Empty,
    /// These lines are bad.
    Lines {
        /// The first 10,000 of them, in order.
        bad: Vec<BadLine>,
        /// How many more there are.
        unreported: u64,
    },
}

impl fmt::Display for ListErrors {
    /// One line of text per bad line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(
                f,
                "the list holds no candidate; each line may be {}",
                entry::FORMS
            ),
            Self::Lines { bad, unreported } => {
                for (at, bad) in bad.iter().enumerate() {
                    if at > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "{bad}")?;
                }
                if *unreported > 0 {
                    write!(f, "\nand {unreported} more bad lines")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ListErrors {}

/// Why there is no candidate set.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read, but its text is wrong.
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        errors: ListErrors,
    },
}

impl fmt::Display for LoadError {
    /// One line of text per error, each beginning with the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(f, "{}: cannot read the candidate list: {source}", path.display())
            }
            Self::Bad { path, errors } => {
                let text = errors.to_string();
                for (at, line) in text.lines().enumerate() {
                    if at > 0 {
                        writeln!(f)?;
                    }
                    write!(f, "{}: {line}", path.display())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Bad { errors, .. } => Some(errors),
        }
    }
}

impl CandidateSet {
    /// Reads a list; entries without a port take `default_port`.
    ///
    /// # Errors
    /// When a line is bad (all bad lines are in the error) or no line holds an entry.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, ListErrors> {
        parse(text, default_port)
    }
}

/// Reads a list; entries without a port take `default_port`.
///
/// # Errors
/// When a line is bad (all bad lines are in the error) or no line holds an entry.
pub fn parse(text: &str, default_port: u16) -> Result<CandidateSet, ListErrors> {
    // Reading from memory cannot fail; an error would count as the end of the text.
    read(text.as_bytes(), default_port).unwrap_or(Err(ListErrors::Empty))
}

/// Reads a list file; entries without a port take `default_port`.
///
/// # Errors
/// When the file cannot be read, a line is bad (all bad lines are in the error), or no line holds an entry.
pub fn load(path: &Path, default_port: u16) -> Result<CandidateSet, LoadError> {
    let read =
        File::open(path).and_then(|file| read(BufReader::with_capacity(64 * 1024, file), default_port));
    match read {
        Ok(Ok(set)) => Ok(set),
        Ok(Err(errors)) => Err(LoadError::Bad {
            path: path.to_owned(),
            errors,
        }),
        Err(source) => Err(LoadError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read(mut source: impl BufRead, default_port: u16) -> io::Result<Result<CandidateSet, ListErrors>> {
    let mut builder = Builder::default();
    let mut bad = Vec::new();
    let mut unreported = 0;
    let mut number = 0;
    let mut line = Vec::new();
    while next_line(&mut source, &mut line)? {
        number += 1;
        let Err(problem) = read_line(&line, number, default_port, &mut builder) else {
            continue;
        };
        if bad.len() < REPORTED_BOUND {
            bad.push(BadLine {
                line: number,
                text: excerpt(&line),
                problem,
            });
        } else {
            unreported += 1;
        }
        if problem == Problem::Utf16 {
            break;
        }
    }
    Ok(if !bad.is_empty() {
        Err(ListErrors::Lines { bad, unreported })
    } else if builder.is_empty() {
        Err(ListErrors::Empty)
    } else {
        Ok(builder.build())
    })
}

/// Reads one line without its end, or as much of it as [`LINE_BOUND`] and one byte; false at the end.
fn next_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
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

fn read_line(line: &[u8], number: u64, default_port: u16, builder: &mut Builder) -> Result<(), Problem> {
    let mut line = line;
    if number == 1 {
        if line.starts_with(&[0xff, 0xfe]) || line.starts_with(&[0xfe, 0xff]) {
            return Err(Problem::Utf16);
        }
        line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    }
    // The comment goes before the text is looked at: it may be in any encoding.
    let entry = match line.iter().position(|byte| *byte == b'#') {
        Some(comment) => line.get(..comment).unwrap_or(line),
        None if line.len() > LINE_BOUND => return Err(Problem::TooLong),
        None => line,
    };
    let entry = std::str::from_utf8(entry).map_err(|_| Problem::NotUtf8)?.trim();
    if entry.is_empty() {
        return Ok(());
    }
    entry::read(entry, default_port, builder)
}

/// How a line begins, safe to print.
fn excerpt(line: &[u8]) -> String {
    let begin = line.get(..SHOWN_CHARS * 4).unwrap_or(line);
    let text = String::from_utf8_lossy(begin);
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;

    use super::*;

    fn from_bytes(bytes: &[u8]) -> Result<CandidateSet, ListErrors> {
        read(bytes, 80).expect("memory can be read")
    }

    fn bad_lines(bytes: &[u8]) -> Vec<(u64, Problem)> {
        match from_bytes(bytes).expect_err("bad") {
            ListErrors::Lines { bad, .. } => bad.iter().map(|bad| (bad.line, bad.problem)).collect(),
            ListErrors::Empty => panic!("not empty"),
        }
    }

    #[test]
    fn comments_blank_lines_byte_order_mark_and_crlf_are_fine() {
        let text = b"\xef\xbb\xbf10.0.0.1\r\n\r\n# all of this\r\n  10.0.0.2:81   # trailing\r\n\t\n10.0.0.3#x\n\xa3#no\n";
        assert_eq!(bad_lines(text), [(7, Problem::NotUtf8)]);
        let text =
            b"\xef\xbb\xbf10.0.0.1\r\n\r\n# all of this\r\n  10.0.0.2:81   # trailing \xa3\r\n\t\n10.0.0.3#x";
        let set = from_bytes(text).expect("good");
        assert_eq!(set.len(), 3);
        assert!(set.contains(&"10.0.0.2:81".parse().expect("address")));
    }

    #[test]
    fn all_bad_lines_are_reported_with_their_numbers() {
        let text = b"10.0.0.1\nnonsense\n10.0.0.2:0\n\n# fine\n10.0.0.0/40\n\xff\xfe\n10.0.0.3";
        assert_eq!(
            bad_lines(text),
            [
                (2, Problem::NoAddress),
                (3, Problem::Port),
                (6, Problem::Prefix(32)),
                (7, Problem::NotUtf8)
            ]
        );
        let message = from_bytes(text).expect_err("bad").to_string();
        assert_eq!(message.lines().count(), 4);
        assert!(
            message.contains("line 3: `10.0.0.2:0`: the port must be a number from 1 to 65535"),
            "{message}"
        );
    }

    #[test]
    fn a_list_without_candidates_says_so() {
        for text in ["", "\n\n", "# only\n#comments", "\u{feff}"] {
            let errors = parse(text, 80).expect_err("empty");
            assert_eq!(errors, ListErrors::Empty);
            assert!(errors.to_string().contains("no candidate"));
        }
    }

    #[test]
    fn long_lines_and_binary_files_stay_bounded() {
        let mut text = vec![b'1'; 1 << 20];
        text.extend_from_slice(b"\n10.0.0.1\n#");
        text.extend(vec![b'x'; 1 << 20]);
        assert_eq!(bad_lines(&text), [(1, Problem::TooLong)]);

        let text = vec![b'\n'; 3];
        let text = [
            b"\x00\x01".as_slice(),
            &text,
            "\u{1b}[31mé".repeat(100).as_bytes(),
        ]
        .concat();
        let Err(ListErrors::Lines { bad, .. }) = from_bytes(&text) else {
            panic!("bad")
        };
        assert_eq!(bad.len(), 2);
        assert!(
            bad[1].text.chars().count() < 400 && !bad[1].text.contains('\u{1b}'),
            "{}",
            bad[1].text
        );

        assert_eq!(bad_lines(b"\xff\xfe1\x00\n\x00"), [(1, Problem::Utf16)]);

        let many = "x\n".repeat(REPORTED_BOUND + 7);
        let Err(ListErrors::Lines { bad, unreported }) = parse(&many, 80) else {
            panic!("bad")
        };
        assert_eq!((bad.len(), unreported), (REPORTED_BOUND, 7));
    }

    #[test]
    fn many_lines_are_read_and_merged() {
        let mut text = String::new();
        for number in 0..60_000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number * 2);
            writeln!(text, "{ip}").expect("a string grows");
        }
        let set = parse(&text, 80).expect("good");
        assert_eq!((set.len(), set.range_count()), (60_000, 60_000));
        let set = parse(&text.replace('\n', "/31\n"), 80).expect("good");
        assert_eq!((set.len(), set.range_count()), (120_000, 1));
    }

    #[test]
    fn a_file_is_unreadable_or_bad_or_good() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let load_now = |path: &Path| load(path, 80);
        let error = load_now(file.path()).expect_err("empty");
        assert!(
            matches!(
                error,
                LoadError::Bad {
                    errors: ListErrors::Empty,
                    ..
                }
            ),
            "{error}"
        );
        writeln!(file, "10.0.0.1\noops\n10.0.0.2:x").expect("written");
        let message = load_now(file.path()).expect_err("bad").to_string();
        let name = file.path().display().to_string();
        assert_eq!(
            message.lines().filter(|line| line.starts_with(&name)).count(),
            2,
            "{message}"
        );
        std::fs::write(file.path(), "10.0.0.1").expect("written");
        assert_eq!(load_now(file.path()).expect("good").len(), 1);

        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = load_now(&path).expect_err("unreadable");
            assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
        }
    }
}

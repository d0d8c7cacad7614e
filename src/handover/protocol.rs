//! What the two processes say: lines of JSON with a bound (pure).

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The version that this program speaks.
pub const VERSION: u32 = 1;

/// The protocol's name in `Upgrade`, with its version.
pub const UPGRADE: &str = "tcp-forwarder-takeover/1";

/// The longest line: as many sockets as may be offered, each with its address and service.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// Most sockets in an offer.
pub const MAX_SOCKETS: usize = 32_768;

/// Most descriptors in one message; the kernel takes 253 at once.
pub const DESCRIPTORS_PER_MESSAGE: usize = 200;

/// What has become of the old process, now that its sockets are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predecessor {
    /// It has stopped accepting, and drains.
    Yielded,
    /// It has ended without a word.
    Gone,
}

/// What one offered socket is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// Clients connect to it.
    Listener {
        /// Where it is bound.
        addr: SocketAddr,
        /// Whose it is.
        service: String,
    },
    /// The metrics port.
    Metrics {
        /// Where it is bound.
        addr: SocketAddr,
    },
    /// The control socket.
    Control {
        /// Its file.
        path: PathBuf,
    },
}

/// All that an old process has to give. Its descriptors follow, in the order of `sockets`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferLine {
    /// The version of the protocol.
    pub version: u32,
    /// The old process.
    pub pid: u32,
    /// Which build of the program it is.
    pub build: String,
    /// What the sockets are.
    pub sockets: Vec<Entry>,
}

/// The new process could serve now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The new process.
    pub pid: u32,
    /// The listen addresses that it has taken over.
    pub taken: Vec<SocketAddr>,
}

/// What an old process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromOld {
    /// What it has to give.
    Offer(OfferLine),
    /// So many descriptors come with this line.
    Descriptors(usize),
    /// It has stopped accepting on what was taken.
    Yours,
    /// It keeps its sockets after all, and why.
    Refused(String),
}

/// What a new process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNew {
    /// It could serve now.
    Ready(Ready),
    /// It has heard that the sockets are its own, and serves.
    Mine,
}

/// A message as a line, or why it cannot be one.
///
/// # Errors
/// When it is too long, or a path in it is no UTF-8.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut line = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    debug_assert!(!line.contains(&b'\n'), "JSON escapes line feeds");
    if line.len() >= MAX_LINE_BYTES {
        return Err(format!("{} bytes are too many for a line", line.len()));
    }
    line.push(b'\n');
    Ok(line)
}

/// A line as a message, or what is wrong with it.
///
/// # Errors
/// When it is not JSON, or says nothing that is known.
pub fn decode<'line, T: Deserialize<'line>>(line: &'line [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// The version of an offer, whatever else is in it.
#[must_use]
pub fn version(line: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Message {
        offer: Offer,
    }
    #[derive(Deserialize)]
    struct Offer {
        version: u32,
    }
    decode::<Message>(line).ok().map(|message| message.offer.version)
}

/// Bytes on their way to lines.
///
/// Invariant: it never holds more than the longest line and what came with its end.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// How many of them have no line feed among them.
    searched: usize,
}

/// No line feed came for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Lines {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line without its end; `None` until there is one. What came is to be asked for all of its lines
    /// before more is taken.
    ///
    /// # Errors
    /// [`TooLong`] when there cannot be one any more.
    pub fn next_line(&mut self, limit: usize) -> Result<Option<Vec<u8>>, TooLong> {
        debug_assert!(
            self.searched <= self.bytes.len(),
            "only what is here was searched"
        );
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return if self.searched > limit {
                Err(TooLong)
            } else {
                Ok(None)
            };
        };
        let end = self.searched + end;
        if end > limit {
            return Err(TooLong);
        }
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.pop();
        self.searched = 0;
        Ok(Some(line))
    }

    /// The next bytes, which are no line; fewer if there are fewer.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.searched = 0;
        let rest = self.bytes.split_off(count.min(self.bytes.len()));
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Bytes that are no line yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether every byte was part of a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assume, proptest};

    /// All lines of chunks, however they are cut.
    fn lines(chunks: &[&[u8]], limit: usize) -> Result<(Vec<Vec<u8>>, usize), TooLong> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next_line(limit)? {
                found.push(line);
            }
            assert!(lines.len() <= limit, "no more than a line is kept");
        }
        Ok((found, lines.len()))
    }

    #[test]
    fn messages_are_what_the_protocol_says() {
        let ready = FromNew::Ready(Ready {
            pid: 7,
            taken: vec!["127.0.0.1:80".parse().expect("an address")],
        });
        let text = encode(&ready).expect("encoded");
        assert_eq!(text, b"{\"ready\":{\"pid\":7,\"taken\":[\"127.0.0.1:80\"]}}\n");
        assert_eq!(encode(&FromOld::Yours).expect("encoded"), b"\"yours\"\n");
        let line = br#"{"offer":{"version":1,"pid":3,"build":"b","sockets":[{"kind":"listener","addr":"[::1]:8","service":"web"},{"kind":"metrics","addr":"127.0.0.1:9"},{"kind":"control","path":"/run/x"}],"more":0}}"#;
        let FromOld::Offer(offer) = decode::<FromOld>(line).expect("an offer") else {
            panic!("an offer");
        };
        assert_eq!(offer.sockets.len(), 3, "what is not known is passed over");
        assert_eq!(version(br#"{"offer":{"version":9,"sockets":"other"}}"#), Some(9));
        assert_eq!(version(b"\"yours\""), None);
    }

    #[test]
    fn an_offer_of_all_that_may_be_offered_fits_in_a_line() {
        let entry = Entry::Listener {
            addr: "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
                .parse()
                .expect("an address"),
            service: "x".repeat(32),
        };
        let offer = OfferLine {
            version: VERSION,
            pid: u32::MAX,
            build: "x".repeat(100),
            sockets: vec![entry; MAX_SOCKETS],
        };
        let line = encode(&FromOld::Offer(offer)).expect("it fits");
        assert!(line.len() < MAX_LINE_BYTES, "{}", line.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_lines_or_too_long(bytes in vec(any::<u8>(), 0..400), cuts in vec(0_usize..400, 0..8), limit in 1_usize..100) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut begin = 0;
            let chunks: Vec<&[u8]> = cuts.iter().map(|cut| {
                let chunk = &bytes[begin..*cut];
                begin = *cut;
                chunk
            }).collect();
            let expected: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            match lines(&chunks, limit) {
                Err(TooLong) => prop_assert!(expected.iter().any(|line| line.len() > limit)),
                Ok((found, rest)) => {
                    prop_assert!(expected.iter().all(|line| line.len() <= limit));
                    prop_assert_eq!(rest, expected[expected.len() - 1].len());
                    prop_assert_eq!(found, &expected[..expected.len() - 1]);
                }
            }
        }

        #[test]
        fn any_line_is_a_message_or_told(line in vec(any::<u8>(), 0..200)) {
            let _ = version(&line);
            if let Err(why) = decode::<FromOld>(&line) {
                prop_assert!(!why.is_empty());
            }
            if let Err(why) = decode::<FromNew>(&line) {
                prop_assert!(!why.is_empty());
            }
        }

        #[test]
        fn a_message_comes_back_as_it_was(version in any::<u32>(), build in any::<String>(), service in any::<String>()) {
            prop_assume!(build.len() < 1000);
            let addr = "127.0.0.1:1".parse().expect("an address");
            let offer = FromOld::Offer(OfferLine { version, pid: 1, build, sockets: vec![Entry::Listener { addr, service }] });
            let line = encode(&offer).expect("encoded");
            let (body, end) = line.split_at(line.len() - 1);
            prop_assert_eq!(end, b"\n");
            prop_assert_eq!(super::version(body), Some(version));
            prop_assert_eq!(decode::<FromOld>(body), Ok(offer));
        }
    }
}

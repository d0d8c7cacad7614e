//! The first message of a client that speaks TLS: which name it asks for, and which protocols it offers.
//!
//! By RFC 8446, sections 4.1.2 and 5.1, RFC 6066, section 3, and RFC 7301. Nothing is decrypted: the name is the one that
//! can be read (with Encrypted Client Hello, the outer one).

use super::failure::Failure;

/// The longest message that is read, in bytes, the heads of its records included.
pub const MOST_BYTES: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const MAJOR_VERSION: u8 = 3;
const CLIENT_HELLO: u8 = 1;
const MOST_IN_RECORD: usize = 1 << 14;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The name of whom it wants to reach, in lower case and without a dot at its end; none if it names nobody.
    pub name: Option<Box<[u8]>>,
    /// The protocols above TLS that it offers, the best first.
    pub protocols: Vec<Box<[u8]>>,
}

/// Reads the message at the beginning of what has come so far; none yet if that may be the beginning of one.
///
/// # Errors
/// Why these bytes are none. More of them would not mend it.
pub fn read(bytes: &[u8]) -> Result<Option<ClientHello>, Failure> {
    match message(bytes)? {
        Some(message) => {
            let body = message.get(4..).unwrap_or_default();
            Ok(Some(hello(&mut Reader(body)).ok_or(Failure::HelloMalformed)?))
        }
        None if bytes.len() >= MOST_BYTES => Err(Failure::HelloTooLong),
        None => Ok(None),
    }
}

/// The message that the first records hold, its own head included; none yet if there may be more to come of it.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let is_first = message.is_empty();
        // What begins as no record is no TLS; what goes on so is no such message.
        let wrong = if is_first {
            Failure::NotTls
        } else {
            Failure::HelloMalformed
        };
        let is_other = |place: usize, value: u8| rest.get(place).is_some_and(|byte| *byte != value);
        if is_other(0, HANDSHAKE) || is_other(1, MAJOR_VERSION) {
            return Err(wrong);
        }
        let [_, _, _, high, low, ..] = *rest else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MOST_IN_RECORD {
            return Err(wrong);
        }
        rest = rest.get(5..).unwrap_or_default();
        let content = rest.get(..length).unwrap_or(rest);
        message.extend_from_slice(content);
        rest = rest.get(length..).unwrap_or_default();
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Failure::HelloMalformed);
        }
        if let [_, high, middle, low, ..] = *message {
            let body = u32::from_be_bytes([0, high, middle, low]);
            let whole = usize::try_from(body).unwrap_or(usize::MAX).saturating_add(4);
            if whole > MOST_BYTES {
                return Err(Failure::HelloTooLong);
            }
            // It ends where a record ends, for keys change after it.
            if message.len() > whole {
                return Err(Failure::HelloMalformed);
            }
            if message.len() == whole {
                return if content.len() == length {
                    Ok(Some(message))
                } else {
                    Err(Failure::HelloMalformed)
                };
            }
        }
        if content.len() < length {
            return Ok(None);
        }
    }
}

/// What a message says; none if it is wrong.
fn hello(body: &mut Reader<'_>) -> Option<ClientHello> {
    let mut hello = ClientHello::default();
    let _version_and_random = body.take(2 + 32)?;
    if body.short()?.0.len() > 32 {
        return None;
    }
    let ciphers = body.long()?.0;
    let compressions = body.short()?.0;
    if ciphers.is_empty() || ciphers.len() % 2 == 1 || compressions.is_empty() {
        return None;
    }
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = body.long()?;
    let (mut has_name, mut has_protocols) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let mut value = extensions.long()?;
        let twice = match kind {
            SERVER_NAME => {
                hello.name = Some(name(&mut value)?);
                std::mem::replace(&mut has_name, true)
            }
            ALPN => {
                hello.protocols = protocols(&mut value)?;
                std::mem::replace(&mut has_protocols, true)
            }
            _ => false,
        };
        if twice {
            return None;
        }
    }
    body.0.is_empty().then_some(hello)
}

/// The one name of a host that the extension holds.
fn name(value: &mut Reader<'_>) -> Option<Box<[u8]>> {
    const HOST: u8 = 0;
    let mut list = value.long()?;
    let kind = *list.take(1)?.first()?;
    let name = list.long()?.0;
    let is_alone = kind == HOST && list.0.is_empty() && value.0.is_empty();
    let name = name.strip_suffix(b".").unwrap_or(name);
    let is_name = !name.is_empty() && name.len() <= 255 && name.iter().all(u8::is_ascii_graphic);
    (is_alone && is_name).then(|| name.to_ascii_lowercase().into())
}

fn protocols(value: &mut Reader<'_>) -> Option<Vec<Box<[u8]>>> {
    let mut list = value.long()?;
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.short()?.0;
        if name.is_empty() {
            return None;
        }
        protocols.push(name.into());
    }
    (!protocols.is_empty() && value.0.is_empty()).then_some(protocols)
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What stands behind its length in one byte.
    fn short(&mut self) -> Option<Self> {
        let length = *self.take(1)?.first()?;
        self.take(length.into()).map(Reader)
    }

    /// What stands behind its length in two bytes.
    fn long(&mut self) -> Option<Self> {
        let length = self.number()?;
        self.take(length.into()).map(Reader)
    }
}

#[cfg(test)]
mod tests;

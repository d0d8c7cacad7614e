//! Short texts, and digits, that are appended to a line without a call: as many bytes as the compiler knows of, which are
//! cut to their own length after that. Pure.

/// A text of at most `ROOM` bytes.
pub(super) struct Short<const ROOM: usize> {
    bytes: [u8; ROOM],
    length: usize,
}

impl<const ROOM: usize> Short<ROOM> {
    /// Does not compile for a constant text that is longer.
    pub(super) const fn new(text: &str) -> Self {
        let (mut bytes, text) = ([0; ROOM], text.as_bytes());
        let mut place = 0;
        while place < text.len() {
            bytes[place] = text[place];
            place += 1;
        }
        Self {
            bytes,
            length: text.len(),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(super) fn append_to(&self, line: &mut Vec<u8>) {
        append(line, self.bytes, self.length);
    }
}

/// The two digits of each number below 100.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0_u8;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// Each octet of an address in decimal, and the dot behind it.
pub(super) static OCTETS: [Short<4>; 256] = {
    const fn octet(octet: u8) -> Short<4> {
        let [tens, ones] = PAIRS[octet as usize % 100];
        match octet {
            0..10 => Short {
                bytes: [ones, b'.', 0, 0],
                length: 2,
            },
            10..100 => Short {
                bytes: [tens, ones, b'.', 0],
                length: 3,
            },
            100.. => Short {
                bytes: [b'0' + octet / 100, tens, ones, b'.'],
                length: 4,
            },
        }
    }
    let mut octets = [const { octet(0) }; 256];
    let mut number = 0_u8;
    while number < u8::MAX {
        number += 1;
        octets[number as usize] = octet(number);
    }
    octets
};

/// Appends the first `length` of some bytes.
pub(super) fn append<const ROOM: usize>(line: &mut Vec<u8>, bytes: [u8; ROOM], length: usize) {
    debug_assert!(length <= ROOM, "they are among those");
    let end = line.len() + length;
    line.extend_from_slice(&bytes);
    line.truncate(end);
}

/// The last two digits of a number.
pub(super) fn pair(number: u64) -> [u8; 2] {
    PAIRS[usize::try_from(number % 100).unwrap_or_default()]
}

/// The last four digits of a number.
pub(super) fn four(number: u64) -> [u8; 4] {
    let ([a, b], [c, d]) = (pair(number / 100), pair(number));
    [a, b, c, d]
}

//! Seeded streams, orders, and what is on its way out of a peer.

use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// What a backend says that speaks first.
pub const BANNER: &[u8] = b"220 backend.test speaks before anybody has asked it anything\r\n";

/// Endless bytes from a seed, the same whatever the portions in which they are taken.
#[derive(Debug)]
pub struct Stream {
    rng: fastrand::Rng,
    block: [u8; Self::BLOCK],
    used: usize,
}

impl Stream {
    const BLOCK: usize = 512;

    pub fn of(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            block: [0; Self::BLOCK],
            used: Self::BLOCK,
        }
    }

    /// Appends the next `count` bytes.
    pub fn append(&mut self, into: &mut Vec<u8>, mut count: usize) {
        while count > 0 {
            if self.used == Self::BLOCK {
                self.rng.fill(&mut self.block);
                self.used = 0;
            }
            let portion = count.min(Self::BLOCK - self.used);
            into.extend_from_slice(&self.block[self.used..self.used + portion]);
            self.used += portion;
            count -= portion;
        }
    }
}

/// The SHA-256 of the first `len` bytes of a seed.
pub fn digest_of(seed: u64, len: u64) -> Digest {
    let mut received = Received::default();
    let mut stream = Stream::of(seed);
    let mut bytes = Vec::new();
    while received.bytes < len {
        bytes.clear();
        let portion = (len - received.bytes).min(16 * 1024);
        stream.append(&mut bytes, usize::try_from(portion).unwrap());
        received.take(&bytes);
    }
    received.digest()
}

/// Bytes that came, as many as there were and their hash.
#[derive(Debug, Default)]
pub struct Received {
    pub bytes: u64,
    hash: Sha256,
}

impl Received {
    pub fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub fn digest(&self) -> Digest {
        self.hash.clone().finalize().into()
    }

    /// Whether it is how the stream of this seed begins.
    pub fn is_start_of(&self, seed: u64) -> bool {
        self.digest() == digest_of(seed, self.bytes)
    }
}

/// What a client asks for, at the head of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Of the client's bytes; the backend's have its complement.
    pub seed: u64,
    /// Bytes that the client sends behind the order.
    pub up: u64,
    /// Bytes that the backend is to send.
    pub down: u64,
}

impl Order {
    /// Length of an order on the wire, the number of its rounds included.
    pub const BYTES: usize = 32;

    pub fn to_bytes(self, rounds: Rounds) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let numbers = [self.seed, self.up, self.down, rounds.0];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> (Self, Rounds) {
        let number = |place: usize| u64::from_be_bytes(bytes[place * 8..][..8].try_into().unwrap());
        let order = Self {
            seed: number(0),
            up: number(1),
            down: number(2),
        };
        (order, Rounds(number(3).max(1)))
    }

    /// The seed of the backend's bytes.
    pub fn down_seed(&self) -> u64 {
        !self.seed
    }

    /// Everything that the client sends.
    pub fn request(self, rounds: Rounds) -> Script {
        Script::new(&self.to_bytes(rounds), self.seed, self.up)
    }

    /// Everything that a backend sends which has been sent all of it; behind `banner`.
    pub fn reply(self, banner: &[u8]) -> Script {
        let mut script = Script::new(banner, self.down_seed(), self.down);
        script.end_with(&digest_of(self.seed, self.up));
        script
    }
}

/// In how many rounds an exchange goes: the backend answers each part of the request with as large a part of
/// what was ordered, like a server whose client keeps its connection. One round is an answer at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounds(pub u64);

impl Rounds {
    pub const ONE: Self = Self(1);

    /// How much of `total` there is to be when `round` rounds are over.
    pub fn share(self, total: u64, round: u64) -> u64 {
        total * round / self.0
    }

    /// How many rounds are over when `bytes` of `total` are there.
    pub fn over(self, total: u64, bytes: u64) -> u64 {
        if total == 0 {
            return self.0;
        }
        (((bytes + 1) * self.0 - 1) / total).min(self.0)
    }
}

/// What a peer has yet to say: some bytes, then a stream of known length, then perhaps an end.
#[derive(Debug)]
pub struct Script {
    stream: Stream,
    left: u64,
    end: Vec<u8>,
    ready: Vec<u8>,
    said: usize,
}

impl Script {
    /// Bytes that are made ready at once.
    const PORTION: u64 = 16 * 1024;

    pub fn new(start: &[u8], seed: u64, len: u64) -> Self {
        Self {
            stream: Stream::of(seed),
            left: len,
            end: Vec::new(),
            ready: start.to_vec(),
            said: 0,
        }
    }

    /// Goes on with the stream of this seed behind what is ready.
    pub fn go_on_with(&mut self, seed: u64, len: u64) {
        self.stream = Stream::of(seed);
        self.left = len;
    }

    pub fn end_with(&mut self, end: &[u8]) {
        self.end.extend_from_slice(end);
    }

    /// What comes next; empty when all has been said.
    pub fn next(&mut self) -> &[u8] {
        if self.said == self.ready.len() {
            self.ready.clear();
            self.said = 0;
            let portion = self.left.min(Self::PORTION);
            self.left -= portion;
            self.stream
                .append(&mut self.ready, usize::try_from(portion).unwrap());
            if self.left == 0 {
                self.ready.append(&mut self.end);
            }
            if self.ready.is_empty() {
                self.ready = Vec::new();
            }
        }
        &self.ready[self.said..]
    }

    /// Takes note that so many bytes of [`Self::next`] have been said.
    pub fn advance(&mut self, count: usize) {
        self.said += count;
    }

    pub fn is_over(&mut self) -> bool {
        self.next().is_empty()
    }

    /// Whether `bytes` are what comes next; takes them.
    pub fn matches(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let next = self.next();
            let count = next.len().min(bytes.len());
            if count == 0 || next[..count] != bytes[..count] {
                return false;
            }
            self.advance(count);
            bytes = &bytes[count..];
        }
        true
    }
}

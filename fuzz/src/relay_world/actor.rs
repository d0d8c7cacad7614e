//! Who sits at the far end of a connection: a client or a backend, with a plan.
//!
//! It knows nothing of the relay. What it says is a stream of its own, in which each byte follows from its place, so
//! that whoever hears it can tell whose it is. At the end of its plan it finishes, hears the other side out and closes.

use std::collections::VecDeque;
use std::time::Duration;

use super::chance::Chance;
use super::socket::Fin;
use super::wire::Shared;

/// What somebody says: byte by byte, after an opening.
#[derive(Debug, Clone)]
pub(super) struct Voice {
    pub(super) id: u64,
    /// A `ClientHello`, or nothing.
    pub(super) opening: Vec<u8>,
}

impl Voice {
    /// So many bytes from a place on.
    pub(super) fn bytes(&self, from: u64, count: u64) -> Vec<u8> {
        let end = from + count;
        let opening = self.opening.len() as u64;
        let mut bytes = Vec::new();
        if from < opening {
            let [from, end] =
                [from, end.min(opening)].map(|place| usize::try_from(place).unwrap_or_default());
            bytes.extend_from_slice(&self.opening[from..end]);
        }
        let mut place = from.max(opening);
        while place < end {
            let word = ((place / 8) ^ (self.id << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let word = (word ^ (word >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let word = &word.to_be_bytes()[usize::from(place.to_le_bytes()[0] % 8)..];
            let most = usize::try_from(end - place).unwrap_or(word.len()).min(word.len());
            bytes.extend_from_slice(&word[..most]);
            place += most as u64;
        }
        bytes
    }
}

/// One thing that an actor does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Says so many bytes.
    Say(u64),
    /// Says one byte, which is urgent.
    Urge,
    /// Does nothing; it still hears.
    Pause(Duration),
    /// Hears nothing for a while.
    Deafen(Duration),
    /// Waits until it has heard something more, but no longer than this.
    Hear(Duration),
    /// Waits until the other side has finished.
    HearOut,
    /// Finishes.
    Finish,
    /// Closes, whatever it has not heard.
    Close,
    /// Resets the connection.
    Reset,
    /// Drops off the network without a word.
    Vanish,
}

/// How the other side ended, as an actor heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Finish,
    Failure,
}

/// One client or backend.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) socket: Shared,
    pub(super) voice: Voice,
    plan: VecDeque<Act>,
    /// What it is still to say of what it began to say.
    to_say: u64,
    pub(super) said: u64,
    pub(super) heard: u64,
    pub(super) end: Option<Heard>,
    /// Bytes that it takes at once, and how long it then does something else.
    appetite: usize,
    pace: Duration,
    deaf_until: Duration,
    /// What holds up its plan: until when, and if hearing more than this ends it sooner.
    busy_until: Duration,
    unless_heard: Option<u64>,
    hears_out: bool,
    pub(super) has_vanished: bool,
    is_gone: bool,
}

impl Actor {
    pub(super) fn new(socket: Shared, voice: Voice, plan: Vec<Act>, chance: &mut Chance<'_>) -> Self {
        Self {
            socket,
            voice,
            plan: plan.into(),
            to_say: 0,
            said: 0,
            heard: 0,
            end: None,
            appetite: chance.pick(&[1 << 20, 1 << 20, 1000, 50]),
            pace: Duration::from_micros(chance.pick(&[0, 100, 5000])),
            deaf_until: Duration::ZERO,
            busy_until: Duration::ZERO,
            unless_heard: None,
            hears_out: false,
            has_vanished: false,
            is_gone: false,
        }
    }

    /// Does what it can do now: what it heard, and when it wants to go on.
    pub(super) fn step(&mut self, now: Duration) -> (Vec<u8>, Option<Duration>) {
        if self.is_gone {
            return (Vec::new(), None);
        }
        let heard = self.hear(now);
        while !self.is_held_up(now) {
            let Some(act) = self.plan.pop_front() else {
                self.leave();
                break;
            };
            self.act(act, now);
        }
        let wishes = [self.busy_until, self.deaf_until].into_iter();
        let next = if self.is_gone {
            None
        } else {
            wishes.filter(|until| *until > now).min()
        };
        (heard, next)
    }

    fn hear(&mut self, now: Duration) -> Vec<u8> {
        let mut heard = Vec::new();
        if self.deaf_until > now || self.end.is_some() {
            return heard;
        }
        let mut socket = self.socket.borrow_mut();
        let mut room = [0; 4096];
        while heard.len() < self.appetite {
            let most = room.len().min(self.appetite - heard.len());
            match socket.read(&mut room[..most]) {
                Ok(0) => {
                    let failed = socket.failure.is_some() && !socket.has_fin_arrived;
                    self.end = Some(if failed { Heard::Failure } else { Heard::Finish });
                    break;
                }
                Ok(count) => heard.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.end = Some(Heard::Failure);
                    break;
                }
            }
        }
        self.heard += heard.len() as u64;
        if heard.len() >= self.appetite {
            self.deaf_until = now + self.pace.max(Duration::from_micros(1));
        }
        heard
    }

    /// Says on, and whether the plan has to wait.
    fn is_held_up(&mut self, now: Duration) -> bool {
        if self.to_say > 0 {
            self.say();
        }
        let has_heard = self
            .unless_heard
            .is_some_and(|heard| self.heard > heard || self.end.is_some());
        if has_heard {
            self.busy_until = now;
        }
        self.hears_out &= self.end.is_none();
        self.to_say > 0 || self.busy_until > now || self.hears_out || self.is_gone
    }

    fn say(&mut self) {
        let mut socket = self.socket.borrow_mut();
        while self.to_say > 0 {
            let piece = self.voice.bytes(self.said, self.to_say.min(4096));
            match socket.write(&piece) {
                Ok(count) => {
                    self.said += count as u64;
                    self.to_say -= count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Nobody takes it any more; what it wanted to do besides makes no difference.
                Err(_) => {
                    self.to_say = 0;
                    self.plan.clear();
                }
            }
        }
    }

    fn act(&mut self, act: Act, now: Duration) {
        self.unless_heard = None;
        let mut socket = self.socket.borrow_mut();
        match act {
            Act::Say(bytes) if socket.fin == Fin::No => self.to_say = bytes,
            Act::Urge if socket.fin == Fin::No => {
                socket.urgent_at = Some(self.said);
                self.to_say = 1;
            }
            Act::Say(_) | Act::Urge => {}
            Act::Pause(time) => self.busy_until = now + time,
            Act::Deafen(time) => self.deaf_until = now + time,
            Act::Hear(patience) => {
                self.busy_until = now + patience;
                self.unless_heard = Some(self.heard);
            }
            Act::HearOut => self.hears_out = true,
            Act::Finish => socket.finish(),
            Act::Close => {
                socket.close();
                self.is_gone = true;
            }
            Act::Reset => {
                socket.reset();
                self.is_gone = true;
            }
            Act::Vanish => self.has_vanished = true,
        }
    }

    /// The plan is done: finish, hear the other side out, close.
    fn leave(&mut self) {
        let mut socket = self.socket.borrow_mut();
        socket.finish();
        if self.end.is_some() {
            socket.close();
            self.is_gone = true;
        }
    }
}

/// What a client does.
pub(super) fn client(chance: &mut Chance<'_>) -> (Vec<u8>, Vec<Act>) {
    let mut plan = Vec::new();
    let mut opening = Vec::new();
    let beginning = chance.below(8);
    if beginning > 5 {
        opening = hello(chance.below(200));
        plan.push(Act::Say(opening.len() as u64));
        plan.push(Act::Hear(Duration::from_secs(3)));
    } else if beginning > 3 {
        plan.push(Act::Pause(chance.pause()));
    }
    for _ in 0..chance.below(5) {
        plan.push(match chance.below(16) {
            0..=5 => Act::Say(chance.bytes()),
            6..=8 => Act::Hear(chance.pause()),
            9 | 10 => Act::Pause(chance.pause()),
            11 => Act::Deafen(chance.pause()),
            12 => Act::Finish,
            13 => Act::Reset,
            14 => Act::Close,
            _ => Act::Urge,
        });
    }
    (opening, plan)
}

/// What a backend does on one connection. One that is warm begins before a client comes.
pub(super) fn backend(chance: &mut Chance<'_>) -> Vec<Act> {
    let patience = Duration::from_secs(5);
    let mut plan = match chance.below(16) {
        // It answers.
        0..=5 => vec![Act::Hear(patience), Act::Say(chance.bytes())],
        // It speaks first.
        6 => vec![Act::Say(chance.bytes())],
        // It has had enough of a connection on which nothing happens.
        7 | 8 => vec![Act::Pause(chance.pause()), Act::Close],
        9 => vec![Act::Pause(chance.pause()), Act::Reset],
        10 => vec![
            Act::Pause(chance.pause()),
            Act::Finish,
            Act::Pause(chance.pause()),
        ],
        // It dies of what it hears, or before it has heard it.
        11 => vec![Act::Hear(patience), Act::Reset],
        12 => vec![Act::Hear(patience), Act::Close],
        13 => vec![Act::Deafen(patience), Act::Pause(chance.pause()), Act::Close],
        14 => vec![Act::Pause(chance.pause()), Act::Vanish],
        // It answers what a finish has ended.
        _ => vec![Act::HearOut, Act::Say(chance.bytes())],
    };
    for _ in 0..chance.below(4) {
        plan.push(match chance.below(12) {
            0..=2 => Act::Say(chance.bytes()),
            3..=5 => Act::Hear(chance.pause()),
            6 | 7 => Act::Pause(chance.pause()),
            8 => Act::Deafen(chance.pause()),
            9 => Act::Finish,
            10 => Act::Reset,
            _ => Act::Urge,
        });
    }
    plan
}

/// A `ClientHello`, in one record.
fn hello(bytes: u64) -> Vec<u8> {
    let body = u8::try_from(bytes).unwrap_or(u8::MAX - 4);
    let mut hello = vec![22, 3, 1, 0, body + 4, 1, 0, 0, body];
    hello.extend((0..body).map(|byte| byte ^ 0x55));
    hello
}

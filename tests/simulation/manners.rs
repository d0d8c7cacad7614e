//! What clients and the backends of a protocol do on a connection, and when: scripts, made up from a seed.

use std::time::Duration;

/// How it goes on the connections of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Clients ask and are answered.
    Answered,
    /// Clients speak, and backends end without a word, as the protocol has it.
    Wordless,
    /// Clients say nothing; they leave, or their backend has enough of it.
    Silent,
    /// Clients ask and are gone before the answer.
    Leaving,
    /// Clients ask, finish, and hear what there is.
    HalfClosing,
}

/// What a backend does that serves nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It resets whoever speaks to it.
    Resets,
    /// It never says anything.
    Mute,
}

/// What one side does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    ClientSpeaks,
    ClientFinishes,
    ClientCloses,
    ClientResets,
    BackendSpeaks,
    BackendCloses,
    BackendResets,
    /// The relay is closed: it has been half closed for too long.
    Cut,
}

impl Act {
    /// Whether a backend does it, which another backend would not in its place.
    pub(crate) fn is_of_backend(self) -> bool {
        matches!(
            self,
            Self::BackendSpeaks | Self::BackendCloses | Self::BackendResets
        )
    }
}

/// What happens, and how long after the connection was made.
pub(crate) type Script = Vec<(Duration, Act)>;

/// A time between the two, of which all magnitudes are as likely.
fn between(rng: &mut fastrand::Rng, least: f64, most: f64) -> Duration {
    Duration::from_secs_f64(least * (most / least).powf(rng.f64()))
}

/// The client says a few things, one after the other; when the last one was said.
fn speak(script: &mut Script, rng: &mut fastrand::Rng) -> Duration {
    let mut at = between(rng, 0.001, 0.5);
    script.push((at, Act::ClientSpeaks));
    for _ in 0..rng.u8(0..10).saturating_sub(7) {
        at += between(rng, 0.01, 0.8);
        script.push((at, Act::ClientSpeaks));
    }
    at
}

fn one_in(rng: &mut fastrand::Rng, count: u32) -> bool {
    rng.u32(..count) == 0
}

impl Manners {
    /// Those of which some protocols have nothing else, and for which nobody is to blame.
    pub(crate) const BLAMELESS: [Self; 4] = [Self::Wordless, Self::Silent, Self::Leaving, Self::HalfClosing];

    /// What happens on one connection.
    pub(crate) fn script(self, rng: &mut fastrand::Rng) -> Script {
        let mut script = Script::new();
        match self {
            Self::Answered => answered(&mut script, rng),
            Self::Wordless => wordless(&mut script, rng),
            Self::Silent => silent(&mut script, rng),
            Self::Leaving => leaving(&mut script, rng),
            Self::HalfClosing => half_closing(&mut script, rng),
        }
        cut(script)
    }
}

impl Fault {
    /// What happens on one connection to a backend that has it.
    pub(crate) fn script(self, rng: &mut fastrand::Rng) -> Script {
        let mut script = Script::new();
        let spoken = speak(&mut script, rng);
        match self {
            Self::Resets => {
                let first = script.first().map_or(spoken, |(at, _)| *at);
                script.push((first + between(rng, 0.001, 0.1), Act::BackendResets));
            }
            Self::Mute => script.push((spoken + between(rng, 5.0, 60.0), Act::ClientCloses)),
        }
        cut(script)
    }
}

fn cut(mut script: Script) -> Script {
    script.sort_by_key(|(at, _)| *at);
    let last = script.last().map_or(Duration::ZERO, |(at, _)| *at);
    script.push((last + Duration::from_secs(60), Act::Cut));
    script
}

fn answered(script: &mut Script, rng: &mut fastrand::Rng) {
    let spoken = speak(script, rng);
    let answer = spoken + between(rng, 0.002, 0.4);
    script.push((answer, Act::BackendSpeaks));
    script.push((answer + between(rng, 0.001, 20.0), Act::ClientCloses));
}

/// Whatever the client has said by then; some take their time, longer than any silence is borne with.
fn wordless(script: &mut Script, rng: &mut fastrand::Rng) {
    let spoken = speak(script, rng);
    let longest = if one_in(rng, 20) { 90.0 } else { 5.0 };
    let last = spoken + between(rng, 0.001, longest);
    let end = if one_in(rng, 10) {
        Act::BackendResets
    } else {
        Act::BackendCloses
    };
    script.push((last, end));
    script.push((last + between(rng, 0.001, 1.0), Act::ClientCloses));
}

fn silent(script: &mut Script, rng: &mut fastrand::Rng) {
    let end = if one_in(rng, 4) {
        Act::ClientResets
    } else {
        Act::ClientCloses
    };
    let stays = between(rng, 0.05, 240.0);
    script.push((stays, end));
    // Some backends wait for a minute, and a busy one for no time at all.
    let waits = if one_in(rng, 30) {
        between(rng, 0.01, 0.9)
    } else {
        Duration::from_secs(60)
    };
    if waits < stays {
        script.push((waits, Act::BackendCloses));
    }
}

/// A backend answers all the same if it hears no reset before, or ends when its client does.
fn leaving(script: &mut Script, rng: &mut fastrand::Rng) {
    let spoken = speak(script, rng);
    let takes = between(rng, 0.05, 10.0);
    let leaves = spoken + takes.mul_f64(rng.f64());
    if one_in(rng, 3) {
        script.push((leaves, Act::ClientResets));
        return;
    }
    script.push((leaves, Act::ClientCloses));
    if one_in(rng, 2) {
        script.push((spoken + takes, Act::BackendSpeaks));
    }
    script.push((spoken + takes + Duration::from_millis(1), Act::BackendCloses));
}

fn half_closing(script: &mut Script, rng: &mut fastrand::Rng) {
    let spoken = speak(script, rng);
    let finishes = spoken
        + if one_in(rng, 2) {
            Duration::ZERO
        } else {
            between(rng, 0.001, 0.3)
        };
    script.push((finishes, Act::ClientFinishes));
    let answer = finishes + between(rng, 0.002, 20.0);
    // An upload is answered by an end.
    if !one_in(rng, 4) {
        script.push((answer, Act::BackendSpeaks));
    }
    script.push((answer + between(rng, 0.001, 0.1), Act::BackendCloses));
    script.push((answer + Duration::from_secs(1), Act::ClientCloses));
}

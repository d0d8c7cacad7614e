//! Token <-> what it names: a client, a connection to a backend, a listener, or the doorbell.

use mio::Token;

use crate::base::slots::{INDEX_BITS, Key};

/// The doorbell's.
pub const BELL: Token = Token(usize::MAX);

/// Tokens of listeners count down from here.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Listeners that one reactor can have.
pub const MAX_LISTENERS: usize = 1 << 16;

/// What a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A client's socket.
    Client(Key),
    /// A connection to a backend.
    Upstream(Key),
    /// The listener at this place.
    Listener(usize),
    /// The doorbell.
    Bell,
}

/// The token of a client's socket.
#[must_use]
pub fn of_client(key: Key) -> Token {
    token(key, 0)
}

/// The token of a connection to a backend.
#[must_use]
pub fn of_upstream(key: Key) -> Token {
    token(key, 1)
}

/// The token of the listener at this place, below [`MAX_LISTENERS`].
#[must_use]
pub fn of_listener(place: usize) -> Token {
    debug_assert!(place < MAX_LISTENERS, "listener {place}");
    Token(FIRST_LISTENER - place)
}

fn token(key: Key, bit: usize) -> Token {
    // Lossless: the index fits INDEX_BITS (the slab's bound) and the generation is masked.
    let low = (key.index() as usize) << 1 | bit;
    Token((key.generation() as usize) << (INDEX_BITS + 1) | low)
}

/// What a token names.
#[must_use]
pub fn parse(token: Token) -> Named {
    if token == BELL {
        return Named::Bell;
    }
    let place = FIRST_LISTENER - token.0;
    if place < MAX_LISTENERS {
        return Named::Listener(place);
    }
    let index_mask = (1_usize << INDEX_BITS) - 1;
    let index = u32::try_from((token.0 >> 1) & index_mask).unwrap_or(u32::MAX);
    let generation = u32::try_from(token.0 >> (INDEX_BITS + 1)).unwrap_or(u32::MAX);
    let key = Key::of(index, generation);
    if token.0 & 1 == 0 {
        Named::Client(key)
    } else {
        Named::Upstream(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slots::{GENERATION_MASK, MAX_SLOTS};
    use proptest::prelude::*;

    #[test]
    fn the_highest_keys_are_neither_listeners_nor_the_bell() {
        let highest = u32::try_from(MAX_SLOTS - 1).expect("an index");
        let key = Key::of(highest, GENERATION_MASK);
        assert_eq!(parse(of_client(key)), Named::Client(key));
        assert_eq!(parse(of_upstream(key)), Named::Upstream(key));
        assert_eq!(parse(BELL), Named::Bell);
    }

    proptest! {
        #[test]
        fn tokens_name_what_they_were_made_of(index in 0..1_u32 << 19, generation in 0..=GENERATION_MASK, place in 0..MAX_LISTENERS) {
            let key = Key::of(index, generation);
            prop_assert_eq!(parse(of_client(key)), Named::Client(key));
            prop_assert_eq!(parse(of_upstream(key)), Named::Upstream(key));
            prop_assert_eq!(parse(of_listener(place)), Named::Listener(place));
        }
    }
}

//! What a key means. Pure.

/// What is asked for by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The end.
    Quit,
    /// Another order of members.
    Sort,
    /// The same order backwards.
    Reverse,
    /// The service before.
    Up,
    /// The next service.
    Down,
}

/// The keys of what a terminal sent, those without a meaning left out.
pub(super) fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut left = bytes;
    while let [first, rest @ ..] = left {
        let (key, rest) = match (first, rest) {
            // Arrows, as terminals send them in either mode.
            (0x1b, [b'[' | b'O', b'A', rest @ ..]) | (b'k' | b'K', rest) => (Some(Key::Up), rest),
            (0x1b, [b'[' | b'O', b'B', rest @ ..]) | (b'j' | b'J', rest) => (Some(Key::Down), rest),
            // Any other sequence, up to its last byte.
            (0x1b, [b'[' | b'O', rest @ ..]) => {
                let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte));
                (None, end.and_then(|end| rest.get(end + 1..)).unwrap_or_default())
            }
            // Ctrl+C, and Ctrl+D.
            (b'q' | b'Q' | 3 | 4, rest) => (Some(Key::Quit), rest),
            (b's' | b'S', rest) => (Some(Key::Sort), rest),
            (b'r' | b'R', rest) => (Some(Key::Reverse), rest),
            (_, rest) => (None, rest),
        };
        keys.extend(key);
        left = rest;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_arrows_and_nothing_else() {
        assert_eq!(
            keys(b"sr\x1b[A\x1bOBjk"),
            [Key::Sort, Key::Reverse, Key::Up, Key::Down, Key::Down, Key::Up]
        );
        assert_eq!(keys(b"q"), [Key::Quit]);
        assert_eq!(keys(&[3]), [Key::Quit]);
        // A key of the keypad, a mouse, a lone escape, a letter of another script.
        for nothing in [
            &b"\x1b[15~"[..],
            b"\x1b[<0;1;1M",
            b"\x1b",
            b"\x1b[",
            "\u{e9}".as_bytes(),
            b"x",
        ] {
            assert_eq!(keys(nothing), [], "{nothing:?}");
        }
        assert_eq!(keys(b"\x1b[15~q"), [Key::Quit]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_to_its_end(bytes: Vec<u8>) {
            prop_assert!(keys(&bytes).len() <= bytes.len());
        }
    }
}

//! The slab against a list of what lives and one of what is gone.

use std::collections::BTreeSet;

use mio::Token;
use tcp_forwarder::base::slots::{Key, Slots};
use tcp_forwarder::reactor::token::{self, Named};

use super::choices::Choices;

/// Inserts and removes; looks for what lives and for what is gone.
pub fn run(data: &[u8]) {
    let mut world = World::default();
    let mut choices = Choices::new(data);
    while world.step(&mut choices).is_some() {
        assert_eq!(world.slots.len(), world.live.len());
        assert_eq!(world.slots.is_empty(), world.live.is_empty());
    }
    world.compare();
}

#[derive(Default)]
struct World {
    slots: Slots<u64>,
    live: Vec<(Key, u64)>,
    gone: Vec<Key>,
    most: usize,
    inserted: u64,
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) -> Option<()> {
        match choices.byte()? {
            0..=99 => self.insert(),
            100..=199 => {
                let nth = usize::from(choices.byte()?);
                if !self.live.is_empty() {
                    let (key, value) = self.live.swap_remove(nth % self.live.len());
                    assert_eq!(self.slots.remove(key), Some(value));
                    assert_eq!(self.slots.remove(key), None, "removed once");
                    self.gone.push(key);
                }
            }
            200..=219 => {
                let nth = usize::from(choices.byte()?);
                if let Some(key) = self.gone.get(nth % self.gone.len().max(1)) {
                    assert_eq!(self.slots.get_mut(*key), None);
                    assert_eq!(self.slots.remove(*key), None, "a stale key removes nothing");
                }
            }
            220..=239 => {
                let nth = usize::from(choices.byte()?);
                let count = self.live.len().max(1);
                if let Some((key, value)) = self.live.get_mut(nth % count) {
                    let slot = self.slots.get_mut(*key);
                    assert_eq!(slot.as_deref(), Some(&*value));
                    *value += 1 << 32;
                    if let Some(slot) = slot {
                        *slot = *value;
                    }
                }
            }
            _ => {
                let mut word = 0;
                for _ in 0..size_of::<usize>() {
                    word = word << 8 | usize::from(choices.byte()?);
                }
                let token = match token::parse(Token(word)) {
                    Named::Client(key) => token::of_client(key),
                    Named::Upstream(key) => token::of_upstream(key),
                    Named::Listener(place) => token::of_listener(place),
                    Named::Bell => token::BELL,
                };
                assert_eq!(token, Token(word), "a token holds all of what it names");
            }
        }
        Some(())
    }

    fn insert(&mut self) {
        self.inserted += 1;
        let inserted = self.slots.insert(self.inserted);
        assert!(inserted.is_ok(), "there is room");
        if let Ok(key) = inserted {
            self.live.push((key, self.inserted));
            self.most = self.most.max(self.live.len());
            assert!((key.index() as usize) < self.most, "free places are taken first");
            assert!(!self.gone.contains(&key), "a key never comes back");
        }
    }

    fn compare(&self) {
        let mut places = BTreeSet::new();
        for (key, value) in &self.live {
            assert_eq!(self.slots.get(*key), Some(value));
            assert_eq!(self.slots.key_at(key.index()), Some(*key));
            assert!(places.insert(key.index()), "a place has one entry");
            assert_eq!(token::parse(token::of_client(*key)), Named::Client(*key));
            assert_eq!(token::parse(token::of_upstream(*key)), Named::Upstream(*key));
        }
        for key in &self.gone {
            assert_eq!(self.slots.get(*key), None);
            assert_eq!(
                self.slots.key_at(key.index()).is_some(),
                places.contains(&key.index())
            );
        }
        let listed: BTreeSet<u32> = self.slots.keys().map(Key::index).collect();
        assert_eq!(listed, places);
    }
}

//! `Published<T>`: what one thread hands to others, as a whole.
//!
//! One writer publishes a whole new value, and whoever listens is woken; readers keep an `Arc` of the one they know and
//! look at an atomic version to learn that it moved. Nobody ever sees half a value, and the lock is held for a
//! pointer swap.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::doorbell::Listeners;

/// A value with one writer and many readers, replaced as a whole.
#[derive(Debug)]
pub struct Published<T> {
    version: AtomicU64,
    value: RwLock<Arc<T>>,
    listeners: Listeners,
}

impl<T> Published<T> {
    /// Publishes the first value, as version 0, to whoever looks by himself.
    pub fn new(value: T) -> Self {
        Self::heard_by(Arc::from([]), value)
    }

    /// Publishes the first value, as version 0; each further one wakes the listeners.
    pub fn heard_by(listeners: Listeners, value: impl Into<Arc<T>>) -> Self {
        Self {
            version: AtomicU64::new(0),
            value: RwLock::new(value.into()),
            listeners,
        }
    }

    /// Replaces the value, and wakes the listeners. Readers see the new version no earlier than the new value.
    pub fn publish(&self, value: Arc<T>) {
        self.replace(|_| Some(value));
    }

    /// Replaces the value by what `next` makes of it, if it makes anything; whether it did. Nothing is published
    /// between the two.
    pub fn replace(&self, next: impl FnOnce(&T) -> Option<Arc<T>>) -> bool {
        let mut present = self.value.write().unwrap_or_else(PoisonError::into_inner);
        let Some(value) = next(&present) else {
            return false;
        };
        *present = value;
        self.version.fetch_add(1, Ordering::Release);
        drop(present);
        for listener in self.listeners.iter() {
            listener.ring();
        }
        true
    }

    /// The current value.
    pub fn load(&self) -> Arc<T> {
        Arc::clone(&self.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often the value was replaced.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// A reader's own copy of a published value; refreshing costs one atomic load while nothing moved.
#[derive(Debug)]
pub struct Reader<T> {
    source: Arc<Published<T>>,
    seen: u64,
    value: Arc<T>,
}

impl<T> Reader<T> {
    /// A reader that knows the current value.
    pub fn new(source: Arc<Published<T>>) -> Self {
        let seen = source.version();
        let value = source.load();
        Self { source, seen, value }
    }

    /// A reader to whom the current value will be news.
    pub fn unaware(source: Arc<Published<T>>) -> Self {
        let mut reader = Self::new(source);
        reader.seen = reader.seen.wrapping_sub(1);
        reader
    }

    /// Takes over a newer value, if there is one, and tells so.
    pub fn refresh(&mut self) -> bool {
        let version = self.source.version();
        if version == self.seen {
            return false;
        }
        // The version is read before the value: a value published in between is merely loaded twice.
        self.seen = version;
        self.value = self.source.load();
        true
    }

    /// The version of the value as last refreshed; that may be a newer one already.
    pub fn version(&self) -> u64 {
        self.seen
    }

    /// The value as last refreshed, shared.
    pub fn shared(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }
}

impl<T> Deref for Reader<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_the_value_once_it_moved() {
        let published = Arc::new(Published::new(1));
        let mut reader = Reader::new(Arc::clone(&published));
        assert!(!reader.refresh());
        published.publish(Arc::new(2));
        assert_eq!(*reader, 1, "nothing moves under a reader's feet");
        assert!(reader.refresh());
        assert_eq!(*reader, 2);
        assert!(!reader.refresh());
        assert_eq!(published.version(), 1);
        let mut newcomer = Reader::unaware(published);
        assert!(newcomer.refresh());
        assert!(!newcomer.refresh());
    }
}

//! The place of a probe at a member that takes only so many connections.
//!
//! A probe has a place as any other connection has; that it is a probe's is known of the member meanwhile, for it is free again
//! before long, and clients wait for that. Whoever gives it up calls who waits for one, as reactors do among themselves
//! (`reactor/places.rs`).

use std::sync::Arc;

use crate::backend::{Backend, Place};
use crate::service::live::Live;

/// A place that a probe has. Free again when it is dropped, and told to the reactor in which somebody waits for longest.
#[derive(Debug)]
pub struct ProbePlace {
    /// None only while it is dropped.
    place: Option<Place>,
    backend: Arc<Backend>,
    live: Arc<Live>,
}

impl ProbePlace {
    /// Takes one at a member of a service; none if all are taken.
    #[must_use]
    pub fn take(backend: &Arc<Backend>, live: &Arc<Live>) -> Option<Self> {
        let place = Place::take(backend)?;
        backend.probe_joins();
        Some(Self {
            place: Some(place),
            backend: Arc::clone(backend),
            live: Arc::clone(live),
        })
    }
}

impl Drop for ProbePlace {
    fn drop(&mut self) {
        // Before the place is free; and whoever is called finds it free.
        self.backend.probe_leaves();
        drop(self.place.take());
        self.live.call_longest_queued();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use crate::service::stage;
    use std::num::NonZeroU32;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_probe_has_a_place_like_any_other_connection() {
        let service = stage::service(&stage::hub(), "s", [1], stage::spec(|_| {}));
        let backend = Backend::new(stage::addr(1), clock::now(), 3);
        backend.set_max_connections(NonZeroU32::new(2));
        let backend = Arc::new(backend);
        let probe = ProbePlace::take(&backend, &service.live).expect("free");
        assert!(backend.is_probed() && !backend.is_full());
        let place = Place::take(&backend).expect("free");
        assert!(backend.is_full() && ProbePlace::take(&backend, &service.live).is_none());
        drop(probe);
        assert!(!backend.is_probed() && !backend.is_full());
        drop(place);
        assert_eq!(backend.open(), 0);
    }

    #[test]
    fn whoever_waits_for_longest_is_called_once_it_is_free_and_nobody_else() {
        let hub = stage::hub();
        let service = stage::service(&hub, "s", [1], stage::spec(|_| {}));
        let backend = Arc::new(Backend::new(stage::addr(1), clock::now(), 2));
        backend.set_max_connections(NonZeroU32::new(1));
        let heard = || [0, 1].map(|reactor| hub.bells.reactors[reactor].answer());
        let take = || ProbePlace::take(&backend, &service.live).expect("free");
        heard();
        drop(take());
        assert_eq!(heard(), [false, false], "nobody waits");
        let probe = take();
        for (traffic, since) in service.live.traffic.iter().zip([7, 5]) {
            traffic.queue_head.store(since, Ordering::SeqCst);
        }
        assert_eq!(heard(), [false, false]);
        drop(probe);
        assert_eq!(heard(), [false, true]);
    }
}

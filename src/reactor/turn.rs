//! The loop: one batch of events at a time, and what follows from it.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use mio::Events;
use mio::event::Event;

use super::core::Reactor;
use super::farewell::Farewell;
use super::signal::Signal;
use super::token::{self, Named};
use crate::base::clock;
use crate::base::slots::Slots;
use crate::base::timers::Timers;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

impl Reactor {
    /// Runs until the stop has begun and every relay has ended.
    ///
    /// # Errors
    /// When the system's poll fails, which leaves nothing to go on with.
    pub fn run(mut self) -> io::Result<Farewell> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Some(farewell) = self.farewell.filter(|_| self.clients.is_empty()) {
                return Ok(farewell);
            }
            let patience = self.patience();
            match self.poll.poll(&mut events, patience) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.now = self.time.begin_turn(clock::now());
            self.turn(&events);
            self.time.end_turn(clock::now());
        }
    }

    /// One turn of the loop, in the order of the module's documentation.
    fn turn(&mut self, events: &Events) {
        if self.hub.bells.reactors[self.index].answer() {
            self.look_around();
        }
        for event in events {
            if let Named::Upstream(key) = token::parse(event.token()) {
                self.on_idle_upstream(key, Signal::of(event));
            }
        }
        for event in events {
            self.dispatch(event);
        }
        self.run_queued();
        self.run_handshakes();
        self.accept_all();
        self.fire_timers();
        if !self.cuts.is_empty() {
            self.run_cuts();
        }
        self.serve_queues();
        self.tend_pools();
        #[cfg(debug_assertions)]
        self.audit_in_turns();
    }

    /// Looks at all that the doorbell may have been rung for.
    fn look_around(&mut self) {
        self.hub.heartbeats.answer(self.index);
        let opened = self.open_letters();
        let is_other = self.directory.refresh();
        if is_other {
            self.follow_directory();
        } else if opened.have_come {
            self.follow_listeners();
        }
        for done in opened.to_tell {
            // Whoever asked and does not wait any more asked for nothing.
            let _heard = done.send(());
        }
        self.follow_services(is_other);
        self.forgive_after_an_outage();
    }

    fn dispatch(&mut self, event: &Event) {
        match token::parse(event.token()) {
            Named::Client(key) => self.on_client(key, Signal::of(event)),
            Named::Upstream(key) => self.on_backend(key, Signal::of(event)),
            Named::Listener(place) => self.on_listener(place),
            Named::Bell => {}
        }
    }

    /// How long the poll may sleep.
    fn patience(&mut self) -> Option<Duration> {
        let timers = [
            &self.client_timers,
            &self.upstream_timers,
            &self.resume_timers,
            &self.pool_timers,
            &self.listener_timers,
            &self.tenant_timers,
        ];
        self.next_deadline = timers.into_iter().filter_map(Timers::next).min();
        let is_due = !self.due_clients.is_empty()
            || !self.due_listeners.is_empty()
            || !self.due_handshakes.is_empty()
            || !self.due_pools.is_empty()
            || !self.due_places.is_empty()
            || !self.closing_pools.is_empty()
            || !self.cuts.is_empty();
        if is_due {
            return Some(Duration::ZERO);
        }
        // Rounded up by the poll itself: mio waits no shorter than asked. The clock was read when the turn began;
        // the turn's own length is no lateness worth a second look at it.
        Some(self.next_deadline?.saturating_duration_since(self.now))
    }

    /// Deadlines that are set in this turn are for the next one, even those that have passed.
    fn fire_timers(&mut self) {
        if self.next_deadline.is_none_or(|at| at > self.now) {
            return;
        }
        while let Some(key) = due(&mut self.client_timers, &self.clients, self.now) {
            self.on_client_deadline(key);
        }
        while let Some(key) = due(&mut self.resume_timers, &self.clients, self.now) {
            self.drive(key);
        }
        while let Some(key) = due(&mut self.upstream_timers, &self.upstreams, self.now) {
            self.on_upstream_deadline(key);
        }
        // Before those of pools that retired then: the stop is the reason.
        let mut cut = HashSet::new();
        while let Some(key) = due(&mut self.tenant_timers, &self.tenants, self.now) {
            cut.insert(key);
        }
        if !cut.is_empty() {
            self.cut_tenants(&cut);
        }
        while let Some(key) = due(&mut self.pool_timers, &self.pools, self.now) {
            self.on_pool_deadline(key);
        }
        while let Some(place) = self.listener_timers.pop_due(self.now) {
            self.resume_listener(place as usize);
        }
    }
}

/// The key of the first entry whose deadline has come.
fn due<T>(timers: &mut Timers, slots: &Slots<T>, now: std::time::Instant) -> Option<crate::base::slots::Key> {
    let index = timers.pop_due(now)?;
    let key = slots.key_at(index);
    debug_assert!(key.is_some(), "who leaves takes its deadline along");
    key
}

//! What an event of a socket told.

use mio::event::Event;

use crate::relay::readiness::{Closure, Readiness};

/// What an event told, apart from its token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signal {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) urgent: bool,
    pub(super) closure: Closure,
}

impl Signal {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            readable: event.is_readable(),
            writable: event.is_writable(),
            urgent: event.is_priority(),
            closure: if event.is_error() {
                Closure::Failed
            } else if event.is_read_closed() {
                Closure::Finished
            } else {
                Closure::Open
            },
        }
    }

    pub(super) fn apply(self, ready: &mut Readiness) {
        if self.readable {
            ready.set_readable();
        }
        if self.writable {
            ready.set_writable();
        }
        if self.urgent {
            ready.set_urgent();
        }
        ready.set_closure(self.closure);
    }
}

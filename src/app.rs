//! Composition root: makes the threads, starts and stops them in order.

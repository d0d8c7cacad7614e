//! The way of orders to the loop, from any thread.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mio::net::TcpListener;
use mio::{Poll, Token, Waker};

use crate::admin::desk::Ticket;
use crate::admin::page::Page;
use crate::base::doorbell::Doorbell;
use crate::net::LocalListener;

/// Orders on their way; who gives more waits for the loop.
const ORDERS: usize = 64;

/// What the loop is asked for.
#[derive(Debug)]
pub(super) enum Order {
    OpenMetrics(TcpListener, String),
    CloseMetrics,
    OpenControl(LocalListener),
    CloseControl,
    SetPath(String),
    SetToken(Option<String>),
    Deliver(Ticket, Page),
    Stop,
}

/// Gives orders to the loop of the admin port, from any thread. They are carried out in order; after the end of
/// the loop they are lost, and so are the listeners in them.
///
/// Sockets are opened by who gives the order, so that a refusal by the system is known there.
#[derive(Debug, Clone)]
pub struct AdminHandle {
    orders: SyncSender<Order>,
    bell: Arc<Doorbell>,
}

impl AdminHandle {
    /// Serves the TCP port on this listener from now on, with the scrape at `path`. One that was open
    /// before closes once who waits there has been let in; its connections may finish.
    pub fn open_metrics(&self, listener: TcpListener, path: String) {
        self.order(Order::OpenMetrics(listener, path));
    }

    /// Closes the TCP port; its connections may finish.
    pub fn close_metrics(&self) {
        self.order(Order::CloseMetrics);
    }

    /// Serves the control socket on this listener from now on; otherwise as [`open_metrics`](Self::open_metrics).
    pub fn open_control(&self, listener: LocalListener) {
        self.order(Order::OpenControl(listener));
    }

    /// Closes the control socket; its connections may finish.
    pub fn close_control(&self) {
        self.order(Order::CloseControl);
    }

    /// Moves the scrape to another path.
    pub fn set_path(&self, path: String) {
        self.order(Order::SetPath(path));
    }

    /// Sets what has to be shown to change something over TCP; without a token nobody may.
    pub fn set_token(&self, token: Option<String>) {
        self.order(Order::SetToken(token));
    }

    /// Brings the answer of an errand. Thrown away if its client waits no longer.
    pub fn deliver(&self, ticket: Ticket, page: Page) {
        self.order(Order::Deliver(ticket, page));
    }

    /// Makes the loop close everything and return.
    ///
    /// Meant to be called last in a stop, so that a drain can still be watched.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            // The loop has ended, and with it what it could be asked for.
            return;
        }
        self.bell.ring();
    }
}

/// Where orders come out.
#[derive(Debug)]
pub(super) struct Mailbox {
    orders: Receiver<Order>,
    /// Lives as long as the poll: with the last handle its descriptor would leave the poll, and the order that came just
    /// before would never be seen.
    bell: Arc<Doorbell>,
}

impl Mailbox {
    /// A mailbox whose doorbell wakes a poll under this token, and what puts orders in.
    pub(super) fn new(poll: &Poll, token: Token, bell: Arc<Doorbell>) -> io::Result<(Self, AdminHandle)> {
        bell.attach(Waker::new(poll.registry(), token)?);
        let (sender, orders) = sync_channel(ORDERS);
        let handle = AdminHandle {
            orders: sender,
            bell: Arc::clone(&bell),
        };
        let this = Self { orders, bell };
        Ok((this, handle))
    }

    /// Whether somebody rang since the last call: with an order, or because something has happened.
    pub(super) fn was_rung(&self) -> bool {
        self.bell.answer()
    }

    /// The next order, if one has come.
    pub(super) fn next(&self) -> Option<Order> {
        self.orders.try_recv().ok()
    }
}

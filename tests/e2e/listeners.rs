//! Listeners: delivered, lent, given away, closed; and no client is lost by any of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use socket2::Socket;
use tcp_forwarder::config::{Spec, Strategy};
use tcp_forwarder::reactor::Letter;
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::service::{ListenerId, Listening, Service};

use crate::rig::{PATIENCE, Reactors, TestBackend, activate, connect, sum_counters, wait_for};

fn cold() -> Spec {
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Off;
    spec
}

fn reactors(count: usize) -> Reactors {
    Reactors::start(count, Limits::of(20_000, 0))
}

/// A service of one backend that answers with this name.
fn named(reactors: &Reactors, name: u8) -> Arc<Service> {
    let service = reactors.service("one", &cold());
    activate(&service, &[TestBackend::named(name).addr]);
    service
}

/// Who serves this connection; fails the test if nobody does.
fn asked(stream: &mut TcpStream) -> u8 {
    let mut name = [0];
    stream.write_all(b"?").unwrap();
    stream.read_exact(&mut name).unwrap();
    name[0]
}

#[test]
fn listeners_may_come_before_their_directory_or_after_it() {
    let reactors = reactors(2);
    let service = named(&reactors, b'n');
    let before = reactors.open_for(&service);
    reactors.publish(&[&service], &[&before]);
    assert_eq!(asked(&mut connect(before.bound)), b'n');
    // The second one is in the directory before any reactor has it.
    let (after, letters) = reactors.reserve_for(&service);
    let mut queued = connect(after.bound);
    reactors.publish(&[&service], &[&before, &after]);
    assert_eq!(asked(&mut connect(before.bound)), b'n');
    reactors.deliver(letters);
    assert_eq!(asked(&mut queued), b'n');
    assert_eq!(asked(&mut connect(after.bound)), b'n');
}

#[test]
fn a_listener_that_left_before_it_was_seen_is_closed() {
    let reactors = reactors(1);
    let service = named(&reactors, b'n');
    for round in 0..300 {
        let port = reactors.open_for(&service);
        reactors.publish(&[&service], &[&port]);
        if round % 3 == 0 {
            reactors.publish(&[&service], &[&port]);
        }
        reactors.publish(&[&service], &[]);
        wait_for("it is closed", || TcpStream::connect(port.bound).is_err());
    }
}

/// Duplicates of all listeners of all reactors.
fn borrow(reactors: &Reactors) -> Vec<(ListenerId, Socket)> {
    let (lender, lent) = mpsc::channel();
    for mailbox in &reactors.mailboxes {
        mailbox.send(Letter::Lend(lender.clone()));
    }
    let all = reactors
        .mailboxes
        .iter()
        .map(|_| lent.recv_timeout(PATIENCE).unwrap());
    all.flatten().collect()
}

/// Has these listeners closed in all reactors: they are when this returns.
fn give_away(reactors: &Reactors, ids: &[ListenerId]) {
    let (done, heard) = mpsc::channel();
    for mailbox in &reactors.mailboxes {
        mailbox.send(Letter::Yield(ids.to_vec(), done.clone()));
    }
    for _ in &reactors.mailboxes {
        heard.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_new_process_takes_the_listeners_over_without_losing_a_client() {
    let old = reactors(2);
    let served_by_old = named(&old, b'o');
    let port = old.open_for(&served_by_old);
    let bound = port.bound;
    old.publish(&[&served_by_old], &[&port]);
    let (is_over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let new = reactors(2);
    let served_by_new = named(&new, b'n');
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    asked(&mut connect(bound));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let some_more = || {
            let before = served.load(Ordering::Relaxed);
            wait_for("clients are served", || {
                served.load(Ordering::Relaxed) > before + 50
            });
        };
        some_more();
        let sockets = borrow(&old);
        assert_eq!(sockets.len(), 2, "one a reactor");
        assert!(sockets.iter().all(|(id, _)| *id == port.id));
        let id = ListenerId::fresh();
        let taken = sockets
            .into_iter()
            .map(|(_, socket)| std::net::TcpListener::from(socket));
        let letters = taken.map(|socket| vec![(id, mio::net::TcpListener::from_std(socket))]);
        new.deliver(letters.collect());
        let service = Arc::clone(&served_by_new);
        let taken = Listening {
            id,
            service,
            ..port.clone()
        };
        new.publish(&[&served_by_new], &[&taken]);
        wait_for("both serve", || {
            sum_counters(&served_by_new, |one| &one.accepted) > 20
        });
        some_more();
        give_away(&old, &[port.id]);
        let accepted = sum_counters(&served_by_old, |one| &one.accepted);
        some_more();
        assert_eq!(sum_counters(&served_by_old, |one| &one.accepted), accepted);
        // What the old one has is its own; it stops, and nobody notices.
        assert_eq!(old.stop().cut, 0);
        some_more();
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(asked(&mut connect(bound)), b'n');
}

#[test]
fn what_is_lent_and_not_taken_changes_nothing() {
    let reactors = reactors(2);
    let service = named(&reactors, b'n');
    let port = reactors.open_for(&service);
    reactors.publish(&[&service], &[&port]);
    let mut before = connect(port.bound);
    for _ in 0..10 {
        drop(borrow(&reactors));
        // Somebody who does not wait for the answer.
        for mailbox in &reactors.mailboxes {
            mailbox.send(Letter::Lend(mpsc::channel().0));
            mailbox.send(Letter::Yield(vec![ListenerId::fresh()], mpsc::channel().0));
        }
        assert_eq!(asked(&mut connect(port.bound)), b'n');
        assert_eq!(asked(&mut before), b'n');
    }
    // A duplicate that is still somewhere keeps the port, but wakes no reactor that has closed its own.
    let kept = borrow(&reactors);
    reactors.publish(&[&service], &[]);
    wait_for("the reactors have closed it", || {
        let is_known: Vec<_> = borrow(&reactors);
        is_known.is_empty()
    });
    let addr: SocketAddr = kept[0].1.local_addr().unwrap().as_socket().unwrap();
    assert_eq!(addr, port.bound);
    let _nobodys = connect(addr);
    drop(kept);
    wait_for("it is closed", || TcpStream::connect(addr).is_err());
    assert_eq!(asked(&mut before), b'n');
}

#[test]
fn nobody_is_accepted_at_a_listener_that_is_held_and_nobody_is_lost() {
    let reactors = reactors(2);
    let service = named(&reactors, b'n');
    let [held, open] = std::array::from_fn(|_| reactors.open_for(&service));
    reactors.publish(&[&service], &[&held, &open]);
    assert_eq!(asked(&mut connect(held.bound)), b'n');
    for round in 1..=5 {
        let (done, heard) = mpsc::channel();
        for mailbox in &reactors.mailboxes {
            mailbox.send(Letter::Hold(vec![held.id], done.clone()));
        }
        for _ in &reactors.mailboxes {
            heard.recv_timeout(PATIENCE).unwrap();
        }
        let accepted = || sum_counters(&service, |one| &one.accepted);
        let before = accepted();
        let mut waiting: Vec<_> = (0..6).map(|_| connect(held.bound)).collect();
        // The other one goes on; so a reactor has had every chance.
        for _ in 0..20 {
            assert_eq!(asked(&mut connect(open.bound)), b'n');
        }
        assert_eq!(accepted(), before + 20, "round {round}");
        for mailbox in &reactors.mailboxes {
            mailbox.send(Letter::Resume(vec![held.id]));
        }
        assert!(waiting.iter_mut().all(|client| asked(client) == b'n'));
    }
}

#[test]
fn who_asks_hears_when_listeners_that_left_are_closed() {
    let reactors = reactors(2);
    let service = named(&reactors, b'n');
    let mut still_open = 0;
    for _ in 0..50 {
        let port = reactors.open_for(&service);
        reactors.publish(&[&service], &[&port]);
        let mut queued = connect(port.bound);
        reactors.publish(&[&service], &[]);
        let (done, heard) = mpsc::channel();
        for mailbox in &reactors.mailboxes {
            mailbox.send(Letter::Follow(done.clone()));
        }
        for _ in &reactors.mailboxes {
            heard.recv_timeout(PATIENCE).unwrap();
        }
        still_open += usize::from(TcpStream::connect(port.bound).is_ok());
        // Unless a reactor saw both directories at once: then it never had anybody to serve it.
        if sum_counters(&service, |one| &one.active) > 0 {
            assert_eq!(asked(&mut queued), b'n');
        }
        drop(queued);
        wait_for("it is gone", || sum_counters(&service, |one| &one.active) == 0);
    }
    // A process that another test starts has every socket of this one between its fork and its exec.
    assert!(still_open <= 5, "{still_open} of 50 were not closed by then");
}

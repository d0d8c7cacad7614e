//! One letter to all reactors, and their answers.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use crate::reactor::{Letter, Mailbox};

/// How long a reactor may take to answer a letter.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends each reactor a letter that it answers, and waits for the answers; those of reactors that take too long are
/// missing.
pub(super) fn ask_all<T>(mailboxes: &[Arc<Mailbox>], letter: impl Fn(Sender<T>) -> Letter) -> Vec<T> {
    let (sender, answers) = mpsc::channel();
    for mailbox in mailboxes {
        mailbox.send(letter(sender.clone()));
    }
    drop(sender);
    mailboxes
        .iter()
        .map_while(|_| answers.recv_timeout(PATIENCE).ok())
        .collect()
}

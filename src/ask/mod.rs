//! Commands that ask a process which runs: how it stands, why, and that it does something.
//!
//! `door` says where the process is, `client` asks there, `answers` is what of an answer is shown, `words` how text is
//! laid out; `status` and `explain` put answers into words (pure), `question` ties them together. It knows the process by its
//! API only: nothing here reads what that shares with its threads, so that any build may ask any other.

mod answers;
mod client;
mod door;
mod explain;
mod question;
mod status;
mod words;

pub use client::{Client, Failure};
pub use door::{Door, Token, Url};
pub use question::{Form, Question};
pub use words::Paper;
#[cfg(feature = "tui")]
pub(crate) use words::count;

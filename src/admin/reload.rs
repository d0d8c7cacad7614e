//! How a reload went, in words for people and programs.

use std::time::SystemTime;

use serde::Serialize;

use super::page::Page;

/// One error of a file, located.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, as the user named it.
    pub file: String,
    /// The line, counted from 1; none where no line is to blame.
    pub line: Option<usize>,
    /// Path of the key; empty when the whole file is meant.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// How one reload went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The file holds now.
    Applied {
        /// What changed, a line each.
        changes: Vec<String>,
    },
    /// The file is wrong; nothing changed.
    Refused(Vec<Fault>),
    /// The process stops, and reads no file any more.
    Stopping,
}

impl Outcome {
    /// The answer to whoever asked for the reload.
    #[must_use]
    pub fn page(&self, restart_needed: RestartNeeded) -> Page {
        match self {
            Self::Applied { changes } => Page::json(
                200,
                &serde_json::json!({
                    "result": "success",
                    "changes": changes,
                    "restart_needed": restart_needed == RestartNeeded::Yes,
                }),
            ),
            Self::Refused(faults) => Page::json(
                422,
                &serde_json::json!({
                    "error": "the configuration has errors; nothing was changed",
                    "errors": faults,
                }),
            ),
            Self::Stopping => stopping(),
        }
    }
}

/// The answer to whoever wants a change of a process that stops.
pub(super) fn stopping() -> Page {
    Page::error(409, "the process is stopping")
}

/// Whether something in the file holds only in a new process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartNeeded {
    /// All of the file holds.
    #[default]
    No,
    /// Part of the file waits for a new process.
    Yes,
}

/// What is known of reloads: the last one.
#[derive(Debug, Clone, Default)]
pub struct Reloads {
    /// When it was and how it went; none before the first.
    pub last: Option<(SystemTime, Outcome)>,
    /// Whether something waits for a new process.
    pub restart_needed: RestartNeeded,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: &Outcome, restart_needed: RestartNeeded) -> (u16, serde_json::Value) {
        let page = outcome.page(restart_needed);
        let body = serde_json::from_slice(&page.body()).expect("JSON");
        (page.status(), body)
    }

    #[test]
    fn what_each_outcome_says() {
        let changes = vec!["services.web: added".to_owned()];
        let (status, body) = answer(&Outcome::Applied { changes }, RestartNeeded::Yes);
        assert_eq!(status, 200);
        assert_eq!(body["changes"][0], "services.web: added");
        assert_eq!(body["restart_needed"], true);
        let fault = Fault {
            file: "a.yaml".to_owned(),
            line: Some(3),
            key: "server.reactors".to_owned(),
            message: "no".to_owned(),
        };
        let (status, body) = answer(&Outcome::Refused(vec![fault]), RestartNeeded::No);
        assert_eq!(status, 422);
        assert_eq!(body["errors"][0]["line"], 3);
        assert!(body["error"].is_string());
        assert_eq!(answer(&Outcome::Stopping, RestartNeeded::No).0, 409);
    }
}

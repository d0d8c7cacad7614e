//! How a reload went, as an answer.

use serde::Serialize;

use super::page::Page;
use crate::service::reloads::{Fault, Outcome};

/// A fault as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Written<'a> {
    file: Option<&'a str>,
    line: Option<usize>,
    key: &'a str,
    message: &'a str,
}

impl<'a> Written<'a> {
    pub(super) fn all(faults: &'a [Fault]) -> Vec<Self> {
        let written = |fault: &'a Fault| Self {
            file: fault.file.as_deref(),
            line: fault.line,
            key: &fault.key,
            message: &fault.message,
        };
        faults.iter().map(written).collect()
    }
}

/// The answer to whoever asked for the reload.
#[must_use]
pub fn page(outcome: &Outcome, needs_restart: bool) -> Page {
    match outcome {
        Outcome::Applied(changes) => Page::json(
            200,
            &serde_json::json!({
                "result": "success",
                "changes": changes,
                "restart_needed": needs_restart,
            }),
        ),
        Outcome::Refused(faults) => Page::json(
            422,
            &serde_json::json!({
                "error": "something is wrong; nothing was changed",
                "errors": Written::all(faults),
            }),
        ),
    }
}

/// The answer to whoever wants a change of a process that stops.
#[must_use]
pub fn stopping() -> Page {
    Page::error(409, "the process is stopping")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: &Outcome) -> (u16, serde_json::Value) {
        let page = page(outcome, true);
        let body = serde_json::from_slice(&page.body()).expect("JSON");
        (page.status(), body)
    }

    #[test]
    fn what_each_outcome_says() {
        let (status, body) = answer(&Outcome::Applied(vec!["service web is new".to_owned()]));
        assert_eq!(status, 200);
        assert_eq!(body["changes"][0], "service web is new");
        assert_eq!(body["restart_needed"], true);
        let fault = Fault {
            file: Some("a.yaml".to_owned()),
            line: Some(3),
            key: "server.reactors".to_owned(),
            message: "no".to_owned(),
        };
        let (status, body) = answer(&Outcome::Refused(vec![fault]));
        assert_eq!(status, 422);
        assert_eq!(body["errors"][0]["line"], 3);
        assert!(body["error"].is_string());
        assert_eq!(stopping().status(), 409);
    }
}

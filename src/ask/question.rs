//! What is asked of a process, and the answer as it is printed.

use std::fmt::Write;
use std::net::SocketAddr;

use serde::de::DeserializeOwned;

use super::answers::{Explanation, Services, Status, Steered};
use super::client::{Client, Failure};
use super::words::{Layout, Paper, name_behind};
use super::{explain, status};
use crate::service::AdminState;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// How it and its services stand.
    Status,
    /// Why the active set of this service is what it is; none: of each service.
    Explain(Option<String>),
    /// That a candidate gets this state; of this service, or of the only one.
    Steer(AdminState, SocketAddr, Option<String>),
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Words,
    /// As the process gave it.
    Json,
}

impl Question {
    /// Asks; the answer as it is printed, on this paper.
    ///
    /// # Errors
    /// When there is no answer, or the process refuses.
    pub fn ask(&self, client: &Client, form: Form, paper: Paper) -> Result<String, Failure> {
        match self {
            Self::Status => {
                let body = client.look("status")?;
                match form {
                    Form::Json => Ok(body),
                    Form::Words => Ok(status::page(&read::<Status>(&body)?, paper)),
                }
            }
            Self::Explain(name) => explanations(client, name.as_deref(), form, paper),
            Self::Steer(state, backend, service) => {
                let service = match service {
                    Some(service) => service.clone(),
                    None => only(client)?,
                };
                let (service, backend) = (encoded(&service), encoded(&backend.to_string()));
                let path = format!("services/{service}/{}?backend={backend}", state.label());
                let body = client.change(&path)?;
                match form {
                    Form::Json => Ok(body),
                    Form::Words => Ok(steered(&read(&body)?, paper)),
                }
            }
        }
    }
}

fn explanations(client: &Client, name: Option<&str>, form: Form, paper: Paper) -> Result<String, Failure> {
    let one = |name: &str| client.look(&format!("services/{}/explain", encoded(name)));
    let bodies = match name {
        Some(name) => vec![one(name)?],
        None => names(client)?
            .iter()
            .map(|name| one(name))
            .collect::<Result<_, _>>()?,
    };
    match (form, name) {
        (Form::Json, Some(_)) => Ok(bodies.concat()),
        (Form::Json, None) => {
            let bodies: Vec<&str> = bodies.iter().map(|body| body.trim_end()).collect();
            Ok(format!("[{}]\n", bodies.join(",\n")))
        }
        (Form::Words, _) => {
            let read: Result<Vec<Explanation>, _> = bodies.iter().map(|body| read(body)).collect();
            Ok(explain::page(&read?, paper))
        }
    }
}

fn names(client: &Client) -> Result<Vec<String>, Failure> {
    let services: Services = read(&client.look("services")?)?;
    Ok(services.services.into_iter().map(|one| one.name).collect())
}

/// The only service that there is.
fn only(client: &Client) -> Result<String, Failure> {
    let mut names = names(client)?;
    match names.pop() {
        Some(only) if names.is_empty() => Ok(only),
        last => {
            names.extend(last);
            let names = names.join(", ");
            Err(Failure::Misuse(format!(
                "which service? --service is one of: {names}"
            )))
        }
    }
}

fn steered(steered: &Steered, paper: Paper) -> String {
    let mut layout = Layout::new(paper);
    let Steered {
        service,
        backend,
        name,
        state,
        was,
    } = steered;
    let name = name_behind(name.as_ref());
    layout.say(
        "",
        &format!("{service}: {backend}{name} is {state} now, and was {was}"),
    );
    layout.end()
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body)
        .map_err(|error| Failure::Misunderstood(format!("the answer is not understood: {error}")))
}

/// What is no letter, digit, dash, dot or underscore is percent-encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to memory cannot fail.
            let _written = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_path_is_encoded() {
        assert_eq!(encoded("web-1_a.b"), "web-1_a.b");
        assert_eq!(encoded("[::1]:80"), "%5B%3A%3A1%5D%3A80");
        assert_eq!(encoded("a/../b?c \r\n"), "a%2F..%2Fb%3Fc%20%0D%0A");
    }

    #[test]
    fn an_answer_of_somebody_else_is_not_understood() {
        let failed = read::<Status>("{}").expect_err("no status");
        assert!(failed.to_string().contains("not understood"), "{failed}");
    }
}

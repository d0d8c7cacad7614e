//! Which path is answered by what, and by whom: at once, or by somebody else later.
//!
//! Knows no socket. Counts the requests that it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tiny_http::Method;

use super::access::{Access, Door, Refusal, may_read, may_write};
use super::api::{self, Outcome, Resource, Wish};
use super::desk::{Desk, Errand, Guest, Ticket, Unavailable};
use super::front::File;
use super::http::request::Request;
use super::page::Page;
use super::reload;
use super::status::Status;
use crate::base::doorbell::Doorbell;
use crate::metrics::{Exporter, Format};
use crate::service::Hub;

/// Where the scrape is until somebody says otherwise.
const SCRAPE_PATH: &str = "/metrics";
/// The protocol in which a new process takes over from this one.
pub const TAKEOVER: &str = "tcp-forwarder-takeover/1";

/// Pages, and what they are made of.
#[derive(Debug)]
pub struct Site {
    path: String,
    token: Option<String>,
    exporter: Exporter,
    bad_requests: Arc<AtomicU64>,
    hub: Arc<Hub>,
    desk: Desk,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// This is the answer.
    Page(Page),
    /// Somebody else is at it.
    Later(Ticket),
    /// Events are told from the one after this number on, as they happen.
    Follow(u64),
    /// This is the answer, and then the connection is no longer ours.
    HandOver(Page),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    Scrape,
    Front(&'static File),
    Status,
    Reload,
    Takeover,
    Api(Resource),
}

impl Route {
    /// The methods that it answers.
    fn allow(&self) -> &'static str {
        match self {
            Self::Scrape | Self::Front(_) | Self::Status => "GET, HEAD",
            Self::Reload | Self::Takeover => "POST",
            Self::Api(resource) => resource.allow(),
        }
    }

    fn is_asked_with(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }
}

impl Site {
    /// A site without a token, whose scrape is at `/metrics`.
    #[must_use]
    pub fn new(exporter: Exporter, bad_requests: Arc<AtomicU64>, hub: Arc<Hub>, desk: Desk) -> Self {
        Self {
            path: SCRAPE_PATH.to_owned(),
            token: None,
            exporter,
            bad_requests,
            hub,
            desk,
        }
    }

    pub(super) fn set_path(&mut self, path: String) {
        self.path = path;
    }

    pub(super) fn set_token(&mut self, token: Option<String>) {
        self.token = token;
    }

    /// Counts a request that is not answered with a page.
    pub(super) fn count_bad(&self) {
        self.bad_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer to something that is HTTP but not to be served.
    pub(super) fn refuse(&self, status: u16) -> Page {
        self.count_bad();
        Page::refusal(status)
    }

    /// The answer to a request that is refused whatever its body says.
    pub(super) fn refusal(&self, request: &Request, door: Door) -> Option<Page> {
        let refused = self.route(request, door).err();
        if refused.is_some() {
            self.count_bad();
        }
        refused
    }

    /// The answer to a request whose body has come.
    pub(super) fn answer(&self, request: &Request, door: Door, now: Instant) -> Answer {
        match self.route(request, door) {
            Ok(Route::Scrape) => {
                let format = Format::asked_for(&request.claims.accept);
                Answer::Page(Page::typed(format.content_type(), self.exporter.text(format)))
            }
            Ok(Route::Front(file)) => Answer::Page(file.page()),
            Ok(Route::Status) => {
                let access = Access::of(request, door, self.token.as_deref());
                Answer::Page(Page::json(200, &Status::of(&self.hub, access, now)))
            }
            Ok(Route::Reload) => later(self.desk.reload()),
            Ok(Route::Takeover) => Answer::HandOver(Page::switching(TAKEOVER)),
            Ok(Route::Api(resource)) => {
                let asked = (request.query.as_str(), request.claims.last_event.as_deref());
                match api::answer(&self.hub, &resource, wish(request), asked, now) {
                    Outcome::Page(page) => {
                        if page.status() == 400 {
                            self.count_bad();
                        }
                        Answer::Page(page)
                    }
                    Outcome::Follow(seen) => Answer::Follow(seen),
                    Outcome::Connections(limit) => later(self.desk.connections(limit)),
                }
            }
            Err(page) => {
                self.count_bad();
                Answer::Page(page)
            }
        }
    }

    /// Hands a connection to those who speak what was agreed on.
    pub(super) fn hand_over(&self, guest: Guest) {
        if let Err(why) = self.desk.put(Errand::Takeover(guest)) {
            // The guest sees its connection close, and this process goes on as if nothing had been.
            log::warn!("a new process that wants to take over is turned away: {why:?}");
        }
    }

    fn route(&self, request: &Request, door: Door) -> Result<Route, Page> {
        let route = match request.path.as_str() {
            path if path == self.path => Route::Scrape,
            "/api/v1/status" => Route::Status,
            "/api/v1/reload" => Route::Reload,
            "/api/v1/takeover" => Route::Takeover,
            path => match (File::at(path), Resource::of(path)) {
                (Some(file), _) => Route::Front(file),
                (None, Some(resource)) => Route::Api(resource),
                (None, None) => return Err(not_served(path, 404)),
            },
        };
        if !route.is_asked_with(&request.method) {
            return Err(not_served(&request.path, 405).with_header("Allow", route.allow()));
        }
        let token = self.token.as_deref();
        match &route {
            Route::Scrape | Route::Front(_) => {}
            Route::Status => may_read(request, door, token).map_err(refused)?,
            Route::Reload => may_write(request, door, token).map_err(refused)?,
            Route::Api(_) => match wish(request) {
                Wish::Look => may_read(request, door, token).map_err(refused)?,
                Wish::Change => may_write(request, door, token).map_err(refused)?,
            },
            Route::Takeover => {
                may_write(request, door, token).map_err(refused)?;
                may_take_over(request, door)?;
            }
        }
        Ok(route)
    }

    /// What rings when something has happened.
    pub(super) fn bell(&self) -> Arc<Doorbell> {
        Arc::clone(&self.hub.bells.admin)
    }

    /// What has happened after the event with this number, for a follower, and the number of the last; none: nothing.
    pub(super) fn news(&self, seen: u64) -> Option<(String, u64)> {
        let events = self.hub.events.after(seen);
        let last = events.last()?.number;
        Some((api::stream(&self.hub, &events), last))
    }
}

/// The answer to whoever waits for what was left on the desk, if there was room.
fn later(left: Result<Ticket, Unavailable>) -> Answer {
    match left {
        Ok(ticket) => Answer::Later(ticket),
        Err(Unavailable::Busy) => {
            Answer::Page(Page::error(503, "too many requests wait already").with_header("Retry-After", "1"))
        }
        Err(Unavailable::Stopping) => Answer::Page(reload::stopping()),
    }
}

/// Whether a request that may come looks or changes something.
fn wish(request: &Request) -> Wish {
    if request.method == Method::Post {
        Wish::Change
    } else {
        Wish::Look
    }
}

/// A refusal in the language of the path.
fn not_served(path: &str, status: u16) -> Page {
    match status {
        _ if !path.starts_with("/api/") => Page::refusal(status),
        404 => Page::error(404, "no such path"),
        _ => Page::error(status, "no such method here"),
    }
}

fn may_take_over(request: &Request, door: Door) -> Result<(), Page> {
    match door {
        // Sockets travel over a Unix socket only.
        Door::Metrics => Err(Page::error(403, "only over the control socket")),
        Door::Control if request.claims.upgrade.as_deref() == Some(TAKEOVER) => Ok(()),
        Door::Control => {
            Err(Page::error(426, "this process speaks tcp-forwarder-takeover/1").with_upgrade(TAKEOVER))
        }
    }
}

fn refused(why: Refusal) -> Page {
    match why {
        Refusal::CrossSite => Page::error(403, "requests from pages of other sites are refused"),
        Refusal::Name => Page::error(
            403,
            "call this machine by address or localhost, or show the token",
        ),
        Refusal::NoToken => Page::error(401, "the token is missing or wrong")
            .with_header("WWW-Authenticate", "Bearer realm=\"tcp-forwarder\""),
        Refusal::ReadOnly => Page::error(
            403,
            "read-only here: set metrics.admin_token, or use server.control_socket",
        ),
        Refusal::NotJson => Page::error(415, "a body must be application/json"),
    }
}

#[cfg(test)]
pub(super) mod tests;

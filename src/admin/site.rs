//! What the metrics port answers: the scrape, a front page, and refusals.
//!
//! Responses are put together by `tiny_http` and are whole before the first byte is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tiny_http::{HTTPVersion, Header, Method, Response, StatusCode};

use super::http::request::{After, Request};
use crate::metrics::Exporter;
use crate::metrics::counters::ControlCounters;

/// Content type of a scrape: the Prometheus text format.
const SCRAPE_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN_TYPE: &str = "text/plain; charset=utf-8";

/// Pages and their counts.
#[derive(Debug)]
pub(super) struct Site {
    path: String,
    exporter: Exporter,
    control: Arc<ControlCounters>,
}

/// A page, before it becomes bytes.
struct Page {
    status: u16,
    content_type: &'static str,
    body: String,
}

impl Site {
    pub(super) fn new(path: String, exporter: Exporter, control: Arc<ControlCounters>) -> Self {
        Self {
            path,
            exporter,
            control,
        }
    }

    /// Counts a request that is not answered with a page.
    pub(super) fn count_bad(&self) {
        self.control.bad_metrics_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The whole response to a request.
    pub(super) fn answer(&self, request: &Request) -> Vec<u8> {
        let page = match &request.method {
            Method::Get | Method::Head => self.page(&request.path),
            Method::Post
            | Method::Put
            | Method::Delete
            | Method::Connect
            | Method::Options
            | Method::Trace
            | Method::Patch
            | Method::NonStandard(_) => error_page(405),
        };
        if page.status >= 400 {
            self.count_bad();
        }
        bytes(page, request)
    }

    /// The whole response to something that is HTTP but not to be served.
    pub(super) fn refuse(&self, status: u16) -> Vec<u8> {
        self.count_bad();
        let nothing_known = Request {
            method: Method::Get,
            path: String::new(),
            version: HTTPVersion(1, 1),
            after: After::Close,
            head_bytes: 0,
        };
        bytes(error_page(status), &nothing_known)
    }

    fn page(&self, path: &str) -> Page {
        if path == self.path {
            match self.exporter.text() {
                Ok(body) => Page {
                    status: 200,
                    content_type: SCRAPE_TYPE,
                    body,
                },
                Err(error) => {
                    log::error!("metrics cannot be written: {error}");
                    error_page(500)
                }
            }
        } else if path == "/" {
            Page {
                status: 200,
                content_type: PLAIN_TYPE,
                body: format!(
                    "tcp-forwarder {}\nmetrics: {}\n",
                    env!("CARGO_PKG_VERSION"),
                    self.path
                ),
            }
        } else {
            error_page(404)
        }
    }
}

fn error_page(status: u16) -> Page {
    Page {
        status,
        content_type: PLAIN_TYPE,
        body: format!("{status} {}\n", StatusCode(status).default_reason_phrase()),
    }
}

fn bytes(page: Page, request: &Request) -> Vec<u8> {
    let mut response = Response::from_string(page.body)
        .with_status_code(page.status)
        // Never chunked: the length is known, and every client understands it.
        .with_chunked_threshold(usize::MAX);
    let mut headers = vec![("Content-Type", page.content_type), ("Server", "tcp-forwarder")];
    if page.status == 405 {
        headers.push(("Allow", "GET, HEAD"));
    }
    for (name, value) in headers {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    let is_head = request.method == Method::Head;
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    drop(response.raw_print(&mut bytes, request.version.clone(), &[], is_head, None));
    if request.after == After::Close {
        // tiny_http sends no `Connection` header of its own and accepts none; it goes after the status line.
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            bytes.splice(end + 1..=end, *b"Connection: close\r\n");
        }
    }
    bytes
}

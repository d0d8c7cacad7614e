//! The status page: three files that are part of the program, and under which rules a browser runs them.
//!
//! The page asks the API as anybody could, and is open to anybody like the scrape: what it may see and do is decided
//! where it asks. It loads nothing from elsewhere, and its policy lets it load nothing: no markup that got in could run,
//! send something away or be framed.

use super::page::Page;

/// What the page may do: its own script and style, and the API beside it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const FILES: [File; 4] = [
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        text: include_str!("front/page.html"),
    },
    File {
        path: "/page.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("front/page.css"),
    },
    File {
        path: "/page.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("front/page.js"),
    },
    File {
        path: "/icon.svg",
        content_type: "image/svg+xml",
        text: include_str!("front/icon.svg"),
    },
];

impl File {
    /// The file at a path.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        FILES.iter().find(|file| file.path == path)
    }

    /// It as an answer.
    pub(super) fn page(&self) -> Page {
        Page::typed(self.content_type, vec![self.text.to_owned()])
            .with_header("Content-Security-Policy", POLICY)
            .with_header("Referrer-Policy", "no-referrer")
            .with_header("Cross-Origin-Resource-Policy", "same-origin")
    }
}

#[cfg(test)]
mod tests;

//! What a server says that is asked for a list: the answer whole and in pieces, and what stands in it as a list and as JSON.

use std::sync::Arc;

use tcp_forwarder::candidates::{HostNames, Rules};
use tcp_forwarder::config::{HttpProvider, HttpUrl, ListFormat, OnBadLine};
use tcp_forwarder::providers::http::answer::{Answer, Fault, MOST_BYTES, MOST_HEAD_BYTES, Outcome};
use tcp_forwarder::providers::http::{document, request};
use tcp_forwarder::service::provided::RemoteList;

use super::choices::Choices;

/// Pointers into documents, the empty one among them.
const POINTERS: [&str; 4] = ["", "/0", "/data/ips", "/a~1b/1"];

/// Reads bytes as an answer, and again as what an answer holds.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(word) = choices.word() else {
        return;
    };
    let bytes = choices.rest();
    let piece = usize::from(word % 61) + 1;
    let is_conditional = word % 2 == 0;
    let whole = read(bytes, bytes.len().max(1), is_conditional);
    let pieces = read(bytes, piece, is_conditional);
    // What comes behind the end is seen if it comes with it.
    if whole != Err(Fault::Beyond) {
        assert_eq!(whole, pieces, "in pieces of {piece}");
    }
    match whole {
        Ok(Outcome::List(text, _)) => {
            assert!(text.len() <= MOST_BYTES.min(bytes.len()));
            documents(&text, word);
        }
        Ok(Outcome::Unchanged) => assert!(is_conditional),
        Ok(Outcome::Elsewhere(location)) => leads(&location),
        Err(_) => {}
    }
    documents(bytes, word);
}

fn read(bytes: &[u8], piece: usize, is_conditional: bool) -> Result<Outcome, Fault> {
    let mut answer = Answer::new(is_conditional);
    for bytes in bytes.chunks(piece) {
        if let Some(outcome) = answer.feed(bytes)? {
            return Ok(outcome);
        }
    }
    answer.end()
}

/// Whoever follows a redirect stays with TLS, or without, and asks in one line for what it leads to.
fn leads(location: &str) {
    assert!(location.len() <= MOST_HEAD_BYTES);
    for url in ["http://a.example/b/c?d", "https://[2001:db8::1]:1/"] {
        let list = list(url, ListFormat::List, "", OnBadLine::Error);
        if let Ok(next) = request::follow(&list.url, location, 1) {
            assert_eq!(next.tls, list.url.tls);
            let text = request::text(&list, &next, None);
            assert_eq!(text.matches("\r\n\r\n").count(), 1, "{text:?}");
            assert_eq!(text.lines().count(), 7, "{text:?}");
        }
    }
}

fn documents(text: &[u8], word: u16) {
    let pointer = POINTERS[usize::from(word >> 1) % POINTERS.len()];
    for on_bad_line in OnBadLine::ALL {
        for (format, pointer) in [(ListFormat::List, ""), (ListFormat::Json, pointer)] {
            let list = list("http://a.example/", format, pointer, on_bad_line);
            match document::read(text, &list) {
                Ok(document) => {
                    let read = &document.list;
                    assert!(!read.set.is_empty() || !read.hosts.is_empty(), "somebody");
                    if on_bad_line == OnBadLine::Error {
                        assert!(read.account.skipped.is_empty());
                    }
                }
                Err(why) => assert!(!why.is_empty() && !why.contains('\n'), "{why:?}"),
            }
        }
    }
}

fn list(url: &str, format: ListFormat, pointer: &str, on_bad_line: OnBadLine) -> Arc<RemoteList> {
    Arc::new(RemoteList {
        url: HttpUrl::parse(url).expect("a URL"),
        http: HttpProvider {
            format,
            pointer: pointer.to_owned(),
            ..HttpProvider::default()
        },
        rules: Rules {
            default_port: 80,
            on_bad_line,
            host_names: HostNames::Collected,
        },
        origination: None,
    })
}

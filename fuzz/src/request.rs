//! The head of a request to the admin port, whole and in pieces.

use tcp_forwarder::admin::http::{Body, MAX_HEAD_BYTES, Parsed, Request, parse};

use super::choices::Choices;

/// Reads bytes as a head, and a part of them before.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Some(cut) = choices.word() else {
        return;
    };
    let bytes = choices.rest();
    let whole = parse(bytes);
    if let Parsed::Complete(request) = &whole {
        checked(bytes, request);
    }
    if bytes.len() < MAX_HEAD_BYTES {
        assert!(
            !matches!(whole, Parsed::Refused(414 | 431)),
            "it may still be short enough"
        );
    } else {
        assert_ne!(whole, Parsed::Incomplete, "no more than that is waited for");
        return;
    }
    // A head is judged alike however it comes in, so what is said early stays said.
    let cut = usize::from(cut) % (bytes.len() + 1);
    let part = parse(bytes.get(..cut).unwrap_or_default());
    match (&part, &whole) {
        (Parsed::Incomplete, Parsed::Complete(request)) => assert!(cut < request.head_bytes),
        (Parsed::Incomplete, _) => {}
        _ => assert_eq!(part, whole, "after {cut} bytes"),
    }
}

fn checked(bytes: &[u8], request: &Request) {
    let head = bytes.get(..request.head_bytes).unwrap_or_default();
    assert_eq!(head.len(), request.head_bytes);
    assert!(
        head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n"),
        "up to the empty line"
    );
    assert!(!request.path.contains(['?', '#', ' ']));
    assert!(request.path.bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(request.version.0, 1);
    assert_eq!(parse(head), parse(bytes), "what follows does not count");
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let names = |name: &str| text.lines().any(|line| line.starts_with(name));
    match request.body {
        Body::Length(0) => {}
        Body::Length(_) => assert!(names("content-length:"), "a body has a length"),
        Body::Encoded => assert!(names("transfer-encoding:"), "a coding has a name"),
    }
    assert!(request.body == Body::Encoded || !names("transfer-encoding:"));
    assert_eq!(request.claims.host.is_some(), names("host:"));
    assert_eq!(request.claims.origin.is_some(), names("origin:"));
    assert!(request.claims.upgrade.is_none() || names("connection:"));
}

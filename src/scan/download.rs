//! How fast a candidate is: one download by HTTP, with limits.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::base::clock;

/// A download ends after so long, or so many bytes.
const LONGEST: Duration = Duration::from_secs(10);
const LARGEST: u64 = 256 << 20;
/// Nothing comes for so long: it is over. Also how long an interruption may go unnoticed.
const SILENCE: Duration = Duration::from_secs(2);
/// Of less nothing can be told.
const LEAST: u64 = 16 << 10;
const MOST_HEAD: usize = 16 << 10;
const HEADERS: usize = 64;

/// What is downloaded: the same from each candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// For the header `Host`.
    host: String,
    path: String,
}

impl Target {
    /// Reads `http://HOST[:PORT]/PATH`. The port is the candidate's own.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(format!(
                "{url}: only http:// can be downloaded; https comes with TLS"
            ));
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !is_plain(host) || !is_plain(path) || host.contains('@') {
            return Err(format!("{url}: not of the form http://HOST/PATH"));
        }
        Ok(Self {
            host: host.to_owned(),
            path: format!("/{path}"),
        })
    }
}

/// What a download came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Download {
    /// Bits a second, from the first byte of the body on; none if it failed or was too short.
    pub(super) bits: Option<f64>,
    /// The data centre in the header `cf-ray`, if there is one.
    pub(super) region: String,
}

/// Downloads over a connection to a candidate until it ends, is long enough, or `is_over`.
///
/// # Errors
/// When the connection ends before the answer begins.
pub(super) fn download(stream: TcpStream, target: &Target, is_over: &AtomicBool) -> io::Result<Download> {
    read(ask(stream, target)?, is_over)
}

fn ask(mut stream: TcpStream, target: &Target) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let (host, path) = (&target.host, &target.path);
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tcp-forwarder/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

fn read(mut stream: TcpStream, is_over: &AtomicBool) -> io::Result<Download> {
    let began_at = clock::now();
    let (region, mut bytes) = read_head(&mut stream, began_at)?;
    let first_at = clock::now();
    let mut last_at = first_at;
    let mut buffer = vec![0; 64 << 10];
    while bytes < LARGEST && last_at - began_at < LONGEST && !is_over.load(Ordering::Relaxed) {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        last_at = clock::now();
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 2^31")]
    let bits = bytes as f64 * 8.0 / (last_at - first_at).as_secs_f64().max(1e-6);
    Ok(Download {
        bits: (bytes >= LEAST && last_at > first_at).then_some(bits),
        region,
    })
}

/// Reads up to the body: where the answer comes from, and how much of the body came with its head.
fn read_head(stream: &mut TcpStream, began_at: Instant) -> io::Result<(String, u64)> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..count]);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&head) {
            Ok(httparse::Status::Complete(length)) => {
                if !matches!(response.code, Some(200..=299)) {
                    return Err(io::Error::other("it refuses"));
                }
                return Ok((region_of(response.headers), (head.len() - length) as u64));
            }
            Ok(httparse::Status::Partial)
                if count > 0 && head.len() < MOST_HEAD && clock::now() - began_at < LONGEST => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(io::Error::other("no answer by HTTP")),
        }
    }
}

/// What follows the last dash of `cf-ray`: letters and digits, or it is none.
fn region_of(headers: &[httparse::Header<'_>]) -> String {
    let ray = headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("cf-ray"));
    let text = ray.and_then(|ray| std::str::from_utf8(ray.value).ok());
    let region = text
        .and_then(|text| text.rsplit_once('-'))
        .map_or("", |(_, region)| region);
    let is_name = region.len() <= 8 && region.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name { region.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_in_words() {
        let target = Target::parse("http://example.com/a/b?c=1").expect("a URL");
        assert_eq!(
            (target.host.as_str(), target.path.as_str()),
            ("example.com", "/a/b?c=1")
        );
        assert_eq!(Target::parse("http://[::1]:81").expect("a URL").path, "/");
        for bad in [
            "https://example.com/",
            "example.com/",
            "http:///x",
            "http://a b/",
            "http://u@h/",
            "http://h/\r\nX: y",
        ] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    /// What a download from somebody who answers like this comes to.
    fn from(answer: Vec<u8>) -> Download {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("a request");
            drop(stream.write_all(&answer));
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let target = Target::parse("http://example.com/file").expect("a URL");
        let stream = TcpStream::connect(addr).expect("it listens");
        let download = download(stream, &target, &AtomicBool::new(false)).unwrap_or_default();
        let request = server.join().expect("no panic");
        assert!(
            request.starts_with("GET /file HTTP/1.1\r\nHost: example.com\r\n"),
            "{request}"
        );
        download
    }

    #[test]
    fn throughput_and_region_are_told_and_bad_answers_tell_nothing() {
        let mut answer = b"HTTP/1.1 200 OK\r\nCF-RAY: 8a1b2c3d4e5f-AMS\r\n\r\n".to_vec();
        answer.resize(answer.len() + 3_000_000, b'x');
        let good = from(answer);
        assert!(good.bits.is_some_and(|bits| bits > 1e6), "{good:?}");
        assert_eq!(good.region, "AMS");
        let short = from(b"HTTP/1.1 200 OK\r\ncf-ray: x-<script>\r\n\r\nhello".to_vec());
        assert_eq!(short, Download::default());
        assert_eq!(
            from(b"HTTP/1.1 403 Forbidden\r\ncf-ray: 1-AMS\r\n\r\n".to_vec()),
            Download::default()
        );
        assert_eq!(from(b"SSH-2.0-x\r\n".to_vec()), Download::default());
        assert_eq!(from(Vec::new()), Download::default());
        assert_eq!(from(vec![b'a'; 100_000]), Download::default());
    }
}

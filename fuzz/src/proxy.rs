//! PROXY headers: any bytes, and any client, told and read again.

use std::net::SocketAddr;

use tcp_forwarder::config::{ProxyAccept, ProxySend};
use tcp_forwarder::net::canonical;
use tcp_forwarder::preface::Failure;
use tcp_forwarder::preface::proxy::{
    Endpoints, Facts, Header, MOST_BYTES, MOST_FACT_BYTES, Tls, compose, read,
};

use super::choices::Choices;

/// Reads bytes as they are, behind a signature, or tells of a client.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.byte().map(|form| form % 3) {
        Some(0) => any_bytes(choices.rest()),
        Some(1) => any_bytes(&[b"\r\n\r\n\0\r\nQUIT\n", choices.rest()].concat()),
        Some(_) => told(choices),
        None => {}
    }
}

fn any_bytes(bytes: &[u8]) {
    let [any, v1, v2] =
        [ProxyAccept::Any, ProxyAccept::V1, ProxyAccept::V2].map(|accept| in_pieces(bytes, accept));
    let of_one = |one: &Result<Option<Header>, Failure>| matches!(one, Err(Failure::ProxyVersion));
    assert!(any == v1 || of_one(&v1), "{any:?} {v1:?}");
    assert!(any == v2 || of_one(&v2), "{any:?} {v2:?}");
    assert_eq!(read(bytes, ProxyAccept::Off).ok().flatten(), None);
    let Ok(Some(header)) = any else { return };
    check_facts(&header.facts);
    let again = compose(ProxySend::V2, header.endpoints, &header.facts);
    let told = in_pieces(&again, ProxyAccept::V2)
        .expect("ours is right")
        .expect("ours is whole");
    let ends = |ends: Endpoints| [ends.source, ends.destination].map(canonical);
    assert_eq!(told.endpoints.map(ends), header.endpoints.map(ends));
    assert!(told.facts == header.facts || header.endpoints.is_none());
}

/// What is read of bytes, which is the same however many of them have come when it is known.
fn in_pieces(bytes: &[u8], accept: ProxyAccept) -> Result<Option<Header>, Failure> {
    let whole = read(bytes, accept);
    let first = (0..bytes.len())
        .map(|end| read(&bytes[..end], accept))
        .find(|part| *part != Ok(None));
    assert_eq!(first.unwrap_or_else(|| whole.clone()), whole, "{bytes:?}");
    match &whole {
        Ok(Some(header)) => assert!(header.length <= bytes.len().min(MOST_BYTES)),
        Ok(None) => assert!(bytes.len() < MOST_BYTES, "nobody may say so much"),
        Err(_) => {}
    }
    whole
}

fn check_facts(facts: &Facts) {
    let values = [&facts.alpn, &facts.authority].into_iter().flatten();
    for value in values.chain(facts.tls.as_ref().map(|tls| &tls.version)) {
        assert!(value.len() <= MOST_FACT_BYTES);
    }
}

fn told(mut choices: Choices<'_>) {
    let mut address = || {
        let (is_wide, port) = (choices.byte()? % 2 == 1, choices.word()?);
        let mut octets = [0; 16];
        for octet in &mut octets {
            *octet = choices.byte()?;
        }
        let [a, b, c, d, ..] = octets;
        Some(if is_wide {
            SocketAddr::from((octets, port))
        } else {
            SocketAddr::from(([a, b, c, d], port))
        })
    };
    let (Some(source), Some(destination)) = (address(), address()) else {
        return;
    };
    let mut fact = || {
        let length = usize::from(choices.byte()?);
        (length > 0).then(|| vec![b'f'; length].into())
    };
    let facts = Facts {
        alpn: fact(),
        authority: fact(),
        tls: fact().map(|version| Tls {
            client: 1,
            verify: 1,
            version,
        }),
    };
    let ends = Endpoints { source, destination };
    for version in [ProxySend::V1, ProxySend::V2] {
        let bytes = compose(version, Some(ends), &facts);
        let header = in_pieces(&bytes, ProxyAccept::Any)
            .expect("ours is right")
            .expect("ours is whole");
        assert_eq!(header.length, bytes.len());
        let read = header.endpoints.expect("it names a client");
        assert_eq!(canonical(read.source), canonical(source));
        assert_eq!(canonical(read.destination), canonical(destination));
        assert!(version == ProxySend::V1 || header.facts == facts);
    }
}

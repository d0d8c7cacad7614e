//! How many bytes of a connection its peer's kernel has not confirmed, asked from this kernel (`sock_diag(7)`).

use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, send, socket};

/// `SOCK_DIAG_BY_FAMILY`, and a request of one answer.
const QUESTION: u16 = 20;
const REQUEST: u16 = 1;

const IPV4: u8 = 2;
const TCP: u8 = 6;

/// Where an answer has `idiag_wqueue`: behind its header, the socket's names and two other numbers.
const UNSENT_AT: usize = 16 + 4 + 48 + 8;

/// Bytes written to `stream`, over IPv4, that have not been confirmed; none if it is no more.
pub(super) fn unsent(stream: &TcpStream) -> u32 {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return 0;
    };
    let Some(question) = question(local, peer) else {
        return 0;
    };
    let asked = socket(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        Some(netlink::SOCK_DIAG),
    )
    .unwrap();
    assert_eq!(send(&asked, &question, SendFlags::empty()), Ok(question.len()));
    let mut answer = [0_u8; 1024];
    let (count, _) = recv(&asked, &mut answer, RecvFlags::empty()).unwrap();
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    if kind != QUESTION || count < UNSENT_AT + 4 {
        return 0;
    }
    u32::from_ne_bytes(answer[UNSENT_AT..UNSENT_AT + 4].try_into().unwrap())
}

/// `struct nlmsghdr`, then `struct inet_diag_req_v2` that names one socket.
fn question(local: SocketAddr, peer: SocketAddr) -> Option<Vec<u8>> {
    let (IpAddr::V4(source), IpAddr::V4(target)) = (local.ip(), peer.ip()) else {
        return None;
    };
    let mut bytes = Vec::new();
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(QUESTION.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([IPV4, TCP, 0, 0]);
    bytes.extend([0xff; 4]);
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(peer.port().to_be_bytes());
    for ip in [source, target] {
        bytes.extend(ip.octets());
        bytes.extend([0; 12]);
    }
    // Any interface; whichever socket has these names.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::support::wait_for;

    #[test]
    fn what_nobody_takes_is_unsent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _taken = listener.accept().unwrap();
        wait_for("it is connected", || stream.peer_addr().is_ok());
        assert_eq!(unsent(&stream), 0);
        stream.write_all(b"a little").unwrap();
        wait_for("a little is confirmed", || unsent(&stream) == 0);
        let chunk = vec![0; 1 << 20];
        while stream.write(&chunk).is_ok() {}
        assert!(unsent(&stream) > 0);
    }
}

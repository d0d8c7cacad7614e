//! Clients that get another service's backends, by what they ask for; nothing of what they say is lost or changed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tcp_forwarder::config::{NoMatch, ProxyAccept, ProxySend, Route, ServiceName, Spec, Strategy};
use tcp_forwarder::preface::Failure;
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::relay::close::CloseReason;
use tcp_forwarder::service::traffic::Traffic;
use tcp_forwarder::service::{Listening, Service};

use crate::rig::{Reactors, TestBackend, activate, connect, sum_counters, wait_for};

/// A `ClientHello` that asks for this name.
pub(crate) fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
    let long = |value: &[u8]| [&u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat();
    let mut extensions = Vec::new();
    if !name.is_empty() {
        extensions.extend([0, 0]);
        extensions.extend(long(&long(&[&[0][..], &long(name.as_bytes())].concat())));
    }
    if !alpn.is_empty() {
        let names: Vec<u8> = alpn
            .iter()
            .flat_map(|one| [&[u8::try_from(one.len()).unwrap()][..], one.as_bytes()].concat())
            .collect();
        extensions.extend([0, 16]);
        extensions.extend(long(&long(&names)));
    }
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0],
        &long(&extensions),
    ]
    .concat();
    let message = [&[1, 0][..], &long(&body)].concat();
    [&[22, 3, 1][..], &long(&message)].concat()
}

fn route(sni: &str, alpn: &str, to: &str) -> Route {
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Route {
        sni: list(sni),
        alpn: list(alpn),
        to: ServiceName::parse(to).unwrap(),
    }
}

/// A backend that says its name once, and then sends back what it gets.
fn backend(name: &'static [u8]) -> TestBackend {
    TestBackend::start(move |mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        let mut is_named = false;
        while let Ok(count) = stream.read(&mut buffer) {
            let named = if is_named { &b""[..] } else { name };
            is_named = true;
            if count == 0 || stream.write_all(&[named, &buffer[..count]].concat()).is_err() {
                return;
            }
        }
    })
}

/// A service at the door and two behind it.
struct Scene {
    reactors: Reactors,
    door: Arc<Service>,
    web: Arc<Service>,
    mail: Arc<Service>,
    listening: Listening,
}

impl Scene {
    fn new(at_door: impl FnOnce(&mut Spec), behind: impl Fn(&mut Spec)) -> Self {
        let reactors = Reactors::start(2, Limits::of(20_000, 0));
        let mut spec = Spec::default();
        spec.pools.strategy = Strategy::Static { size_per_remote: 2 };
        let plain = spec.clone();
        spec.server.routes = vec![
            route("web.example *.web.example", "", "web"),
            route("", "smtp", "mail"),
        ];
        at_door(&mut spec);
        let service = |name: &'static str, spec: &Spec| {
            let service = reactors.service(name, spec);
            activate(&service, &[backend(name.as_bytes()).addr]);
            service
        };
        let door = service("door", &spec);
        let mut of_others = plain;
        behind(&mut of_others);
        let (web, mail) = (service("web", &of_others), service("mail", &of_others));
        let listening = reactors.open_for(&door);
        reactors.publish(&[&door, &mail, &web], &[&listening]);
        Self {
            reactors,
            door,
            web,
            mail,
            listening,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.listening.bound
    }

    /// Says this, in pieces of so many bytes; a failure if it has been refused before it could.
    fn say(&self, bytes: &[u8], piece: usize) -> std::io::Result<TcpStream> {
        let mut client = connect(self.addr());
        client.set_nodelay(true)?;
        bytes
            .chunks(piece)
            .try_for_each(|piece| client.write_all(piece))?;
        Ok(client)
    }

    /// Who serves a client that says this, which must come back unchanged.
    fn served_by(&self, bytes: &[u8], name: &str, piece: usize) -> TcpStream {
        let mut client = self.say(bytes, piece).unwrap();
        let mut reply = vec![0; name.len() + bytes.len()];
        client.read_exact(&mut reply).unwrap();
        assert!(reply.starts_with(name.as_bytes()), "not {name} but {reply:?}");
        assert!(
            &reply[name.len()..] == bytes,
            "what came back is not what was said"
        );
        client
    }

    fn failures(&self, failure: Failure) -> u64 {
        sum_counters(&self.door, |one| &one.failures[failure as usize])
    }
}

fn count(service: &Service, cell: impl Fn(&Traffic) -> u64) -> u64 {
    service.live.traffic.iter().map(cell).sum()
}

fn closed(service: &Service, reason: CloseReason) -> u64 {
    sum_counters(service, |one| &one.closed[reason as usize])
}

fn is_reset(said: std::io::Result<TcpStream>) {
    let end = said.and_then(|mut stream| stream.read(&mut [0]));
    let end = end.map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_client_gets_the_backends_of_whom_it_asks_for() {
    let scene = Scene::new(|_| (), |_| ());
    let mut all = Vec::new();
    for (name, alpn, expected) in [
        ("web.example", &[][..], "web"),
        ("deep.below.web.example", &["h2"], "web"),
        ("WEB.Example", &["smtp"], "web"),
        ("elsewhere.example", &["h2", "smtp"], "mail"),
        ("", &["smtp"], "mail"),
        ("elsewhere.example", &[], "door"),
        ("", &[], "door"),
    ] {
        let bytes = hello(name, alpn);
        for piece in [bytes.len(), 7, 1] {
            all.push(scene.served_by(&bytes, expected, piece));
        }
        // With what a client with early data says behind it.
        let early = [&bytes[..], &[23, 3, 3, 0, 3, 1, 2, 3]].concat();
        all.push(scene.served_by(&early, expected, early.len()));
    }
    // Each counts where it is served; where it came to as well, until it was led on.
    for (service, accepted, active) in [(&scene.door, 28, 8), (&scene.web, 12, 12), (&scene.mail, 8, 8)] {
        let name = &service.name;
        assert_eq!(count(service, |one| one.accepted.value()), accepted, "{name}");
        assert_eq!(count(service, |one| one.active.value()), active, "{name}");
    }
    assert_eq!(closed(&scene.door, CloseReason::Routed), 20);
    drop(all);
    wait_for("all have gone", || scene.reactors.clients() == 0);
    assert_eq!(
        closed(&scene.web, CloseReason::Finished) + closed(&scene.web, CloseReason::ClientReset),
        12
    );
    let bytes = count(&scene.web, |one| one.bytes_to_backend.value());
    assert!(bytes > 0 && count(&scene.mail, |one| one.bytes_to_client.value()) > 0);
}

#[test]
fn who_asks_for_nobody_is_closed_if_it_is_to_be() {
    let scene = Scene::new(|spec| spec.server.no_match = NoMatch::Close, |_| ());
    is_reset(scene.say(&hello("elsewhere.example", &[]), 1000));
    wait_for("the count", || scene.failures(Failure::NoRoute) == 1);
    scene.served_by(&hello("web.example", &[]), "web", 1000);
}

#[test]
fn what_is_no_tls_has_a_place_of_its_own_or_none() {
    let scene = Scene::new(|_| (), |_| ());
    is_reset(scene.say(b"GET / HTTP/1.1\r\n\r\n", 100));
    wait_for("the count", || scene.failures(Failure::NotTls) == 1);
    let plain = |to: &'static str| move |spec: &mut Spec| spec.server.plain = ServiceName::parse(to);
    for to in ["mail", "door"] {
        let scene = Scene::new(plain(to), |_| ());
        for piece in [100, 1] {
            scene.served_by(b"GET / HTTP/1.1\r\n\r\n", to, piece);
        }
        scene.served_by(&hello("web.example", &[]), "web", 1000);
    }
}

#[test]
fn a_hello_that_is_wrong_too_long_or_late_is_refused() {
    let scene = Scene::new(
        |spec| spec.server.handshake_timeout = Duration::from_millis(300),
        |_| (),
    );
    let mut wrong = hello("web.example", &[]);
    wrong[5] = 2;
    is_reset(scene.say(&wrong, 1000));
    wait_for("the count", || scene.failures(Failure::HelloMalformed) == 1);
    is_reset(scene.say(&[22, 3, 1, 0, 4, 1, 1, 0, 0], 1000));
    wait_for("the count", || scene.failures(Failure::HelloTooLong) == 1);
    let whole = hello("web.example", &[]);
    for part in [&whole[..0], &whole[..1], &whole[..whole.len() - 1]] {
        is_reset(scene.say(part, 1000));
    }
    wait_for("the count", || {
        closed(&scene.door, CloseReason::HandshakeTimeout) == 3
    });
    scene.served_by(&whole, "web", 1000);
    assert_eq!(count(&scene.door, |one| one.active.value()), 0);
}

#[test]
fn the_limits_of_both_services_hold() {
    let deny = "127.0.0.0/8".parse().unwrap();
    let scene = Scene::new(|_| (), |spec| spec.server.deny = vec![deny]);
    is_reset(scene.say(&hello("web.example", &[]), 1000));
    wait_for("the refusal", || {
        count(&scene.web, |one| one.rejected[0].value()) == 1
    });
    assert_eq!(closed(&scene.web, CloseReason::Refused), 1);
    scene.served_by(&hello("", &[]), "door", 1000);
    // At the door each has two connections, to whomever they are led.
    let limit = |spec: &mut Spec| spec.server.max_connections_per_ip = 2;
    let scene = Scene::new(limit, |_| ());
    let mut all = vec![
        scene.served_by(&hello("web.example", &[]), "web", 1000),
        scene.served_by(&hello("", &[]), "door", 1000),
    ];
    is_reset(scene.say(&hello("web.example", &[]), 1000));
    all.remove(0);
    // Its seat is given back at the very end of it.
    let bytes = hello("", &["smtp"]);
    wait_for("there is room again", || {
        let said = scene.say(&bytes, 1000);
        said.and_then(|mut client| client.read_exact(&mut vec![0; 4 + bytes.len()]))
            .is_ok()
    });
    assert_eq!(count(&scene.mail, |one| one.accepted.value()), 1);
}

#[test]
fn a_header_a_hello_and_a_header_for_the_backend_go_together() {
    let believe = |spec: &mut Spec| {
        spec.server.proxy_protocol.accept = ProxyAccept::Any;
        spec.server.proxy_protocol.from = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let scene = Scene::new(believe, |spec| spec.server.proxy_protocol.send = ProxySend::V2);
    let line = b"PROXY TCP4 203.0.113.7 198.51.100.2 51234 443\r\n";
    let bytes = hello("web.example", &["h2"]);
    for piece in [1000, 50, 1] {
        let mut client = scene.say(&[line, &bytes[..]].concat(), piece).unwrap();
        let name = b"\x02\0\x0bweb.example";
        let header = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1a",
            &[203, 0, 113, 7, 198, 51, 100, 2, 0xc8, 0x22, 1, 0xbb][..],
            name,
        ];
        let expected = [b"web", &header.concat()[..], &bytes].concat();
        let mut reply = vec![0; expected.len()];
        client.read_exact(&mut reply).unwrap();
        // The backend says its name before whatever came first.
        assert!(reply == expected, "{reply:?}");
    }
}

#[test]
fn a_service_that_leaves_is_led_to_no_more_and_its_clients_stay() {
    let scene = Scene::new(|_| (), |_| ());
    let bytes = hello("web.example", &[]);
    let mut stays = scene.served_by(&bytes, "web", 1000);
    let mut waits = connect(scene.addr());
    waits.write_all(&bytes[..9]).unwrap();
    wait_for("it is accepted", || scene.reactors.clients() == 2);
    // Its routes are those that it came under, and lead to a service that there is no more.
    let mut spec = (*scene.door.spec).clone();
    spec.server.routes.remove(0);
    let door = Arc::new(scene.door.under(Arc::new(spec), Instant::now()));
    let listening = Listening {
        service: Arc::clone(&door),
        ..scene.listening.clone()
    };
    scene.reactors.publish(&[&door, &scene.mail], &[&listening]);
    wait_for("it is in force", || {
        let mut client = connect(scene.addr());
        client.write_all(&bytes).unwrap();
        let mut name = [0; 4];
        client.read_exact(&mut name).unwrap();
        &name == b"door"
    });
    waits.write_all(&bytes[9..]).unwrap();
    is_reset(Ok(waits));
    crate::support::ping(&mut stays, b"still here");
}

#[test]
fn the_stop_waits_for_who_is_through_and_cuts_who_is_not() {
    let drain = |spec: &mut Spec| spec.pools.drain_timeout = Duration::from_millis(400);
    let scene = Scene::new(drain, drain);
    let bytes = hello("web.example", &[]);
    let mut stays = scene.served_by(&bytes, "web", 1000);
    let mut waits = connect(scene.addr());
    waits.write_all(&bytes[..9]).unwrap();
    wait_for("both are here", || scene.reactors.clients() == 2);
    scene.reactors.begin_stop();
    crate::support::ping(&mut stays, b"still here");
    drop(stays);
    is_reset(Ok(waits));
    let farewell = scene.reactors.stop();
    assert_eq!((farewell.finished, farewell.cut), (1, 1));
}

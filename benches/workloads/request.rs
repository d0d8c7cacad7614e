//! A keep-alive request through a reactor, over sockets: what a client, a reactor and a backend do for it together.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use tcp_forwarder::backend::{ActiveSet, Backend};
use tcp_forwarder::base::clock;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::config::{ServiceName, Spec};
use tcp_forwarder::net;
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::reactor::{Bursts, Letter, Mailbox, Reactor};
use tcp_forwarder::selector::decide::Footing;
use tcp_forwarder::service::{Directory, Hub, ListenerId, Listening, Live, Service};

use super::Workload;

const REQUEST: [u8; 100] = [b'q'; 100];
const REPLY: [u8; 300] = [b'r'; 300];

/// One client on one relay of a reactor, whose threads end with the process.
pub(super) struct Request(TcpStream);

impl Request {
    pub(super) fn new() -> std::io::Result<Self> {
        let backend = answering()?;
        let listening = forwarding_to(backend)?;
        let mut request = Self(TcpStream::connect(listening)?);
        request.0.set_nodelay(true)?;
        // The first one has the connection to the backend made.
        request.step();
        Ok(request)
    }
}

impl Workload for Request {
    fn step(&mut self) {
        let mut reply = [0; REPLY.len()];
        let exchanged = self
            .0
            .write_all(&REQUEST)
            .and_then(|()| self.0.read_exact(&mut reply));
        assert!(exchanged.is_ok(), "a request is answered: {exchanged:?}");
    }
}

/// A backend that answers the requests of one connection.
fn answering() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; REQUEST.len()];
        while stream.read_exact(&mut request).is_ok() {
            stream.write_all(&REPLY)?;
        }
        Ok::<(), std::io::Error>(())
    });
    Ok(addr)
}

/// A reactor with one service of one backend, under the default spec; where it listens.
fn forwarding_to(backend: SocketAddr) -> std::io::Result<SocketAddr> {
    let now = clock::now();
    let hub = Arc::new(Hub::new(1, now));
    let directory = Directory::empty(Limits::of(net::raise_descriptor_limit(), 0));
    let limits = directory.limits;
    hub.directory.publish(Arc::new(directory));
    let mailbox = Arc::new(Mailbox::new(
        Arc::clone(&hub.bells.reactors[0]),
        Arc::clone(&hub.directory),
    ));
    let bursts = Arc::<Bursts>::default();
    let rng = fastrand::Rng::with_seed(1);
    let reactor = Reactor::new(0, Arc::clone(&hub), Arc::clone(&mailbox), bursts, rng)?;
    std::thread::spawn(move || reactor.run());

    let spec = Spec::default();
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listeners = net::listen(wanted, 1, &spec.server.keepalive)?;
    let listener = listeners.remove(0);
    let service = service_to(backend, spec, &hub)?;
    let listening = Listening {
        id: ListenerId::fresh(),
        wanted,
        bound: listener.local_addr()?,
        service: Arc::clone(&service),
    };
    mailbox.send(Letter::Open(vec![(listening.id, listener)]));
    let bound = listening.bound;
    hub.directory.publish(Arc::new(Directory {
        services: vec![service],
        listening: vec![listening],
        ..Directory::empty(limits)
    }));
    Ok(bound)
}

/// A service whose active set is one backend.
fn service_to(addr: SocketAddr, spec: Spec, hub: &Hub) -> std::io::Result<Arc<Service>> {
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let candidates = CandidateSet::parse("127.0.0.1", 80).map_err(|_| invalid())?;
    let live = Live::new(Arc::new(candidates), &spec.remotes.scoring, &hub.bells);
    live.active.publish(Arc::new(ActiveSet::new(
        vec![Arc::new(Backend::new(addr, clock::now(), 1))],
        Footing::Good,
    )));
    let name = ServiceName::parse("bench").ok_or_else(invalid)?;
    Ok(Arc::new(Service::new(
        name,
        Arc::new(spec),
        Arc::new(live),
        clock::now(),
    )))
}

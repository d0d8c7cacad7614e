//! Many services at once, and everything that may happen to them in any order; the books are audited all the while.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tcp_forwarder::backend::Backend;
use tcp_forwarder::config::{Algorithm, Rescue, Spec, Splice, Strategy};
use tcp_forwarder::reactor::limits::Limits;
use tcp_forwarder::service::{Listening, Service};

use crate::adversary::{fickle_backend, fickle_client};
use crate::rig::{
    Reactors, TestBackend, activate, connect, member, publish_set, sum_counters, wait_for, warm,
};
use crate::support::{patient, ping};

fn reactors() -> Reactors {
    let descriptors = tcp_forwarder::net::raise_descriptor_limit();
    Reactors::start(2, Limits::of(descriptors, 0))
}

#[test]
fn two_hundred_services_come_change_and_go_at_once() {
    const SERVICES: usize = 200;
    let reactors = reactors();
    let backend = TestBackend::echo();
    let mut spec = Spec::default();
    spec.pools.strategy = Strategy::Static { size_per_remote: 2 };
    let mut services: Vec<_> = (0..SERVICES).map(|_| reactors.service("many", &spec)).collect();
    let mut ports: Vec<_> = services
        .iter()
        .map(|service| reactors.open_for(service))
        .collect();
    let publish = |services: &[Arc<Service>], ports: &[Listening]| {
        reactors.publish(
            &services.iter().collect::<Vec<_>>(),
            &ports.iter().collect::<Vec<_>>(),
        );
    };
    publish(&services, &ports);
    for service in &services {
        activate(service, &[backend.addr]);
    }
    wait_for("all pools are full", || {
        services.iter().all(|service| warm(service) == 2)
    });
    let mut clients: Vec<_> = ports.iter().map(|port| connect(port.bound)).collect();
    for client in &mut clients {
        ping(client, b"each has its port");
    }
    let before = services.clone();
    spec.server.idle_timeout *= 2;
    let spec = Arc::new(spec);
    for (service, port) in services.iter_mut().zip(&mut ports) {
        *service = Arc::new(service.under(Arc::clone(&spec), Instant::now()));
        port.service = Arc::clone(service);
    }
    publish(&services, &ports);
    for (client, port) in clients.iter_mut().zip(&ports) {
        ping(client, b"the old ones go on");
        ping(&mut connect(port.bound), b"new ones come");
    }
    for service in &before {
        assert_eq!(
            sum_counters(service, |one| &one.accepted),
            2,
            "nobody came to another one's"
        );
    }
    let last = services.split_off(SERVICES - 1);
    let kept = ports.split_off(SERVICES - 1);
    publish(&last, &kept);
    drop(ports);
    for client in &mut clients {
        ping(client, b"to the end");
    }
    drop(clients);
    wait_for("they are gone", || {
        let is_gone = |service: &Arc<Service>| Arc::strong_count(service) == 1;
        services.iter().all(is_gone) && before[..SERVICES - 1].iter().all(is_gone)
    });
    wait_for("no socket is left", || {
        reactors.upstreams() == 2 && reactors.clients() == 0
    });
    ping(&mut connect(kept[0].bound), b"the last one goes on");
}

/// A service, as the storm has it.
struct Member {
    service: Arc<Service>,
    backends: Vec<Arc<Backend>>,
    ports: Vec<Listening>,
}

/// What the storm happens to.
struct World<'a> {
    reactors: &'a Reactors,
    backends: Vec<SocketAddr>,
    members: Vec<Member>,
    /// All that have been, to see that they go.
    services: Vec<Arc<Service>>,
    ports: Vec<SocketAddr>,
    rng: fastrand::Rng,
}

impl World<'_> {
    fn any_spec(&mut self) -> Spec {
        let rng = &mut self.rng;
        let mut spec = Spec::default();
        spec.pools.strategy = match rng.usize(0..20) {
            0..5 => Strategy::Off,
            size_per_remote => Strategy::Static { size_per_remote },
        };
        spec.pools.reset_on_removal = rng.u8(0..3) == 0;
        spec.pools.drain_timeout = Duration::from_millis(rng.u64(0..300));
        spec.pools.idle_timeout = Some(Duration::from_millis(rng.u64(100..2000)));
        spec.pools.dial_attempts = rng.u32(1..4);
        spec.pools.algorithm = [
            Algorithm::LeastConnections,
            Algorithm::RoundRobin,
            Algorithm::Random,
        ][rng.usize(0..3)];
        spec.pools.rescue = [Rescue::Off, Rescue::Safe, Rescue::Always][rng.usize(0..3)];
        spec.server.splice = if rng.bool() { Splice::Auto } else { Splice::Off };
        spec.server.keepalive.idle = Duration::from_secs(rng.u64(1..3));
        spec.server.half_close_timeout = Duration::from_millis(rng.u64(300..2000));
        spec.server.bandwidth.per_connection = if rng.u8(0..3) == 0 { 1 << 24 } else { 0 };
        spec.server.max_connections_per_ip = if rng.u8(0..4) == 0 { 6 } else { 0 };
        spec
    }

    fn open_for(&mut self, service: &Arc<Service>) -> Listening {
        let port = self.reactors.open_for(service);
        self.ports.push(port.bound);
        port
    }

    fn add(&mut self) {
        let spec = self.any_spec();
        let service = self.reactors.service("one", &spec);
        self.services.push(Arc::clone(&service));
        let ports = (0..self.rng.usize(1..3))
            .map(|_| self.open_for(&service))
            .collect();
        let backends = self.backends.iter().map(|addr| member(&service, *addr)).collect();
        self.members.push(Member {
            service,
            backends,
            ports,
        });
    }

    /// One thing happens; whether it is to be published.
    fn happen(&mut self) -> bool {
        if self.members.is_empty() || (self.members.len() < 5 && self.rng.u8(0..6) == 0) {
            self.add();
            return true;
        }
        let place = self.rng.usize(0..self.members.len());
        match self.rng.u8(0..10) {
            0 => drop(self.members.swap_remove(place)),
            1 => {
                let to = self.rng.usize(0..self.members.len());
                if let Some(mut port) = self.members[place].ports.pop() {
                    port.service = Arc::clone(&self.members[to].service);
                    self.members[to].ports.push(port);
                }
            }
            2 => {
                let service = Arc::clone(&self.members[place].service);
                let port = self.open_for(&service);
                self.members[place].ports.push(port);
            }
            3 => drop(self.members[place].ports.pop()),
            4..7 => self.change_spec(place),
            _ => {
                self.change_set(place);
                return false;
            }
        }
        true
    }

    fn change_spec(&mut self, place: usize) {
        let spec = Arc::new(self.any_spec());
        let member = &mut self.members[place];
        member.service = Arc::new(member.service.under(spec, Instant::now()));
        for port in &mut member.ports {
            port.service = Arc::clone(&member.service);
        }
        self.services.push(Arc::clone(&member.service));
    }

    fn change_set(&mut self, place: usize) {
        let rng = &mut self.rng;
        let one = &mut self.members[place];
        if rng.u8(0..4) == 0 {
            // The same address, and another backend.
            let place = rng.usize(0..one.backends.len());
            one.backends[place] = member(&one.service, one.backends[place].addr);
        }
        let mut set: Vec<_> = one
            .backends
            .iter()
            .filter(|_| rng.bool())
            .map(Arc::clone)
            .collect();
        rng.shuffle(&mut set);
        publish_set(&one.service, set);
    }

    fn publish(&self) -> Vec<SocketAddr> {
        let ports: Vec<_> = self.members.iter().flat_map(|one| &one.ports).collect();
        let services: Vec<_> = self.members.iter().map(|one| &one.service).collect();
        self.reactors.publish(&services, &ports);
        ports.iter().map(|port| port.bound).collect()
    }
}

#[test]
fn all_counts_return_to_nothing_whatever_happens_to_services() {
    const LENGTH: Duration = Duration::from_secs(6);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let reactors = reactors();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let backends = (0..3)
        .map(|_| fickle_backend(rng.u64(..)).addr)
        .chain([nowhere])
        .collect();
    let mut world = World {
        reactors: &reactors,
        backends,
        members: Vec::new(),
        services: Vec::new(),
        ports: Vec::new(),
        rng: rng.fork(),
    };
    world.add();
    world.change_set(0);
    let addrs = Mutex::new(world.publish());
    let (is_over, whole) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut rng = rng.fork();
            let (is_over, whole, addrs) = (&is_over, &whole, &addrs);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let addr = rng.choice(addrs.lock().unwrap().iter().copied());
                    // A port may have been closed since.
                    let Some(Ok(client)) = addr.map(TcpStream::connect) else {
                        continue;
                    };
                    whole.fetch_add(
                        usize::from(fickle_client(patient(client), &mut rng)),
                        Ordering::Relaxed,
                    );
                }
            });
        }
        let until = Instant::now() + LENGTH;
        while Instant::now() < until {
            if world.happen() {
                *addrs.lock().unwrap() = world.publish();
            }
            crate::support::pause(Duration::from_millis(rng.u64(0..40).saturating_sub(10)));
        }
        // Whoever waits for a first set is told that there will be none.
        world.members.clear();
        *addrs.lock().unwrap() = world.publish();
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(
        whole.load(Ordering::Relaxed) > 20,
        "{whole:?} were served whole (seed {seed})"
    );
    wait_for("clients end", || reactors.clients() == 0);
    wait_for("no socket is left", || reactors.upstreams() == 0);
    for addr in world.ports {
        wait_for("every port is closed", || TcpStream::connect(addr).is_err());
    }
    let services = world.services;
    wait_for("every service is forgotten", || {
        services.iter().all(|one| Arc::strong_count(one) == 1)
    });
    for service in &services {
        assert_eq!(sum_counters(service, |one| &one.active), 0);
    }
    assert_eq!(reactors.stop().cut, 0);
}

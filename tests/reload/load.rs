//! Nothing is lost: clients of every kind while everything that can be changed is changed ten times a second.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::office::{Office, is_long, note, office_settings, own_addr, seed, start};
use crate::peers::backend::{Backend, Behaviour};
use crate::peers::client::{Conduct, Outcome, Plan};
use crate::peers::crowd::Crowd;
use crate::peers::rig::{list_of, order};
use crate::peers::standing::{settled, wait_until_accounts_balance, wait_until_quiet};
use crate::peers::stream::Rounds;
use crate::support::{PATIENCE, merge, pause, wait_for};

/// Between two reloads.
const EVERY: Duration = Duration::from_millis(100);

/// Connections that come at once, per address; and all of them in the long run.
const WAVE: usize = 60;
const LONG_CONNECTIONS: usize = 100_000;

/// How long the longest connections live. Of a peer that reads nothing and drops what does not fit Linux gives up after
/// four minutes or so (`ETIMEDOUT`), whoever sends to it.
const LONG_LIFE: Duration = Duration::from_secs(100);

/// How long new ones come by default.
const SHORT_RUN: Duration = Duration::from_secs(6);

/// What the process may have grown by: read-ahead and tables that the allocator keeps.
const ROOM_KB: u64 = 16_000;

/// Where the services of the test listen.
#[derive(Debug, Clone, Copy)]
struct Addrs {
    left: SocketAddr,
    right: SocketAddr,
    /// Belongs to one of the two, not always to the same.
    moving: SocketAddr,
    /// Of a service that comes and goes.
    guest: SocketAddr,
}

impl Addrs {
    fn new() -> Self {
        Self {
            left: own_addr(),
            right: own_addr(),
            moving: own_addr(),
            guest: own_addr(),
        }
    }

    /// The settings that everything begins and ends with.
    fn settings(self) -> Value {
        let mut settings = office_settings(&json!({
            "server": { "max_connections": 8000 },
            "services": {
                "left": { "listen_addr": [self.left, self.moving] },
                "right": { "listen_addr": self.right },
                "guest": { "listen_addr": self.guest },
            },
            // Seldom enough for moments without a probe, in which descriptors can be counted.
            "remotes": { "selector": { "active_set_size": 3 }, "probing": { "interval": "3s" } },
            "pools": { "common": { "drain_timeout": "30s" } },
        }));
        settings["server"].as_object_mut().unwrap().remove("listen_addr");
        settings
    }

    /// Some other settings.
    fn changed(self, rng: &mut fastrand::Rng) -> Value {
        let mut settings = self.settings();
        let has_moved = rng.bool();
        let services = settings["services"].as_object_mut().unwrap();
        if has_moved {
            services["left"] = json!({ "listen_addr": self.left });
            services["right"] = json!({ "listen_addr": [self.right, self.moving] });
        }
        if rng.bool() {
            services.remove("guest");
        }
        for (_, service) in services.iter_mut() {
            merge(service, &of_service(rng));
        }
        merge(
            &mut settings,
            &json!({
                "server": { "max_connections": rng.usize(4000..9000) },
                "logging": { "level": pick(rng, ["info", "debug", "warn"]), "format": pick(rng, ["text", "json"]) },
                "metrics": { "path": pick(rng, ["/metrics", "/elsewhere"]) },
            }),
        );
        settings
    }
}

fn pick<T: Copy, const N: usize>(rng: &mut fastrand::Rng, choice: [T; N]) -> T {
    choice[rng.usize(..N)]
}

/// Any settings of a service under which no client is cut.
fn of_service(rng: &mut fastrand::Rng) -> Value {
    let min_size = rng.usize(..8);
    json!({
        // Longer than the long run: some clients say nothing from its beginning to its end.
        "idle_timeout": format!("{}s", rng.u64(3_600..7_200)),
        "half_close_timeout": format!("{}s", rng.u64(3_600..7_200)),
        "splice": pick(rng, ["auto", "off"]),
        "max_connections_per_ip": pick(rng, [0, 50_000]),
        "connection_rate_per_ip": pick(rng, [0, 1_000_000]),
        "deny": if rng.bool() { json!(["192.0.2.0/24"]) } else { json!([]) },
        "bandwidth": { "per_connection": pick(rng, ["0", "500MiB"]), "total": pick(rng, ["0", "2000MiB"]) },
        "remotes": {
            "provider": { "file": { "path": format!("list-{}.txt", rng.usize(..LISTS)) } },
            "probing": { "interval": format!("{}ms", rng.u64(200..2000)), "probe_candidate_count": rng.usize(1..10) },
            "scoring": { "latency": { "ewma_alpha": 0.1 + 0.8 * rng.f64() } },
            "selector": {
                "active_set_size": rng.usize(2..5),
                "min_score_threshold": rng.usize(..20),
                "evaluation_interval": format!("{}ms", rng.u64(100..1000)),
                "switching": { "debounce_interval": "100ms", "score_improvement_threshold": rng.usize(..6) },
            },
        },
        "pools": {
            "algorithm": pick(rng, ["least_connections", "round_robin", "random"]),
            "rescue": pick(rng, ["off", "safe", "always"]),
            "common": { "dial_timeout": "300ms", "idle_timeout": format!("{}s", rng.u64(1..100)), "dial_attempts": rng.usize(3..6) },
            "strategy": {
                "type": pick(rng, ["off", "static", "dynamic"]),
                "static": { "size_per_remote": rng.usize(1..16) },
                "dynamic": { "min_size": min_size, "max_size": min_size + rng.usize(1..16), "scaling": { "interval": "100ms" } },
            },
        },
    })
}

/// Lists that the services choose among.
const LISTS: usize = 3;

/// Some of the backends, three at least, of which at most one is deaf at times.
fn list(rng: &mut fastrand::Rng, backends: &[Backend]) -> String {
    let mut addrs: Vec<_> = backends.iter().map(|backend| backend.addr.to_string()).collect();
    rng.shuffle(&mut addrs);
    addrs.truncate(rng.usize(3..=addrs.len()));
    addrs.join("\n") + "\n"
}

/// Clients of every kind.
fn plans(rng: &mut fastrand::Rng, count: usize) -> Vec<Plan> {
    let plan = |place: usize| {
        let (conduct, most) = match place % 12 {
            0 => (Conduct::FinishLast, 600_000),
            1 => (Conduct::LeaveAtOnce, 0),
            2 => (Conduct::ResetAfter(rng.u64(1..400)), 1_000),
            3 => (Conduct::Trickle(Duration::from_millis(rng.u64(1..10))), 60),
            4 => (
                Conduct::ReadSlowly {
                    pause: Duration::from_millis(5),
                },
                200_000,
            ),
            5 | 6 => (
                Conduct::KeepAlive {
                    rounds: Rounds(20),
                    pause: Duration::from_millis(rng.u64(5..60)),
                },
                20_000,
            ),
            7..=9 => (Conduct::FinishFirst, 4_000),
            _ => (Conduct::FinishLast, 4_000),
        };
        Plan::new(conduct, order(rng, most))
    };
    (0..count).map(plan).collect()
}

/// Connections that live as long as the test: some speak now and then, some say nothing until they are released.
fn long_lived(rng: &mut fastrand::Rng) -> Vec<Plan> {
    let silent = |rng: &mut fastrand::Rng| Plan::new(Conduct::Silent, order(rng, 50_000));
    let deaf = |rng: &mut fastrand::Rng| Plan::new(Conduct::NeverRead, order(rng, 3_000_000));
    let steady = |rng: &mut fastrand::Rng| {
        let conduct = Conduct::KeepAlive {
            rounds: Rounds(100),
            pause: Duration::from_millis(50),
        };
        Plan::new(conduct, order(rng, 100_000))
    };
    let mut plans = Vec::new();
    for _ in 0..8 {
        plans.extend([silent(rng), deaf(rng), steady(rng)]);
    }
    plans
}

/// Clients that are connected still, and how far they are.
fn open_ones(crowds: &[Crowd]) -> Vec<String> {
    let clients = crowds.iter().flat_map(Crowd::clients);
    let open = clients.filter(|client| client.outcome == Outcome::Open);
    let told = open.map(|client| {
        let (plan, sent, received) = (client.plan, client.sent(), client.received);
        let kernel = client.local_addr.map(in_kernel);
        format!(
            "{plan:?}: connected {}, sent {sent}, received {received}, {kernel:?}",
            client.is_connected()
        )
    });
    told.collect()
}

/// What the kernel says of the sockets of a port: states, queues and timers.
fn in_kernel(addr: SocketAddr) -> Vec<String> {
    let port = format!(":{:04X} ", addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .filter(|line| line.contains(&port))
        .map(str::to_owned)
        .collect()
}

/// Drives all crowds until none has an open client.
fn finish(crowds: &mut [Crowd]) {
    let deadline = Instant::now() + PATIENCE * 2;
    while crowds.iter().any(|crowd| crowd.open() > 0) {
        turn(crowds);
        assert!(
            Instant::now() < deadline,
            "clients that do not end: {:?}",
            open_ones(crowds)
        );
    }
}

fn turn(crowds: &mut [Crowd]) {
    for crowd in crowds {
        crowd.turn(Duration::from_millis(1));
    }
}

/// Fails unless each client was served whole, or left as it meant to.
fn all_well(crowd: &Crowd) {
    let is_well = |outcome| matches!(outcome, Outcome::Whole | Outcome::Left);
    let lost: Vec<_> = crowd
        .clients()
        .iter()
        .filter(|client| !is_well(client.outcome))
        .map(|client| {
            (
                client.plan.conduct,
                client.outcome,
                client.local_addr,
                client.received,
            )
        })
        .collect();
    assert!(lost.is_empty(), "{}: {lost:?}", crowd.outcomes());
}

/// A service that has left may refuse clients, but what it begins it ends.
fn none_is_wrong(crowd: &Crowd) {
    let wrong = crowd.count(Outcome::Corrupt) + crowd.count(Outcome::Cut);
    assert_eq!(wrong, 0, "{}", crowd.outcomes());
}

/// Changes everything, each time differently, until it is told to end; how often.
fn change(
    office: &Office,
    addrs: Addrs,
    backends: &[Backend],
    mut rng: fastrand::Rng,
    ends: &AtomicBool,
) -> u32 {
    let mut count = 0;
    while !ends.load(Ordering::Relaxed) {
        let began = Instant::now();
        for place in 0..LISTS {
            office.replace(&format!("list-{place}.txt"), &list(&mut rng, backends));
        }
        office.change(&addrs.changed(&mut rng));
        count += 1;
        if count % 5 == 0 {
            // Dials that have begun wait for one that does not answer.
            let deaf = &backends[rng.usize(..backends.len())];
            deaf.behave(Behaviour::TimeOut);
            pause(Duration::from_millis(rng.u64(20..150)));
            deaf.behave(Behaviour::Serve);
        }
        pause(EVERY.saturating_sub(began.elapsed()));
    }
    count
}

/// Lets those that live long come to their end; how many they were.
fn end_well(mut long: Vec<Crowd>) -> usize {
    long.iter_mut().for_each(Crowd::release);
    finish(&mut long);
    long.iter().for_each(all_well);
    long.iter().map(|crowd| crowd.clients().len()).sum()
}

/// Waves of clients until it is enough; how many came.
fn waves(addrs: Addrs, rng: &mut fastrand::Rng) -> usize {
    let began = Instant::now();
    let live_long = |rng: &mut fastrand::Rng| -> Vec<Crowd> {
        let crowd = |addr| Crowd::of(addr, long_lived(rng));
        [addrs.left, addrs.right, addrs.moving].map(crowd).into()
    };
    let mut long = live_long(rng);
    let mut long_since = began;
    let mut came = 0;
    let is_enough = |came| {
        if is_long() {
            came >= LONG_CONNECTIONS
        } else {
            began.elapsed() >= SHORT_RUN
        }
    };
    while !is_enough(came) {
        let mut wave: Vec<_> = [addrs.left, addrs.right, addrs.moving, addrs.guest]
            .map(|addr| Crowd::of(addr, plans(rng, WAVE)))
            .into();
        let deadline = Instant::now() + PATIENCE * 2;
        while wave.iter().any(|crowd| crowd.open() > 0) {
            turn(&mut wave);
            turn(&mut long);
            assert!(
                Instant::now() < deadline,
                "clients that do not end: {:?}",
                open_ones(&wave)
            );
        }
        let (guest, stay) = wave.split_last().unwrap();
        stay.iter().for_each(all_well);
        none_is_wrong(guest);
        came += wave.iter().map(|crowd| crowd.clients().len()).sum::<usize>();
        if long_since.elapsed() >= LONG_LIFE {
            long_since = Instant::now();
            came += end_well(std::mem::replace(&mut long, live_long(rng)));
        }
    }
    came + end_well(long)
}

#[test]
fn nothing_is_lost() {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let backends = Backend::several::<5>(seed);
    let addrs = Addrs::new();
    let settings = addrs.settings();
    let forwarder = start(&settings, &list_of(&backends));
    let office = Office::of(&forwarder);
    wait_for("it listens everywhere", || {
        forwarder.log().matches("listening on ").count() == 4
    });
    for addr in [addrs.left, addrs.right, addrs.moving, addrs.guest] {
        let mut crowd = [Crowd::of(addr, plans(&mut rng, WAVE))];
        finish(&mut crowd);
        all_well(&crowd[0]);
    }
    wait_until_quiet(&forwarder);
    let before = settled(&forwarder).expect("it comes to rest");

    let ends = AtomicBool::new(false);
    let (came, reloads) = std::thread::scope(|scope| {
        let (rng_of_changes, ends) = (rng.fork(), &ends);
        let (office, backends) = (&office, &backends);
        let changes = scope.spawn(move || change(office, addrs, backends, rng_of_changes, ends));
        let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waves(addrs, &mut rng)));
        ends.store(true, Ordering::Relaxed);
        let reloads = changes.join();
        // Where the process has died, no reload comes to an end either.
        let tell = || -> ! {
            panic!(
                "after {reloads:?} reloads:\n{}\n{}",
                tail(&forwarder.log()),
                forwarder.stderr()
            )
        };
        (
            came.unwrap_or_else(|_| tell()),
            *reloads.as_ref().unwrap_or_else(|_| tell()),
        )
    });
    note(&format!("{came} connections, {reloads} reloads"));

    office.change(&settings);
    wait_until_quiet(&forwarder);
    wait_until_accounts_balance(&forwarder);
    let mut now = settled(&forwarder).expect("it comes to rest");
    wait_for("descriptors are given back", || {
        now = settled(&forwarder).expect("it comes to rest");
        (now.own_sockets(), now.others) == (before.own_sockets(), before.others)
    });
    assert_eq!(now.threads, before.threads);
    let grown = now.resident_kb.saturating_sub(before.resident_kb);
    note(&format!("grown by {grown} kB"));
    assert!(
        grown <= ROOM_KB,
        "grown by {grown} kB: {before:?} before, {now:?} after"
    );
    for backend in &backends {
        assert_eq!(
            (backend.tally().corrupt.value(), backend.tally().cut.value()),
            (0, 0)
        );
    }
    let ended = forwarder.stop();
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

//! The table against a model that forgets nothing.

use super::*;
use crate::base::clock;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn server(connections: usize, rate: f64, burst: u32) -> Server {
    Server {
        max_connections_per_ip: connections,
        connection_rate_per_ip: rate,
        connection_burst_per_ip: burst,
        ..Server::default()
    }
}

fn table(server: &Server, bound: usize) -> Clients {
    Clients::new(Quota::of(server).expect("a limit"), bound)
}

const ONE: Client = Client::V4(1);

#[test]
fn no_limit_is_no_quota() {
    assert!(Quota::of(&server(0, 0.0, 0)).is_none());
    assert!(Quota::of(&server(0, 0.0, 7)).is_none());
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let begin = clock::now();
    let mut clients = table(&server(0, 10.0, 5), 10);
    let mut admitted = |millis| {
        let now = begin + Duration::from_millis(millis);
        (0..100).take_while(|_| clients.admit(ONE, now).is_ok()).count()
    };
    assert_eq!(admitted(0), 5, "the burst");
    assert_eq!(admitted(99), 0);
    assert_eq!(admitted(100), 1);
    assert_eq!(admitted(350), 2);
    assert_eq!(admitted(400), 1, "what was refused did not count");
    assert_eq!(admitted(60_000), 5, "never more than the burst");
}

#[test]
fn a_burst_left_out_is_one_second() {
    for (rate, expected) in [(20.0, 20), (1.5, 1), (0.1, 1), (1e-300, 1), (1e3, 1000)] {
        let now = clock::now();
        let mut clients = table(&server(0, rate, 0), 10);
        let admitted = (0..2000).take_while(|_| clients.admit(ONE, now).is_ok()).count();
        assert_eq!(admitted, expected, "{rate}");
    }
}

#[test]
fn ipv6_clients_are_networks_of_64_bits() {
    let of = |text: &str| Client::of(text.parse().expect("an address"));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    assert_ne!(of("0.0.0.1"), of("0:0:0:1::"));
}

#[test]
fn neighbours_are_spread_over_the_tables() {
    let mut counts = [0; 16];
    for low in 0..1600 {
        counts[Client::V4(0xc000_0200 + low).shard(16)] += 1;
        counts[Client::V6(0x2001_0db8_0000_0000 + u64::from(low)).shard(16)] += 1;
    }
    assert!(
        counts.iter().all(|count| (100..400).contains(count)),
        "{counts:?}"
    );
}

/// A flood from ever new addresses keeps nobody out, and takes no more memory than the bound.
#[test]
fn a_full_table_forgets_the_stalest_and_refuses_nobody() {
    let begin = clock::now();
    let mut clients = table(&server(0, 0.01, 1), 100);
    clients.admit(ONE, begin).expect("the first");
    for newcomer in 2..10_000_u32 {
        let now = begin + Duration::from_micros(newcomer.into());
        clients.admit(Client::V4(newcomer), now).expect("a newcomer");
        clients.leave(Client::V4(newcomer));
        assert!(clients.records.len() <= 101 && clients.ring.len() <= 101);
    }
    let now = begin + Duration::from_secs(1);
    let refused = |clients: &mut Clients, client| clients.admit(client, now).is_err();
    assert!(refused(&mut clients, ONE), "who is connected is never forgotten");
    assert!(refused(&mut clients, Client::V4(9_999)), "nor who came just now");
    assert!(!refused(&mut clients, Client::V4(5)), "the stalest are");
}

#[test]
fn who_comes_again_and_again_is_not_forgotten() {
    let now = clock::now();
    let mut clients = table(&server(0, 0.01, 50), 10);
    let admitted = (2..1000_u32).filter(|newcomer| {
        clients.admit(Client::V4(*newcomer), now).expect("a newcomer");
        clients.leave(Client::V4(*newcomer));
        let is_admitted = clients.admit(ONE, now).is_ok();
        if is_admitted {
            clients.leave(ONE);
        }
        is_admitted
    });
    // Only once it is refused each time, which leaves no trace, is it the stalest.
    let admitted: Vec<u32> = admitted.take(51).collect();
    assert_eq!(
        admitted[..50],
        (2..52).collect::<Vec<_>>(),
        "its burst, and not one more"
    );
    assert!(admitted[50] > 54, "{}", admitted[50]);
}

#[derive(Debug, Clone)]
enum Step {
    Admit(u32),
    Leave(u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u32).prop_map(Step::Admit),
        3 => (0..12_u32).prop_map(Step::Leave),
        1 => (1..500_u64).prop_map(Step::Pass),
    ]
}

/// A client as the model keeps it: a bucket of tokens in thousandths.
#[derive(Debug, Clone, Copy)]
struct Model {
    live: u32,
    milli_tokens: u64,
}

proptest! {
    /// Tokens come one a 100 ms. With room for all, the table does exactly what the model does; with room for
    /// three it may let a forgotten client in sooner, and still counts what is open.
    #[test]
    fn behaves_like_a_model_that_forgets_nothing(
        steps in prop::collection::vec(step(), 0..400),
        most in 1..4_usize,
        burst in 1..6_u32,
        small: bool,
    ) {
        let bound = if small { 3 } else { 100 };
        let mut clients = table(&server(most, 10.0, burst), bound);
        let mut model: BTreeMap<u32, Model> = BTreeMap::new();
        let full = Model { live: 0, milli_tokens: u64::from(burst) * 1000 };
        let mut now = clock::now();
        for step in steps {
            match step {
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    for one in model.values_mut() {
                        one.milli_tokens = full.milli_tokens.min(one.milli_tokens + 10 * millis);
                    }
                }
                Step::Admit(client) => {
                    let one = model.entry(client).or_insert(full);
                    let answer = clients.admit(Client::V4(client), now);
                    if one.live as usize >= most {
                        prop_assert_eq!(answer, Err(RejectReason::ConnectionLimit));
                    } else if !small && one.milli_tokens < 1000 {
                        prop_assert_eq!(answer, Err(RejectReason::RateLimit));
                    } else if answer.is_ok() {
                        one.live += 1;
                        one.milli_tokens = one.milli_tokens.saturating_sub(1000);
                    } else {
                        prop_assert!(one.milli_tokens < 1000, "an innocent client was refused");
                    }
                }
                Step::Leave(client) => {
                    if let Some(one) = model.get_mut(&client).filter(|one| one.live > 0) {
                        one.live -= 1;
                        clients.leave(Client::V4(client));
                    }
                }
            }
            let live = model.values().filter(|one| one.live > 0).count();
            prop_assert!(clients.records.len() <= live + bound);
            prop_assert!(clients.ring.len() <= clients.records.len());
            prop_assert_eq!(clients.idle, clients.records.values().filter(|one| one.live == 0).count());
        }
    }
}

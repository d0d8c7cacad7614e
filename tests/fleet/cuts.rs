//! An exchange that is cut off behind each of its bytes.

use std::time::Duration;

use tcp_forwarder::fleet::connection::Fault;

use crate::gate::{Gate, Way};
use crate::node::{Node, reached};
use crate::redis::Redis;

const INTERVAL: Duration = Duration::from_secs(5);

/// Cut anywhere, an exchange fails and no more: what was told is heard once, by whoever comes through next.
#[test]
fn an_exchange_that_is_cut_at_any_byte_fails_and_the_next_is_whole() {
    /// Between two exchanges that come through.
    const RUN: usize = 8;
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let gate = Gate::before(redis.addr);
    let mut other = Node::new(2, redis.addr, "cut", INTERVAL);
    other.turn(&[]).unwrap();
    let mut one = Node::new(1, gate.addr, "cut", INTERVAL);
    one.turn(&[]).unwrap();
    assert_eq!(one.view().others.len(), 1);
    one.hang_up();
    one.moved = 0;
    one.turn(&[reached(1)]).unwrap();
    let whole = usize::try_from(one.moved).unwrap();
    one.hang_up();

    let (mut number, mut heard) = (10, Vec::new());
    for cut in 0..whole {
        gate.set(Way::Cut { first: cut, step: 0 });
        let outcome = one.turn(&[reached(1)]);
        assert!(
            matches!(outcome, Err(Fault::Io(_))),
            "behind {cut} of {whole} bytes: {outcome:?}"
        );
        assert_eq!(one.view().others.len(), 1, "it is known yet");
        if cut % RUN == 0 {
            other.turn(&[reached(number)]).unwrap();
            number += 1;
            gate.set(Way::Open);
            let told = one.turn(&[]).unwrap();
            heard.extend(told.into_iter().map(|told| told.word));
            one.hang_up();
        }
    }
    println!("{whole} cuts");
    let told: Vec<_> = (10..number).map(reached).collect();
    assert!(whole > 500 && told.len() > 60);
    assert_eq!(heard, told, "each is heard once, in its order");
    assert_eq!(one.exchange.refused + other.exchange.refused, 0);
}

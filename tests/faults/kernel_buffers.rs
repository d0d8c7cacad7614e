//! Buffers of sockets as small as they can be: writes that take a part, reads that find a little, and every byte in
//! its place all the same.

use serde_json::{Value, json};

use crate::namespace::is_inside;
use crate::peers::backend::Behaviour;
use crate::peers::client::{Conduct, Outcome, Plan};
use crate::peers::rig::{ROOM_KB, Rig};
use crate::peers::standing::Standing;
use crate::peers::stream::Order;
use crate::scaled;

/// Bytes each way, and behind how many of them buffers become tight.
#[derive(Clone, Copy)]
struct Size {
    bytes: u64,
    tight_after: u64,
}

/// From the first byte on.
const SMALL: Size = Size {
    bytes: 20_000,
    tight_after: 0,
};

/// When the direction has been spliced for a while: its pipe is loaded. What is left is little, for a window that is
/// smaller than a segment of loopback moves on by a timer of the kernel's only, five times a second.
const LARGE: Size = Size {
    bytes: 712_000,
    tight_after: 700_000,
};

fn start(splice: &str) -> Rig {
    let changes: Value = json!({ "server": { "reactors": 1, "splice": splice } });
    Rig::start(&changes, 2)
}

/// Exchanges of this size with both backends, and most descriptors of pipes that the forwarder had. Buffers become tight
/// at every second client and at one of the backends, so at either side, at both and at none.
fn exchange_while_tight(rig: &mut Rig, size: Size) -> usize {
    let after = size.tight_after;
    rig.backends[0].behave(Behaviour::Tight { after });
    let mut plan = |place: usize| {
        let conduct = [Conduct::FinishFirst, Conduct::FinishLast][place / 2 % 2];
        let order = Order {
            seed: rig.rng.u64(..),
            up: size.bytes + rig.rng.u64(..100),
            down: size.bytes + rig.rng.u64(..100),
        };
        let mut plan = Plan::new(conduct, order);
        plan.tight_after = place.is_multiple_of(2).then_some(after);
        plan
    };
    let plans: Vec<_> = (0..12).map(&mut plan).collect();
    let mut crowd = rig.crowd(plans);
    let mut most_pipes = 0;
    crowd.drive_until("the end of all", |crowd| {
        most_pipes = most_pipes.max(Standing::of(&rig.forwarder).pipes);
        crowd.open() == 0
    });
    assert_eq!(crowd.count(Outcome::Whole), 12, "{}", crowd.outcomes());
    rig.backends[0].behave(Behaviour::Serve);
    most_pipes
}

/// Injected: the smallest buffers at clients and backends, from the beginning, and while a pipe is in use.
#[test]
fn tiny_buffers_of_peers() {
    for splice in ["off", "auto"] {
        let mut rig = start(splice);
        for _ in 0..scaled(1, 10) {
            exchange_while_tight(&mut rig, SMALL);
            let pipes = exchange_while_tight(&mut rig, LARGE);
            // It may have been started with one.
            let is_right = match splice {
                "off" => pipes == rig.before.pipes,
                _ => pipes > 1,
            };
            assert!(is_right, "{pipes} descriptors of pipes with splice {splice}");
        }
        rig.aftermath(ROOM_KB);
    }
}

/// Least, usual and most bytes of every new socket's buffers.
fn set_buffers(receive: &str, send: &str) {
    for (key, bytes) in [("tcp_rmem", receive), ("tcp_wmem", send)] {
        std::fs::write(format!("/proc/sys/net/ipv4/{key}"), bytes).unwrap();
    }
}

/// Injected: 4 KiB for every buffer of every socket, those of the forwarder among them; then 64 KiB for what is to be
/// sent, so that a pipe is emptied in parts.
#[test]
fn tiny_buffers_of_everybody() {
    const USUAL: &str = "4096 131072 6291456";
    if !is_inside("kernel_buffers::tiny_buffers_of_everybody") {
        return;
    }
    let mut rig = start("auto");
    for _ in 0..scaled(1, 10) {
        set_buffers("4096 4096 4096", "4096 4096 4096");
        exchange_while_tight(&mut rig, SMALL);
        set_buffers(USUAL, "4096 65536 65536");
        exchange_while_tight(&mut rig, LARGE);
    }
    set_buffers(USUAL, "4096 16384 4194304");
    rig.aftermath(ROOM_KB);
}

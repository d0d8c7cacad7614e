//! Tests: who asks whom in a fleet, and among those that only pretend to be one.

use super::tests::{Bench, INTERVAL, bench, in_rounds};
use super::*;
use crate::backend::Backend;
use crate::scorer::sample::{Heard, Outcome, Source};
use crate::selector::decide::Footing;
use crate::service::fleet::NodeId;

const LIST: &str = "10.0.0.0/24";
const SECOND: Duration = Duration::from_secs(1);
const MEMBERS: u8 = 3;

fn member(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn sample(addr: SocketAddr, outcome: Outcome, source: Source, at: Instant) -> Sample {
    Sample {
        candidate: Candidate {
            service: ServiceId::fresh(),
            addr,
        },
        outcome,
        heard: Heard::NotAsked,
        source,
        began_at: at,
        at,
    }
}

/// Nodes of one fleet, as each sees it, in one time.
struct Fleet {
    nodes: Vec<Bench>,
    /// Who does not answer.
    dead: Option<SocketAddr>,
    now: Instant,
}

impl Fleet {
    /// So many that share, of which the first ones are real, and all have the same set.
    fn new(real: usize, all: usize) -> Self {
        let ids: Vec<NodeId> = (1..=all as u64).map(crate::base::hash::mix).collect();
        let node = |at: usize| {
            let mut one = bench(&in_rounds(), LIST);
            let backend = |last| Arc::new(Backend::new(member(last), one.start, 1));
            one.active = ActiveSet::new((1..=MEMBERS).map(backend).collect(), Footing::Good);
            let mut others = ids.clone();
            let me = others.remove(at);
            one.agenda.follow_fleet(Share::among(me, others));
            one
        };
        let nodes: Vec<Bench> = (0..real).map(node).collect();
        let now = nodes.iter().map(|one| one.start).max().expect("one at least");
        Self {
            nodes,
            dead: None,
            now,
        }
    }

    /// A second: whose probes of whom, which all hear of.
    fn pass(&mut self) -> Vec<(usize, SocketAddr)> {
        self.now += SECOND;
        let mut probes = Vec::new();
        for (at, one) in self.nodes.iter_mut().enumerate() {
            while one.agenda.next_at(one.now).is_some_and(|next| next <= self.now) {
                one.now = one.agenda.next_at(one.now).expect("it is due");
                for probe in one.begin() {
                    let addr = probe.candidate.addr;
                    let outcome = if self.dead == Some(addr) {
                        Outcome::Failure
                    } else {
                        Outcome::Success(SECOND / 50)
                    };
                    one.board.record(&sample(addr, outcome, Source::Probe, one.now));
                    one.agenda.ended(one.now);
                    probes.push((at, addr, outcome));
                }
            }
            one.now = self.now;
        }
        for (from, addr, outcome) in &probes {
            let others = self.nodes.iter_mut().enumerate().filter(|(at, _)| at != from);
            for (_, other) in others {
                other.board.hear(&sample(*addr, *outcome, Source::Peer, self.now));
            }
        }
        probes.into_iter().map(|(at, addr, _)| (at, addr)).collect()
    }

    /// Somebody says that all members are well.
    fn praise(&mut self) {
        for one in &mut self.nodes {
            for last in 1..=MEMBERS {
                let praise = sample(
                    member(last),
                    Outcome::Success(SECOND / 50),
                    Source::Peer,
                    self.now,
                );
                one.board.hear(&praise);
            }
        }
    }

    fn seconds(rounds: u32) -> u64 {
        (INTERVAL * rounds).as_secs()
    }
}

/// A hundred and twenty-seven ghosts have nearly all members to ask, and say each second that all are well.
#[test]
fn whatever_ghosts_say_each_member_is_asked_here_within_so_many_rounds() {
    let mut fleet = Fleet::new(1, 128);
    let most = fleet.nodes[0].agenda.own_look_rounds(MEMBERS.into());
    assert_eq!(most, 96, "of sixteen sharers at most, a twentieth of ten probes");
    let mut asked_at = [fleet.now; MEMBERS as usize];
    let mut looks = 0;
    for _ in 0..Fleet::seconds(most * 5) {
        fleet.praise();
        for (_, addr) in fleet.pass() {
            let last = (1..=MEMBERS).find(|last| member(*last) == addr);
            if let Some(last) = last {
                asked_at[usize::from(last - 1)] = fleet.now;
                looks += 1;
            }
        }
        for at in asked_at {
            // And the round before and behind, in which its place is somewhere.
            assert!(fleet.now - at <= INTERVAL * (most + 2), "{:?}", fleet.now - at);
        }
    }
    assert!((15..60).contains(&looks), "{looks} looks at {MEMBERS} members");
    // Who does not answer any more is asked in each round, once that was seen.
    let dead = (1..=MEMBERS)
        .map(member)
        .find(|addr| !fleet.nodes[0].agenda.share.is_mine(addr));
    fleet.dead = dead;
    let mut failures = 0;
    for _ in 0..Fleet::seconds(most + 12) {
        fleet.praise();
        failures += fleet
            .pass()
            .iter()
            .filter(|(_, addr)| Some(*addr) == dead)
            .count();
    }
    assert!(failures >= 10, "{failures} failures of one that is dead");
}

/// What it costs that nobody relies on others alone: with few nodes and with many the fleet probes as much as one.
#[test]
fn a_fleet_probes_as_one_however_many_they_are_and_each_has_seen_each_member() {
    let count = |nodes: usize| {
        let mut fleet = Fleet::new(nodes, nodes);
        for _ in 0..Fleet::seconds(20) {
            fleet.pass();
        }
        let most = fleet.nodes[0].agenda.own_look_rounds(MEMBERS.into());
        let mut probes = 0;
        for _ in 0..Fleet::seconds(100) {
            probes += fleet.pass().len();
            for one in &fleet.nodes {
                for last in 1..=MEMBERS {
                    let proved_at = one.board.proved_at(&member(last)).expect("each has asked each");
                    assert!(fleet.now - proved_at <= INTERVAL * (most + 2));
                }
            }
        }
        probes
    };
    let one = count(1);
    for nodes in [2, 3, 10, 60] {
        let all = count(nodes);
        println!("{nodes} nodes make {all} probes where one makes {one}");
        assert!(
            all * 10 <= one * 12 && all * 10 >= one * 8,
            "{nodes}: {all} of {one}"
        );
    }
}

//! Out of descriptors, at every point where one is allocated: a counting limit walks through all of them.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;

use crate::peers::client::{Conduct, Outcome};
use crate::peers::crowd::Crowd;
use crate::peers::rig::{ROOM_KB, Rig};
use crate::scaled;
use crate::support::{Files, Forwarder, echo_on, ping, settings, wait_for};

/// Below, the dynamic loader of a test's build fails already; above, there are enough.
const LIMITS: std::ops::Range<u32> = 4..46;

/// Starts the program under this limit: whether it serves, or ended with one clear line.
fn serves_under(limit: u32, list: &str) -> bool {
    let files = Files::new(&settings(&json!({})), list);
    let command = files.command_with_descriptors(limit);
    let mut forwarder = Forwarder::spawn(files, command);
    wait_for("it runs or ends", || {
        forwarder.log().contains("listening on") || forwarder.has_ended()
    });
    if forwarder.has_ended() {
        let ended = forwarder.ended();
        assert_eq!(ended.status, Some(1), "{limit} descriptors: {ended:?}");
        let said = &ended.stderr;
        let is_clear =
            said.lines().count() == 1 && (said.contains("descriptors") || said.contains("open files"));
        assert!(is_clear, "{limit} descriptors: {ended:?}");
        return false;
    }
    // More at once than it can hold, by half a dozen at least: each has its turn when others have gone.
    for _ in 0..2 {
        let mut clients: Vec<_> = (0..10).map(|_| forwarder.connect()).collect();
        while let Some(mut client) = clients.pop() {
            // The last to come may be among those who wait for the first to go.
            client.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
            std::io::Write::write_all(&mut client, b"turn").unwrap();
            let mut reply = [0; 4];
            if std::io::Read::read_exact(&mut client, &mut reply).is_err() {
                clients.insert(0, client);
                drop(clients.pop());
            }
        }
    }
    ping(&mut forwarder.connect(), b"served in the end");
    assert_eq!(forwarder.stop().status, Some(0), "{limit} descriptors");
    true
}

/// Injected: each limit from too few to start with up to enough.
#[test]
fn at_every_limit_it_serves_or_says_why_not() {
    let list = format!(
        "{}\n{}\n",
        echo_on(Ipv4Addr::LOCALHOST),
        echo_on(Ipv4Addr::LOCALHOST)
    );
    let walkers = 4;
    let outcomes = std::thread::scope(|scope| {
        let walk = |walker| {
            let list = &list;
            scope.spawn(move || {
                let mine = LIMITS.skip(walker).step_by(walkers);
                mine.map(|limit| (limit, serves_under(limit, list)))
                    .collect::<Vec<_>>()
            })
        };
        let walks: Vec<_> = (0..walkers).map(walk).collect();
        let mut outcomes: Vec<_> = walks.into_iter().flat_map(|walk| walk.join().unwrap()).collect();
        outcomes.sort_unstable();
        outcomes
    });
    let served = outcomes.iter().filter(|(_, served)| *served).count();
    assert!(
        outcomes.is_sorted_by_key(|(_, served)| *served),
        "enough is enough: {outcomes:?}"
    );
    assert!(
        served > 10 && served < outcomes.len() - 10,
        "both happen: {outcomes:?}"
    );
}

/// Injected: the limit falls to what is in use and so many more, under way, for each of thirteen numbers.
#[test]
fn falling_to_what_is_in_use_while_it_runs() {
    let mut rig = Rig::start(&json!({}), 2);
    for _ in 0..scaled(1, 10) {
        for spare in 0..=12 {
            let trickle = Conduct::Trickle(Duration::from_millis(5));
            let mut crowd = rig.crowd([]);
            for plan in rig.plans(trickle, 4, 60) {
                crowd.add(plan);
            }
            crowd.drive_until("a byte of each", |crowd| {
                crowd.clients().iter().all(|client| client.sent() > 2)
            });
            let in_use = u64::try_from(rig.forwarder.descriptors()).unwrap();
            let limit = Rlimit {
                current: Some(in_use + spare),
                maximum: Some(20_000),
            };
            let old = prlimit(Some(rig.forwarder.process()), Resource::Nofile, limit).unwrap();
            for plan in rig.healthy(20) {
                crowd.add(plan);
            }
            crowd.drive_for(Duration::from_millis(120));
            // While they are out: nobody has been turned away, and who was served is served.
            assert_eq!(fate(&crowd), 0, "{spare} to spare: {}", crowd.outcomes());
            prlimit(Some(rig.forwarder.process()), Resource::Nofile, old).unwrap();
            crowd.finish();
            assert_eq!(
                crowd.count(Outcome::Whole),
                24,
                "{spare} to spare: {}",
                crowd.outcomes()
            );
        }
    }
    rig.aftermath(ROOM_KB);
}

/// Connections that came to a bad end.
fn fate(crowd: &Crowd) -> usize {
    crowd.clients().len() - crowd.open() - crowd.count(Outcome::Whole)
}

//! The model of a list: whatever the list and the answers, it is bounded and names only candidates.

use std::sync::Arc;
use std::time::Duration;

use tcp_forwarder::base::clock;
use tcp_forwarder::candidates::CandidateSet;
use tcp_forwarder::search::Model;

use super::choices::Choices;

const LISTS: [&str; 6] = [
    "198.51.100.7",
    "198.51.100.0/24\n203.0.113.0/28:81",
    "10.0.0.0/8",
    "[2001:db8::/104]:443\n2001:db8:1::1",
    "::/0\n0.0.0.0/0",
    "192.0.2.1:1\n192.0.2.1:2\n192.0.2.1:3\n192.0.2.9:1\n2001:db8::9",
];

fn list(choices: &mut Choices<'_>) -> Option<Arc<CandidateSet>> {
    let text = LISTS[usize::from(choices.byte()?) % LISTS.len()];
    CandidateSet::parse(text, 80).ok().map(Arc::new)
}

/// Asks and answers, lets time pass, and changes the list.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    // It ends when the choices do.
    while play(&mut choices).is_some() {}
}

fn play(choices: &mut Choices<'_>) -> Option<()> {
    let mut now = clock::now();
    let mut rng = fastrand::Rng::with_seed(choices.word()?.into());
    let mut set = list(choices)?;
    let nodes = usize::from(choices.byte()?).max(3);
    let mut model = Model::new(Arc::clone(&set), nodes, Duration::from_secs(60), now, &mut rng);
    loop {
        let what = choices.byte()?;
        let latency = Duration::from_micros(1 << (choices.byte()? % 40));
        match what {
            0..=199 => {
                let Some(addr) = model.next(&mut rng) else {
                    continue;
                };
                assert!(set.contains(&addr), "{addr} is no candidate");
                model.learn(&addr, (what < 150).then_some(latency), now, &mut rng);
            }
            200..=219 => {
                let place = u128::from(choices.word()?) * (set.len() / 65_536).max(1);
                if let Some(addr) = set.at(place) {
                    model.learn(&addr, Some(latency), now, &mut rng);
                }
            }
            220..=239 => now += latency,
            240..=247 => {
                let leaves: Vec<_> = model.leaves().collect();
                model.restore(leaves, &mut rng);
            }
            _ => {
                set = list(choices)?;
                model.relist(Arc::clone(&set), &mut rng);
            }
        }
        assert!(model.nodes() <= nodes, "{} of {nodes} nodes", model.nodes());
        for leaf in model.leaves() {
            assert!(
                leaf.latency.is_finite() && leaf.answers >= 0.0 && leaf.failures >= 0.0,
                "{leaf:?}"
            );
        }
    }
}

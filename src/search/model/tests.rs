use super::*;
use crate::base::clock;

const HALF_LIFE: Duration = Duration::from_secs(1800);

fn model(list: &str, nodes: usize) -> (Model, fastrand::Rng) {
    let set = CandidateSet::parse(list, 80).expect("a list");
    let mut rng = fastrand::Rng::with_seed(5);
    let model = Model::new(Arc::new(set), nodes, HALF_LIFE, clock::now(), &mut rng);
    (model, rng)
}

#[test]
fn everybody_is_asked_once_and_nobody_twice() {
    let (mut model, mut rng) = model("10.0.0.0/23\n10.9.0.1:81\n[2001:db8::/125]:80", NODES);
    let now = clock::now();
    let mut asked = std::collections::HashSet::new();
    while let Some(addr) = model.next(&mut rng) {
        assert!(asked.insert(addr), "{addr} twice");
        let latency = rng.bool().then(|| Duration::from_millis(rng.u64(1..300)));
        model.learn(&addr, latency, now, &mut rng);
        model.tree.check();
    }
    assert_eq!(asked.len() as u128, model.set.len());
}

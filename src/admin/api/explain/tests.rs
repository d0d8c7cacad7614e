//! Each situation, as the selector itself brings it about: words and JSON are those of its record.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::backend::Place;
use crate::config::Spec;
use crate::scorer::sample::{Heard, Outcome as Sampled, Source};
use crate::selector::Selector;
use crate::service::stage::{self, addr, hub, list, publish, sample, service, spec};
use crate::service::{AdminState, Hub, Service};

/// A service and its selector, with a clock that the test moves.
struct Scene {
    hub: Arc<Hub>,
    selector: Selector,
    one: Arc<Service>,
    now: Instant,
}

impl Scene {
    /// Nine candidates, swept; nobody was evaluated.
    fn new(change: impl FnOnce(&mut Spec)) -> Self {
        let hub = hub();
        let one = service(&hub, "one", 1..=9, spec(change));
        one.live.is_swept.store(true, Ordering::Relaxed);
        publish(&hub, &[&one]);
        Self {
            selector: Selector::new(Arc::clone(&hub)),
            now: hub.started_at,
            hub,
            one,
        }
    }

    /// Those with ports 1 to 3 are members, at 10, 20 and 30 ms; confirmed, and settled.
    fn settled(change: impl FnOnce(&mut Spec)) -> Self {
        let mut scene = Self::new(change);
        for port in 1..=3 {
            scene.answers(port, 3, 10 * u64::from(port));
        }
        scene.evaluate();
        scene
    }

    fn answers(&self, port: u16, times: usize, millis: u64) {
        let outcome = Sampled::Success(Duration::from_millis(millis));
        (0..times).for_each(|_| self.sample(port, outcome));
    }

    fn fails(&self, port: u16) {
        (0..9).for_each(|_| self.sample(port, Sampled::Failure));
    }

    fn sample(&self, port: u16, outcome: Sampled) {
        let sample = sample(&self.one, port, (Source::Probe, outcome), self.now);
        self.one.live.board.write().expect("not poisoned").record(&sample);
    }

    fn set(&self, port: u16, state: AdminState) {
        let next = |states: &crate::service::AdminStates| states.with(addr(port), state).map(Arc::new);
        assert!(self.one.live.admin.replace(next));
    }

    fn evaluate(&mut self) {
        self.one.live.evaluation.ask();
        self.selector.step(self.now);
    }

    /// The explanation, once it is what the record says.
    fn told(&self, pause: Option<Pause>) -> Value {
        let record = self.one.live.record.load();
        let present = Present {
            pause,
            occupancy: Occupancy::of(&self.one),
        };
        let explanation = explain("one", (*record).as_ref(), &present, self.now);
        let told = serde_json::to_value(explanation).expect("JSON");
        if let Some(record) = &*record {
            let active = self.one.live.active.load();
            let set: Vec<SocketAddr> = active.backends.iter().map(|backend| backend.addr).collect();
            let is_decided = matches!(record.course, Course::Decided { .. });
            agrees(record, &told, is_decided.then_some(&set));
        }
        told
    }

    /// What is said of one candidate.
    fn of(&self, port: u16) -> Value {
        let told = self.told(None);
        let all = ["members", "others"].map(|part| told[part].as_array().expect("a list").clone());
        let name = addr(port).to_string();
        let found = all.concat().into_iter().find(|one| one["addr"] == name.as_str());
        found.unwrap_or_else(|| panic!("nothing of {name} in {told:#}"))
    }
}

/// Holds what is told to the record, row by row, and its members to the set that serves.
fn agrees(record: &Record, told: &Value, set: Option<&Vec<SocketAddr>>) {
    let (members, others): (Vec<&Row>, Vec<&Row>) = record
        .rows
        .iter()
        .partition(|row| matches!(row.verdict, Verdict::In { .. }));
    if let Some(set) = set {
        let mut names: Vec<SocketAddr> = members.iter().map(|row| row.rated.addr).collect();
        let mut set = set.clone();
        names.sort();
        set.sort();
        assert_eq!(names, set, "the members are those that serve");
    }
    for (rows, part) in [(members, "members"), (others, "others")] {
        let written = told[part].as_array().expect("a list");
        assert_eq!(written.len(), rows.len());
        for (row, one) in rows.iter().zip(written) {
            let reason = match row.verdict {
                Verdict::In { by, .. } => by.label(),
                Verdict::Out(bar) => bar_word(bar),
            };
            assert_eq!(one["addr"], row.rated.addr.to_string());
            assert_eq!(
                (&one["reason"], &one["state"]),
                (&reason.into(), &row.admin.label().into())
            );
            let score = one["score"].as_f64().expect("a number");
            assert!((score - row.rated.score).abs() < 1e-3, "{one}");
            if let Some(parts) = one["parts"].as_object() {
                let part = |name: &str| parts[name].as_f64().expect("a number");
                let sum =
                    part("latency") + part("jitter") + part("success") + part("throughput") + part("bonus");
                assert!(
                    (sum - part("penalty")).max(0.0) - score < 0.01,
                    "the parts are the score's: {one}"
                );
            }
            assert!(
                one["text"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty() && text.is_ascii())
            );
            assert_eq!(one["change"].is_string(), part == "others", "{one}");
        }
    }
}

fn says(told: &Value, words: &str) {
    let all = told.to_string();
    assert!(all.contains(words), "no {words:?} in {told:#}");
}

#[test]
fn before_the_first_evaluation_and_while_the_first_set_is_awaited() {
    let mut scene = Scene::new(|_| ());
    let told = scene.told(None);
    assert!(told["course"].is_null());
    says(&told, "Nothing was evaluated yet.");
    scene.one.live.is_swept.store(false, Ordering::Relaxed);
    scene.answers(1, 1, 10);
    scene.evaluate();
    let told = scene.told(None);
    assert_eq!(told["course"], "first_set");
    says(&told, "fewer than 3 candidates answer");
}

#[test]
fn the_first_set_and_then_nobody_better() {
    let mut scene = Scene::settled(|_| ());
    let first = scene.of(1);
    assert_eq!(first["reason"], "initial");
    says(&first, "chosen for the first set");
    scene.now += Duration::from_secs(12);
    scene.evaluate();
    let told = scene.told(None);
    assert_eq!(told["contests"][0]["outcome"], "same");
    assert!(told["switch"].is_null());
    says(&told, "The best candidates are the members.");
    let contests = told["contests"].as_array().expect("a list");
    assert!(contests.len() > 1, "by score and by latency");
    assert_eq!(
        told["text"].as_array().map(Vec::len),
        Some(2),
        "said once: {told:#}"
    );
    says(&scene.of(1), "In for 12 s");
}

#[test]
fn outranked_in_a_full_set() {
    let mut scene = Scene::settled(|_| ());
    scene.answers(4, 3, 400);
    scene.evaluate();
    let fourth = scene.of(4);
    assert_eq!(fourth["reason"], "outranked");
    says(&fourth, "all 3 places go to others");
    says(&fourth, "points of 127.0.0.1:3");
}

#[test]
fn better_by_less_than_the_margins() {
    let mut scene = Scene::settled(|spec| spec.remotes.selector.latency_improvement_ratio = 0.5);
    // Worth 2 points less than the best.
    scene.answers(3, 30, 84);
    scene.evaluate();
    scene.answers(4, 3, 40);
    scene.evaluate();
    let fourth = scene.of(4);
    assert_eq!(fourth["reason"], "lost");
    let told = scene.told(None);
    assert_eq!(told["contests"][0]["outcome"], "too_little");
    says(&fourth, "of the +5.0 that are asked for");
    says(&fourth, "of the -50 % that are asked for");
}

/// A scene in which the third member has become slow and was replaced just now, and another challenger is there.
fn debounced() -> Scene {
    let mut scene = Scene::settled(|_| ());
    for (slow, quick) in [(3, 4), (2, 5)] {
        scene.answers(slow, 30, 700);
        scene.evaluate();
        scene.answers(quick, 3, 10);
        scene.evaluate();
    }
    scene
}

#[test]
fn better_and_too_soon_and_then_not() {
    let mut scene = debounced();
    scene.now += Duration::from_secs(20);
    scene.evaluate();
    let fifth = scene.of(5);
    assert_eq!(fifth["reason"], "lost");
    let told = scene.told(None);
    assert_eq!(told["contests"][0]["outcome"], "too_soon");
    assert_eq!(told["contests"][0]["held_seconds"], 40.0);
    says(&fifth, "has to wait for 40 s more");
    assert_eq!(scene.of(4)["reason"], "better");
    scene.now += Duration::from_secs(40);
    scene.evaluate();
    assert_eq!(scene.told(None)["switch"], "better");
    assert_eq!(scene.told(None)["contests"][0]["outcome"], "wins");
    says(&scene.of(5), "chosen with a better set");
}

#[test]
fn sooner_by_the_rule_of_latency() {
    let mut scene = Scene::new(|_| ());
    (1..=3).for_each(|port| scene.answers(port, 3, 45));
    scene.evaluate();
    scene.answers(4, 3, 10);
    scene.evaluate();
    let told = scene.told(None);
    assert_eq!(told["contests"][0]["outcome"], "wins");
    assert_eq!(told["contests"][0]["gain"], 0.0);
    let sooner = told["contests"][0]["sooner"].as_f64().expect("a share");
    assert!((sooner - 35.0 / 135.0).abs() < 1e-3, "{sooner}");
    says(&told, "mean latency -26 % of the -15 % that are asked for");
}

#[test]
fn unconfirmed() {
    let mut scene = Scene::settled(|_| ());
    scene.answers(3, 30, 700);
    scene.evaluate();
    scene.answers(4, 1, 10);
    scene.evaluate();
    let fourth = scene.of(4);
    assert_eq!(fourth["reason"], "unconfirmed");
    says(&fourth, "it has given 1 of the 3 answers that confirm it");
    assert_eq!(fourth["change"], "2 more answers.");
}

#[test]
fn dead_and_who_takes_its_place() {
    let mut scene = Scene::settled(|_| ());
    scene.answers(4, 3, 40);
    scene.fails(1);
    scene.evaluate();
    let (dead, heir) = (scene.of(1), scene.of(4));
    assert_eq!(
        (&dead["reason"], &dead["fault"]),
        (&"below_threshold".into(), &"below_threshold".into())
    );
    says(&dead, "under the threshold of 15");
    assert_eq!(heir["reason"], "emergency");
    assert_eq!(scene.told(None)["switch"], "emergency");
    says(&heir, "chosen when a member fell under the threshold");
}

#[test]
fn not_trusted_and_what_for() {
    let mut scene = Scene::settled(|_| ());
    scene.answers(4, 3, 40);
    scene.evaluate();
    let told = |scene: &mut Scene| {
        scene.evaluate();
        let second = scene.of(2);
        assert_eq!(
            (&second["reason"], &second["fault"], &second["is_trusted"]),
            (&"distrusted".into(), &"distrusted".into(), &false.into())
        );
        let row = scene.one.live.record.load();
        let rows = &(*row).as_ref().expect("a record").rows;
        let row = rows.iter().find(|row| row.rated.addr == addr(2)).expect("a row");
        let why = match row.verdict {
            Verdict::Out(Bar::Fault(Fault::Distrusted(Distrust::Clients))) => "clients",
            Verdict::Out(Bar::Fault(Fault::Distrusted(Distrust::Checks))) => "checks",
            Verdict::Out(Bar::Fault(Fault::Distrusted(Distrust::Both))) => "both",
            verdict @ (Verdict::In { .. } | Verdict::Out(_)) => panic!("{verdict:?}"),
        };
        assert_eq!(second["distrust"], why);
        (why, second)
    };
    let heard = |scene: &Scene, heard| {
        let outcome = Sampled::Success(Duration::from_millis(20));
        let mut sample = sample(&scene.one, 2, (Source::Probe, outcome), scene.now);
        sample.heard = heard;
        scene
            .one
            .live
            .board
            .write()
            .expect("not poisoned")
            .record(&sample);
    };
    heard(&scene, Heard::Wrong("status 503"));
    let (why, second) = told(&mut scene);
    assert_eq!(why, "checks");
    assert_eq!(
        second["text"],
        "Out: its connects are not believed: it answers checks wrongly."
    );
    assert_eq!(second["change"], "It answers a check rightly.");
    for _ in 0..3 {
        let mut board = scene.one.live.board.write().expect("not poisoned");
        board.unserved(&addr(2), scene.now);
    }
    let (why, second) = told(&mut scene);
    assert_eq!(why, "both");
    says(
        &second,
        "not believed: it fails clients, and it answers checks wrongly.",
    );
    assert_eq!(
        second["change"],
        "Its time is up and it connects, and it answers a check rightly."
    );
    heard(&scene, Heard::Answer(Duration::from_millis(20)));
    let (why, second) = told(&mut scene);
    assert_eq!(why, "clients");
    assert_eq!(
        second["text"],
        "Out: its connects are not believed: it fails clients."
    );
    assert_eq!(second["change"], "Its time is up and it connects.");
    assert!(scene.of(4)["distrust"].is_null());
}

#[test]
fn taken_out_by_hand_and_back() {
    for state in [AdminState::Drain, AdminState::Maintenance] {
        let mut scene = Scene::settled(|_| ());
        scene.answers(4, 3, 40);
        scene.set(1, state);
        scene.evaluate();
        let first = scene.of(1);
        assert_eq!(
            (&first["reason"], &first["state"]),
            (&"withdrawn".into(), &state.label().into())
        );
        says(&first, &format!("taken out by hand ({})", state.label()));
        assert_eq!(scene.of(4)["reason"], "withdrawn");
        says(&scene.of(4), "chosen when a member was taken out by hand");
        scene.now += Duration::from_secs(1);
        scene.evaluate();
        assert_eq!(
            scene.of(1)["reason"],
            "withdrawn",
            "it is told of for as long as it is out"
        );
        scene.set(1, AdminState::Ready);
        scene.evaluate();
        assert_ne!(scene.of(1)["reason"], "withdrawn");
    }
}

#[test]
fn our_link_is_down_or_the_service_asleep() {
    let scene = Scene::settled(|_| ());
    let told = scene.told(Some(Pause::LinkDown));
    assert_eq!(told["pause"], "link_down");
    says(&told, "Our own link is down");
    let told = scene.told(Some(Pause::Asleep));
    assert_eq!(told["pause"], "asleep");
    says(&told, "until a client wakes it");
    assert!(!scene.hub.is_stopping());
}

#[test]
fn the_last_good_set_and_the_best_of_the_bad() {
    let mut scene = Scene::settled(|_| ());
    (1..=3).for_each(|port| scene.fails(port));
    scene.evaluate();
    let told = scene.told(None);
    assert_eq!(told["footing"], "last_good");
    says(&told, "the last good set stays");
    assert_eq!(scene.of(1)["fault"], "below_threshold");
    says(&scene.of(1), "It does not pass");
    let mut scene = Scene::new(|_| ());
    scene.evaluate();
    let told = scene.told(None);
    assert_eq!(
        (&told["footing"], &told["switch"]),
        (&"best_scored".into(), &"fallback".into())
    );
    says(&told, "none ever did");
    assert_eq!(told["members"][0]["reason"], "fallback");
    assert!(told["members"][0]["parts"].is_null(), "nobody was asked");
}

#[test]
fn a_smaller_set_and_a_larger_one() {
    let mut scene = Scene::settled(|_| ());
    let resized = |scene: &mut Scene, size| {
        let mut smaller = (*scene.one.spec).clone();
        smaller.remotes.selector.active_set_size = size;
        scene.one = Arc::new(scene.one.under(Arc::new(smaller), scene.now));
        publish(&scene.hub, &[&scene.one]);
        scene.evaluate();
    };
    resized(&mut scene, 2);
    assert_eq!(scene.of(3)["reason"], "surplus");
    assert_eq!(scene.told(None)["switch"], "resize");
    says(&scene.of(3), "the set was made smaller, to 2");
    resized(&mut scene, 3);
    assert_eq!(scene.of(3)["reason"], "fill");
    says(&scene.of(3), "chosen when the set was too small");
}

#[test]
fn in_a_tier_behind() {
    let mut scene = Scene::new(|_| ());
    let set = stage::list_saying(&[(1, ""), (2, "backup")]);
    scene.one.live.candidates.publish(Arc::new(set));
    (1..=2).for_each(|port| scene.answers(port, 3, 20));
    scene.evaluate();
    assert_eq!(scene.of(2)["reason"], "behind");
    says(&scene.of(2), "a tier that goes before its own serves");
    scene.fails(1);
    scene.evaluate();
    assert_eq!(scene.of(1)["reason"], "below_threshold");
    (0..9).for_each(|_| scene.answers(1, 9, 20));
    scene.evaluate();
    assert_eq!(scene.told(None)["switch"], "tier");
    assert_eq!(scene.of(1)["reason"], "tier");
    says(&scene.of(1), "its tier passed again");
}

#[test]
fn off_the_list() {
    let mut scene = Scene::settled(|_| ());
    scene.one.live.candidates.publish(Arc::new(list(2..=9)));
    scene.evaluate();
    let first = scene.of(1);
    assert_eq!(first["reason"], "delisted");
    says(&first, "the candidate list does not have it any more");
}

#[test]
fn recalled_from_before() {
    let mut scene = Scene::new(|_| ());
    scene.answers(4, 3, 5);
    scene.one.live.board.write().expect("not poisoned").doubt();
    (1..=3).for_each(|port| scene.answers(port, 3, 20));
    scene.evaluate();
    scene.evaluate();
    let fourth = scene.of(4);
    assert_eq!(fourth["reason"], "recalled");
    says(&fourth, "known only from before");
}

#[test]
fn on_another_way_to_the_network() {
    let mut scene = Scene::settled(|_| ());
    scene.one.live.board.write().expect("not poisoned").turn_to(1);
    scene.one.live.is_swept.store(false, Ordering::Relaxed);
    scene.evaluate();
    let told = scene.told(None);
    assert_eq!(told["course"], "sweep");
    says(&told, "The way to the network has changed");
}

#[test]
fn too_few_are_confirmed() {
    let mut scene = Scene::settled(|_| ());
    // The set by latency has those alone that score no lower than the mean.
    scene.answers(3, 30, 700);
    scene.evaluate();
    let told = scene.told(None);
    assert_eq!(told["contests"][1]["outcome"], "too_few");
    says(&told, "only 2 confirmed candidates could take its place");
}

#[test]
fn who_is_full_is_in_and_passed_over() {
    let mut scene = Scene::settled(|_| ());
    scene.answers(9, 3, 90);
    scene.evaluate();
    let active = scene.one.live.active.load();
    let member = active.backends.first().expect("a member");
    member.set_max_connections(NonZeroU32::new(2));
    let one_place = Place::take(member).expect("free");
    let port = member.addr.port();
    let is_full = |told: &Value| {
        let text = told["text"].as_str().expect("words");
        let says = text.contains("It is full (2 of 2 connections): clients pass it over");
        assert_eq!(told["is_full"], says, "{told}");
        says
    };
    let told = scene.of(port);
    assert!(!is_full(&told));
    assert_eq!((&told["max_connections"], &told["open"]), (&2.into(), &1.into()));
    let other = Place::take(member).expect("free");
    assert!(is_full(&scene.of(port)));
    scene.one.live.traffic[0].queued.add(3);
    let told = scene.told(None);
    assert_eq!(told["queued"], 3);
    let said: Vec<&str> = told["text"]
        .as_array()
        .expect("words")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let expected = [
        "1 of 3 members is full (max_connections): clients pass it over.",
        "3 clients wait for a place, each for up to 1 s (queue_timeout).",
    ];
    assert!(said.ends_with(&expected), "{said:?}");
    drop((one_place, other));
    assert!(!is_full(&scene.of(port)));
    let stranger = scene.of(9);
    assert_eq!(
        (&stranger["max_connections"], &stranger["open"]),
        (&Value::Null, &Value::Null)
    );
}

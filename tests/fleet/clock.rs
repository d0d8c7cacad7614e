//! Clocks that are wrong: Debian's `faketime` sets those of processes.

use std::path::{Path, PathBuf};

use crate::clients::{Clients, end_all};
use crate::redis::Redis;
use crate::server::programs;
use crate::support::{Files, Forwarder, settings, wait_for};
use crate::{ALONE, candidates, heard, of_fleet, refused};

/// The library behind `faketime`, which itself would stand between the test and the process that it starts.
fn library() -> Option<PathBuf> {
    programs("fleet", ["faketime"])?;
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let mut files = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketimeMT.so.1"));
    files.find(|file| file.is_file())
}

/// A forwarder whose wall clock is off by this; time passes as ever.
fn start(library: &Path, by: &str, url: &str, list: &str) -> Forwarder {
    let files = Files::new(&settings(&of_fleet(url, by, "here")), list);
    let mut command = files.command();
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", by)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Forwarder::spawn(files, command).listening()
}

/// The day of the first line of a log.
fn day(forwarder: &Forwarder) -> String {
    forwarder.log().chars().take("2026-01-01".len()).collect()
}

/// Of three forwarders two are a day off.
#[test]
fn a_clock_that_is_a_day_off_changes_nothing() {
    let Some(library) = library() else {
        return;
    };
    let Some(redis) = Redis::start(&[]) else {
        return;
    };
    let list = candidates(5);
    let fleet = ["+1d", "-1d", "+0"].map(|by| start(&library, by, &redis.url(), &list));
    let days = fleet.each_ref().map(day);
    assert!(days[1] < days[2] && days[2] < days[0], "{days:?}");
    let clients = fleet.each_ref().map(|one| Clients::of(one.addr()));
    for one in &fleet {
        wait_for("the others", || {
            (one.metric("cluster_nodes") - 2.0).abs() < 0.1 && heard(one) > 0.5
        });
    }
    let counts = |one: &Forwarder| (heard(one), refused(one));
    let before = fleet.each_ref().map(counts);
    for (one, (heard_before, refused_before)) in fleet.iter().zip(before) {
        wait_for("more is heard", || heard(one) > heard_before + 3.5);
        let (heard, refused) = counts(one);
        assert!(refused - refused_before < heard - heard_before, "{}", one.log());
        assert!(one.metric("cluster_failures_total") < 0.5 && !one.log().contains(ALONE));
    }
    end_all(clients);
}

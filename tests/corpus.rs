//! The corpus of the fuzz targets as regression tests: every committed input, through the same checks.

// One of them plays a client that speaks TLS.
#![cfg(feature = "tls")]
#![expect(clippy::expect_used, reason = "tests")]

use std::fs;
use std::io::Write;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own, too")]
mod fuzz;

/// Runs every input of a target's folder.
fn replay(name: &str) {
    let (_, target) = fuzz::TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .expect("a corpus")
        .map(|input| input.expect("an entry").path())
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 3, "the corpus of {name} is missing");
    for input in inputs {
        // The name first: what a test prints before it fails is shown.
        writeln!(std::io::stdout(), "{}", input.display()).expect("standard output");
        target(&fs::read(&input).expect("an input"));
    }
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        /// No target is left out here, and each is one for the fuzzer, too.
        #[test]
        fn all_targets_are_replayed() {
            let replayed = [$(stringify!($target)),*];
            assert_eq!(fuzz::TARGETS.map(|(name, _)| name), replayed);
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
            for name in replayed {
                assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
                let target = fs::read_to_string(folder.join(format!("targets/{name}.rs"))).expect("a target");
                assert!(target.contains(&format!("::{name}::run(data)")), "{name}");
            }
        }
    };
}

replayed!(admission answer candidates client_hello configuration dns_message flight list_answer log_filter proxy pump relay request scrape search slots takeover timers tls tls_backend);

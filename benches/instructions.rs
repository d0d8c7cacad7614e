//! Runs one workload a number of times and does nothing else, for `scripts/bench/instructions`, which takes
//! the difference of two counts: `instructions NAME STEPS`, or `instructions KIND:COUNT STEPS`. Without arguments it lists the names
//! and the kinds.

#[expect(dead_code, reason = "each of the programs has its own part of them")]
mod workloads;

use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "its output is the list of names")]
fn main() -> ExitCode {
    // `cargo bench` adds a `--bench` of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let [name, steps] = arguments.as_slice() else {
        println!("{}", workloads::NAMES.join("\n"));
        println!("{}", workloads::scale::KINDS.join("\n"));
        return ExitCode::SUCCESS;
    };
    let (Some(mut workload), Ok(steps)) = (workloads::build(name), steps.parse::<u32>()) else {
        return ExitCode::from(2);
    };
    for _ in 0..steps {
        workload.step();
    }
    ExitCode::SUCCESS
}

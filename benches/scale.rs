//! What one turn costs beside so many others, in time and memory: `scale KIND COUNT STEPS`. Prints a line of JSON. Without
//! arguments it lists the kinds; `scale sizes` tells what is kept of each. `scripts/bench/scale` makes the table and the plot of `docs/SCALE.md` of it.

#[expect(dead_code, reason = "each of the programs has its own part of them")]
mod workloads;

use std::process::ExitCode;
use std::time::Instant;

use tcp_forwarder::backend::ReactorShare;
use tcp_forwarder::reactor::{CLIENT_BYTES, UPSTREAM_BYTES};
use tcp_forwarder::service::traffic::Traffic;
use workloads::scale;

/// Of so many batches the fastest counts: whatever else the machine does makes some slower, and none faster.
const BATCHES: u32 = 30;

#[expect(clippy::print_stdout, reason = "its output is the figures")]
#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn main() -> ExitCode {
    // `cargo bench` adds a `--bench` of its own.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if arguments == ["sizes"] {
        println!("{}", sizes());
        return ExitCode::SUCCESS;
    }
    let [kind, count, steps] = arguments.as_slice() else {
        println!("{}", scale::KINDS.join("\n"));
        println!("{}", scale::OF_ALL.join("\n"));
        return ExitCode::SUCCESS;
    };
    let (Ok(count), Ok(steps)) = (count.parse(), steps.parse::<u32>()) else {
        return ExitCode::from(2);
    };
    let Some(mut workload) = scale::build(kind, count) else {
        return ExitCode::from(2);
    };
    let mut best = f64::INFINITY;
    for _ in 0..BATCHES {
        let began_at = Instant::now();
        for _ in 0..steps {
            workload.step();
        }
        best = best.min(began_at.elapsed().as_secs_f64() / f64::from(steps));
    }
    let (resident, peak) = (memory("VmRSS:"), memory("VmHWM:"));
    let remark = workload.remark().unwrap_or_default();
    println!(
        "{{\"kind\": \"{kind}\", \"count\": {count}, \"nanoseconds\": {:.0}, \"resident_kb\": {resident}, \"peak_kb\": {peak}, \"remark\": \"{remark}\"}}",
        best * 1e9
    );
    ExitCode::SUCCESS
}

/// Bytes of what there is once for each thing, and of what there is once for each thing and reactor.
fn sizes() -> String {
    format!(
        "{{\"client\": {CLIENT_BYTES}, \"upstream\": {UPSTREAM_BYTES}, \"backend_of_reactor\": {}, \"service_of_reactor\": {}}}",
        size_of::<ReactorShare>(),
        size_of::<Traffic>()
    )
}

/// Kilobytes of this process, as the kernel counts them; 0 where it does not tell.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

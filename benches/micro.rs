//! Time per step of what is pure and hot: `cargo bench --bench micro`.
//!
//! For comparisons between machines and days use `scripts/bench/instructions`, whose figures do not drift.

#[expect(dead_code, reason = "each of the programs has its own part of them")]
mod workloads;

use divan::Bencher;

fn main() {
    divan::main();
}

#[divan::bench(args = workloads::NAMES)]
fn step(bencher: Bencher<'_, '_>, name: &str) {
    let Some(mut workload) = workloads::build(name) else {
        return;
    };
    bencher.bench_local(|| workload.step());
}

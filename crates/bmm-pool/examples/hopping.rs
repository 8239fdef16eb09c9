//! Prints what pool hopping gains under unit-PPLNS and under the proportional rule: `cargo run --release -p bmm-pool --example hopping`.
#![allow(clippy::print_stdout, reason = "a report")]

use bmm_pool::payout::hopping::{HOPPERS, simulate};

fn main() {
    println!("Earned a hash in the pool, in percent of its worth: 4,000 blocks, seeds 0 to 7.");
    println!(
        "{:<14} {:>5} {:>8} {:>10} {:>10} {:>12} {:>12}",
        "hopper", "seed", "present", "steady", "hopper", "steady prop", "hopper prop"
    );
    let percent = |millionths: u64| format!("{}.{:02}", millionths / 10_000, millionths % 10_000 / 100);
    for hopper in HOPPERS {
        for seed in 0..8 {
            let e = simulate(hopper, 4_000, seed);
            let columns = [e.present, e.steady, e.hopper, e.steady_proportional, e.hopper_proportional].map(percent);
            let [present, steady, hopping, steady_prop, hopping_prop] = columns;
            let name = format!("{hopper:?}");
            println!(
                "{name:<14} {seed:>5} {present:>8} {steady:>10} {hopping:>10} {steady_prop:>12} {hopping_prop:>12}"
            );
        }
    }
}

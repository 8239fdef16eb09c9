//! What is checked of everything that comes from strangers: one function a fuzz target, each over plain bytes.
//!
//! Layer: above everything, for tests alone. The first byte of an input chooses the decoder, the rest is what a stranger sends. A target
//! fails by panicking: the decoder itself panicked, or what it let through does not hold what is promised of it.
//!
//! The folder `fuzz/` runs the targets under libFuzzer; `cargo test -p bmm-fuzz` runs each over the inputs that are kept in `fuzz/seeds`.

pub mod chain;
pub mod content;
pub mod market;
pub mod mining;
pub mod modules;
pub mod rpc;
mod stream;
pub mod tries;

/// A target: takes any bytes, and panics where something is wrong.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("chain", chain::run),
    ("content", content::run),
    ("market", market::run),
    ("mining", mining::run),
    ("modules", modules::run),
    ("rpc", rpc::run),
    ("tries", tries::run),
];

/// Takes so many bytes from the front; zeros where there are none.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let (front, rest) = bytes.split_at(bytes.len().min(N));
    taken[..front.len()].copy_from_slice(front);
    *bytes = rest;
    taken
}

/// Takes the byte that chooses.
fn choice(bytes: &mut &[u8]) -> u8 {
    take::<1>(bytes)[0]
}

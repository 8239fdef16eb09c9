//! What can be chosen.

use crate::market::Share;
use clap::Args;
use serde::Serialize;

/// Options of a simulated network of footstones.
#[derive(Clone, Debug, Args, Serialize)]
pub struct Options {
    /// Footstones, each a node; weights of 1, 2 and 3 in turns
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(4..=32))]
    pub footstones: u16,
    /// Share of the weight that cheats at the most; the cheaters are drawn for each seed
    #[arg(long, value_name = "SHARE", default_value = "33.3%")]
    pub byzantine: Share,
    /// Intervals of blocks with trouble (partitions, crashes, losses); then all connections work again
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = clap::value_parser!(u64).range(4..=10_000))]
    pub trouble: u64,
    /// Checkpoints after the trouble within which something new must have become final at every honest node
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub heal: u64,
    /// Seeds to run
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub seeds: u32,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first_seed: u64,
    /// Threads; as many as there are cores if not given
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    pub threads: Option<usize>,
}

//! Who cheats how.

use clap::ValueEnum;
use serde::Serialize;

use crate::random::mix;

/// How a provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Does its work
    Honest,
    /// Gives a third of its results wrong, each in its own way, without the work
    Wrong,
    /// Gives every result wrong, the same wrong bytes as every other of its kind
    Collude,
    /// Gives what any other cheater gave for the task; works where there is nothing to copy
    Copy,
    /// Gives the empty result for every task at once
    Lazy,
    /// As collude, one owner of them all, who comes back under a new name when found out
    Sybil,
    /// Works well for a while, then gives a tenth of its results wrong
    Sleeper,
    /// Takes tasks and falls silent, staying connected
    Silent,
}

/// Tasks after which a sleeper begins to cheat, and a silent one falls silent.
const SLEEPS_FOR: u64 = 10;

/// What a provider does about one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The work.
    Work,
    /// These bytes instead, at once.
    Instead(Vec<u8>),
    /// Nothing, ever.
    Nothing,
}

/// Returns the right result of a task.
pub fn truth(seed: u64, task: u64) -> Vec<u8> {
    let mut bytes = mix(seed ^ mix(task)).to_le_bytes().to_vec();
    bytes.extend(task.to_le_bytes());
    bytes
}

impl Kind {
    /// Every way to cheat.
    pub const CHEATS: [Self; 7] =
        [Self::Wrong, Self::Collude, Self::Copy, Self::Lazy, Self::Sybil, Self::Sleeper, Self::Silent];

    /// Says what a provider does about a task: `done` counts its earlier ones, `draw` is random, `copy` is what another cheater
    /// gave for the task.
    pub fn deed(self, task: u64, done: u64, draw: u64, copy: Option<&Vec<u8>>) -> Deed {
        let shared = |of: u64| {
            let mut bytes = mix(task ^ of).to_le_bytes().to_vec();
            bytes.extend(b"shared");
            Deed::Instead(bytes)
        };
        let own = || Deed::Instead(mix(draw).to_le_bytes().to_vec());
        match self {
            Self::Wrong if draw.is_multiple_of(3) => own(),
            Self::Collude => shared(0xc011_0de0),
            Self::Sybil => shared(0x5b11),
            Self::Copy => copy.map_or(Deed::Work, |bytes| Deed::Instead(bytes.clone())),
            Self::Lazy => Deed::Instead(Vec::new()),
            Self::Sleeper if done >= SLEEPS_FOR && draw.is_multiple_of(10) => own(),
            Self::Silent if done >= SLEEPS_FOR => Deed::Nothing,
            Self::Honest | Self::Wrong | Self::Sleeper | Self::Silent => Deed::Work,
        }
    }

    /// Returns the name as it is written.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

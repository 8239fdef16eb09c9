//! A footstone's side of a node: it bets on checkpoints and looks after its bets.
//!
//! Two bets that contradict each other cost the whole bond, whoever's fault they are. So nothing is signed that is not in the bet log
//! before, on disk; and nothing is signed while the network knows bets of the same key that the log does not: then the log is an old
//! copy, or a second machine bets with the key.

mod duties;
mod keeper;
mod log;
mod policy;
#[cfg(test)]
mod tests;

pub use keeper::{Bettor, Keeper, KeeperReport, KeeperState};
pub use log::{BetLog, BetLogError};
pub use policy::{BetPolicy, POLICY_FILE, read_policy, write_policy};

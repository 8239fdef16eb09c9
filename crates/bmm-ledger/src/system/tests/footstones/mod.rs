//! The footstones, rule by rule.

mod bets;
mod bonds;
mod offences;
mod sets;

use crate::testkit::circle::{EPOCH, INTERVAL};

/// First checkpoint of the epoch of the first set.
const FIRST: u64 = 2 * EPOCH / INTERVAL;

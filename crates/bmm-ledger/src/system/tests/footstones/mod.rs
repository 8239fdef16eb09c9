//! The footstones, rule by rule.

mod bets;

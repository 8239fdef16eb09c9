//! `eth_*`: blocks, state, transactions, logs, fees and simulated calls.

mod answer;
mod at;
pub(crate) mod blocks;
pub(crate) mod call;
pub(crate) mod fees;
pub(crate) mod logs;
pub(crate) mod state;
pub(crate) mod tx;

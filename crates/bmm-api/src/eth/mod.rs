//! `eth_*`: blocks, state, transactions, logs, fees and simulated calls.

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod at;
pub(crate) mod blocks;
pub(crate) mod call;
pub(crate) mod fees;
pub(crate) mod keys;
mod log_list;
pub(crate) mod logs;
mod overrides;
pub(crate) mod parts;
pub(crate) mod proof;
pub(crate) mod simulate;
pub(crate) mod state;
pub(crate) mod tx;

//! Properties over random histories.

mod escrow;
mod supply;

//! Properties over random histories.

mod escrow;
mod stakes;
mod supply;

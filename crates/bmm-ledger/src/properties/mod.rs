//! Properties over random histories.

mod escrow;
mod resources;
mod stakes;
mod supply;

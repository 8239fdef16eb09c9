//! Properties over random histories.

mod escrow;
mod footstones;
mod resources;
mod stakes;
mod supply;

//! Plain values that cross rooms: amounts, blocks, seals, chain parameters, the ABI of the system contracts, and the
//! messages of the market.
//!
//! The lowest layer. It knows nothing of storage, networks, clocks or threads: no I/O, no async. Everything here can be
//! built, compared, encoded and decoded, and nothing else.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

pub mod amount;
pub mod block;
pub mod content;
pub mod finality;
pub mod market;
pub mod params;
pub mod seal;
pub mod system;

pub use amount::{Amount, ParseAmountError};
pub use block::{Block, BlockBody, Header, SealedBlock, Transaction, decode_strict};
pub use content::ContentHash;
pub use params::{ChainParams, Emission, Engine};
pub use seal::{AuxPow, Seal};

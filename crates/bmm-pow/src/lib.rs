//! Proof of work: Scrypt, targets and difficulties, ASERT, merged-mining proofs (AuxPoW), and a miner for one thread.
//!
//! Layer: above `bmm-types`, below everything that deals with blocks. It must not know of headers, chains, storage or
//! networks: a block is here nothing but its 32-byte id. Everything that consensus rests on is integer arithmetic that
//! either is exact or fails.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

pub mod asert;
pub mod auxpow;
pub mod book;
pub mod difficulty;
pub mod miner;
pub mod resource;
pub mod scrypt;
pub mod synthetic;

pub use asert::Asert;
pub use auxpow::{AuxPowError, AuxTree, verify};
pub use book::ProofBook;
pub use difficulty::{Difficulty, Target, Work};
pub use miner::{MiningJob, Throttle, mine, mine_noting};
pub use scrypt::{hash_ahead, scrypt_hash};
pub use synthetic::SyntheticParent;

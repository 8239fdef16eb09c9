//! The mining pool: work for miners over Stratum, their shares, and what those are paid.
//!
//! Layer: above `bmm-pow`, beside the node. It knows no chain's storage: templates come in as [`Job`]s, blocks that miners find go out as
//! [`Solution`]s, and pay goes out as amounts for addresses. Every header that is worked on is a Litecoin-style header: of a real parent, or
//! of a synthetic one that carries work for BMM alone.
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

pub mod accountant;
pub mod api;
pub mod batch;
pub mod block;
pub mod books;
pub mod difficulty;
pub mod effort;
pub mod job;
pub mod log;
pub mod payout;
pub mod proxy;
pub mod server;
pub mod share;
pub mod source;
pub mod stratum;
pub mod upstream;
mod validate;
pub mod vardiff;
mod wire;

pub use block::{BlockEvent, BlockKey};
pub use job::{ChainWork, Job, Solution};
pub use log::{LogError, LogReader, ShareLog};
pub use server::Server;
pub use share::Share;
pub use source::{SourceConfig, Sources};

//! Which blocks there are and which one is the head: validity, consensus engines, fork choice, the pool of transactions,
//! block templates and the producer of blocks.
//!
//! Layer: above `bmm-ledger`, below the network and the RPC. It must not know of peers, sockets or JSON. Time comes in by
//! [`Clock`]; signatures come in by a closure, so that no key is ever held here.
//!
//! [`Chain`] is the whole interface. It is shared as `Arc<Chain>` between threads: reads go to the store's snapshots and wait
//! for nobody, [`Chain::import`] is the one path by which a block of whatever origin becomes part of the chain, and
//! imports wait for each other.
//!
//! ```text
//! wallet ─► Chain::submit ─► pool ─► Chain::template ─► seal (Producer, or a mining pool) ─┐
//! peer ───────────────────────────────────────────────────────────────────────────────────┴─► Chain::import
//!     header rules ─► seal ─► body ─► execute ─► state root ─► store ─► fork choice ─► HeadEvent
//! ```
#![deny(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod chain;
mod clock;
mod engine;
mod error;
mod events;
mod extra;
mod finality;
mod header;
mod headers;
mod import;
mod params;
mod pipeline;
mod pool;
mod producer;
mod ranges;
mod reads;
mod reorg;
mod seals;
mod serve;
mod solutions;
pub mod sync;
mod template;
mod transfer;

pub use chain::{Chain, ChainOptions, HeadBlock};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{ChainError, ImportError};
pub use events::{HeadEvent, Reorg};
pub use extra::{MAX_VANITY_BYTES, SIGNATURE_BYTES, recover_signer, signing_hash};
pub use finality::{
    BET_SIGNATURE_BYTES, Checkpoint, FinalityStatus, Heard, MAX_BETS_OF_ONE, Members, Rights, SignedBet,
};
pub use headers::{HeaderLine, MAX_SIDE_DEPTH, Standing};
pub use import::Imported;
pub use pipeline::{ImportAllError, ImportedAll};
pub use pool::{PoolContent, PoolError, PoolLimits, PoolStatus, PoolTransaction};
pub use producer::{BlockSigner, Producer, ProducerConfig};
pub use ranges::{
    AccountRange, CODES_AT_ONCE, MAX_RANGE_BYTES, NODES_AT_ONCE, OWNERS_AT_ONCE, RangeAccount, RangeSlot, SlotRange,
};
pub use reads::{FoundTransaction, PendingBlock};
pub use serve::SealedHeader;
pub use solutions::{Solutions, WorkKey};
pub use template::{Template, TemplateRequest};
pub use transfer::{ChainReader, ChainWriter, MAX_RECORD_BYTES, TransferError};

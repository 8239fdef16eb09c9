//! Messages of the market: what requesters and providers say to each other, and how it is signed.
//!
//! A requester describes its job by a [`JobSpec`], which names everything by content. Providers make [`SignedOffer`]s,
//! pull [`Lease`]s of many tasks, send [`ResultBatch`]es back and get [`SignedVoucher`]s. Every message is a version byte
//! and its postcard encoding; [`Wire::decode`] refuses whatever passes the bounds below before it allocates for it.

mod commitment;
mod listing;
mod machine;
mod message;
mod offer;
mod rental;
mod service;
mod signing;
mod spec;
#[cfg(test)]
mod tests;
mod wire;

pub use commitment::{MAX_PROOF, merkle_proof, merkle_root, merkle_verify, result_leaf};
pub use listing::{Listing, MAX_LISTING_ADDRESSES, MAX_LISTING_BYTES, MAX_LISTING_SECONDS, SignedListing};
pub use machine::{FEATURES, Gpu, MAX_WORKERS, Machine, Needs};
pub use message::{
    FailureKind, JobAnnouncement, Lease, ResultBatch, SignedResults, SignedVoucher, Standing, TaskEnd, TaskFailure,
    TaskOutput, TaskRange, TaskResult, ToProvider, ToRequester,
};
pub use offer::{Hashing, Offer, Runtime, SignedOffer};
pub use rental::{FromMiner, HASHES_PER_PRICE, MAX_STRATUM_BYTES, RentalSpec, ToMiner};
pub use service::{
    FromHost, INTERVAL_MILLIS, MAX_LOG_BYTES, MAX_PORTS, MAX_SNAPSHOT_CHUNKS, MAX_VOLUME_BYTES, Probe,
    SNAPSHOT_CHUNK_BYTES, ServicePort, ServiceSpec, ServiceVolume, Snapshot, ToHost,
};
pub use signing::{
    Receipt, Session, SignatureBytes, listing_hash, market_domain, offer_hash, receipt_hash, recover, session_hash,
    voucher_hash,
};
pub use spec::{
    Audit, Axis, AxisKind, Budget, Checker, Collect, Content, InputFile, JobSpec, Merge, NamedValue, Output, SpecError,
    TaskLimits, Verify, is_fixed,
};
pub use wire::{Wire, WireError};

/// Version byte of every message and of the job description.
pub const MARKET_VERSION: u8 = 3;
/// Most tasks of one job.
pub const MAX_TASKS: u64 = 1_000_000_000;
/// Most tasks of one lease, and most results of one batch.
pub const MAX_LEASE_TASKS: u32 = 65_536;
/// Most ranges of tasks in one lease.
pub const MAX_LEASE_RANGES: usize = 4_096;
/// Largest output that travels inside a result, bytes; larger ones are fetched by their hash.
pub const MAX_INLINE_BYTES: usize = 65_536;
/// Longest kept end of a failed task's standard error, bytes.
pub const MAX_STDERR_BYTES: usize = 16_384;
/// Longest encoded job description, bytes.
pub const MAX_SPEC_BYTES: usize = 16 << 20;
/// Longest encoded message, bytes.
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// Units of fuel that a price is for: prices are in BMM per Gfuel.
pub const FUEL_PER_PRICE: u64 = 1_000_000_000;
/// Output bytes that a price is for: 1 GiB.
pub const BYTES_PER_PRICE: u64 = 1 << 30;

//! How each share is bound to all before it.

use super::LoggedShare;
use crate::{job::ChainWork, share::Share};
use alloy_primitives::{Address, B256};
use sha2::{Digest as _, Sha256};

/// The root of a log without shares.
pub const EMPTY_ROOT: B256 = B256::ZERO;

/// Returns SHA-256 of a job as shares refer to it: its number (8 bytes), the number of chains (1), and of each chain the length of its
/// name (1), the name, its height (8) and its target (32). Numbers are little-endian.
pub fn job_digest(number: u64, chains: &[ChainWork]) -> B256 {
    let mut hasher = Sha256::new();
    hasher.update(number.to_le_bytes());
    hasher.update([u8::try_from(chains.len()).unwrap_or(u8::MAX)]);
    for chain in chains {
        hasher.update([u8::try_from(chain.name.len()).unwrap_or(u8::MAX)]);
        hasher.update(chain.name.as_bytes());
        hasher.update(chain.height.to_le_bytes());
        hasher.update(chain.target.get().to_le_bytes::<32>());
    }
    B256::from_slice(&hasher.finalize())
}

/// Returns the root after a share: SHA-256 of the root before it (32 bytes), its number (8), its time in milliseconds (8), the account
/// (20), the hashes (8), the job's digest (32), and the worker's name. Numbers are little-endian.
pub fn extend(root: B256, share: &LoggedShare) -> B256 {
    let LoggedShare { number, at_millis, account, worker, hashes, job } = share;
    link(root, *number, *at_millis, *account, *hashes, job.digest, worker)
}

/// As [`extend`], of a share that is about to be logged.
pub fn extend_by(root: B256, number: u64, share: &Share, job_digest: B256) -> B256 {
    link(root, number, share.at_millis, share.account, share.hashes, job_digest, &share.worker)
}

fn link(root: B256, number: u64, at: u64, account: Address, hashes: u64, job: B256, worker: &str) -> B256 {
    let mut digest = Sha256::new();
    digest.update(root);
    digest.update(number.to_le_bytes());
    digest.update(at.to_le_bytes());
    digest.update(account);
    digest.update(hashes.to_le_bytes());
    digest.update(job);
    digest.update(worker.as_bytes());
    B256::from_slice(&digest.finalize())
}

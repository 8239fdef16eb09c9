//! What miners work on, and what they find.

use crate::effort::EpochWork;
use alloy_primitives::{Address, B256};
use bmm_pow::{
    auxpow::merkle::{fold, sha256d},
    difficulty::Target,
};
use bmm_types::seal::PARENT_HEADER_LEN;
use std::sync::Arc;

/// Bytes of the extra nonce that the pool gives each connection.
pub const EXTRANONCE1_LEN: usize = 4;
/// Bytes of the extra nonce that the miner chooses.
pub const EXTRANONCE2_LEN: usize = 8;

/// A chain that a job's header is work for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainWork {
    /// Its name: `bmm`, or a parent's, such as `litecoin`.
    pub name: Arc<str>,
    /// Height of the block.
    pub height: u64,
    /// What the header's hash must not pass to be a block.
    pub target: Target,
}

/// A header that lacks extra nonces, time and nonce. All bytes are in the order in which they are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number; later jobs have greater ones.
    pub number: u64,
    /// The coinbase transaction without witness, up to the extra nonces.
    pub coinbase_head: Vec<u8>,
    /// The coinbase transaction after them.
    pub coinbase_tail: Vec<u8>,
    /// Merkle branch from the coinbase, which is first, to the header's root.
    pub branch: Vec<B256>,
    /// Version of the header.
    pub version: u32,
    /// Previous block of the header.
    pub previous: B256,
    /// Compact target of the header.
    pub bits: u32,
    /// Time of the template, in Unix seconds.
    pub time: u32,
    /// Whether work on earlier jobs is worth nothing any more.
    pub clean: bool,
    /// The chains that it is work for.
    pub chains: Vec<ChainWork>,
    /// The epoch's work that its hashes are besides.
    pub effort: Option<Arc<EpochWork>>,
}

#[cfg(test)]
impl Job {
    /// A job of these chains without transactions, for tests that look at no headers.
    pub(crate) fn bare(number: u64, chains: Vec<ChainWork>) -> Arc<Self> {
        Arc::new(Self {
            number,
            coinbase_head: Vec::new(),
            coinbase_tail: Vec::new(),
            branch: Vec::new(),
            version: 1,
            previous: B256::ZERO,
            bits: 0,
            time: 0,
            clean: true,
            chains,
            effort: None,
        })
    }
}

impl Job {
    /// Returns the coinbase transaction with these extra nonces, serialised without witness.
    pub fn coinbase(&self, extranonce1: [u8; EXTRANONCE1_LEN], extranonce2: [u8; EXTRANONCE2_LEN]) -> Vec<u8> {
        [&self.coinbase_head[..], &extranonce1, &extranonce2, &self.coinbase_tail].concat()
    }

    /// Returns the header of a coinbase.
    pub fn header(&self, coinbase: &[u8], version: u32, time: u32, nonce: u32) -> [u8; PARENT_HEADER_LEN] {
        let root = fold(sha256d(coinbase), &self.branch, 0);
        let mut header = [0; PARENT_HEADER_LEN];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(self.previous.as_slice());
        header[36..68].copy_from_slice(root.as_slice());
        header[68..72].copy_from_slice(&time.to_le_bytes());
        header[72..76].copy_from_slice(&self.bits.to_le_bytes());
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        header
    }
}

/// What a hash of a job is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// It is a block of at least one of the job's chains.
    pub block: bool,
    /// It is among the smallest of the epoch's work.
    pub effort: bool,
}

impl Job {
    /// Looks what a hash is good for, and counts it for the epoch's work; `None` if it is neither.
    pub fn worth(&self, hash: &[u8; 32]) -> Option<Worth> {
        let block = self.chains.iter().any(|chain| chain.target.is_met_by(hash));
        let effort = self.effort.as_ref().is_some_and(|effort| effort.take(hash));
        (block || effort).then_some(Worth { block, effort })
    }
}

/// A share whose hash is a block of at least one of its job's chains, or among the smallest of an epoch's work.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The job.
    pub job: Arc<Job>,
    /// The coinbase with the extra nonces that were used.
    pub coinbase: Vec<u8>,
    /// The header that was worked.
    pub header: [u8; PARENT_HEADER_LEN],
    /// Its Scrypt hash, as bytes of a little-endian number.
    pub hash: [u8; 32],
    /// Who found it.
    pub account: Address,
    /// Number of the share in the log.
    pub share: u64,
    /// What the hash is good for.
    pub worth: Worth,
}

impl Solution {
    /// Returns the chains that this is a block of.
    pub fn solved(&self) -> impl Iterator<Item = &ChainWork> {
        self.job.chains.iter().filter(|chain| chain.target.is_met_by(&self.hash))
    }
}

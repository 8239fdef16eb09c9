//! Blocks: Ethereum's, with the seal beside them.

use crate::seal::Seal;
use alloy_consensus::{EthereumTxEnvelope, TxEip4844};
use alloy_primitives::B256;
use alloy_rlp::{RlpDecodable, RlpEncodable};

/// A block header, bit for bit Ethereum's, so that hashes, libraries and foreign test vectors agree.
pub use alloy_consensus::Header;

/// A signed transaction. Blob transactions can be decoded (foreign vectors hold them) but BMM's chains refuse them.
pub type Transaction = EthereumTxEnvelope<TxEip4844>;

/// Header and body. The seal is not part of it, and so not of the block's id.
pub type Block = alloy_consensus::Block<Transaction>;

/// The transactions of a block (no ommers; withdrawals only in foreign vectors).
pub type BlockBody = alloy_consensus::BlockBody<Transaction>;

/// A block as it travels: with the seal that proves its work.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct SealedBlock {
    /// Header and transactions.
    pub block: Block,
    /// The proof of work over the block's id.
    pub seal: Seal,
}

impl SealedBlock {
    /// Returns the block's id, keccak(rlp(header)).
    pub fn id(&self) -> B256 {
        self.block.header.hash_slow()
    }
}

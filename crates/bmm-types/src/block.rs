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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Lengths and types of all kinds; a prefix that promises more than there is allocates nothing.
        #[test]
        fn decoding_rubbish_never_panics(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
            prefix in proptest::sample::select(vec![0xf8u8, 0xf9, 0xfa, 0xff, 0xc0, 0xb8, 0xbf]),
        ) {
            let _ = alloy_rlp::decode_exact::<SealedBlock>(&bytes);
            bytes.insert(0, prefix);
            let _ = alloy_rlp::decode_exact::<SealedBlock>(&bytes);
            let _ = alloy_rlp::decode_exact::<Transaction>(&bytes);
        }
    }

    #[test]
    fn blocks_round_trip() {
        let sealed = SealedBlock { block: Block::default(), seal: Seal::None };
        assert_eq!(alloy_rlp::decode_exact::<SealedBlock>(alloy_rlp::encode(&sealed)), Ok(sealed));
    }
}

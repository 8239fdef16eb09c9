//! Blocks: Ethereum's, with the seal beside them.

use crate::seal::Seal;
use alloy_consensus::{EthereumTxEnvelope, TxEip4844};
use alloy_primitives::B256;
use alloy_rlp::{Decodable, Encodable, RlpEncodable};

/// A block header, bit for bit Ethereum's, so that hashes, libraries and foreign test vectors agree.
pub use alloy_consensus::Header;

/// A signed transaction. Blob transactions can be decoded (foreign vectors hold them) but BMM's chains refuse them.
pub type Transaction = EthereumTxEnvelope<TxEip4844>;

/// Header and body. The seal is not part of it, and so not of the block's id.
pub type Block = alloy_consensus::Block<Transaction>;

/// The transactions of a block (no ommers; withdrawals only in foreign vectors).
pub type BlockBody = alloy_consensus::BlockBody<Transaction>;

/// A block as it travels: with the seal that proves its work.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable)]
pub struct SealedBlock {
    /// Header and transactions.
    pub block: Block,
    /// The proof of work over the block's id.
    pub seal: Seal,
}

impl Decodable for SealedBlock {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let mut payload = alloy_rlp::Header::decode_bytes(buf, true)?;
        let (block, seal) = (decode_strict(&mut payload)?, Seal::decode(&mut payload)?);
        if payload.is_empty() { Ok(Self { block, seal }) } else { Err(alloy_rlp::Error::UnexpectedLength) }
    }
}

/// Reads a value, and refuses it if it was not written as it is. For everything that holds transactions: their library takes a typed one
/// with any length in front, or with none, so that one block could have many encodings.
///
/// # Errors
/// Those of reading, and `Custom` for another encoding of the value.
pub fn decode_strict<T: Decodable + Encodable>(buf: &mut &[u8]) -> alloy_rlp::Result<T> {
    let before = *buf;
    let value = T::decode(buf)?;
    let read = before.len().checked_sub(buf.len()).and_then(|length| before.get(..length));
    if read == Some(&alloy_rlp::encode(&value)[..]) {
        Ok(value)
    } else {
        Err(alloy_rlp::Error::Custom("a second encoding of a block or of its transactions"))
    }
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
    fn a_transaction_has_its_length_in_front() {
        let typed = alloy_consensus::TxEip1559 { chain_id: 1, ..Default::default() };
        let signature = alloy_primitives::Signature::test_signature();
        let transaction = Transaction::from(alloy_consensus::SignableTransaction::into_signed(typed, signature));
        let mut block = Block::default();
        block.body.transactions.push(transaction);
        let bytes = alloy_rlp::encode(SealedBlock { block, seal: Seal::None });
        assert!(alloy_rlp::decode_exact::<SealedBlock>(&bytes).is_ok());
        // The string of the transaction begins with its type, 2.
        let at = bytes.windows(2).rposition(|pair| pair == [2, 0xf8]).expect("a typed transaction");
        let mut wrong = bytes.clone();
        wrong[at - 1] -= 1;
        assert!(alloy_rlp::decode_exact::<SealedBlock>(&wrong).is_err());
        assert!(decode_strict::<BlockBody>(&mut &wrong[..]).is_err());
    }

    #[test]
    fn blocks_round_trip() {
        let sealed = SealedBlock { block: Block::default(), seal: Seal::None };
        assert_eq!(alloy_rlp::decode_exact::<SealedBlock>(alloy_rlp::encode(&sealed)), Ok(sealed));
    }
}

//! Seals: the proof of work that travels beside a block.

use alloy_primitives::{B256, Bytes, FixedBytes, keccak256};
use alloy_rlp::{BufMut, Decodable, Encodable, RlpDecodable, RlpEncodable};

/// Bytes of a Bitcoin-style block header, the thing that Scrypt is computed over.
pub const PARENT_HEADER_LEN: usize = 80;

/// Longest Merkle branch in an AuxPoW (Namecoin's and Dogecoin's limit).
pub const MAX_BRANCH: usize = 30;

/// Longest coinbase transaction in an AuxPoW, in bytes. Real pools stay below 10 kB even when they pay hundreds of miners.
pub const MAX_COINBASE_LEN: usize = 64 * 1024;

/// Proof that Scrypt work on a parent chain's header was done for a block of ours (Namecoin's and Dogecoin's AuxPoW).
///
/// Byte order is Bitcoin's: hashes are as they stand in serialised transactions and headers, not as explorers show them.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct AuxPow {
    /// The parent block's coinbase transaction, serialised without witness.
    pub coinbase: Bytes,
    /// Merkle branch from the coinbase (at index 0) to the parent header's root.
    pub coinbase_branch: Vec<B256>,
    /// Merkle branch from our block id to the root that the coinbase commits to.
    pub chain_branch: Vec<B256>,
    /// Our slot in the tree of merge-mined chains.
    pub chain_index: u32,
    /// The parent header.
    pub parent_header: FixedBytes<PARENT_HEADER_LEN>,
}

/// What proves that a block may exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seal {
    /// Nothing: engines `Dev` and `NoSeal`, and genesis.
    #[default]
    None,
    /// Scrypt work on a parent header.
    AuxPow(Box<AuxPow>),
}

impl Seal {
    /// Returns the random value that the next block's `mixHash` carries: keccak of the worked parent header.
    ///
    /// The rest of an AuxPoW can be rewritten by anybody without work; the 80 bytes that carry the work cannot.
    pub fn randomness(&self, block_id: B256) -> B256 {
        match self {
            Self::None => keccak256(block_id),
            Self::AuxPow(aux) => keccak256(aux.parent_header),
        }
    }

    /// Returns the AuxPoW, if the seal is one.
    pub fn as_aux_pow(&self) -> Option<&AuxPow> {
        match self {
            Self::None => None,
            Self::AuxPow(aux) => Some(aux),
        }
    }
}

/// `None` is the empty string, an AuxPoW its list.
impl Encodable for Seal {
    fn encode(&self, out: &mut dyn BufMut) {
        match self {
            Self::None => out.put_u8(alloy_rlp::EMPTY_STRING_CODE),
            Self::AuxPow(aux) => aux.encode(out),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::None => 1,
            Self::AuxPow(aux) => aux.length(),
        }
    }
}

impl Decodable for Seal {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        if buf.first() == Some(&alloy_rlp::EMPTY_STRING_CODE) {
            *buf = &buf[1..];
            return Ok(Self::None);
        }
        let aux = AuxPow::decode(buf)?;
        if aux.coinbase.len() > MAX_COINBASE_LEN {
            return Err(alloy_rlp::Error::Custom("AuxPoW: coinbase longer than 65536 bytes"));
        }
        if aux.coinbase_branch.len() > MAX_BRANCH || aux.chain_branch.len() > MAX_BRANCH {
            return Err(alloy_rlp::Error::Custom("AuxPoW: Merkle branch longer than 30"));
        }
        Ok(Self::AuxPow(Box::new(aux)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn seals_round_trip(
            coinbase in proptest::collection::vec(any::<u8>(), 0..300),
            a in proptest::collection::vec(any::<[u8; 32]>(), 0..=MAX_BRANCH),
            b in proptest::collection::vec(any::<[u8; 32]>(), 0..=MAX_BRANCH),
            chain_index: u32,
            head in proptest::collection::vec(any::<u8>(), 80),
        ) {
            let seal = Seal::AuxPow(Box::new(AuxPow {
                coinbase: coinbase.into(),
                coinbase_branch: a.into_iter().map(B256::from).collect(),
                chain_branch: b.into_iter().map(B256::from).collect(),
                chain_index,
                parent_header: FixedBytes::from_slice(&head),
            }));
            let bytes = alloy_rlp::encode(&seal);
            prop_assert_eq!(bytes.len(), seal.length());
            prop_assert_eq!(alloy_rlp::decode_exact::<Seal>(&bytes), Ok(seal));
        }

        #[test]
        fn decoding_rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = alloy_rlp::decode_exact::<Seal>(&bytes);
        }
    }

    #[test]
    fn no_seal_is_one_byte() {
        assert_eq!(alloy_rlp::encode(Seal::None), [0x80]);
        assert_eq!(alloy_rlp::decode_exact::<Seal>([0x80]), Ok(Seal::None));
    }
}

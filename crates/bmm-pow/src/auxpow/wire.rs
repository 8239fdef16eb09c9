//! A merged-mining proof in the bytes that Bitcoin-style software writes and reads: Namecoin's `CAuxPow`.
//!
//! Coinbase transaction, hash of the parent block (nobody checks it, Dogecoin writes zeros), Merkle branch and index of the coinbase, Merkle
//! branch and index of the chain, header of the parent. Numbers are little-endian; counts are Bitcoin's variable-length integers.

use alloy_primitives::{B256, FixedBytes};
use bmm_types::{
    AuxPow,
    seal::{MAX_BRANCH, MAX_COINBASE_LEN, PARENT_HEADER_LEN},
};

/// Longest proof that is read, in bytes: the coinbase, which may come with a witness, two branches, the header.
pub const MAX_WIRE_LEN: usize = 2 * MAX_COINBASE_LEN;

/// Why bytes are no merged-mining proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than any proof has.
    #[error("the proof has {0} bytes; at most {MAX_WIRE_LEN} are read")]
    TooLong(usize),
    /// The bytes end too early, or a count in them is too large.
    #[error("the proof ends within, or has a wrong length in, its {0}")]
    Broken(&'static str),
    /// Bytes after the end.
    #[error("{0} bytes follow the end of the proof")]
    Trailing(usize),
    /// The coinbase is said not to be the first transaction.
    #[error("the coinbase is said to have index {0} in the parent block; it must be 0")]
    NotFirst(u32),
}

/// Writes a proof.
pub fn encode(aux: &AuxPow) -> Vec<u8> {
    let mut out = aux.coinbase.to_vec();
    out.extend_from_slice(&[0; 32]);
    put_branch(&mut out, &aux.coinbase_branch, 0);
    put_branch(&mut out, &aux.chain_branch, aux.chain_index);
    out.extend_from_slice(aux.parent_header.as_slice());
    out
}

/// Appends Bitcoin's variable-length integer.
pub fn put_compact(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0xfc => out.push(number.to_le_bytes()[0]),
        0xfd..=0xffff => {
            out.push(0xfd);
            out.extend_from_slice(&number.to_le_bytes()[..2]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xfe);
            out.extend_from_slice(&number.to_le_bytes()[..4]);
        }
        _ => {
            out.push(0xff);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

fn put_branch(out: &mut Vec<u8>, branch: &[B256], index: u32) {
    put_compact(out, u64::try_from(branch.len()).unwrap_or(u64::MAX));
    for hash in branch {
        out.extend_from_slice(hash.as_slice());
    }
    out.extend_from_slice(&index.to_le_bytes());
}

/// Reads a proof. A coinbase that comes with its witness is taken without, as its hash is.
pub fn decode(bytes: &[u8]) -> Result<AuxPow, WireError> {
    if bytes.len() > MAX_WIRE_LEN {
        return Err(WireError::TooLong(bytes.len()));
    }
    let mut reader = Reader(bytes);
    let coinbase = transaction(&mut reader).ok_or(WireError::Broken("coinbase transaction"))?;
    reader.take(32).ok_or(WireError::Broken("hash of the parent block"))?;
    let (coinbase_branch, index) = branch(&mut reader).ok_or(WireError::Broken("Merkle branch of the coinbase"))?;
    let (chain_branch, chain_index) = branch(&mut reader).ok_or(WireError::Broken("Merkle branch of the chain"))?;
    let header = reader.take(PARENT_HEADER_LEN).ok_or(WireError::Broken("parent header"))?;
    if !reader.0.is_empty() {
        return Err(WireError::Trailing(reader.0.len()));
    }
    if index != 0 {
        return Err(WireError::NotFirst(index));
    }
    let parent_header = FixedBytes::from_slice(header);
    Ok(AuxPow { coinbase: coinbase.into(), coinbase_branch, chain_branch, chain_index, parent_header })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// A count of things that are there still: each takes a byte at least.
    fn count(&mut self) -> Option<usize> {
        let tag = *self.take(1)?.first()?;
        let len = match tag {
            0xfd => 2,
            0xfe => 4,
            0xff => 8,
            small => return Some(small.into()),
        };
        let mut le = [0; 8];
        le[..len].copy_from_slice(self.take(len)?);
        usize::try_from(u64::from_le_bytes(le)).ok().filter(|count| *count <= self.0.len())
    }

    /// A length and so many bytes.
    fn skip_bytes(&mut self) -> Option<()> {
        let len = self.count()?;
        self.take(len).map(|_| ())
    }
}

fn branch(reader: &mut Reader<'_>) -> Option<(Vec<B256>, u32)> {
    let count = reader.count().filter(|count| *count <= MAX_BRANCH)?;
    let hashes = (0..count).map(|_| reader.take(32).map(B256::from_slice)).collect::<Option<_>>()?;
    Some((hashes, reader.u32()?))
}

/// Reads a transaction and returns it without its witness.
fn transaction(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let version = reader.take(4)?;
    // A transaction without inputs cannot be; the zero marks that witnesses follow.
    let has_witness = reader.0.starts_with(&[0, 1]);
    if has_witness {
        reader.take(2)?;
    }
    let begin = reader.0;
    let inputs = reader.count()?;
    for _ in 0..inputs {
        reader.take(36)?;
        reader.skip_bytes()?;
        reader.take(4)?;
    }
    for _ in 0..reader.count()? {
        reader.take(8)?;
        reader.skip_bytes()?;
    }
    let body = begin.get(..begin.len().checked_sub(reader.0.len())?)?;
    if has_witness {
        for _ in 0..inputs {
            for _ in 0..reader.count()? {
                reader.skip_bytes()?;
            }
        }
    }
    let lock_time = reader.take(4)?;
    Some([version, body, lock_time].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SyntheticParent;
    use proptest::prelude::*;

    fn proof() -> AuxPow {
        let mut aux = SyntheticParent::new(B256::repeat_byte(7), 9, 1_900_000_000).assemble(77);
        aux.coinbase_branch = vec![B256::repeat_byte(1), B256::repeat_byte(2)];
        aux.chain_branch = vec![B256::repeat_byte(3)];
        aux.chain_index = 1;
        aux
    }

    #[test]
    fn proofs_come_back_and_every_cut_is_told() {
        let bytes = encode(&proof());
        assert_eq!(decode(&bytes), Ok(proof()));
        for end in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..end]), Err(WireError::Broken(_))), "{end}");
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(WireError::Trailing(1)));
        assert_eq!(decode(&vec![0; 200_000]), Err(WireError::TooLong(200_000)));
    }

    #[test]
    fn a_witness_is_left_out() {
        let aux = proof();
        let coinbase = aux.coinbase.as_ref();
        let (front, lock_time) = coinbase.split_at(coinbase.len().saturating_sub(4));
        let reserved = [&[1, 32][..], &[0; 32]].concat();
        let with_witness = [&front[..4], &[0, 1], &front[4..], &reserved, lock_time].concat();
        let bytes = encode(&AuxPow { coinbase: with_witness.into(), ..proof() });
        assert_eq!(decode(&bytes), Ok(aux));
    }

    #[test]
    fn a_coinbase_that_is_not_first_and_branches_without_end_are_refused() {
        let aux = proof();
        let mut bytes = encode(&aux);
        let at = aux.coinbase.len().saturating_add(32);
        bytes[at] = 31;
        assert_eq!(decode(&bytes), Err(WireError::Broken("Merkle branch of the coinbase")));
        let mut bytes = encode(&aux);
        bytes[at.saturating_add(65)] = 4;
        assert_eq!(decode(&bytes), Err(WireError::NotFirst(4)));
    }

    #[test]
    fn counts_have_one_length_for_each_size() {
        let written = |number| {
            let mut out = Vec::new();
            put_compact(&mut out, number);
            out
        };
        assert_eq!(written(0xfc), [0xfc]);
        assert_eq!(written(0xfd), [0xfd, 0xfd, 0]);
        assert_eq!(written(0xffff), [0xfd, 0xff, 0xff]);
        assert_eq!(written(0x1_0000), [0xfe, 0, 0, 1, 0]);
        assert_eq!(written(1 << 32), [0xff, 0, 0, 0, 0, 1, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(aux) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&aux)), Ok(aux));
            }
        }
    }
}

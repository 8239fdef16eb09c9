//! The tables: what lies under which key, and how values are written.

use super::{Head, Receipt, StoreError, TransactionPlace};
use crate::diff::Account;
use crate::trie::Nibbles;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, utils::keccak256_cached};
use alloy_rlp::{Decodable, RlpEncodable};
use alloy_trie::EMPTY_ROOT_HASH;
use redb::TableDefinition;

/// A table of bytes. Its number stands in the journal and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub number: u8,
    pub name: &'static str,
}

impl Table {
    const fn new(number: u8, name: &'static str) -> Self {
        Self { number, name }
    }

    /// The table as the database knows it.
    pub const fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name)
    }

    /// Its place in [`ALL`].
    pub fn index(self) -> usize {
        usize::from(self.number)
    }
}

/// keccak(address) → [`Record`].
pub(super) const ACCOUNTS: Table = Table::new(0, "accounts");
/// keccak(address) ‖ keccak(slot) → value, big-endian without leading zeros.
pub(super) const STORAGE: Table = Table::new(1, "storage");
/// keccak(code) → code.
pub(super) const CODE: Table = Table::new(2, "code");
/// Path, a byte for each nibble → record of a node of the account trie.
pub(super) const ACCOUNT_TRIE: Table = Table::new(3, "account_trie");
/// keccak(address) ‖ path → record of a node of the account's storage trie.
pub(super) const STORAGE_TRIE: Table = Table::new(4, "storage_trie");
/// Block id → header (RLP).
pub(super) const HEADERS: Table = Table::new(5, "headers");
/// Block id → body (RLP).
pub(super) const BODIES: Table = Table::new(6, "bodies");
/// Block id → seal (RLP).
pub(super) const SEALS: Table = Table::new(7, "seals");
/// Block id → total work, 32 bytes big-endian.
pub(super) const WORK: Table = Table::new(8, "work");
/// Block number, 8 bytes big-endian ‖ block id → nothing: all blocks, side branches too.
pub(super) const NUMBERS: Table = Table::new(9, "numbers");
/// Block number → id of the canonical block.
pub(super) const CANONICAL: Table = Table::new(10, "canonical");
/// Number of a canonical block → receipts (RLP).
pub(super) const RECEIPTS: Table = Table::new(11, "receipts");
/// Number of a canonical block → its state diff.
pub(super) const DIFFS: Table = Table::new(12, "diffs");
/// Transaction hash → block id ‖ index, 4 bytes big-endian.
pub(super) const TRANSACTIONS: Table = Table::new(13, "transactions");
/// Name → the store's own small values.
pub(super) const META: Table = Table::new(14, "meta");
/// Name → small values of other rooms.
pub(super) const NOTES: Table = Table::new(15, "notes");

/// keccak(address) ‖ block number → the account's record before that block, or nothing (archive only).
pub(super) const ACCOUNT_HISTORY: Table = Table::new(16, "account_history");
/// keccak(address) ‖ keccak(slot) ‖ block number → the slot's value before that block, or nothing (archive only).
pub(super) const STORAGE_HISTORY: Table = Table::new(17, "storage_history");

/// Number of tables.
pub(super) const COUNT: usize = 18;

/// All tables by number; they are created together with the file.
pub(super) const ALL: [Table; COUNT] = [
    ACCOUNTS,
    STORAGE,
    CODE,
    ACCOUNT_TRIE,
    STORAGE_TRIE,
    HEADERS,
    BODIES,
    SEALS,
    WORK,
    NUMBERS,
    CANONICAL,
    RECEIPTS,
    DIFFS,
    TRANSACTIONS,
    META,
    NOTES,
    ACCOUNT_HISTORY,
    STORAGE_HISTORY,
];

/// In [`META`]: [`Head`], as number ‖ id.
pub(super) const META_HEAD: &[u8] = b"head";
/// In [`META`]: number of the first block whose history is in the archive's tables, 8 bytes big-endian.
pub(super) const META_ARCHIVE: &[u8] = b"archive";
/// In [`META`]: number of the first block that is not pruned, 8 bytes big-endian.
pub(super) const META_PRUNED: &[u8] = b"pruned";
/// In [`META`]: number of the first block whose body is stored, 8 bytes big-endian; those below came as headers only.
pub(super) const META_BODIES: &[u8] = b"bodies";
/// In [`META`]: digest of the chain's parameters.
pub(super) const META_PARAMS: &[u8] = b"params";
/// In [`META`]: number of the first journal segment that is not in the tables, 8 bytes big-endian.
pub(super) const META_JOURNAL: &[u8] = b"journal";
/// In [`META`]: version of the layout, 8 bytes big-endian.
pub(super) const META_SCHEMA: &[u8] = b"schema";

/// Decodes RLP from a table.
pub(super) fn decode<T: Decodable>(table: &'static str, key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    alloy_rlp::decode_exact(bytes).map_err(|error| StoreError::corrupt(table, key, error))
}

/// Decodes bytes of a fixed width from a table.
pub(super) fn fixed<const N: usize>(table: &'static str, key: &[u8], bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::corrupt(table, key, format!("{} bytes, not {N}", bytes.len())))
}

/// An account as it lies in [`ACCOUNTS`], with its storage root, so that the leaf of the trie follows from it. The hashes that
/// most accounts have are written as nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub account: Account,
    pub storage_root: B256,
}

#[derive(RlpEncodable)]
struct Slim<'a> {
    nonce: u64,
    balance: U256,
    code_hash: &'a [u8],
    storage_root: &'a [u8],
}

impl Record {
    pub fn to_bytes(self) -> Vec<u8> {
        fn short<'a>(hash: &'a B256, usual: &B256) -> &'a [u8] {
            if hash == usual { &[] } else { hash.as_slice() }
        }
        alloy_rlp::encode(Slim {
            nonce: self.account.nonce,
            balance: self.account.balance,
            code_hash: short(&self.account.code_hash, &KECCAK256_EMPTY),
            storage_root: short(&self.storage_root, &EMPTY_ROOT_HASH),
        })
    }

    pub fn from_bytes(key: &[u8], bytes: &[u8]) -> Result<Self, StoreError> {
        let long = |hash: &[u8], usual: B256| match hash {
            [] => Ok(usual),
            hash => B256::try_from(hash).map_err(|_| StoreError::corrupt("accounts", key, "hash of a wrong length")),
        };
        let wrong = |error| StoreError::corrupt("accounts", key, error);
        let mut rest = bytes;
        let mut payload = alloy_rlp::Header::decode_bytes(&mut rest, true).map_err(wrong)?;
        let nonce = u64::decode(&mut payload).map_err(wrong)?;
        let balance = U256::decode(&mut payload).map_err(wrong)?;
        let code_hash = long(alloy_rlp::Header::decode_bytes(&mut payload, false).map_err(wrong)?, KECCAK256_EMPTY)?;
        let storage_root = long(alloy_rlp::Header::decode_bytes(&mut payload, false).map_err(wrong)?, EMPTY_ROOT_HASH)?;
        if !payload.is_empty() || !rest.is_empty() {
            return Err(wrong(alloy_rlp::Error::UnexpectedLength));
        }
        Ok(Self { account: Account { nonce, balance, code_hash }, storage_root })
    }
}

/// A storage value as it lies in [`STORAGE`].
pub(super) fn word_to_bytes(value: U256) -> Vec<u8> {
    value.to_be_bytes_trimmed_vec()
}

/// Reads what [`word_to_bytes`] wrote.
pub(super) fn word_from_bytes(key: &[u8], bytes: &[u8]) -> Result<U256, StoreError> {
    match bytes {
        [] | [0, ..] => Err(StoreError::corrupt("storage", key, "zero or leading zeros")),
        _ => U256::try_from_be_slice(bytes).ok_or_else(|| StoreError::corrupt("storage", key, "longer than 32 bytes")),
    }
}

/// Key of an account's or a slot's history: the hashed key and the number of the block that changed it.
pub(super) fn history_key(key: &[u8], number: u64) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

/// keccak(address) ‖ keccak(slot).
pub(super) fn slot_key(owner: &B256, slot: &B256) -> [u8; 64] {
    let mut key = [0; 64];
    let (left, right) = key.split_at_mut(32);
    left.copy_from_slice(owner.as_slice());
    right.copy_from_slice(slot.as_slice());
    key
}

/// keccak(address). Execution asks for it, then staging, then the next block: the last 131,072 short hashes of the process are kept
/// (16 MiB).
pub(super) fn hash_address(address: Address) -> B256 {
    keccak256_cached(address)
}

/// keccak(slot), kept likewise.
pub(super) fn hash_slot(slot: U256) -> B256 {
    keccak256_cached(slot.to_be_bytes::<32>())
}

/// Key of a record in [`ACCOUNT_TRIE`] or, with an owner, [`STORAGE_TRIE`].
pub(super) fn path_key(owner: Option<&B256>, path: &Nibbles) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    if let Some(owner) = owner {
        key.extend_from_slice(owner.as_slice());
    }
    key.extend(path.iter());
    key
}

pub(super) fn number_key(number: u64, id: B256) -> [u8; 40] {
    let mut key = [0; 40];
    let (left, right) = key.split_at_mut(8);
    left.copy_from_slice(&number.to_be_bytes());
    right.copy_from_slice(id.as_slice());
    key
}

impl Head {
    pub(super) fn to_bytes(self) -> [u8; 40] {
        number_key(self.number, self.id)
    }

    pub(super) fn from_bytes(table: &'static str, key: &[u8], bytes: &[u8]) -> Result<Self, StoreError> {
        let bytes: [u8; 40] = fixed(table, key, bytes)?;
        let (number, id) = bytes.split_at(8);
        Ok(Self { number: u64::from_be_bytes(fixed(table, key, number)?), id: B256::from_slice(id) })
    }
}

impl TransactionPlace {
    pub(super) fn to_bytes(self) -> [u8; 36] {
        let mut bytes = [0; 36];
        let (left, right) = bytes.split_at_mut(32);
        left.copy_from_slice(self.block.as_slice());
        right.copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(key: &[u8], bytes: &[u8]) -> Result<Self, StoreError> {
        let bytes: [u8; 36] = fixed("transactions", key, bytes)?;
        let (block, index) = bytes.split_at(32);
        let index = u32::from_be_bytes(fixed("transactions", key, index)?);
        Ok(Self { block: B256::from_slice(block), index })
    }
}

type BareReceipt = alloy_consensus::EthereumReceipt;

/// Receipts as they lie in [`RECEIPTS`]: without blooms.
pub(super) fn receipts_to_bytes(receipts: &[Receipt]) -> Vec<u8> {
    let bare: Vec<BareReceipt> = receipts.iter().cloned().map(Into::into).collect();
    alloy_rlp::encode(bare)
}

pub(super) fn receipts_from_bytes(key: &[u8], bytes: &[u8]) -> Result<Vec<Receipt>, StoreError> {
    let bare: Vec<BareReceipt> = decode("receipts", key, bytes)?;
    Ok(bare.into_iter().map(Into::into).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::Receipt as Fields;
    use alloy_primitives::Log;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn account_records_round_trip(nonce: u64, balance: [u8; 32], code: Option<[u8; 32]>, root: Option<[u8; 32]>) {
            let record = Record {
                account: Account {
                    nonce,
                    balance: U256::from_be_bytes(balance),
                    code_hash: code.map_or(KECCAK256_EMPTY, B256::from),
                },
                storage_root: root.map_or(EMPTY_ROOT_HASH, B256::from),
            };
            prop_assert_eq!(Record::from_bytes(&[], &record.to_bytes())?, record);
        }

        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Record::from_bytes(&[], &bytes);
            let _ = word_from_bytes(&[], &bytes);
            let _ = receipts_from_bytes(&[], &bytes);
            let _ = Head::from_bytes("meta", &[], &bytes);
            let _ = TransactionPlace::from_bytes(&[], &bytes);
        }

        #[test]
        fn words_round_trip(word: [u8; 32]) {
            let word = U256::from_be_bytes(word);
            prop_assume!(!word.is_zero());
            prop_assert_eq!(word_from_bytes(&[], &word_to_bytes(word))?, word);
        }
    }

    #[test]
    fn receipts_round_trip_with_their_blooms() {
        let log = Log::new_unchecked(Address::repeat_byte(3), vec![B256::repeat_byte(4)], vec![5; 9].into());
        let fields = Fields { status: true.into(), cumulative_gas_used: 21_000, logs: vec![log] };
        let receipts = vec![
            Receipt::Legacy(fields.clone().with_bloom()),
            Receipt::Eip1559(fields.clone().with_bloom()),
            Receipt::Eip7702(Fields { status: false.into(), ..fields }.with_bloom()),
        ];
        assert_eq!(receipts_from_bytes(&[], &receipts_to_bytes(&receipts)).expect("what was written"), receipts);
    }

    #[test]
    fn damage_is_named_by_table_and_key() {
        let error = Record::from_bytes(&[0xab], &[0xc1]).expect_err("the list is cut").to_string();
        assert!(error.contains("table accounts, key 0xab"), "{error}");
    }
}

//! What a block changed in the state, with the values before and after, so that every change has an inverse.
//!
//! Execution produces a [`StateDiff`]; the store applies it, keeps it beside the block, and applies its inverse when a
//! reorganisation takes the block away or when somebody asks for the state as it was.

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use alloy_rlp::{BufMut, Decodable, EMPTY_STRING_CODE, Encodable, Header, RlpDecodable, RlpEncodable};
use std::collections::BTreeMap;

/// Longest encoded diff that is written or read, in bytes. A block of 60M gas changes some 3 MB at most; a genesis of a
/// million accounts some 80 MB.
pub const MAX_DIFF_BYTES: usize = 512 << 20;

/// An account without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct Account {
    /// Transactions sent, or contracts created by a contract.
    pub nonce: u64,
    /// Balance in units (10^-18 BMM).
    pub balance: U256,
    /// keccak of the code; keccak of nothing for an account without code.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

impl Account {
    /// Returns whether nothing tells the account from one that does not exist (EIP-161).
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code_hash == KECCAK256_EMPTY
    }
}

/// What happened to one account and its storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDiff {
    /// The account at the parent block; `None` if it did not exist.
    pub before: Option<Account>,
    /// The account after the block; `None` if it does not exist any more.
    pub after: Option<Account>,
    /// Changed slots: value before, value after. Zero is a slot that does not exist.
    pub storage: BTreeMap<U256, (U256, U256)>,
    /// Changed slots of which only keccak(slot) is known: those that went with a removed account without being named in
    /// `storage`. The store fills this in; execution leaves it empty.
    pub unnamed: BTreeMap<B256, (U256, U256)>,
}

/// Everything that a block changed.
///
/// An account is listed when it or its storage changed; one whose `before` and `after` are equal and that lists no slots
/// is harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDiff {
    /// Changed accounts.
    pub accounts: BTreeMap<Address, AccountDiff>,
    /// Code that accounts in this diff refer to and that the parent state may lack, by its hash.
    pub code: BTreeMap<B256, Bytes>,
}

impl StateDiff {
    /// Returns whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.code.is_empty()
    }

    /// Returns the diff that undoes this one. Code stays listed: it is kept by content, and nobody minds a spare copy.
    #[must_use]
    pub fn inverse(mut self) -> Self {
        for account in self.accounts.values_mut() {
            std::mem::swap(&mut account.before, &mut account.after);
            for (before, after) in account.storage.values_mut().chain(account.unnamed.values_mut()) {
                std::mem::swap(before, after);
            }
        }
        self
    }

    /// Returns the diff's encoding, RLP with entries in ascending order.
    pub fn to_bytes(&self) -> Vec<u8> {
        alloy_rlp::encode(self)
    }

    /// Decodes what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are longer than [`MAX_DIFF_BYTES`], are not that RLP, leave a rest, or list entries out of order.
    pub fn from_bytes(bytes: &[u8]) -> alloy_rlp::Result<Self> {
        if bytes.len() > MAX_DIFF_BYTES {
            return Err(alloy_rlp::Error::Custom("state diff: longer than 512 MiB"));
        }
        alloy_rlp::decode_exact(bytes)
    }
}

#[derive(RlpEncodable, RlpDecodable)]
struct Change<K> {
    key: K,
    before: U256,
    after: U256,
}

#[derive(RlpEncodable, RlpDecodable)]
struct AccountEntry {
    address: Address,
    before: MaybeAccount,
    after: MaybeAccount,
    storage: Vec<Change<U256>>,
    unnamed: Vec<Change<B256>>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct CodeEntry {
    hash: B256,
    code: Bytes,
}

#[derive(RlpEncodable, RlpDecodable)]
struct DiffEntries {
    accounts: Vec<AccountEntry>,
    code: Vec<CodeEntry>,
}

/// An account as a list, or the empty string for none.
struct MaybeAccount(Option<Account>);

impl Encodable for MaybeAccount {
    fn encode(&self, out: &mut dyn BufMut) {
        match &self.0 {
            Some(account) => account.encode(out),
            None => out.put_u8(EMPTY_STRING_CODE),
        }
    }

    fn length(&self) -> usize {
        self.0.as_ref().map_or(1, Encodable::length)
    }
}

impl Decodable for MaybeAccount {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        if buf.first() == Some(&EMPTY_STRING_CODE) {
            *buf = &buf[1..];
            return Ok(Self(None));
        }
        Account::decode(buf).map(|account| Self(Some(account)))
    }
}

fn changes<K: Copy>(map: &BTreeMap<K, (U256, U256)>) -> Vec<Change<K>> {
    map.iter().map(|(&key, &(before, after))| Change { key, before, after }).collect()
}

/// Collects entries into a map and refuses those that do not ascend, so that a diff has one encoding only.
fn ascending<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> alloy_rlp::Result<BTreeMap<K, V>> {
    let mut map = BTreeMap::new();
    for (key, value) in entries {
        if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(alloy_rlp::Error::Custom("state diff: entries out of order"));
        }
        map.insert(key, value);
    }
    Ok(map)
}

impl From<&StateDiff> for DiffEntries {
    fn from(diff: &StateDiff) -> Self {
        let accounts = diff.accounts.iter().map(|(&address, account)| AccountEntry {
            address,
            before: MaybeAccount(account.before),
            after: MaybeAccount(account.after),
            storage: changes(&account.storage),
            unnamed: changes(&account.unnamed),
        });
        let code = diff.code.iter().map(|(&hash, code)| CodeEntry { hash, code: code.clone() });
        Self { accounts: accounts.collect(), code: code.collect() }
    }
}

impl Encodable for StateDiff {
    fn encode(&self, out: &mut dyn BufMut) {
        DiffEntries::from(self).encode(out);
    }
}

impl Decodable for StateDiff {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        // Peeking keeps the allocation of the entries within what the input really holds.
        if Header::decode(&mut &**buf)?.payload_length > MAX_DIFF_BYTES {
            return Err(alloy_rlp::Error::Custom("state diff: longer than 512 MiB"));
        }
        let entries = DiffEntries::decode(buf)?;
        let mut accounts = Vec::with_capacity(entries.accounts.len());
        for entry in entries.accounts {
            let account = AccountDiff {
                before: entry.before.0,
                after: entry.after.0,
                storage: ascending(entry.storage.into_iter().map(|c| (c.key, (c.before, c.after))))?,
                unnamed: ascending(entry.unnamed.into_iter().map(|c| (c.key, (c.before, c.after))))?,
            };
            accounts.push((entry.address, account));
        }
        let code = entries.code.into_iter().map(|entry| (entry.hash, entry.code));
        Ok(Self { accounts: ascending(accounts)?, code: ascending(code)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection, prelude::*};

    fn word() -> impl Strategy<Value = U256> {
        prop_oneof![any::<u8>().prop_map(U256::from), any::<[u8; 32]>().prop_map(U256::from_be_bytes)]
    }

    fn account() -> impl Strategy<Value = Account> {
        (any::<u64>(), word(), any::<[u8; 32]>()).prop_map(|(nonce, balance, hash)| Account {
            nonce,
            balance,
            code_hash: hash.into(),
        })
    }

    fn account_diff() -> impl Strategy<Value = AccountDiff> {
        let named = collection::btree_map(word(), (word(), word()), 0..5);
        let unnamed = collection::btree_map(any::<[u8; 32]>().prop_map(B256::from), (word(), word()), 0..3);
        (proptest::option::of(account()), proptest::option::of(account()), named, unnamed)
            .prop_map(|(before, after, storage, unnamed)| AccountDiff { before, after, storage, unnamed })
    }

    fn diff() -> impl Strategy<Value = StateDiff> {
        let accounts = collection::btree_map(any::<[u8; 20]>().prop_map(Address::from), account_diff(), 0..6);
        let bytes = collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from);
        let code = collection::btree_map(any::<[u8; 32]>().prop_map(B256::from), bytes, 0..3);
        (accounts, code).prop_map(|(accounts, code)| StateDiff { accounts, code })
    }

    proptest! {
        #[test]
        fn encoding_round_trips(diff in diff()) {
            prop_assert_eq!(StateDiff::from_bytes(&diff.to_bytes()), Ok(diff));
        }

        #[test]
        fn inverse_twice_is_the_same(diff in diff()) {
            prop_assert_eq!(diff.clone().inverse().inverse(), diff);
        }

        #[test]
        fn decoding_rubbish_never_panics(bytes in collection::vec(any::<u8>(), 0..400)) {
            let _ = StateDiff::from_bytes(&bytes);
        }

        #[test]
        fn a_cut_encoding_is_refused(diff in diff(), cut in 1usize..40) {
            let bytes = diff.to_bytes();
            let keep = bytes.len().saturating_sub(cut);
            prop_assert!(StateDiff::from_bytes(&bytes[..keep]).is_err());
        }
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let entry = |byte| CodeEntry { hash: B256::repeat_byte(byte), code: Bytes::new() };
        let bytes = alloy_rlp::encode(DiffEntries { accounts: vec![], code: vec![entry(2), entry(1)] });
        assert_eq!(StateDiff::from_bytes(&bytes), Err(alloy_rlp::Error::Custom("state diff: entries out of order")));
    }

    #[test]
    fn an_account_is_empty_as_eip_161_says() {
        assert!(Account::default().is_empty());
        assert!(!Account { nonce: 1, ..Account::default() }.is_empty());
        assert!(!Account { code_hash: B256::ZERO, ..Account::default() }.is_empty());
    }
}

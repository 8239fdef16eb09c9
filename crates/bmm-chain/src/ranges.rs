//! What another node is given of the state, so that it can begin without executing the past: accounts and slots in ranges with
//! proofs, nodes of the tries, codes. Every answer is bounded, whatever is asked for.

use crate::{chain::Chain, error::ChainError};
use alloy_primitives::{B256, Bytes, KECCAK256_EMPTY, U256};
use alloy_rlp::{Decodable, Header, RlpDecodable, RlpEncodable};
use bmm_ledger::{
    store::{StateRanges, StoreError},
    trie::{EMPTY_ROOT_HASH, Leaf, MAX_RANGE_PROOF_NODES, Nibbles, RangeProof, TrieAccount},
};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Bytes of leaves that one answer holds, about; at least one leaf comes.
pub const MAX_RANGE_BYTES: u64 = 1 << 20;

/// Accounts whose slots are asked for at once.
pub const OWNERS_AT_ONCE: usize = 256;

/// Codes that are asked for at once.
pub const CODES_AT_ONCE: usize = 64;

/// Nodes that are asked for at once.
pub const NODES_AT_ONCE: usize = 512;

/// States that are kept ready for the next question.
const KEPT: usize = 2;

/// How long: the database keeps every page that they read, and grows meanwhile.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// An account of a range. What most accounts have is left out.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[rlp(trailing)]
pub struct RangeAccount {
    /// keccak(address).
    pub key: B256,
    /// Nonce.
    pub nonce: u64,
    /// Balance, in units.
    pub balance: U256,
    /// Root of its storage trie; `None`: it has no storage.
    pub storage_root: Option<B256>,
    /// Hash of its code; `None`: it has no code.
    pub code_hash: Option<B256>,
}

/// Consecutive accounts and the nodes that show that they are all there are between the key asked for and the last of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, RlpEncodable)]
pub struct AccountRange {
    /// Accounts, ascending by key.
    pub accounts: Vec<RangeAccount>,
    /// RLP of nodes of the account trie; none if these are all accounts.
    pub nodes: Vec<Bytes>,
}

/// A slot of a range.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub struct RangeSlot {
    /// keccak(slot).
    pub key: B256,
    /// Its value.
    pub value: U256,
}

/// Consecutive slots of one account, likewise.
#[derive(Clone, Debug, Default, PartialEq, Eq, RlpEncodable)]
pub struct SlotRange {
    /// Slots, ascending by key.
    pub slots: Vec<RangeSlot>,
    /// RLP of nodes of the account's storage trie; none if these are all its slots.
    pub nodes: Vec<Bytes>,
}

impl Decodable for AccountRange {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let (accounts, nodes) = range(buf)?;
        Ok(Self { accounts, nodes })
    }
}

impl Decodable for SlotRange {
    fn decode(buf: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let (slots, nodes) = range(buf)?;
        Ok(Self { slots, nodes })
    }
}

/// Reads leaves and nodes. A node can be one byte here and thirty in memory, so there may be no more of them than a proof has.
fn range<T: Decodable>(buf: &mut &[u8]) -> alloy_rlp::Result<(Vec<T>, Vec<Bytes>)> {
    let mut payload = Header::decode_bytes(buf, true)?;
    let leaves = Vec::decode(&mut payload)?;
    let mut list = Header::decode_bytes(&mut payload, true)?;
    let mut nodes = Vec::new();
    while !list.is_empty() {
        if nodes.len() >= MAX_RANGE_PROOF_NODES {
            return Err(alloy_rlp::Error::Custom("a proof has too many nodes"));
        }
        nodes.push(Bytes::decode(&mut list)?);
    }
    if payload.is_empty() { Ok((leaves, nodes)) } else { Err(alloy_rlp::Error::UnexpectedLength) }
}

impl RangeAccount {
    /// Returns the account as its leaf holds it.
    pub fn account(&self) -> TrieAccount {
        TrieAccount::new(
            self.nonce,
            self.balance,
            self.storage_root.unwrap_or(EMPTY_ROOT_HASH),
            self.code_hash.unwrap_or(KECCAK256_EMPTY),
        )
    }

    /// Returns the leaf of the account trie.
    pub fn leaf(&self) -> Leaf {
        Leaf { key: self.key, value: alloy_rlp::encode(self.account()) }
    }

    fn of(leaf: &Leaf) -> Result<Self, StoreError> {
        let TrieAccount { nonce, balance, storage_root, code_hash } = decode(leaf)?;
        Ok(Self {
            key: leaf.key,
            nonce,
            balance,
            storage_root: Some(storage_root).filter(|root| *root != EMPTY_ROOT_HASH),
            code_hash: Some(code_hash).filter(|hash| *hash != KECCAK256_EMPTY),
        })
    }
}

impl RangeSlot {
    /// Returns the leaf of the storage trie. A value of zero has none and gives one that no trie holds.
    pub fn leaf(&self) -> Leaf {
        let value = if self.value.is_zero() { Vec::new() } else { alloy_rlp::encode(self.value) };
        Leaf { key: self.key, value }
    }
}

fn decode<T: Decodable>(leaf: &Leaf) -> Result<T, StoreError> {
    alloy_rlp::decode_exact(&leaf.value).map_err(|error| StoreError::Corrupt {
        table: "trie",
        key: format!("{:x}", leaf.key),
        what: error.to_string(),
    })
}

/// States that were asked for a moment ago: to work out one takes longer than to answer from it.
#[derive(Default)]
pub(crate) struct KeptRanges(Mutex<Vec<(Instant, Arc<StateRanges>)>>);

impl KeptRanges {
    /// Lets old ones go. Called with every new head: as long as there is none, nothing grows.
    pub fn expire(&self) {
        // Who is working one out holds the lock for a while, and will expire them.
        if let Some(mut kept) = self.0.try_lock() {
            kept.retain(|(made, _)| made.elapsed() < KEPT_FOR);
        }
    }
}

impl Chain {
    /// Returns the state after a block for ranges; `None` if it is not canonical or too far below the head.
    fn ranges(&self, block: B256) -> Result<Option<Arc<StateRanges>>, ChainError> {
        let mut kept = self.kept_ranges.0.lock();
        kept.retain(|(made, _)| made.elapsed() < KEPT_FOR);
        if let Some((_, ranges)) = kept.iter().find(|(_, ranges)| ranges.block().id == block) {
            return Ok(Some(ranges.clone()));
        }
        let ranges = match self.store.ranges_at(block) {
            Ok(ranges) => Arc::new(ranges),
            Err(StoreError::NotCanonical(_) | StoreError::TooDeep { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((Instant::now(), ranges.clone()));
        Ok(Some(ranges))
    }

    /// Returns accounts of the state after a canonical block, from a hashed address on, up to `max_bytes` (at most
    /// [`MAX_RANGE_BYTES`]) of them. `None` if that state is not at hand (any more).
    pub fn account_range(&self, block: B256, from: B256, max_bytes: u64) -> Result<Option<AccountRange>, ChainError> {
        let Some(ranges) = self.ranges(block)? else { return Ok(None) };
        let RangeProof { leaves, nodes } = ranges.accounts(from, bounded(max_bytes))?;
        let accounts = leaves.iter().map(RangeAccount::of).collect::<Result<_, _>>()?;
        Ok(Some(AccountRange { accounts, nodes }))
    }

    /// Returns the slots of accounts, likewise: of the first from a hashed slot on, of the others from the beginning. All but the
    /// last are to the end. It ends early at an account that does not exist.
    pub fn slot_ranges(
        &self,
        block: B256,
        owners: &[B256],
        from: B256,
        max_bytes: u64,
    ) -> Result<Option<Vec<SlotRange>>, ChainError> {
        let Some(ranges) = self.ranges(block)? else { return Ok(None) };
        let (mut left, mut from) = (bounded(max_bytes), from);
        let mut found = Vec::new();
        for owner in owners.iter().take(OWNERS_AT_ONCE) {
            let Some(RangeProof { leaves, nodes }) = ranges.slots(*owner, from, left)? else { break };
            let bytes = leaves.iter().fold(0usize, |sum, leaf| sum.saturating_add(leaf.value.len()).saturating_add(32));
            let slots = leaves.iter().map(|leaf| Ok(RangeSlot { key: leaf.key, value: decode(leaf)? }));
            found.push(SlotRange { slots: slots.collect::<Result<_, StoreError>>()?, nodes });
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
            from = B256::ZERO;
        }
        Ok(Some(found))
    }

    /// Returns nodes (RLP) of the account trie or, with an owner, of its storage trie, by their paths, at most
    /// [`NODES_AT_ONCE`]; it ends early at a path below which there is nothing.
    pub fn state_nodes(
        &self,
        block: B256,
        owner: Option<B256>,
        paths: &[Nibbles],
    ) -> Result<Option<Vec<Bytes>>, ChainError> {
        let Some(ranges) = self.ranges(block)? else { return Ok(None) };
        let nodes = paths.iter().take(NODES_AT_ONCE).map(|path| ranges.node(owner, path).transpose());
        Ok(Some(nodes.map_while(|node| node).collect::<Result<_, _>>()?))
    }

    /// Returns codes by their hashes, at most [`CODES_AT_ONCE`] and [`MAX_RANGE_BYTES`] of them; those that no account ever had are
    /// left out.
    pub fn codes(&self, hashes: &[B256]) -> Result<Vec<Bytes>, ChainError> {
        let view = self.store.view()?;
        let (mut codes, mut bytes) = (Vec::new(), 0);
        for hash in hashes.iter().take(CODES_AT_ONCE) {
            if let Some(code) = view.code(*hash)? {
                bytes = code.len().saturating_add(bytes);
                codes.push(code);
            }
            if bytes >= bounded(u64::MAX) {
                break;
            }
        }
        Ok(codes)
    }
}

fn bounded(max_bytes: u64) -> usize {
    usize::try_from(max_bytes.min(MAX_RANGE_BYTES)).unwrap_or(usize::MAX)
}

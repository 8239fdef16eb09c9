//! The nodes of the tries. Their keys ascend in the order in which one comes by them from the root down, so that one pass over each
//! table meets every node exactly where its parent says it is.

use super::{VerifyStep, Walk};
use crate::{
    store::{
        StoreError,
        tables::{self, Record},
    },
    trie::{EMPTY_ROOT_HASH, KEY_NIBBLES, Nibbles},
};
use alloy_primitives::{B256, keccak256};
use alloy_trie::{
    TrieMask,
    nodes::{RlpNode, TrieNode},
};
use redb::ReadableTableMetadata;

/// Bytes in front of a record's RLP: the mask of the children that are leaves.
const MASK_BYTES: usize = 2;

impl Walk<'_> {
    /// Walks the account trie from the head's state root down, then every storage trie. `false` if told to stop.
    pub(super) fn tries(&mut self) -> Result<bool, StoreError> {
        let snapshot = self.snapshot.clone();
        let header = snapshot.header(self.head.id)?;
        let root = header.map_or(B256::ZERO, |header| header.state_root);
        let base = snapshot.base();
        let whole = base.table(tables::ACCOUNT_TRIE).len()?.saturating_add(base.table(tables::STORAGE_TRIE).len()?);
        let mut nodes = Nodes::new("account_trie", root);
        for entry in base.table(tables::ACCOUNT_TRIE).range::<&[u8]>(..)? {
            let (key, record) = entry?;
            nodes.next(key.value(), key.value(), record.value())?;
            if !self.count(whole) {
                return Ok(false);
            }
        }
        nodes.end()?;
        let mut current: Option<(B256, Nodes)> = None;
        for entry in base.table(tables::STORAGE_TRIE).range::<&[u8]>(..)? {
            let (key, record) = entry?;
            let Some((owner, path)) = key.value().split_at_checked(32) else {
                return Err(StoreError::corrupt("storage_trie", key.value(), "key shorter than an account's hash"));
            };
            let owner = B256::from_slice(owner);
            if current.as_ref().is_none_or(|(of, _)| *of != owner) {
                if let Some((_, done)) = current.take() {
                    done.end()?;
                }
                let account = snapshot.record(&owner)?;
                let root = account.map_or(EMPTY_ROOT_HASH, |account: Record| account.storage_root);
                current = Some((owner, Nodes::new("storage_trie", root)));
            }
            if let Some((_, nodes)) = &mut current {
                nodes.next(key.value(), path, record.value())?;
            }
            if !self.count(whole) {
                return Ok(false);
            }
        }
        current.map_or(Ok(()), |(_, done)| done.end())?;
        Ok(true)
    }

    fn count(&mut self, whole: u64) -> bool {
        self.found.trie_nodes = self.found.trie_nodes.saturating_add(1);
        self.tell(VerifyStep::Trie, self.found.trie_nodes, whole)
    }
}

/// The nodes of one trie, in order.
struct Nodes {
    table: &'static str,
    root: B256,
    begun: bool,
    /// Nodes that must still come, the next one last: where, and how its parent refers to it.
    awaited: Vec<(Nibbles, RlpNode)>,
}

impl Nodes {
    fn new(table: &'static str, root: B256) -> Self {
        Self { table, root, begun: false, awaited: Vec::new() }
    }

    /// Takes the next record: it must be the next awaited node.
    fn next(&mut self, key: &[u8], path: &[u8], record: &[u8]) -> Result<(), StoreError> {
        let damaged = |what: &str| StoreError::corrupt(self.table, key, what);
        let nibbles = path.len() < KEY_NIBBLES && path.iter().all(|nibble| *nibble < 16);
        let path = nibbles.then(|| Nibbles::from_nibbles_unchecked(path)).ok_or_else(|| damaged("key is no path"))?;
        let (mask, rlp) = record.split_first_chunk::<MASK_BYTES>().ok_or_else(|| damaged("record is too short"))?;
        let reference = RlpNode::from_rlp(rlp);
        if self.begun {
            match self.awaited.pop() {
                Some((at, wanted)) if at == path && wanted == reference => {}
                Some((at, _)) if at == path => return Err(damaged("node has another hash than its parent says")),
                Some((at, _)) if at < path => {
                    let what = format!("the node before it, at {at:?}, is missing");
                    return Err(StoreError::corrupt(self.table, key, what));
                }
                _ => return Err(damaged("node that no other refers to")),
            }
        } else if !path.is_empty() || keccak256(rlp) != self.root {
            // A root is referred to by its hash, however short it is.
            return Err(damaged("is not the root that the block or the account commits to"));
        }
        let leaves = TrieMask::new(u16::from_be_bytes(*mask));
        let node: TrieNode = alloy_rlp::decode_exact(rlp).map_err(|error| damaged(&error.to_string()))?;
        match node {
            TrieNode::Extension(node) => self.awaited.push((path.join(&node.key), node.child)),
            TrieNode::Branch(node) => {
                let indices = (0..16u8).filter(|index| node.state_mask.is_bit_set(*index));
                let children = indices.zip(node.stack).filter(|(index, _)| !leaves.is_bit_set(*index));
                let mut children: Vec<_> =
                    children.map(|(index, child)| (path.join(&Nibbles::from_nibbles([index])), child)).collect();
                children.reverse();
                self.awaited.append(&mut children);
            }
            TrieNode::Leaf(_) | TrieNode::EmptyRoot => return Err(damaged("record is neither branch nor extension")),
        }
        self.begun = true;
        Ok(())
    }

    /// After the last record nothing is awaited. A trie without records is empty or a single leaf, which the flat state shows.
    fn end(&self) -> Result<(), StoreError> {
        match self.awaited.last() {
            None => Ok(()),
            Some((at, _)) => {
                Err(StoreError::corrupt(self.table, at.to_vec(), format!("the node at {at:?} is missing")))
            }
        }
    }
}

//! A trie over another: what an update leads to, without writing it.

use super::{Batch, Leaf, Nibbles, Node, TrieSource, TrieUpdate};
use alloy_primitives::{B256, map::HashMap};
use std::collections::BTreeMap;

/// The nodes and leaves that an update changed; the rest is the trie's below.
#[derive(Debug, Default)]
pub struct Overlay {
    nodes: HashMap<Nibbles, Option<Node>>,
    leaves: BTreeMap<B256, Option<Vec<u8>>>,
}

impl Overlay {
    /// Takes the changes and their outcome.
    pub fn new(batch: &Batch, outcome: TrieUpdate) -> Self {
        Self { nodes: outcome.nodes.into_iter().collect(), leaves: batch.leaves().collect() }
    }

    /// Lays the changes over the trie that they were worked out on.
    pub fn over<S: TrieSource>(&self, below: S) -> Overlaid<'_, S> {
        Overlaid { overlay: self, below }
    }
}

/// A trie with changes over it.
#[derive(Debug)]
pub struct Overlaid<'a, S> {
    overlay: &'a Overlay,
    below: S,
}

impl<S: TrieSource> TrieSource for Overlaid<'_, S> {
    type Error = S::Error;

    fn node(&self, path: &Nibbles) -> Result<Option<Node>, S::Error> {
        match self.overlay.nodes.get(path) {
            Some(node) => Ok(node.clone()),
            None => self.below.node(path),
        }
    }

    fn leaf(&self, from: &B256) -> Result<Option<Leaf>, S::Error> {
        let mut changed = self.overlay.leaves.range(*from..).peekable();
        let mut below = self.below.leaf(from)?;
        loop {
            let Some((key, value)) = changed.next_if(|(key, _)| below.as_ref().is_none_or(|leaf| **key <= leaf.key))
            else {
                return Ok(below);
            };
            if let Some(value) = value {
                return Ok(Some(Leaf { key: *key, value: value.clone() }));
            }
            if below.as_ref().is_some_and(|leaf| leaf.key == *key) {
                below = match super::range::following(key) {
                    Some(next) => self.below.leaf(&next)?,
                    None => None,
                };
            }
        }
    }
}

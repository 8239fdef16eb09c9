//! Finding where a stored trie differs from another of which only the root is known: down from the root, along the nodes whose
//! hashes differ, leaving out whatever is equal. What it costs follows what has changed, not how large the tries are.
//!
//! The other trie's nodes come from a stranger, each asked for by its path. A node counts only if its hash is the one that the
//! node above it gives, so that a stranger can withhold, but not deceive.

use super::{
    KEY_NIBBLES, Leaf, Nibbles, TrieError, TrieSource,
    range::following,
    record::{Children, Inner, Parsed, parse, reference},
    update::below,
};
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, nodes::RlpNode};

/// What must change for a stored trie to become the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The leaf is new, or has another value.
    Set(Leaf),
    /// The leaf of that key goes.
    Remove(B256),
}

impl Change {
    /// Returns the key of the leaf.
    pub fn key(&self) -> B256 {
        match self {
            Self::Set(leaf) => leaf.key,
            Self::Remove(key) => *key,
        }
    }
}

/// Why a node is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError<E> {
    /// The node is not the one that the node above refers to.
    #[error("{0}; ask another peer")]
    Wrong(TrieError),
    /// The stored trie could not be read.
    #[error(transparent)]
    Source(E),
}

/// A node of the other trie that has to be seen: where it stands, and how the node above refers to it.
type Wanted = (Nibbles, RlpNode);

/// A walk down another trie. The stored one may be changed between two steps, as the changes say.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The first in order of paths comes last.
    wanted: Vec<Wanted>,
    /// Set as long as the root was not looked at.
    root: Option<B256>,
}

impl Walk {
    /// Begins at the root of the other trie.
    pub fn new(root: B256) -> Self {
        Self { wanted: Vec::new(), root: Some(root) }
    }

    /// Returns the paths of the nodes to be asked for next, in order, at most so many; none when the walk is at its end, and
    /// then the stored trie with all changes is the other one.
    pub fn next(&self, limit: usize) -> Vec<Nibbles> {
        match self.root {
            Some(_) => vec![Nibbles::new()],
            None => self.wanted.iter().rev().take(limit).map(|(path, _)| *path).collect(),
        }
    }

    /// Takes the first of the nodes that [`Self::next`] named (not necessarily all of them), and returns what they say must change,
    /// ascending by key. After an error the walk is to be given up.
    pub fn take<S: TrieSource>(&mut self, source: &S, nodes: &[Bytes]) -> Result<Vec<Change>, WalkError<S::Error>> {
        let mut step = Step { source, found: Vec::new(), changes: Vec::new() };
        for node in nodes {
            let (path, reference) = match self.root.take() {
                Some(root) => (Nibbles::new(), RlpNode::word_rlp(&root)),
                None => self.wanted.pop().ok_or_else(|| wrong(&Nibbles::new(), "more nodes than were asked for"))?,
            };
            if path.is_empty() && reference == RlpNode::word_rlp(&EMPTY_ROOT_HASH) {
                step.nothing_below(&path, None)?;
                continue;
            }
            if RlpNode::word_rlp(&keccak256(node)) != reference {
                return Err(wrong(&path, "the node has another hash than the one above it says"));
            }
            step.node(path, node)?;
        }
        let Step { found, changes, .. } = step;
        self.wanted.extend(found.into_iter().rev());
        Ok(changes)
    }
}

fn wrong<E>(path: &Nibbles, what: &'static str) -> WalkError<E> {
    WalkError::Wrong(TrieError::new(path, what))
}

struct Step<'a, S> {
    source: &'a S,
    found: Vec<Wanted>,
    changes: Vec<Change>,
}

impl<S: TrieSource> Step<'_, S> {
    /// Compares what is stored at `path` and below with a node of the other trie.
    fn node(&mut self, path: Nibbles, rlp: &[u8]) -> Result<(), WalkError<S::Error>> {
        match parse(rlp).map_err(|what| wrong(&path, what))? {
            Parsed::Leaf { suffix, value } => {
                if path.len() + suffix.len() != KEY_NIBBLES {
                    return Err(wrong(&path, "leaf at a wrong depth"));
                }
                let mut key = B256::ZERO;
                path.join(&suffix).pack_to(key.as_mut_slice());
                self.leaf(&path, Leaf { key, value: value.to_vec() })
            }
            Parsed::Extension { key, child } => {
                let to = path.join(&key);
                if to.len() >= KEY_NIBBLES {
                    return Err(wrong(&path, "node below the depth of keys"));
                }
                self.nothing_below(&path, Some(&to))?;
                self.child(to, child)?;
                self.nothing_after(&path, &to)
            }
            Parsed::Branch(children) => {
                if path.len() >= KEY_NIBBLES {
                    return Err(wrong(&path, "node below the depth of keys"));
                }
                let own = self.children(&path)?;
                for (nibble, child) in (0u8..).zip(children) {
                    let at = below(&path, nibble);
                    if own.as_ref().is_some_and(|own| own[usize::from(nibble)] == child) {
                        continue;
                    }
                    if child.is_empty() { self.nothing_below(&at, None)? } else { self.child(at, child)? }
                }
                Ok(())
            }
        }
    }

    /// Compares with a child that the other trie has at `path`.
    fn child(&mut self, path: Nibbles, child: RlpNode) -> Result<(), WalkError<S::Error>> {
        if let Some(node) = self.source.node(&path).map_err(WalkError::Source)?
            && reference(node.record()) == child
        {
            return Ok(());
        }
        if child.as_hash().is_none() {
            return self.node(path, &child);
        }
        self.found.push((path, child));
        Ok(())
    }

    /// The references to the children of the branch stored at `path`, if there is one.
    fn children(&self, path: &Nibbles) -> Result<Option<Children>, WalkError<S::Error>> {
        let Some(node) = self.source.node(path).map_err(WalkError::Source)? else { return Ok(None) };
        match node.parse(path).map_err(|error| WalkError::Source(error.into()))? {
            Inner::Branch(branch) => Ok(Some(branch.children)),
            Inner::Extension { .. } => Ok(None),
        }
    }

    /// One leaf is all that the other trie has below `path`.
    fn leaf(&mut self, path: &Nibbles, leaf: Leaf) -> Result<(), WalkError<S::Error>> {
        let mut same = false;
        let begin = self.changes.len();
        self.stored(path, None, |step, own| {
            if own.key == leaf.key {
                same = own.value == leaf.value;
            } else {
                step.changes.push(Change::Remove(own.key));
            }
        })?;
        if !same {
            let place = self.changes[begin..].partition_point(|change| change.key() < leaf.key);
            self.changes.insert(begin + place, Change::Set(leaf));
        }
        Ok(())
    }

    /// The other trie has nothing below `path`, up to `end` (all of it without).
    fn nothing_below(&mut self, path: &Nibbles, end: Option<&Nibbles>) -> Result<(), WalkError<S::Error>> {
        self.stored(path, end, |step, own| step.changes.push(Change::Remove(own.key)))
    }

    /// The other trie has nothing below `path` after what begins with `last`.
    fn nothing_after(&mut self, path: &Nibbles, last: &Nibbles) -> Result<(), WalkError<S::Error>> {
        let mut highest = B256::repeat_byte(0xff);
        last.pack_to(highest.as_mut_slice());
        if last.len() % 2 == 1 {
            highest[last.len() / 2] |= 0x0f;
        }
        match following(&highest) {
            Some(from) => self.stored_from(path, from, None, |step, own| step.changes.push(Change::Remove(own.key))),
            None => Ok(()),
        }
    }

    fn stored(
        &mut self,
        path: &Nibbles,
        end: Option<&Nibbles>,
        each: impl FnMut(&mut Self, Leaf),
    ) -> Result<(), WalkError<S::Error>> {
        let mut from = B256::ZERO;
        path.pack_to(from.as_mut_slice());
        self.stored_from(path, from, end, each)
    }

    /// Calls `each` with the stored leaves below `path` from a key on, before those that `end` begins.
    fn stored_from(
        &mut self,
        path: &Nibbles,
        from: B256,
        end: Option<&Nibbles>,
        mut each: impl FnMut(&mut Self, Leaf),
    ) -> Result<(), WalkError<S::Error>> {
        let mut next = Some(from);
        while let Some(from) = next.take()
            && let Some(leaf) = self.source.leaf(&from).map_err(WalkError::Source)?
        {
            let key = Nibbles::unpack_array(&leaf.key.0);
            if !key.starts_with(path) || end.is_some_and(|end| key >= *end) {
                break;
            }
            next = following(&leaf.key);
            each(self, leaf);
        }
        Ok(())
    }
}

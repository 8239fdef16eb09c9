//! Nodes in memory, and their records.

use super::{KEY_NIBBLES, Leaf, Nibbles, TrieError, TrieSource};
use alloy_rlp::Encodable;
use alloy_trie::{
    TrieMask,
    nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode, TrieNode},
};

/// Children of a branch.
pub(super) const WIDTH: usize = 16;

/// Bytes in front of a record's RLP: the mask of the children that are leaves.
const MASK_BYTES: usize = 2;

/// What stands at a path. An absent node is an `Option` outside.
#[derive(Debug)]
pub(super) enum Node {
    Leaf(LeafHere),
    Extension(Extension),
    Branch(Box<Branch>),
}

/// A leaf and the part of its key below the path.
#[derive(Debug)]
pub(super) struct LeafHere {
    pub suffix: Nibbles,
    pub value: Vec<u8>,
}

/// An extension; its child is always a branch, recorded at path + key.
#[derive(Debug)]
pub(super) struct Extension {
    pub key: Nibbles,
    pub child: RlpNode,
}

#[derive(Debug, Default)]
pub(super) struct Branch {
    pub children: [Child; WIDTH],
}

#[derive(Debug, Default)]
pub(super) enum Child {
    #[default]
    Absent,
    /// As it is stored.
    Kept { rlp: RlpNode, leaf: bool },
    /// Loaded or new; its RLP is not known yet.
    Open(Node),
}

impl Node {
    /// Returns the node's RLP.
    pub fn rlp(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Returns what the source keeps of the node: nothing of a leaf; of others the mask of leaves among the children, and the RLP.
    pub fn record(&self) -> Option<Vec<u8>> {
        let leaves = match self {
            Self::Leaf(_) => return None,
            Self::Extension(_) => 0,
            Self::Branch(branch) => branch.leaf_mask().get(),
        };
        let mut out = Vec::with_capacity(MASK_BYTES + WIDTH * 33 + 5);
        out.extend_from_slice(&leaves.to_be_bytes());
        self.encode(&mut out);
        Some(out)
    }

    /// Returns the RLP inside of a record.
    pub fn rlp_of_record(record: &[u8]) -> &[u8] {
        &record[MASK_BYTES.min(record.len())..]
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leaf(leaf) => LeafNodeRef::new(&leaf.suffix, &leaf.value).encode(out),
            Self::Extension(extension) => ExtensionNodeRef::new(&extension.key, &extension.child).encode(out),
            Self::Branch(branch) => {
                let mut mask = 0u16;
                let mut stack = Vec::with_capacity(WIDTH);
                for (index, child) in branch.children.iter().enumerate() {
                    match child {
                        Child::Absent => continue,
                        Child::Kept { rlp, .. } => stack.push(rlp.clone()),
                        Child::Open(node) => stack.push(RlpNode::from_rlp(&node.rlp())),
                    }
                    mask |= 1 << index;
                }
                BranchNodeRef::new(&stack, TrieMask::new(mask)).encode(out);
            }
        }
    }

    fn from_record(path: &Nibbles, record: &[u8]) -> Result<Self, TrieError> {
        let Some((mask, mut rlp)) = record.split_first_chunk::<MASK_BYTES>() else {
            return Err(TrieError::new(path, "record shorter than its mask"));
        };
        let leaves = TrieMask::new(u16::from_be_bytes(*mask));
        let node = alloy_rlp::Decodable::decode(&mut rlp).map_err(|error| TrieError::new(path, error))?;
        if !rlp.is_empty() {
            return Err(TrieError::new(path, "record longer than its node"));
        }
        let depth = match &node {
            TrieNode::Extension(node) => path.len() + node.key.len(),
            _ => path.len(),
        };
        if depth >= KEY_NIBBLES {
            return Err(TrieError::new(path, "node reaches below the depth of keys"));
        }
        match node {
            TrieNode::Extension(node) => Ok(Self::Extension(Extension { key: node.key, child: node.child })),
            TrieNode::Branch(node) => {
                let mut branch = Box::<Branch>::default();
                let mut stack = node.stack.into_iter();
                for (child, index) in branch.children.iter_mut().zip(0u8..) {
                    if node.state_mask.is_bit_set(index) {
                        let rlp =
                            stack.next().ok_or_else(|| TrieError::new(path, "fewer children than its mask says"))?;
                        *child = Child::Kept { rlp, leaf: leaves.is_bit_set(index) };
                    }
                }
                Ok(Self::Branch(branch))
            }
            TrieNode::Leaf(_) | TrieNode::EmptyRoot => {
                Err(TrieError::new(path, "record is neither branch nor extension"))
            }
        }
    }
}

impl Branch {
    fn leaf_mask(&self) -> TrieMask {
        let mut mask = 0u16;
        for (index, child) in self.children.iter().enumerate() {
            if matches!(child, Child::Kept { leaf: true, .. } | Child::Open(Node::Leaf(_))) {
                mask |= 1 << index;
            }
        }
        TrieMask::new(mask)
    }
}

impl LeafHere {
    /// The leaf as seen from `path`, which its key begins with.
    pub fn below(path: &Nibbles, leaf: Leaf) -> Result<Self, TrieError> {
        let key = Nibbles::unpack_array(&leaf.key.0);
        if !key.starts_with(path) {
            return Err(TrieError::new(path, "the flat entry found for this leaf has another key"));
        }
        Ok(Self { suffix: key.slice(path.len()..), value: leaf.value })
    }
}

/// Loads the root, if the trie is not empty.
pub(super) fn load_root<S: TrieSource>(source: &mut S) -> Result<Option<Node>, S::Error> {
    let path = Nibbles::new();
    if let Some(record) = source.record(&path)? {
        return Ok(Some(Node::from_record(&path, &record)?));
    }
    let Some(leaf) = source.leaf(&path)? else { return Ok(None) };
    Ok(Some(Node::Leaf(LeafHere::below(&path, leaf)?)))
}

/// Loads the branch or extension that must be recorded at `path`.
pub(super) fn load_record<S: TrieSource>(source: &mut S, path: &Nibbles) -> Result<Node, S::Error> {
    let record = source.record(path)?.ok_or_else(|| TrieError::new(path, "record is missing"))?;
    Ok(Node::from_record(path, &record)?)
}

/// Loads the leaf that must stand at `path`.
pub(super) fn load_leaf<S: TrieSource>(source: &mut S, path: &Nibbles) -> Result<Node, S::Error> {
    let leaf = source.leaf(path)?.ok_or_else(|| TrieError::new(path, "flat entry of this leaf is missing"))?;
    Ok(Node::Leaf(LeafHere::below(path, leaf)?))
}

//! Nodes as they are recorded and sent: shared bytes, and what they say.

use super::{KEY_NIBBLES, Nibbles, TrieError};
use alloy_rlp::{EMPTY_STRING_CODE, Header};
use alloy_trie::nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode};
use std::sync::Arc;

/// Children of a branch.
pub(super) const WIDTH: usize = 16;

/// Bytes in front of a record's RLP: the mask of the children that are leaves.
const MASK_BYTES: usize = 2;

/// First byte of a hash in RLP.
const HASH_CODE: u8 = EMPTY_STRING_CODE + 32;

/// A branch or an extension as it is recorded: two bytes with the mask of the children that are leaves, then the node's RLP.
///
/// It is shared, not copied: what an update makes is what a cache keeps and what is written. The bytes are the densest form
/// of a node there is, and parsing them costs a twentieth of hashing them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node(Arc<[u8]>);

impl Node {
    /// Takes over a record; it is parsed when it is used.
    pub fn new(record: &[u8]) -> Self {
        Self(record.into())
    }

    /// Returns the record's bytes.
    pub fn record(&self) -> &[u8] {
        &self.0
    }

    /// Returns the node's RLP.
    pub(super) fn rlp(&self) -> &[u8] {
        self.0.get(MASK_BYTES..).unwrap_or_default()
    }

    /// Reads the record of the node at `path`.
    pub(super) fn parse(&self, path: &Nibbles) -> Result<Inner, TrieError> {
        let Some((mask, rlp)) = self.0.split_first_chunk::<MASK_BYTES>() else {
            return Err(TrieError::new(path, "record shorter than its mask"));
        };
        let (inner, depth) = match parse(rlp).map_err(|what| TrieError::new(path, what))? {
            Parsed::Branch(children) => {
                (Inner::Branch(Branch { children, leaves: u16::from_be_bytes(*mask) }), path.len())
            }
            Parsed::Extension { key, child } => (Inner::Extension { key, child }, path.len() + key.len()),
            Parsed::Leaf { .. } => return Err(TrieError::new(path, "record is neither branch nor extension")),
        };
        if depth >= KEY_NIBBLES {
            return Err(TrieError::new(path, "node reaches below the depth of keys"));
        }
        Ok(inner)
    }
}

/// What a record says.
#[expect(clippy::large_enum_variant, reason = "nearly all nodes are branches, and this lives on the stack for a visit")]
pub(super) enum Inner {
    Branch(Branch),
    /// The child is always a branch, recorded at the extension's path + key.
    Extension {
        key: Nibbles,
        child: RlpNode,
    },
}

/// References to the children; an absent child's is empty.
pub(super) type Children = [RlpNode; WIDTH];

/// A branch, and which of its children are leaves.
#[derive(Default)]
pub(super) struct Branch {
    pub children: Children,
    pub leaves: u16,
}

impl Branch {
    pub fn is_leaf(&self, nibble: u8) -> bool {
        self.leaves >> nibble & 1 == 1
    }

    pub fn set(&mut self, nibble: u8, child: RlpNode, leaf: bool) {
        self.children[usize::from(nibble)] = child;
        self.leaves = self.leaves & !(1 << nibble) | u16::from(leaf) << nibble;
    }

    /// Replaces `out` by the branch's record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.leaves.to_be_bytes());
        // An absent child is one byte, and so is the value that no branch has here.
        let payload_length = 1 + self.children.iter().map(|child| child.len().max(1)).sum::<usize>();
        Header { list: true, payload_length }.encode(out);
        for child in &self.children {
            out.extend_from_slice(if child.is_empty() { &[EMPTY_STRING_CODE] } else { child });
        }
        out.push(EMPTY_STRING_CODE);
    }
}

/// Replaces `out` by the record of an extension.
pub(super) fn encode_extension(key: &Nibbles, child: &RlpNode, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; MASK_BYTES]);
    alloy_rlp::Encodable::encode(&ExtensionNodeRef::new(key, child), out);
}

/// Replaces `out` by the RLP of a leaf.
pub(super) fn encode_leaf(suffix: &Nibbles, value: &[u8], out: &mut Vec<u8>) {
    out.clear();
    alloy_rlp::Encodable::encode(&LeafNodeRef::new(suffix, value), out);
}

/// Returns how a parent refers to the node with this record: by hash, or by the node itself when it is shorter than 32 bytes.
pub(super) fn reference(record: &[u8]) -> RlpNode {
    RlpNode::from_rlp(record.get(MASK_BYTES..).unwrap_or_default())
}

/// What a node's RLP says.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all nodes are branches, and this lives on the stack for a visit")]
pub(super) enum Parsed<'a> {
    Branch(Children),
    Extension { key: Nibbles, child: RlpNode },
    Leaf { suffix: Nibbles, value: &'a [u8] },
}

/// Reads a node. The RLP may be a stranger's: what is not a node as this crate would write it is refused.
pub(super) fn parse(rlp: &[u8]) -> Result<Parsed<'_>, &'static str> {
    let mut rest = rlp;
    let payload = Header::decode_bytes(&mut rest, true).map_err(|_| "not a list")?;
    if !rest.is_empty() {
        return Err("longer than its node");
    }
    match parse_branch(payload) {
        Some(children) => Ok(Parsed::Branch(children)),
        None => parse_pair(payload),
    }
}

fn parse_branch(mut payload: &[u8]) -> Option<Children> {
    let mut children = Children::default();
    for child in &mut children {
        *child = take_reference(&mut payload)?;
    }
    (payload == [EMPTY_STRING_CODE] && children.iter().filter(|child| !child.is_empty()).count() > 1)
        .then_some(children)
}

fn parse_pair(mut payload: &[u8]) -> Result<Parsed<'_>, &'static str> {
    let path = Header::decode_bytes(&mut payload, false).map_err(|_| "neither branch nor path")?;
    let (&first, tail) = path.split_first().ok_or("empty path")?;
    if path.len() > KEY_NIBBLES / 2 + 1 {
        return Err("path longer than keys are");
    }
    let tail_nibbles = Nibbles::unpack(tail);
    let key = match first & 0xdf {
        0x00 => tail_nibbles,
        odd @ 0x10..=0x1f if tail.len() < KEY_NIBBLES / 2 => Nibbles::from_nibbles([odd & 0x0f]).join(&tail_nibbles),
        _ => return Err("wrong flag in front of a path"),
    };
    if first & 0x20 != 0 {
        let value = Header::decode_bytes(&mut payload, false).map_err(|_| "leaf without a value")?;
        return if payload.is_empty() && !value.is_empty() {
            Ok(Parsed::Leaf { suffix: key, value })
        } else {
            Err("leaf with no value or with more than one")
        };
    }
    let child = take_reference(&mut payload).ok_or("extension's child is no reference")?;
    if child.is_empty() || key.is_empty() || !payload.is_empty() {
        return Err("extension without key or child, or with more than them");
    }
    Ok(Parsed::Extension { key, child })
}

/// Takes a reference from the front: nothing, a hash, or a node shorter than 32 bytes.
fn take_reference(bytes: &mut &[u8]) -> Option<RlpNode> {
    let len = match *bytes.first()? {
        EMPTY_STRING_CODE => {
            *bytes = bytes.get(1..)?;
            return Some(RlpNode::default());
        }
        HASH_CODE => 33,
        list @ 0xc1..=0xde => usize::from(list) - 0xc0 + 1,
        _ => return None,
    };
    let (reference, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    RlpNode::from_raw(reference)
}

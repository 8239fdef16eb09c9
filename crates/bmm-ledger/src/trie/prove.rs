//! Proofs: the nodes between the root and a key.

use super::{
    Nibbles, TrieSource,
    node::{Child, Node, load_leaf, load_record, load_root},
    update::below,
};
use alloy_primitives::{B256, Bytes};

/// What a trie holds under a key, and the nodes that show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The encoded value, if the key is there.
    pub value: Option<Vec<u8>>,
    /// RLP of the nodes from the root down; nodes shorter than 32 bytes stand inside their parents and are not listed.
    pub nodes: Vec<Bytes>,
}

/// Returns the value of a hashed key with its proof, or the proof that there is none.
pub fn prove<S: TrieSource>(source: &mut S, key: B256) -> Result<Proof, S::Error> {
    let key = Nibbles::unpack_array(&key.0);
    let mut path = Nibbles::new();
    let mut proof = Proof::default();
    let mut next = load_root(source)?;
    while let Some(node) = next {
        let rlp = node.rlp();
        if path.is_empty() || rlp.len() >= 32 {
            proof.nodes.push(rlp.into());
        }
        next = match node {
            Node::Leaf(leaf) => {
                if path.join(&leaf.suffix) == key {
                    proof.value = Some(leaf.value);
                }
                None
            }
            Node::Extension(extension) => {
                path = path.join(&extension.key);
                if key.starts_with(&path) { Some(load_record(source, &path)?) } else { None }
            }
            Node::Branch(branch) => match key.get(path.len()) {
                None => None,
                Some(nibble) => {
                    path = below(&path, nibble);
                    match branch.children[usize::from(nibble)] {
                        Child::Kept { leaf: true, .. } => Some(load_leaf(source, &path)?),
                        Child::Kept { leaf: false, .. } => Some(load_record(source, &path)?),
                        _ => None,
                    }
                }
            },
        };
    }
    Ok(proof)
}

//! Proofs: the nodes between the root and a key.

use super::{
    Nibbles, TrieError, TrieSource, leaf_below,
    record::{Inner, encode_leaf},
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

impl Proof {
    fn push(&mut self, path: &Nibbles, rlp: &[u8]) {
        if path.is_empty() || rlp.len() >= 32 {
            self.nodes.push(Bytes::copy_from_slice(rlp));
        }
    }
}

/// Returns the value of a hashed key with its proof, or the proof that there is none.
pub fn prove<S: TrieSource>(source: &S, key: B256) -> Result<Proof, S::Error> {
    let key = Nibbles::unpack_array(&key.0);
    let mut path = Nibbles::new();
    let mut proof = Proof::default();
    let mut next = source.node(&path)?;
    if next.is_none() {
        prove_leaf(source, &path, &key, &mut proof)?;
    }
    while let Some(node) = next {
        proof.push(&path, node.rlp());
        let recorded = match node.parse(&path)? {
            Inner::Extension { key: way, .. } => {
                path = path.join(&way);
                key.starts_with(&path)
            }
            Inner::Branch(branch) => {
                let nibble = key.get_unchecked(path.len());
                path = below(&path, nibble);
                let leaf = branch.is_leaf(nibble);
                if leaf && !prove_leaf(source, &path, &key, &mut proof)? {
                    return Err(TrieError::new(&path, "flat entry of this leaf is missing").into());
                }
                !leaf && !branch.children[usize::from(nibble)].is_empty()
            }
        };
        if !recorded {
            break;
        }
        next = Some(source.node(&path)?.ok_or_else(|| TrieError::new(&path, "record is missing"))?);
    }
    Ok(proof)
}

/// Adds the leaf that stands at `path`. Returns whether there is one.
fn prove_leaf<S: TrieSource>(source: &S, path: &Nibbles, key: &Nibbles, proof: &mut Proof) -> Result<bool, S::Error> {
    let Some(leaf) = leaf_below(source, path)? else { return Ok(false) };
    let own = Nibbles::unpack_array(&leaf.key.0);
    let mut rlp = Vec::new();
    encode_leaf(&own.slice(path.len()..), &leaf.value, &mut rlp);
    proof.push(path, &rlp);
    proof.value = (own == *key).then_some(leaf.value);
    Ok(true)
}

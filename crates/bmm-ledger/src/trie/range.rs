//! Ranges of a trie with their proof: what one node sends another that has no state yet.
//!
//! A range is all leaves from one key on up to the last one sent. Its edges are shown by the nodes that the keys at the edges
//! run through; every subtree between the edges is worked out from its leaves and compared with what the node above says of it.
//! So a leaf that is changed, dropped, added or moved changes a reference that is compared, and a proof needs no trust in
//! whoever sent it.

use super::{
    Batch, KEY_NIBBLES, Leaf, Nibbles, Node, TrieError, TrieSource, leaf_below,
    record::{Inner, Parsed, encode_leaf, parse},
    update::{below, build},
};
use alloy_primitives::{B256, Bytes, keccak256, map::HashMap};
use alloy_trie::{EMPTY_ROOT_HASH, nodes::RlpNode};

/// Nodes that a proof may have, at most: two ways from the root, each one node for a nibble and a leaf.
pub const MAX_RANGE_PROOF_NODES: usize = 2 * (KEY_NIBBLES + 1);

/// Consecutive leaves, and the nodes at their edges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeProof {
    /// Leaves, ascending.
    pub leaves: Vec<Leaf>,
    /// RLP of the nodes that the range's edges run through, the root's first; none when the leaves are the whole trie.
    pub nodes: Vec<Bytes>,
}

/// Why a range is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The leaves do not ascend, begin before the range, or have no value.
    #[error("range of leaves, leaf {0}: keys do not ascend from the range's beginning, or the value is empty")]
    Leaf(usize),
    /// There are more nodes than two ways through a trie have, or one of them is not needed.
    #[error("range of leaves: {0} nodes in the proof that are not needed")]
    Surplus(usize),
    /// The leaves and the nodes are not those of the root.
    #[error("range of leaves: {0}; ask another peer")]
    Wrong(TrieError),
}

impl From<TrieError> for RangeError {
    fn from(error: TrieError) -> Self {
        Self::Wrong(error)
    }
}

/// The keys between two keys, both included.
#[derive(Clone, Copy)]
struct Range {
    first: Nibbles,
    last: Nibbles,
}

/// How a subtree lies to a range.
#[derive(PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    /// Neither wholly inside nor wholly outside: its node is part of the proof.
    Edge,
    After,
}

impl Range {
    /// The range from a key to the last of the leaves; of no leaves, to the end of all keys.
    fn new(from: &B256, leaves: &[Leaf]) -> Self {
        let last = leaves.last().map_or(B256::repeat_byte(0xff), |leaf| leaf.key);
        Self { first: Nibbles::unpack_array(&from.0), last: Nibbles::unpack_array(&last.0) }
    }

    fn place(&self, path: &Nibbles) -> Place {
        let lowest = path.join(&Nibbles::unpack_array(&[0; 32]).slice(path.len()..));
        let highest = path.join(&Nibbles::unpack_array(&[0xff; 32]).slice(path.len()..));
        if highest < self.first {
            Place::Before
        } else if lowest > self.last {
            Place::After
        } else if lowest >= self.first && highest <= self.last {
            Place::Inside
        } else {
            Place::Edge
        }
    }
}

/// Returns up to `limit` leaves (one at least) from a key on, with their proof.
pub fn prove_range<S: TrieSource>(source: &S, from: B256, limit: usize) -> Result<RangeProof, S::Error> {
    let mut left = limit;
    prove_range_while(source, from, |_| {
        left = left.saturating_sub(1);
        left > 0
    })
}

/// Returns leaves from a key on, with their proof. Each is shown to `more`, which says whether another may follow it.
pub fn prove_range_while<S: TrieSource>(
    source: &S,
    from: B256,
    mut more: impl FnMut(&Leaf) -> bool,
) -> Result<RangeProof, S::Error> {
    let mut proof = RangeProof::default();
    let mut next = Some(from);
    while let Some(key) = next.take()
        && let Some(leaf) = source.leaf(&key)?
    {
        next = following(&leaf.key);
        let ends = !more(&leaf);
        proof.leaves.push(leaf);
        if ends {
            break;
        }
    }
    let whole = match next {
        Some(key) if from.is_zero() => source.leaf(&key)?.is_none(),
        _ => from.is_zero(),
    };
    if !whole {
        let range = Range::new(&from, &proof.leaves);
        collect(source, &range, Nibbles::new(), false, &mut proof.nodes)?;
    }
    Ok(proof)
}

/// Returns the RLP of the node that stands at a path, if one does. Where none does, a leaf below may come instead: who asks holds it
/// against the hash that the node above gives.
pub fn node_at<S: TrieSource>(source: &S, path: &Nibbles) -> Result<Option<Bytes>, S::Error> {
    if let Some(node) = source.node(path)? {
        return Ok(Some(Bytes::copy_from_slice(node.rlp())));
    }
    Ok(leaf_below(source, path)?.map(|leaf| {
        let mut rlp = Vec::new();
        encode_leaf(&Nibbles::unpack_array(&leaf.key.0).slice(path.len()..), &leaf.value, &mut rlp);
        rlp.into()
    }))
}

/// The key after a key; none after the last.
pub fn following(key: &B256) -> Option<B256> {
    let mut next = *key;
    for byte in next.iter_mut().rev() {
        let (sum, carried) = byte.overflowing_add(1);
        *byte = sum;
        if !carried {
            return Some(next);
        }
    }
    None
}

/// Adds the nodes of a subtree that lie at the range's edges.
fn collect<S: TrieSource>(
    source: &S,
    range: &Range,
    path: Nibbles,
    leaf: bool,
    nodes: &mut Vec<Bytes>,
) -> Result<(), S::Error> {
    if range.place(&path) != Place::Edge && !path.is_empty() {
        return Ok(());
    }
    let mut add = |rlp: &[u8]| {
        if path.is_empty() || rlp.len() >= 32 {
            nodes.push(Bytes::copy_from_slice(rlp));
        }
    };
    let node = if leaf { None } else { source.node(&path)? };
    let Some(node) = node else {
        if !leaf && !path.is_empty() {
            return Err(TrieError::new(&path, "record is missing").into());
        }
        if let Some(found) = leaf_below(source, &path)? {
            let mut rlp = Vec::new();
            encode_leaf(&Nibbles::unpack_array(&found.key.0).slice(path.len()..), &found.value, &mut rlp);
            add(&rlp);
        }
        return Ok(());
    };
    add(node.rlp());
    match node.parse(&path)? {
        Inner::Extension { key, .. } => collect(source, range, path.join(&key), false, nodes),
        Inner::Branch(branch) => (0u8..)
            .zip(&branch.children)
            .filter(|(_, child)| !child.is_empty())
            .try_for_each(|(nibble, _)| collect(source, range, below(&path, nibble), branch.is_leaf(nibble), nodes)),
    }
}

/// Checks that `leaves` are all leaves from the key `from` up to the last of them, in the trie with that root, and returns
/// whether there are more after them. No leaves say that there are none from `from` on; no nodes, that the leaves are the whole trie.
///
/// Everything but `root` may be a stranger's: the work is bounded by the leaves given and by [`MAX_RANGE_PROOF_NODES`].
///
/// # Errors
/// [`RangeError`] when anything differs from what the root's trie holds.
pub fn verify_range(root: B256, from: B256, leaves: &[Leaf], nodes: &[Bytes]) -> Result<bool, RangeError> {
    let mut before = None;
    for (index, leaf) in leaves.iter().enumerate() {
        if leaf.key < from || before.is_some_and(|before| before >= leaf.key) || leaf.value.is_empty() {
            return Err(RangeError::Leaf(index));
        }
        before = Some(leaf.key);
    }
    if nodes.len() > MAX_RANGE_PROOF_NODES {
        return Err(RangeError::Surplus(nodes.len() - MAX_RANGE_PROOF_NODES));
    }
    let top = Nibbles::new();
    if nodes.is_empty() {
        let whole = subtree(top, leaves)?.map_or(EMPTY_ROOT_HASH, |rlp| hash_of(&rlp));
        return if whole == root { Ok(false) } else { Err(wrong(&top, "the leaves are not the whole trie")) };
    }
    // Two edges may run through equal nodes, which stand in the proof twice then.
    let mut unused: HashMap<B256, (&Bytes, usize)> = HashMap::default();
    for node in nodes {
        unused.entry(keccak256(node)).or_insert((node, 0)).1 += 1;
    }
    let mut verifier = Verifier { range: Range::new(&from, leaves), unused, more: false };
    verifier.node(top, &RlpNode::word_rlp(&root), leaves)?;
    match verifier.unused.values().map(|(_, count)| count).sum() {
        0 => Ok(verifier.more),
        surplus => Err(RangeError::Surplus(surplus)),
    }
}

fn wrong(path: &Nibbles, what: &'static str) -> RangeError {
    RangeError::Wrong(TrieError::new(path, what))
}

fn hash_of(reference: &RlpNode) -> B256 {
    reference.as_hash().unwrap_or_else(|| keccak256(reference))
}

/// A trie that holds nothing.
struct Nothing;

impl TrieSource for Nothing {
    type Error = TrieError;

    fn node(&self, _: &Nibbles) -> Result<Option<Node>, TrieError> {
        Ok(None)
    }

    fn leaf(&self, _: &B256) -> Result<Option<Leaf>, TrieError> {
        Ok(None)
    }
}

/// Returns the reference to a subtree of just these leaves, whose keys begin with `path`.
fn subtree(path: Nibbles, leaves: &[Leaf]) -> Result<Option<RlpNode>, TrieError> {
    let mut batch = Batch::with_capacity(leaves.len());
    for leaf in leaves {
        batch.set(leaf.key, Some(&leaf.value));
    }
    build(&Nothing, path, &batch)
}

/// Splits off the leaves whose keys begin with `path` from the front of ascending ones; none may lie before them, since a
/// subtree is worked out from the rest of the keys alone and would hide what they begin with.
fn take_below<'a>(leaves: &mut &'a [Leaf], path: &Nibbles) -> Result<&'a [Leaf], RangeError> {
    let beginning = |leaf: &Leaf| Nibbles::unpack_array(&leaf.key.0).slice(..path.len());
    let (own, rest) = leaves.split_at(leaves.partition_point(|leaf| beginning(leaf) <= *path));
    if own.first().is_some_and(|leaf| beginning(leaf) != *path) {
        return Err(wrong(path, "leaves where the trie has none"));
    }
    *leaves = rest;
    Ok(own)
}

struct Verifier<'a> {
    range: Range,
    /// Nodes of the proof by hash, and how often each has not been met yet.
    unused: HashMap<B256, (&'a Bytes, usize)>,
    /// Whether something lies after the range.
    more: bool,
}

impl Verifier<'_> {
    /// Checks a subtree, by how its parent refers to it, against the leaves given for it.
    fn child(&mut self, path: Nibbles, reference: &RlpNode, leaves: &[Leaf]) -> Result<(), RangeError> {
        match self.range.place(&path) {
            Place::Edge => return self.node(path, reference, leaves),
            Place::Inside if subtree(path, leaves)?.as_ref() == Some(reference) => return Ok(()),
            Place::Inside => return Err(wrong(&path, "the leaves are not those of the trie")),
            Place::Before => {}
            Place::After => self.more = true,
        }
        if leaves.is_empty() { Ok(()) } else { Err(wrong(&path, "leaves outside of the range")) }
    }

    /// Checks a subtree at an edge of the range, whose node the proof must hold.
    fn node(&mut self, path: Nibbles, reference: &RlpNode, mut leaves: &[Leaf]) -> Result<(), RangeError> {
        let node: &[u8] = match reference.as_hash() {
            None => reference,
            Some(hash) => match self.unused.get_mut(&hash) {
                Some((node, count)) if *count > 0 => {
                    *count -= 1;
                    node
                }
                _ => return Err(wrong(&path, "the proof lacks this node")),
            },
        };
        if path.is_empty() && leaves.is_empty() && hash_of(reference) == EMPTY_ROOT_HASH {
            return Ok(());
        }
        match parse(node).map_err(|what| wrong(&path, what))? {
            Parsed::Leaf { suffix, value } => {
                if path.len() + suffix.len() != KEY_NIBBLES {
                    return Err(wrong(&path, "leaf at a wrong depth"));
                }
                self.leaf(&path.join(&suffix), value, leaves)
            }
            Parsed::Extension { key, child } => {
                if path.len() + key.len() >= KEY_NIBBLES {
                    return Err(wrong(&path, "node below the depth of keys"));
                }
                let to = path.join(&key);
                let own = take_below(&mut leaves, &to)?;
                if !leaves.is_empty() {
                    return Err(wrong(&path, "leaves beside an extension"));
                }
                self.child(to, &child, own)
            }
            Parsed::Branch(children) => {
                if path.len() >= KEY_NIBBLES {
                    return Err(wrong(&path, "node below the depth of keys"));
                }
                for (nibble, child) in (0u8..).zip(&children) {
                    let at = below(&path, nibble);
                    let own = take_below(&mut leaves, &at)?;
                    match (child.is_empty(), own.is_empty()) {
                        (false, _) => self.child(at, child, own)?,
                        (true, false) => return Err(wrong(&at, "leaves where the trie has none")),
                        (true, true) => {}
                    }
                }
                Ok(())
            }
        }
    }

    /// Checks a leaf at an edge: in the range it must be given, outside of it not.
    fn leaf(&mut self, key: &Nibbles, value: &[u8], leaves: &[Leaf]) -> Result<(), RangeError> {
        let given = match leaves {
            [] => false,
            [leaf] => Nibbles::unpack_array(&leaf.key.0) == *key && leaf.value == value,
            _ => return Err(wrong(key, "several leaves where the trie has one")),
        };
        let inside = *key >= self.range.first && *key <= self.range.last;
        self.more |= *key > self.range.last;
        if given == inside && leaves.is_empty() != given {
            Ok(())
        } else {
            Err(wrong(key, "the leaf is not that of the trie"))
        }
    }
}

//! One descent for a whole batch of changes.

use super::{
    KEY_NIBBLES, Nibbles, TrieError, TrieSource,
    node::{Branch, Child, Extension, LeafHere, Node, load_leaf, load_record, load_root},
    record,
};
use alloy_primitives::{B256, keccak256, map::HashMap};
use alloy_trie::{EMPTY_ROOT_HASH, nodes::RlpNode};

/// A change of one entry: the hashed key, and the new encoded value or `None` to remove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    key: Nibbles,
    value: Option<Vec<u8>>,
}

impl Update {
    /// Sets the entry of a hashed key, or removes it.
    pub fn new(key: B256, value: Option<Vec<u8>>) -> Self {
        Self { key: Nibbles::unpack_array(&key.0), value }
    }
}

/// The outcome of [`update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrieUpdate {
    /// The new root.
    pub root: B256,
    /// Records to write (`Some`) or to remove (`None`), in ascending order of path.
    pub records: Vec<(Nibbles, Option<record::Node>)>,
}

/// Works out the trie after `updates` and which records change.
///
/// The keys must ascend and be distinct. Removing what is not there changes nothing. The source's flat entries must still be
/// those before the updates.
///
/// # Errors
/// The source's, and a [`TrieError`] where the stored trie contradicts itself or the keys do not ascend.
pub fn update<S: TrieSource>(source: &mut S, updates: Vec<Update>) -> Result<TrieUpdate, S::Error> {
    if let Some(pair) = updates.windows(2).find(|pair| pair[0].key >= pair[1].key) {
        return Err(TrieError::new(&pair[1].key, "updates do not ascend").into());
    }
    let path = Nibbles::new();
    let mut batch = Updater { source, records: HashMap::default() };
    let root = load_root(batch.source)?;
    if matches!(root, Some(Node::Branch(_) | Node::Extension(_))) {
        batch.forget(&path);
    }
    let root = match batch.apply(&path, root, updates)? {
        None => EMPTY_ROOT_HASH,
        Some(node) => {
            let rlp = batch.place(&path, &node);
            rlp.as_hash().unwrap_or_else(|| keccak256(&rlp))
        }
    };
    let mut records: Vec<_> = batch
        .records
        .into_iter()
        .map(|(path, record)| (path, record.map(|record| record::Node::new(&record))))
        .collect();
    records.sort_unstable_by_key(|(path, _)| *path);
    Ok(TrieUpdate { root, records })
}

struct Updater<'a, S> {
    source: &'a mut S,
    records: HashMap<Nibbles, Option<Vec<u8>>>,
}

impl<S: TrieSource> Updater<'_, S> {
    /// Marks the record at `path` as gone, until a node is placed there again.
    fn forget(&mut self, path: &Nibbles) {
        self.records.insert(*path, None);
    }

    /// Gives a node its final place: notes its record and returns how its parent refers to it.
    fn place(&mut self, path: &Nibbles, node: &Node) -> RlpNode {
        match node.record() {
            None => RlpNode::from_rlp(&node.rlp()),
            Some(record) => {
                let rlp = RlpNode::from_rlp(Node::rlp_of_record(&record));
                self.records.insert(*path, Some(record));
                rlp
            }
        }
    }

    /// Applies updates, all of whose keys begin with `path`, to the node there. Returns what then stands at `path`, not placed
    /// yet, since its parent may still merge with it.
    fn apply(&mut self, path: &Nibbles, node: Option<Node>, updates: Vec<Update>) -> Result<Option<Node>, S::Error> {
        match node {
            _ if updates.is_empty() => Ok(node),
            None => self.build(path, updates),
            Some(Node::Leaf(leaf)) => self.apply_to_leaf(path, leaf, updates),
            Some(Node::Extension(extension)) => self.apply_to_extension(path, extension, updates),
            Some(Node::Branch(branch)) => self.apply_to_branch(path, branch, updates),
        }
    }

    /// Builds a subtree out of nothing.
    fn build(&mut self, path: &Nibbles, mut updates: Vec<Update>) -> Result<Option<Node>, S::Error> {
        updates.retain(|update| update.value.is_some());
        match updates.len() {
            0 => Ok(None),
            1 => Ok(updates.pop().and_then(|update| {
                let suffix = update.key.slice(path.len()..);
                update.value.map(|value| Node::Leaf(LeafHere { suffix, value }))
            })),
            last => {
                // Between the first and the last of sorted keys lie all others, so these two have the common prefix of all.
                let common = updates[0].key.common_prefix_length(&updates[last - 1].key);
                let at = updates[0].key.slice(..common);
                let branch = self.apply_to_branch(&at, Box::default(), updates)?;
                Ok(self.extend(path, at.slice(path.len()..), branch))
            }
        }
    }

    /// A leaf is one more update that yields to a newer value of the same key.
    fn apply_to_leaf(
        &mut self,
        path: &Nibbles,
        leaf: LeafHere,
        mut updates: Vec<Update>,
    ) -> Result<Option<Node>, S::Error> {
        let key = path.join(&leaf.suffix);
        if let Err(index) = updates.binary_search_by(|update| update.key.cmp(&key)) {
            updates.insert(index, Update { key, value: Some(leaf.value) });
        }
        self.build(path, updates)
    }

    fn apply_to_extension(
        &mut self,
        path: &Nibbles,
        extension: Extension,
        mut updates: Vec<Update>,
    ) -> Result<Option<Node>, S::Error> {
        let below = path.join(&extension.key);
        // What leaves the extension's path and removes, removes nothing.
        updates.retain(|update| update.value.is_some() || update.key.starts_with(&below));
        let shared = updates.iter().map(|update| update.key.common_prefix_length(&below)).min();
        let Some(shared) = shared else { return Ok(Some(Node::Extension(extension))) };
        if shared == below.len() {
            let branch = load_record(self.source, &below)?;
            self.forget(&below);
            let node = self.apply(&below, Some(branch), updates)?;
            return Ok(self.extend(path, extension.key, node));
        }
        // An update leaves within the extension: a new branch there takes the extension's rest as its first child.
        let at = below.slice(..shared);
        let rest = below.slice(shared + 1..);
        let mut branch = Box::<Branch>::default();
        branch.children[usize::from(below.get_unchecked(shared))] = if rest.is_empty() {
            Child::Kept { rlp: extension.child, leaf: false }
        } else {
            Child::Open(Node::Extension(Extension { key: rest, child: extension.child }))
        };
        let node = self.apply_to_branch(&at, branch, updates)?;
        Ok(self.extend(path, at.slice(path.len()..), node))
    }

    fn apply_to_branch(
        &mut self,
        path: &Nibbles,
        mut branch: Box<Branch>,
        updates: Vec<Update>,
    ) -> Result<Option<Node>, S::Error> {
        let depth = path.len();
        if depth >= KEY_NIBBLES {
            return Err(TrieError::new(path, "branch below the depth of keys").into());
        }
        let mut updates = updates.into_iter().peekable();
        while let Some(first) = updates.next() {
            let nibble = first.key.get_unchecked(depth);
            let mut group = vec![first];
            while let Some(update) = updates.next_if(|update| update.key.get_unchecked(depth) == nibble) {
                group.push(update);
            }
            let child = &mut branch.children[usize::from(nibble)];
            let at = below(path, nibble);
            let node = self.open(&at, std::mem::take(child))?;
            *child = self.apply(&at, node, group)?.map_or(Child::Absent, Child::Open);
        }
        self.settle(path, branch)
    }

    /// Takes a child into memory; its record is rewritten or goes.
    fn open(&mut self, path: &Nibbles, child: Child) -> Result<Option<Node>, S::Error> {
        match child {
            Child::Absent => Ok(None),
            Child::Open(node) => Ok(Some(node)),
            Child::Kept { leaf: true, .. } => load_leaf(self.source, path).map(Some),
            Child::Kept { leaf: false, .. } => {
                let node = load_record(self.source, path)?;
                self.forget(path);
                Ok(Some(node))
            }
        }
    }

    /// Places a changed branch's children. A branch with one child left becomes an extension or a leaf.
    fn settle(&mut self, path: &Nibbles, mut branch: Box<Branch>) -> Result<Option<Node>, S::Error> {
        let mut present = (0u8..).zip(&mut branch.children).filter(|(_, child)| !matches!(child, Child::Absent));
        let Some((nibble, only)) = present.next() else { return Ok(None) };
        if present.next().is_none() {
            let at = below(path, nibble);
            let node = match std::mem::take(only) {
                Child::Kept { rlp, leaf: false } => match load_record(self.source, &at)? {
                    // The branch stays where it is; only the way to it changes.
                    Node::Branch(_) => {
                        let key = Nibbles::from_nibbles([nibble]);
                        return Ok(Some(Node::Extension(Extension { key, child: rlp })));
                    }
                    other => {
                        self.forget(&at);
                        Some(other)
                    }
                },
                child => self.open(&at, child)?,
            };
            return Ok(self.extend(path, Nibbles::from_nibbles([nibble]), node));
        }
        for (nibble, child) in (0u8..).zip(&mut branch.children) {
            if let Child::Open(node) = child {
                let rlp = self.place(&below(path, nibble), node);
                *child = Child::Kept { rlp, leaf: matches!(node, Node::Leaf(_)) };
            }
        }
        Ok(Some(Node::Branch(branch)))
    }

    /// Returns what stands at `path` when `node` stands at `path` + `key`: the key melts into a leaf's or an extension's.
    fn extend(&mut self, path: &Nibbles, key: Nibbles, node: Option<Node>) -> Option<Node> {
        if key.is_empty() {
            return node;
        }
        node.map(|node| match node {
            Node::Leaf(leaf) => Node::Leaf(LeafHere { suffix: key.join(&leaf.suffix), value: leaf.value }),
            Node::Extension(lower) => Node::Extension(Extension { key: key.join(&lower.key), child: lower.child }),
            branch @ Node::Branch(_) => {
                let child = self.place(&path.join(&key), &branch);
                Node::Extension(Extension { key, child })
            }
        })
    }
}

/// The path of a branch's child.
pub(super) fn below(path: &Nibbles, nibble: u8) -> Nibbles {
    let mut path = *path;
    path.push(nibble);
    path
}

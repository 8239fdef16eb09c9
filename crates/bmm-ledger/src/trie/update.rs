//! One descent for a whole batch of changes.

use super::{
    Batch, KEY_NIBBLES, Nibbles, TrieError, TrieSource,
    batch::Entry,
    groups::{Group, beginning_with, groups},
    record::{Branch, Inner, Node, WIDTH, encode_extension, encode_leaf, reference},
};
use alloy_primitives::{B256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, nodes::RlpNode};
use std::borrow::Cow;

/// Fewest changes below a branch that are worth starting threads for: some 40 us of hashing for each thread.
const MIN_SHARED: usize = 64;

/// The outcome of [`update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrieUpdate {
    /// The new root.
    pub root: B256,
    /// Nodes that are new or changed (`Some`) or gone (`None`), in ascending order of path.
    pub nodes: Vec<(Nibbles, Option<Node>)>,
}

/// Works out the trie after the changes, on up to `threads` threads; their number does not change the outcome.
///
/// The source's flat entries must still be those before the changes. Removing what is not there changes nothing.
///
/// # Errors
/// The source's, and a [`TrieError`] where the stored trie contradicts itself or the keys do not ascend.
pub fn update<S: TrieSource>(source: &S, batch: &Batch, threads: usize) -> Result<TrieUpdate, S::Error> {
    let entries = batch.ascending()?;
    let path = Nibbles::new();
    let mut worker = Worker::new(source, batch, threads);
    let old = match source.node(&path)? {
        Some(node) => Old::Node(node),
        None if source.leaf(&B256::ZERO)?.is_some() => Old::Leaf,
        None => Old::Nothing,
    };
    let outcome = worker.subtree(path, old, entries)?;
    let root = match worker.place(&path, outcome) {
        None => EMPTY_ROOT_HASH,
        Some((rlp, _)) => rlp.as_hash().unwrap_or_else(|| keccak256(&rlp)),
    };
    Ok(TrieUpdate { root, nodes: worker.finish() })
}

/// Returns how a parent would refer to the subtree at `path` if it held just the batch's entries, all of whose keys begin
/// with `path`; `None` if there are none.
pub(super) fn build<S: TrieSource>(nothing: &S, path: Nibbles, batch: &Batch) -> Result<Option<RlpNode>, S::Error> {
    let mut worker = Worker::new(nothing, batch, 1);
    let outcome = worker.subtree(path, Old::Nothing, batch.ascending()?)?;
    Ok(worker.place(&path, outcome).map(|(rlp, _)| rlp))
}

/// What stood at a path.
pub(super) enum Old {
    Nothing,
    /// A leaf; whose, the flat state knows.
    Leaf,
    /// A leaf, read.
    Known {
        key: Nibbles,
        value: Vec<u8>,
    },
    /// A recorded node.
    Recorded,
    /// A recorded node, read.
    Node(Node),
    /// The rest of an extension, not recorded here: it leads to the branch at `to`, further down.
    Way {
        to: Nibbles,
        child: RlpNode,
    },
}

/// What stands below a path after the changes. Keys and paths are absolute, so that a leaf or a way melts into whatever
/// comes to stand above it.
enum New<'a> {
    Nothing,
    Leaf {
        key: Nibbles,
        value: Cow<'a, [u8]>,
    },
    /// A branch, recorded; an extension leads there from further up.
    Branch {
        at: Nibbles,
        rlp: RlpNode,
    },
}

/// A subtree that its parent has not placed yet.
struct Outcome<'a> {
    /// Its path's place among the changes.
    slot: usize,
    /// Whether a node was recorded at the path.
    stood: bool,
    new: New<'a>,
}

enum Change {
    Keep,
    Remove,
    Put(Node),
}

struct Worker<'a, S> {
    source: &'a S,
    batch: &'a Batch,
    threads: usize,
    /// The node being encoded.
    buffer: Vec<u8>,
    /// Visited paths, each before those below it.
    changes: Vec<(Nibbles, Change)>,
    /// Whether a change was noted out of that order.
    unsorted: bool,
}

impl<'a, S: TrieSource> Worker<'a, S> {
    fn new(source: &'a S, batch: &'a Batch, threads: usize) -> Self {
        Self { source, batch, threads, buffer: Vec::new(), changes: Vec::new(), unsorted: false }
    }

    fn finish(self) -> Vec<(Nibbles, Option<Node>)> {
        let changed = self.changes.into_iter().filter_map(|(path, change)| match change {
            Change::Keep => None,
            Change::Remove => Some((path, None)),
            Change::Put(node) => Some((path, Some(node))),
        });
        let mut changed: Vec<_> = changed.collect();
        if self.unsorted {
            changed.sort_unstable_by_key(|(path, _)| *path);
        }
        changed
    }

    fn reserve(&mut self, path: Nibbles) -> usize {
        self.changes.push((path, Change::Keep));
        self.changes.len() - 1
    }

    /// Notes what the buffer holds as the record for a slot and returns the reference to it.
    fn record(&mut self, slot: usize) -> RlpNode {
        self.changes[slot].1 = Change::Put(Node::new(&self.buffer));
        reference(&self.buffer)
    }

    /// Gives a subtree its final place: returns how the parent refers to it and whether it is a leaf.
    fn place(&mut self, path: &Nibbles, outcome: Outcome<'a>) -> Option<(RlpNode, bool)> {
        match outcome.new {
            New::Branch { at, rlp } if at == *path => return Some((rlp, false)),
            New::Branch { at, rlp } => {
                encode_extension(&at.slice(path.len()..), &rlp, &mut self.buffer);
                return Some((self.record(outcome.slot), false));
            }
            _ if outcome.stood => self.changes[outcome.slot].1 = Change::Remove,
            _ => {}
        }
        let New::Leaf { key, value } = outcome.new else { return None };
        encode_leaf(&key.slice(path.len()..), &value, &mut self.buffer);
        Some((RlpNode::from_rlp(&self.buffer), true))
    }

    /// Applies changes, all of whose keys begin with `path`, to what stood there.
    fn subtree(&mut self, path: Nibbles, old: Old, entries: &'a [Entry]) -> Result<Outcome<'a>, S::Error> {
        let slot = self.reserve(path);
        let stood = matches!(old, Old::Recorded | Old::Node(_));
        let new = match old {
            Old::Nothing => self.build(None, entries)?,
            Old::Known { key, value } => self.leaf(key, value, entries)?,
            Old::Leaf if entries.iter().any(|entry| entry.held) => self.build(None, entries)?,
            Old::Leaf => {
                let (key, value) = self.load_leaf(&path)?;
                self.leaf(key, value, entries)?
            }
            Old::Recorded => {
                let node = self.load(&path)?;
                self.node(path, &node, entries)?
            }
            Old::Node(node) => self.node(path, &node, entries)?,
            Old::Way { to, child } => self.way(to, child, entries)?,
        };
        Ok(Outcome { slot, stood, new })
    }

    fn load(&self, path: &Nibbles) -> Result<Node, S::Error> {
        Ok(self.source.node(path)?.ok_or_else(|| TrieError::new(path, "record is missing"))?)
    }

    fn load_leaf(&self, path: &Nibbles) -> Result<(Nibbles, Vec<u8>), S::Error> {
        let leaf = super::leaf_below(self.source, path)?;
        let leaf = leaf.ok_or_else(|| TrieError::new(path, "flat entry of this leaf is missing"))?;
        Ok((Nibbles::unpack_array(&leaf.key.0), leaf.value))
    }

    /// A leaf stays beside the changes unless one of them is its own.
    fn leaf(&mut self, key: Nibbles, value: Vec<u8>, entries: &'a [Entry]) -> Result<New<'a>, S::Error> {
        let own = entries.binary_search_by(|entry| entry.key.cmp(&key)).is_ok();
        self.build((!own).then_some((key, value)), entries)
    }

    /// Builds a subtree of the changes that set something and, if given, of one leaf beside them.
    fn build(&mut self, leaf: Option<(Nibbles, Vec<u8>)>, entries: &'a [Entry]) -> Result<New<'a>, S::Error> {
        let first = entries.iter().position(|entry| !entry.removes());
        let last = entries.iter().rposition(|entry| !entry.removes());
        // Between the first and the last lie all others, so that these two have the common prefix of all.
        let (first, last) = match (first.zip(last), leaf) {
            (None, None) => return Ok(New::Nothing),
            (None, Some((key, value))) => return Ok(New::Leaf { key, value: value.into() }),
            (Some((only, last)), None) if only == last => {
                let entry = &entries[only];
                return Ok(New::Leaf { key: entry.key, value: self.batch.value(entry).into() });
            }
            (Some((first, last)), None) => (first, last),
            (Some((first, last)), Some((key, value))) => {
                let shared = [first, last].map(|end| entries[end].key.common_prefix_length(&key));
                let depth = shared[0].min(shared[1]);
                let beside = Some((key.get_unchecked(depth), Old::Known { key, value }));
                return self.branch(key.slice(..depth), Branch::default(), beside, &entries[first..=last]);
            }
        };
        let depth = entries[first].key.common_prefix_length(&entries[last].key);
        self.branch(entries[first].key.slice(..depth), Branch::default(), None, &entries[first..=last])
    }

    fn node(&mut self, path: Nibbles, node: &Node, entries: &'a [Entry]) -> Result<New<'a>, S::Error> {
        match node.parse(&path)? {
            Inner::Branch(branch) => self.branch(path, branch, None, entries),
            Inner::Extension { key, child } => self.way(path.join(&key), child, entries),
        }
    }

    /// Applies changes at or above a branch that an extension leads to.
    fn way(&mut self, to: Nibbles, child: RlpNode, entries: &'a [Entry]) -> Result<New<'a>, S::Error> {
        // What leaves the way and removes, removes nothing.
        let shared = entries.iter().filter_map(|entry| {
            let shared = entry.key.common_prefix_length(&to);
            (shared == to.len() || !entry.removes()).then_some(shared)
        });
        let Some(depth) = shared.min() else { return Ok(New::Branch { at: to, rlp: child }) };
        let at = to.slice(..depth);
        let entries = beginning_with(entries, &at);
        if depth < to.len() {
            // A change leaves on the way: a new branch there takes the rest of the way as a child.
            let nibble = to.get_unchecked(depth);
            let mut branch = Branch::default();
            if to.len() == depth + 1 {
                branch.set(nibble, child, false);
                return self.branch(at, branch, None, entries);
            }
            return self.branch(at, branch, Some((nibble, Old::Way { to, child })), entries);
        }
        let Inner::Branch(branch) = self.load(&to)?.parse(&to)? else {
            return Err(TrieError::new(&to, "an extension leads to what is not a branch").into());
        };
        let slot = self.reserve(to);
        let new = self.branch(to, branch, None, entries)?;
        if !matches!(&new, New::Branch { at, .. } if *at == to) {
            self.changes[slot].1 = Change::Remove;
        }
        Ok(new)
    }

    /// Applies changes to a branch; `beside` is one child more, which is not recorded.
    fn branch(
        &mut self,
        path: Nibbles,
        mut branch: Branch,
        beside: Option<(u8, Old)>,
        entries: &'a [Entry],
    ) -> Result<New<'a>, S::Error> {
        if path.len() >= KEY_NIBBLES {
            return Err(TrieError::new(&path, "branch below the depth of keys").into());
        }
        let slot = self.reserve(path);
        let groups = groups(&path, &branch, beside, entries);
        for group in &groups {
            branch.set(group.nibble, RlpNode::default(), false);
        }
        let untouched = branch.children.iter().filter(|child| !child.is_empty()).count();
        let mut present = untouched;
        // The first child is placed when there is a second: an only child takes the branch's place.
        let mut first = None;
        if self.threads > 1 && groups.len() > 1 && entries.len() >= MIN_SHARED {
            for (nibble, outcome) in self.share(path, groups)? {
                self.settle(path, &mut branch, &mut first, &mut present, (nibble, outcome));
            }
        } else {
            for Group { nibble, old, entries } in groups {
                let outcome = self.subtree(below(&path, nibble), old, entries)?;
                self.settle(path, &mut branch, &mut first, &mut present, (nibble, outcome));
            }
        }
        match (present, first) {
            (0, _) => Ok(New::Nothing),
            (1, Some((nibble, Outcome { slot, stood, new }))) => {
                let own = matches!(&new, New::Branch { at, .. } if *at == below(&path, nibble));
                if stood && !own {
                    self.changes[slot].1 = Change::Remove;
                }
                Ok(new)
            }
            (1, None) => self.collapse(path, &branch),
            _ => {
                branch.encode(&mut self.buffer);
                Ok(New::Branch { at: path, rlp: self.record(slot) })
            }
        }
    }

    /// Takes a child's outcome into its branch.
    fn settle(
        &mut self,
        path: Nibbles,
        branch: &mut Branch,
        first: &mut Option<(u8, Outcome<'a>)>,
        present: &mut usize,
        (nibble, outcome): (u8, Outcome<'a>),
    ) {
        let stays = !matches!(outcome.new, New::Nothing);
        if stays && *present == 0 {
            *present = 1;
            *first = Some((nibble, outcome));
            return;
        }
        *present += usize::from(stays);
        let earlier = if stays { first.take() } else { None };
        for (nibble, outcome) in earlier.into_iter().chain([(nibble, outcome)]) {
            if let Some((rlp, leaf)) = self.place(&below(&path, nibble), outcome) {
                branch.set(nibble, rlp, leaf);
            }
        }
    }

    /// A branch with one child left, which nothing has touched, gives way to the child.
    fn collapse(&mut self, path: Nibbles, branch: &Branch) -> Result<New<'a>, S::Error> {
        let only = (0u8..).zip(&branch.children).find(|(_, child)| !child.is_empty());
        let Some((nibble, rlp)) = only else { return Ok(New::Nothing) };
        let at = below(&path, nibble);
        if branch.is_leaf(nibble) {
            let (key, value) = self.load_leaf(&at)?;
            return Ok(New::Leaf { key, value: value.into() });
        }
        match self.load(&at)?.parse(&at)? {
            Inner::Branch(_) => Ok(New::Branch { at, rlp: rlp.clone() }),
            Inner::Extension { key, child } => {
                self.unsorted = true;
                self.changes.push((at, Change::Remove));
                Ok(New::Branch { at: at.join(&key), rlp: child })
            }
        }
    }

    /// Applies the changes below a branch on several threads.
    fn share(&mut self, path: Nibbles, groups: Vec<Group<'a>>) -> Result<Vec<(u8, Outcome<'a>)>, S::Error> {
        let (source, batch) = (self.source, self.batch);
        let run = |groups: Vec<Group<'a>>| {
            let mut worker = Worker::new(source, batch, 1);
            let outcomes = groups.into_iter().map(|Group { nibble, old, entries }| {
                worker.subtree(below(&path, nibble), old, entries).map(|outcome| (nibble, outcome))
            });
            let outcomes: Result<Vec<_>, S::Error> = outcomes.collect();
            outcomes.map(|outcomes| (outcomes, worker))
        };
        let shares = super::threads::in_shares(groups, self.threads, |group| group.entries.len(), run);
        let mut all = Vec::with_capacity(WIDTH);
        for share in shares {
            let (outcomes, worker) = share?;
            let base = self.changes.len();
            self.changes.extend(worker.changes);
            self.unsorted |= worker.unsorted;
            all.extend(outcomes.into_iter().map(|(nibble, outcome)| {
                let slot = base + outcome.slot;
                (nibble, Outcome { slot, ..outcome })
            }));
        }
        Ok(all)
    }
}

/// The path of a branch's child.
pub(super) fn below(path: &Nibbles, nibble: u8) -> Nibbles {
    let mut path = *path;
    path.push(nibble);
    path
}

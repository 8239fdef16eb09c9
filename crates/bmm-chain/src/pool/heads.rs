//! The first transaction of every sender, the best for a producer first, at whatever base fee.
//!
//! A transaction of highest fee F and highest tip T pays the producer min(T, F − b) per gas at the base fee b: T as long as
//! b ≤ F − T, and F − b above that. So the set is a search tree over F − T whose nodes know the best T and the best F below them:
//! b cuts it in two, one part is ordered by T, the other by F, and a new base fee costs nothing. The tree is a treap
//! (Seidel and Aragon 1996) of shared nodes: a clone is the set as it stands, made at once, and read without a lock.

use super::{Fees, PoolTransaction};
use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
};

/// F − T, then the order of arrival, which no two transactions share.
type Key = (u128, u64);

/// A value and the order of arrival: the higher value is better, of equals the earlier.
type Value = (u128, Reverse<u64>);

type Link = Option<Arc<Node>>;

#[derive(Clone, Debug)]
struct Node {
    key: Key,
    /// Parents have higher ones than children. Random, so that nobody can send transactions that make the tree deep.
    priority: u64,
    fees: Fees,
    tx: Arc<PoolTransaction>,
    left: Link,
    right: Link,
    /// The best tip and the best fee of this node and all below it.
    best_tip: Value,
    best_fee: Value,
}

impl Node {
    const fn tip(&self) -> Value {
        (self.fees.tip, Reverse(self.key.1))
    }

    const fn fee(&self) -> Value {
        (self.fees.fee, Reverse(self.key.1))
    }

    /// Works out what is best below, after a child has changed.
    fn update(&mut self) {
        (self.best_tip, self.best_fee) = (self.tip(), self.fee());
        for child in [&self.left, &self.right].into_iter().flatten() {
            self.best_tip = self.best_tip.max(child.best_tip);
            self.best_fee = self.best_fee.max(child.best_fee);
        }
    }
}

/// The set. Depth of recursion is the tree's depth: some 2 · ln(n).
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    root: Link,
    random: RandomState,
}

impl Heads {
    /// Puts a transaction in.
    pub fn insert(&mut self, tx: Arc<PoolTransaction>) {
        let fees = Fees::of(&tx.transaction);
        let key = (fees.turn(), tx.arrival);
        let priority = self.random.hash_one(tx.arrival);
        let (best_tip, best_fee) = ((fees.tip, Reverse(key.1)), (fees.fee, Reverse(key.1)));
        let node = Node { key, priority, fees, tx, left: None, right: None, best_tip, best_fee };
        self.root = Some(insert(self.root.take(), node));
    }

    /// Takes a transaction out.
    pub fn remove(&mut self, tx: &PoolTransaction) {
        let key = (Fees::of(&tx.transaction).turn(), tx.arrival);
        self.root = remove(self.root.take(), key);
    }

    /// Whether one of them pays the base fee.
    pub fn any_pays(&self, base_fee: u64) -> bool {
        self.root.as_ref().is_some_and(|root| root.best_fee.0 >= u128::from(base_fee))
    }
}

fn insert(link: Link, mut new: Node) -> Arc<Node> {
    let Some(mut arc) = link else { return Arc::new(new) };
    if new.priority > arc.priority {
        (new.left, new.right) = split(Some(arc), new.key);
        new.update();
        return Arc::new(new);
    }
    let node = Arc::make_mut(&mut arc);
    let child = if new.key < node.key { &mut node.left } else { &mut node.right };
    *child = Some(insert(child.take(), new));
    node.update();
    arc
}

fn remove(link: Link, key: Key) -> Link {
    let mut arc = link?;
    let node = Arc::make_mut(&mut arc);
    match key.cmp(&node.key) {
        Ordering::Less => node.left = remove(node.left.take(), key),
        Ordering::Greater => node.right = remove(node.right.take(), key),
        Ordering::Equal => return merge(node.left.take(), node.right.take()),
    }
    node.update();
    Some(arc)
}

/// Parts a tree into the keys below `key` and the others.
fn split(link: Link, key: Key) -> (Link, Link) {
    let Some(mut arc) = link else { return (None, None) };
    let node = Arc::make_mut(&mut arc);
    if node.key < key {
        let (below, above) = split(node.right.take(), key);
        node.right = below;
        node.update();
        (Some(arc), above)
    } else {
        let (below, above) = split(node.left.take(), key);
        node.left = above;
        node.update();
        (below, Some(arc))
    }
}

/// Joins two trees, all keys of the first being below those of the second.
fn merge(first: Link, second: Link) -> Link {
    let (mut first, mut second) = match (first, second) {
        (Some(first), Some(second)) => (first, second),
        (one, other) => return one.or(other),
    };
    if first.priority > second.priority {
        let node = Arc::make_mut(&mut first);
        node.right = merge(node.right.take(), Some(second));
        node.update();
        Some(first)
    } else {
        let node = Arc::make_mut(&mut second);
        node.left = merge(Some(first), node.left.take());
        node.update();
        Some(second)
    }
}

/// What is to be looked at next, ordered by the best that may be in it.
#[derive(Debug)]
struct Open {
    bound: Value,
    part: Part,
}

/// Nodes of the tree, as the base fee cuts it.
#[derive(Debug)]
enum Part {
    /// One transaction.
    One(Arc<PoolTransaction>),
    /// A subtree in which all give their whole tip.
    ByTip(Arc<Node>),
    /// A subtree in which all give what is left of their fee.
    ByFee(Arc<Node>),
    /// A subtree with both: at most one on each level.
    Mixed(Arc<Node>),
}

/// How a child is listed.
type Subtree = fn(Arc<Node>) -> Part;

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.cmp(&other.bound)
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.bound == other.bound
    }
}

impl Eq for Open {}

/// Goes through the transactions that pay the base fee: the highest tip first, of equals the earlier. Each costs O(log n).
#[derive(Debug)]
pub(super) struct Walk {
    base_fee: u128,
    open: BinaryHeap<Open>,
}

impl Walk {
    /// Begins at the best one.
    pub fn new(heads: &Heads, base_fee: u64) -> Self {
        let mut walk = Self { base_fee: base_fee.into(), open: BinaryHeap::new() };
        if let Some(root) = &heads.root {
            walk.push(Part::Mixed(root.clone()));
        }
        walk
    }

    /// Returns the tip and arrival of the next one, if there is one.
    pub fn peek(&mut self) -> Option<Value> {
        loop {
            let top = self.open.peek()?;
            if matches!(top.part, Part::One(_)) {
                return Some(top.bound);
            }
            let subtree = self.open.pop()?;
            self.expand(subtree.part);
        }
    }

    /// Returns the next one.
    pub fn next(&mut self) -> Option<Arc<PoolTransaction>> {
        self.peek()?;
        match self.open.pop()?.part {
            Part::One(tx) => Some(tx),
            _ => None,
        }
    }

    /// Opens a subtree: its root, and what lies below on both sides.
    fn expand(&mut self, part: Part) {
        let (node, left, right): (Arc<Node>, Subtree, Subtree) = match part {
            Part::One(_) => return,
            Part::ByTip(node) => (node, Part::ByTip, Part::ByTip),
            Part::ByFee(node) => (node, Part::ByFee, Part::ByFee),
            Part::Mixed(node) if node.key.0 >= self.base_fee => (node, Part::Mixed, Part::ByTip),
            Part::Mixed(node) => (node, Part::ByFee, Part::Mixed),
        };
        if let Some(tip) = node.fees.effective_tip(self.base_fee) {
            self.open.push(Open { bound: (tip, Reverse(node.key.1)), part: Part::One(node.tx.clone()) });
        }
        if let Some(child) = &node.left {
            self.push(left(child.clone()));
        }
        if let Some(child) = &node.right {
            self.push(right(child.clone()));
        }
    }

    /// Lists a subtree, unless nothing in it pays the base fee.
    fn push(&mut self, part: Part) {
        let after_fee = |node: &Node| {
            let (fee, arrival) = node.best_fee;
            fee.checked_sub(self.base_fee).map(|tip| (tip, arrival))
        };
        let bound = match &part {
            Part::One(_) => None,
            Part::ByTip(node) => Some(node.best_tip),
            Part::ByFee(node) => after_fee(node),
            // No better than this, and to be opened before whatever is as good.
            Part::Mixed(node) => after_fee(node).map(|(tip, _)| (tip.min(node.best_tip.0), Reverse(0))),
        };
        if let Some(bound) = bound {
            self.open.push(Open { bound, part });
        }
    }
}

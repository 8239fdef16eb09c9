//! The rules of finality, checked on every set of bets that four footstones of equal weight can sign on two branches.
//!
//! Accountable safety: whenever two checkpoints are final of which neither descends from the other, footstones with at least a third of the weight have
//! signed bets that contradict each other. What is searched for is the contrary, so few guilty ones that they have less than a third. Two things make
//! the search small. More bets never make less final: so whoever is guilty may have signed everything, and of the innocent only those sets of bets
//! matter to which none can be added (`short_branches_by_brute_force` does without this second part). And footstones of equal weight can change places.

use alloy_primitives::{Address, B256, U256};
use bmm_types::{
    finality::{Offence, is_quorum, offence},
    system::Bet,
};

const FOOTSTONES: u32 = 4;

/// A bet as the model knows it: both ends on one branch. Ends at or below the fork lie on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    branch: u8,
    source: u64,
    target: u64,
}

/// Two branches that part after the checkpoint `fork`, each up to the checkpoint `top`.
struct Tree {
    fork: u64,
    links: Vec<Link>,
    /// For each link, those that it is an offence to sign beside it, as bits.
    offending: Vec<u32>,
}

impl Tree {
    fn new(fork: u64, top: u64, counts: impl Fn(Offence) -> bool) -> Self {
        let mut links = Vec::new();
        for target in 1..=top {
            for branch in if target <= fork { 0..1 } else { 0..2 } {
                links.extend((0..target).map(|source| Link { branch, source, target }));
            }
        }
        let against = |a: &Link| {
            let bits = links.iter().enumerate().map(|(bit, b)| {
                let offends = offence(&bet(fork, *a), &bet(fork, *b)).is_some_and(&counts);
                u32::from(offends) << bit
            });
            bits.fold(0, |mask, bit| mask | bit)
        };
        let offending = links.iter().map(against).collect();
        Self { fork, links, offending }
    }

    /// Returns all sets of bets without an offence; with `most` only those to which none can be added.
    fn innocent(&self, most: bool) -> Vec<u32> {
        let against = |set: u32| bits(set).fold(0, |mask, bit| mask | self.offending[bit]);
        let all = 1u32 << self.links.len();
        let is_most =
            |set: u32| (0..self.links.len()).all(|bit| (set | self.offending_or_in(set, bit)) >> bit & 1 == 1);
        (0..all).rev().filter(|set| against(*set) & set == 0 && (!most || is_most(*set))).collect()
    }

    /// Returns the bit of a link if it cannot be added to `set`.
    fn offending_or_in(&self, set: u32, bit: usize) -> u32 {
        u32::from(self.offending[bit] & set != 0) << bit
    }

    /// Whether two conflicting checkpoints are final, `carried` being the links with a quorum.
    fn conflicts(&self, carried: u32) -> bool {
        let mut highest = [false; 2];
        for (branch, found) in (0u8..).zip(&mut highest) {
            // Bit c: the checkpoint c of the branch is justified. Links are in the order of their targets.
            let mut justified = 1u64;
            for bit in bits(carried) {
                let link = self.links[bit];
                let on_branch = link.branch == branch || link.target <= self.fork;
                if on_branch && justified >> link.source & 1 == 1 {
                    justified |= 1 << link.target;
                    *found |= link.source > self.fork && link.source + 1 == link.target;
                }
            }
        }
        highest == [true; 2]
    }

    /// Looks for conflicting final checkpoints for which less than a third of the weight is guilty. `quorum` says how many footstones carry a link.
    fn counterexample(&self, innocent: &[u32], quorum: u32) -> Option<[u32; 3]> {
        let everything = (1u32 << self.links.len()) - 1;
        for (i, a) in innocent.iter().enumerate() {
            for (j, b) in innocent.iter().enumerate().skip(i) {
                for c in &innocent[j..] {
                    let carried = carried([*a, *b, *c, everything], quorum);
                    if self.conflicts(carried) {
                        return Some([*a, *b, *c]);
                    }
                }
            }
        }
        None
    }
}

fn bits(mut set: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (bit < 32).then_some(bit as usize)
    })
}

/// Returns the links that at least `quorum` of the footstones have a bet on.
fn carried(sets: [u32; FOOTSTONES as usize], quorum: u32) -> u32 {
    let mut at_least = [0u32; FOOTSTONES as usize + 1];
    at_least[0] = u32::MAX;
    for set in sets {
        for count in (1..at_least.len()).rev() {
            at_least[count] |= at_least[count - 1] & set;
        }
    }
    at_least[quorum as usize]
}

/// The real bet that a link stands for.
fn bet(fork: u64, link: Link) -> Bet {
    let id = |number: u64| {
        let branch = if number <= fork { 0 } else { link.branch };
        B256::from(U256::from(number) + (U256::from(branch) << 64) + (U256::ONE << 128))
    };
    Bet {
        footstone: Address::repeat_byte(1),
        source: link.source,
        sourceHash: id(link.source),
        target: link.target,
        targetHash: id(link.target),
        amount: U256::ONE,
    }
}

/// Fewest of four equal footstones that are a quorum by the rule of the chain.
fn real_quorum() -> u32 {
    (0..=FOOTSTONES).find(|n| is_quorum(U256::from(*n), U256::from(FOOTSTONES))).expect("all are a quorum")
}

/// One guilty footstone of four has less than a third of the weight, two have not: so the search is for one.
#[test]
fn one_of_four_is_less_than_a_third() {
    const { assert!(3 < FOOTSTONES && 3 * 2 >= FOOTSTONES) };
    assert_eq!(real_quorum(), 3);
}

/// Three checkpoint numbers, every set of bets of the three innocent footstones.
#[test]
fn short_branches_by_brute_force() {
    for fork in 0..2 {
        let tree = Tree::new(fork, 3, |_| true);
        let innocent = tree.innocent(false);
        assert_eq!(tree.counterexample(&innocent, real_quorum()), None, "branches part after checkpoint {fork}");
    }
}

/// Four checkpoint numbers: the fewest at which the rule against surrounding bets has something to forbid.
#[test]
fn conflicting_finality_has_a_third_of_guilty() {
    for fork in 0..3 {
        let tree = Tree::new(fork, 4, |_| true);
        let innocent = tree.innocent(true);
        assert!(innocent.len() > 1);
        assert_eq!(tree.counterexample(&innocent, real_quorum()), None, "branches part after checkpoint {fork}");
    }
}

/// The search finds what there is to find: each rule taken away leaves two final branches with less than a third guilty.
#[test]
fn without_one_of_the_rules_there_is_a_counterexample() {
    let without = |top, counts: fn(Offence) -> bool, quorum| {
        let tree = Tree::new(0, top, counts);
        let found = tree.counterexample(&tree.innocent(true), quorum);
        found.inspect(|sets| assert!(tree.conflicts(carried([sets[0], sets[1], sets[2], u32::MAX], quorum))))
    };
    assert!(without(3, |offence| offence != Offence::Double, 3).is_some());
    assert!(without(4, |offence| offence != Offence::Surround, 3).is_some());
    // With fewer numbers nothing surrounds what matters.
    assert!(without(3, |offence| offence != Offence::Surround, 3).is_none());
    assert!(without(3, |_| true, 2).is_some(), "a quorum of a half");
}

/// Final means the next checkpoint: were a checkpoint final by a link to any later one, two branches could be with nobody guilty.
#[test]
fn a_longer_link_does_not_make_final() {
    let tree = Tree::new(0, 3, |_| true);
    let link = |branch, source, target| {
        let place = tree.links.iter().position(|link| *link == Link { branch, source, target });
        1u32 << place.expect("a link of the tree")
    };
    assert!(!tree.conflicts(link(0, 0, 1) | link(0, 1, 3) | link(1, 0, 1) | link(1, 1, 2)));
    assert!(tree.conflicts(link(0, 0, 1) | link(0, 1, 2) | link(1, 0, 1) | link(1, 1, 2)));
}

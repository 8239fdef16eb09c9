//! The book of bets: what footstones have bet, as far as it may still count, and who contradicted itself.
//!
//! It is bounded whatever is said to it: only footstones that the node knows have a page, a page has at most [`MAX_BETS_OF_ONE`] bets, and
//! bets far below the final checkpoint go.

use super::SignedBet;
use alloy_primitives::{Address, B256, U256};
use bmm_ledger::rights::{Checkpoint, Members};
use bmm_types::finality::offence;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Bets that are kept of one footstone.
pub const MAX_BETS_OF_ONE: usize = 256;
/// Links to one number that are kept of one footstone.
const MAX_LINKS: usize = 4;
/// How often the network may raise one bet; raises that blocks hold are bounded by their price.
const MAX_RAISES: u8 = 16;
/// Checkpoints below the final one whose bets are kept, to report what was lost and to show it to who was away.
pub const KEPT_BELOW: u64 = 64;
/// Checkpoints above the head's that may be bet on: others may be that far ahead.
pub const KEPT_ABOVE: u64 = 4_096;

/// What became of a bet that was said to the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is new, or higher than before.
    New,
    /// It contradicts another of its footstone, which nobody had shown yet.
    Offence,
    /// Nothing new.
    Known,
    /// Nothing that can be judged here: of nobody known, too far away, or raised too often.
    Unfit,
    /// It is not signed by its footstone, or can never count.
    Rubbish,
}

/// Where a bet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A block or a transaction, which costs its sender something.
    Chain,
    /// A message.
    Network,
}

/// A link's place on a page: target and source with their ids.
type Link = (u64, B256, u64, B256);

#[derive(Clone, Debug)]
struct Entry {
    signed: SignedBet,
    raises: u8,
}

/// What is known of one footstone.
#[derive(Clone, Debug, Default)]
struct Page {
    bets: BTreeMap<Link, Entry>,
    /// Two bets that contradict each other.
    evidence: Option<(SignedBet, SignedBet)>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct BetBook {
    pages: HashMap<Address, Page>,
    /// Who was slashed: their bets count nothing.
    slashed: HashSet<Address>,
    /// Numbers of checkpoints whose bets are kept.
    lowest: u64,
    highest: u64,
    /// Counts up with every change.
    version: u64,
}

impl BetBook {
    /// Has the book keep the bets of `footstones` on checkpoints around the final one and the head's.
    pub fn keep(&mut self, footstones: impl Iterator<Item = Address>, finalised: u64, head: u64) {
        (self.lowest, self.highest) = (finalised.saturating_sub(KEPT_BELOW), head.saturating_add(KEPT_ABOVE));
        let mut pages: HashMap<Address, Page> = HashMap::new();
        for footstone in footstones {
            let page = self.pages.remove(&footstone);
            pages.entry(footstone).or_insert_with(|| page.unwrap_or_default());
        }
        for page in pages.values_mut() {
            page.bets = page.bets.split_off(&from(self.lowest));
        }
        self.pages = pages;
    }

    /// Has the book take bets of further footstones.
    pub fn admit(&mut self, footstones: impl Iterator<Item = Address>) {
        for footstone in footstones {
            self.pages.entry(footstone).or_default();
        }
    }

    /// Counts no bets of these footstones.
    pub fn leave_out(&mut self, slashed: HashSet<Address>) {
        self.slashed = slashed;
    }

    /// Counts up with every bet that is taken.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Looks at a bet as far as that is cheap: `None` if its signature must be looked at.
    pub fn weigh(&self, signed: &SignedBet, origin: Origin) -> Option<Heard> {
        let bet = &signed.bet;
        if !signed.is_sound() {
            return Some(Heard::Rubbish);
        }
        if !(self.lowest..=self.highest).contains(&bet.target) {
            return Some(Heard::Unfit);
        }
        let Some(page) = self.pages.get(&bet.footstone) else { return Some(Heard::Unfit) };
        match page.bets.get(&link(signed)) {
            Some(entry) if entry.signed.bet.amount >= bet.amount => Some(Heard::Known),
            Some(entry) if origin == Origin::Network && entry.raises >= MAX_RAISES => Some(Heard::Unfit),
            _ => None,
        }
    }

    /// Takes a bet whose signature is good.
    pub fn take(&mut self, signed: SignedBet, origin: Origin) -> Heard {
        if let Some(heard) = self.weigh(&signed, origin) {
            return heard;
        }
        let Some(page) = self.pages.get_mut(&signed.bet.footstone) else { return Heard::Unfit };
        let mut heard = Heard::New;
        if page.evidence.is_none()
            && let Some(other) = page.bets.values().find(|entry| offence(&entry.signed.bet, &signed.bet).is_some())
        {
            page.evidence = Some((other.signed.clone(), signed.clone()));
            heard = Heard::Offence;
        }
        let key = link(&signed);
        if let Some(entry) = page.bets.get_mut(&key) {
            entry.raises = entry.raises.saturating_add(1);
            entry.signed = signed;
        } else {
            if page.bets.range(from(key.0)..).take_while(|(other, _)| other.0 == key.0).count() >= MAX_LINKS {
                return if heard == Heard::New { Heard::Unfit } else { heard };
            }
            if page.bets.len() >= MAX_BETS_OF_ONE {
                page.bets.pop_first();
            }
            page.bets.insert(key, Entry { signed, raises: 0 });
        }
        self.version = self.version.wrapping_add(1);
        heard
    }

    /// Returns what members have bet on a link, each counted with at most its weight.
    pub fn amount(&self, source: Checkpoint, target: Checkpoint, members: &Members) -> U256 {
        let bet_of = |footstone: &Address| {
            let key = (target.number, target.id, source.number, source.id);
            Some(self.pages.get(footstone)?.bets.get(&key)?.signed.bet.amount)
        };
        let counting = members.members.iter().filter(|(footstone, _)| !self.slashed.contains(footstone));
        counting.fold(U256::ZERO, |sum, (footstone, weight)| {
            let amount = bet_of(footstone).unwrap_or_default();
            sum.saturating_add(amount.min(*weight))
        })
    }

    /// Returns all that is bet on a target, from whatever source.
    pub fn amount_on(&self, target: Checkpoint) -> U256 {
        let bets = self
            .pages
            .values()
            .flat_map(|page| page.bets.range(from(target.number)..).take_while(|(key, _)| key.0 == target.number));
        let on_it = bets.filter(|(key, _)| key.1 == target.id);
        on_it.fold(U256::ZERO, |sum, (_, entry)| sum.saturating_add(entry.signed.bet.amount))
    }

    /// Returns the source of the link to a target on which most is bet.
    pub fn link_to(&self, target: Checkpoint) -> Option<Checkpoint> {
        let mut amounts: BTreeMap<(u64, B256), U256> = BTreeMap::new();
        for page in self.pages.values() {
            for (key, entry) in page.bets.range(from(target.number)..).take_while(|(key, _)| key.0 == target.number) {
                if key.1 == target.id {
                    let amount = amounts.entry((key.2, key.3)).or_default();
                    *amount = amount.saturating_add(entry.signed.bet.amount);
                }
            }
        }
        let most = amounts.into_iter().max_by_key(|(_, amount)| *amount);
        most.map(|((number, id), _)| Checkpoint { number, id })
    }

    /// Returns the links (target, source) that somebody has bet on with targets above a number, lower targets first.
    pub fn links_above(&self, number: u64) -> Vec<(Checkpoint, Checkpoint)> {
        let first = from(number.saturating_add(1));
        let keys: BTreeSet<Link> =
            self.pages.values().flat_map(|page| page.bets.range(first..)).map(|(key, _)| *key).collect();
        let checkpoint = |number: u64, id: B256| Checkpoint { number, id };
        keys.into_iter().map(|key| (checkpoint(key.0, key.1), checkpoint(key.2, key.3))).collect()
    }

    /// Returns up to `most` bets with targets from a number on, lower ones first; the same bets always in the same order.
    pub fn bets_from(&self, number: u64, most: usize) -> Vec<SignedBet> {
        let mut bets: Vec<&SignedBet> = self
            .pages
            .values()
            .flat_map(|page| page.bets.range(from(number)..))
            .map(|(_, entry)| &entry.signed)
            .collect();
        bets.sort_unstable_by_key(|signed| (link(signed), signed.bet.footstone));
        bets.into_iter().take(most).cloned().collect()
    }

    /// Returns the bets of one footstone, lower targets first.
    pub fn bets_of(&self, footstone: Address) -> Vec<SignedBet> {
        let page = self.pages.get(&footstone);
        page.map(|page| page.bets.values().map(|entry| entry.signed.clone()).collect()).unwrap_or_default()
    }

    /// Returns pairs of bets that contradict each other, one for each footstone that did so, in the order of their addresses.
    pub fn evidence(&self) -> Vec<(SignedBet, SignedBet)> {
        let mut pairs: Vec<_> = self.pages.values().filter_map(|page| page.evidence.clone()).collect();
        pairs.sort_unstable_by_key(|(first, _)| first.bet.footstone);
        pairs
    }
}

const fn link(signed: &SignedBet) -> Link {
    let bet = &signed.bet;
    (bet.target, bet.targetHash, bet.source, bet.sourceHash)
}

/// The least place of links to a number.
const fn from(target: u64) -> Link {
    (target, B256::ZERO, 0, B256::ZERO)
}

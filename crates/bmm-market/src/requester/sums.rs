//! Sums and orders over all providers, kept up by what each provider changes, so that an event costs the same with ten
//! thousand providers as with ten.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use bmm_types::Amount;

use super::peers::Peer;
use crate::Micros;

/// The providers by number. Whoever is taken mutably is noted, and [`Sums`] follow before they are read.
#[derive(Default)]
pub(super) struct List {
    peers: Vec<Peer>,
    /// Numbers of those that may have changed, each once.
    touched: Vec<usize>,
}

impl List {
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Peer> {
        self.peers.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Peer> {
        self.touch_all();
        self.peers.iter_mut()
    }

    pub fn push(&mut self, peer: Peer) {
        self.peers.push(peer);
        self.touch(self.peers.len() - 1);
    }

    /// Returns how many may have changed since [`Self::settle`].
    pub fn touched(&self) -> usize {
        self.touched.len()
    }

    pub fn touch_all(&mut self) {
        (0..self.peers.len()).for_each(|number| self.touch(number));
    }

    fn touch(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        if !std::mem::replace(&mut peer.touched, true) {
            self.touched.push(number);
        }
    }

    /// Brings the sums up to date.
    pub fn settle(&mut self, sums: &mut Sums, terms: Terms) {
        while let Some(number) = self.touched.pop() {
            let peer = &mut self.peers[number];
            peer.touched = false;
            peer.reckon(terms.dearest);
            let part = Part::of(peer, terms.audits);
            let before = std::mem::replace(&mut peer.part, part);
            if before != part {
                sums.replace(number, &before, &part);
            }
        }
    }
}

impl Index<usize> for List {
    type Output = Peer;

    fn index(&self, number: usize) -> &Peer {
        &self.peers[number]
    }
}

impl IndexMut<usize> for List {
    fn index_mut(&mut self, number: usize) -> &mut Peer {
        self.touch(number);
        &mut self.peers[number]
    }
}

/// What the sums depend on besides the providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Fuel and bytes of the dearest task that is to be reckoned with.
    pub dearest: (u64, u64),
    /// Whether the job draws audits, so that unknown providers may have little unverified work.
    pub audits: bool,
}

/// What one provider adds to the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one yes or no about one provider")]
pub(super) struct Part {
    running: u64,
    pending: u64,
    usable: bool,
    slots: u64,
    engaged: bool,
    nanos: u64,
    waiting: bool,
    told: bool,
    spare: u64,
    reserved: Amount,
}

impl Part {
    fn of(peer: &Peer, audits: bool) -> Self {
        let usable = peer.is_usable();
        let offered = peer.offer.as_ref().map_or(0, |offer| u64::from(offer.slots));
        let recallable = usable && peer.recall_from != Micros::MAX;
        let open = peer.out.saturating_add(peer.standing.pending);
        let reserved = if open == 0 { None } else { peer.dearest_cost.mul_div(open.into(), 1) };
        Self {
            running: peer.out,
            pending: peer.standing.pending,
            usable,
            slots: if usable { offered } else { 0 },
            engaged: peer.is_engaged(),
            nanos: peer.task_nanos,
            waiting: usable && peer.waiting.is_some_and(|slots| !audits || peer.unproven_room(slots) > 0),
            told: peer.connected && (peer.owed || peer.news),
            spare: if recallable { peer.out.saturating_sub(offered) } else { 0 },
            reserved: reserved.unwrap_or_default(),
        }
    }
}

/// Sums over all providers of a job.
#[derive(Default)]
pub(super) struct Sums {
    /// Runs that are out.
    pub running: u64,
    /// Results that wait for verification.
    pub pending: u64,
    /// Providers that may get work.
    pub usable: usize,
    /// Their slots.
    pub slots: u64,
    /// Providers that are to be paid or may have to be.
    pub engaged: usize,
    /// What everything that is out or not verified costs at most, at its providers' prices.
    pub reserved: Amount,
    /// Providers that may get work and ask for it.
    pub waiting: BTreeSet<usize>,
    /// Providers that are to be told how they stand.
    pub told: BTreeSet<usize>,
    /// Providers that have more out than their slots run, by how much more.
    pub spare: BTreeSet<(u64, usize)>,
    nanos: u128,
    measured: u64,
}

fn swap<T: Ord>(set: &mut BTreeSet<T>, before: Option<T>, after: Option<T>) {
    if before != after {
        before.map(|before| set.remove(&before));
        after.map(|after| set.insert(after));
    }
}

impl Sums {
    fn replace(&mut self, number: usize, before: &Part, after: &Part) {
        self.running = self.running - before.running + after.running;
        self.pending = self.pending - before.pending + after.pending;
        self.usable = self.usable - usize::from(before.usable) + usize::from(after.usable);
        self.slots = self.slots - before.slots + after.slots;
        self.engaged = self.engaged - usize::from(before.engaged) + usize::from(after.engaged);
        // Prices are at most 10^27 units for 10^9 fuel, so that the sum stays far below 2^256.
        self.reserved = self.reserved.saturating_sub(before.reserved);
        self.reserved = self.reserved.checked_add(after.reserved).unwrap_or(self.reserved);
        self.nanos = self.nanos - u128::from(before.nanos) + u128::from(after.nanos);
        self.measured = self.measured - u64::from(before.nanos > 0) + u64::from(after.nanos > 0);
        let number_if = |holds: bool| holds.then_some(number);
        swap(&mut self.waiting, number_if(before.waiting), number_if(after.waiting));
        swap(&mut self.told, number_if(before.told), number_if(after.told));
        let spare = |part: &Part| (part.spare > 0).then_some((part.spare, number));
        swap(&mut self.spare, spare(before), spare(after));
    }

    /// Returns the mean measured time of a task over the providers, nanoseconds.
    pub fn task_nanos(&self) -> Option<u64> {
        let mean = self.nanos.checked_div(self.measured.into())?;
        Some(u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_follow_every_change(changes in prop::collection::vec((0usize..5, 0u8..8, 0u64..100), 0..100)) {
            let (mut list, mut sums) = (List::default(), Sums::default());
            (0..5).for_each(|_| list.push(Peer::new(Address::ZERO)));
            for (number, what, value) in changes {
                let peer = &mut list[number];
                match what {
                    0 => peer.out = value,
                    1 => peer.standing.pending = value,
                    2 => peer.task_nanos = value,
                    3 => peer.waiting = (value > 50).then_some(1),
                    4 => peer.connected = value > 50,
                    5 => peer.news = value > 50,
                    6 => peer.prices.per_gfuel = Amount::from_units(value.into()),
                    _ => list.iter_mut().for_each(|peer| peer.owed = value > 90),
                }
                if value % 3 > 0 {
                    continue;
                }
                list.settle(&mut sums, Terms { dearest: (1_000_000_000, 0), audits: false });
                prop_assert_eq!(sums.running, list.iter().map(|peer| peer.out).sum::<u64>());
                prop_assert_eq!(sums.pending, list.iter().map(|peer| peer.standing.pending).sum::<u64>());
                prop_assert_eq!(sums.engaged, list.iter().filter(|peer| peer.is_engaged()).count());
                let nanos: Vec<u64> = list.iter().map(|peer| peer.task_nanos).filter(|nanos| *nanos > 0).collect();
                prop_assert_eq!(sums.task_nanos(), nanos.iter().sum::<u64>().checked_div(nanos.len() as u64));
                let told = (0..5).filter(|at| list[*at].connected && (list[*at].news || list[*at].owed));
                prop_assert_eq!(&sums.told, &told.collect::<BTreeSet<_>>());
                let cost = |peer: &Peer| u128::from(peer.out + peer.standing.pending) * peer.prices.per_gfuel.units().to::<u128>();
                prop_assert_eq!(sums.reserved, Amount::from_units(list.iter().map(cost).sum()));
            }
        }
    }
}

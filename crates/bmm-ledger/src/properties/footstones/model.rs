//! The footstones' rules once more, over plain maps, for comparison: nothing is added up that could be counted anew.

use alloy_primitives::{Address, U256};
use bmm_types::{
    params::FootstoneRules,
    system::{LOST_BET_WAIT, MICRO, footstone_state as state},
};
use std::collections::{BTreeMap, BTreeSet};

/// 1 BMM.
const BMM: u128 = 1_000_000_000_000_000_000;

/// Why something does not happen; the tests compare whether, not why.
pub(super) struct Refused;

/// Returns `value · part / whole`, rounded down.
fn share(value: u128, part: u128, whole: u128) -> u128 {
    (U256::from(value) * U256::from(part) / U256::from(whole)).to()
}

/// Refuses unless `holds`.
fn must(holds: bool) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused) }
}

#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) state: u8,
    pub(super) bond: u128,
    pub(super) free_at: u64,
    pub(super) last_target: u64,
    pub(super) candidate: bool,
}

#[derive(Clone, Default)]
pub(super) struct Set {
    pub(super) weights: BTreeMap<Address, u128>,
    pub(super) made_weight: u128,
    /// Block at which it was made.
    pub(super) made: u64,
}

impl Set {
    fn weight(&self) -> u128 {
        self.weights.values().sum()
    }

    fn is_worn_out(&self) -> bool {
        self.weight() * 2 <= self.made_weight
    }

    fn of(&self, who: Address) -> u128 {
        self.weights.get(&who).copied().unwrap_or(0)
    }
}

#[derive(Clone)]
struct Bet {
    source: u64,
    amount: u128,
    rewarded: u128,
    paid: bool,
    /// First block of the epoch in which it was brought last.
    turn: u64,
}

/// A bet as it is brought: its ends, whether they are blocks of this chain, the amount, and whether the signature is its footstone's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brought {
    pub(super) who: Address,
    pub(super) source: u64,
    pub(super) target: u64,
    pub(super) known: bool,
    pub(super) amount: u128,
    pub(super) signed: bool,
}

#[derive(Clone)]
pub(super) struct Model {
    pub(super) rules: FootstoneRules,
    pub(super) epoch_blocks: u64,
    pub(super) height: u64,
    pub(super) now: u64,
    /// In whole resource units, the same in all epochs.
    pub(super) power: BTreeMap<Address, u128>,
    pub(super) known: BTreeMap<Address, Known>,
    pub(super) current: Option<Set>,
    pub(super) previous: Option<Set>,
    pub(super) since: u64,
    pub(super) justified: BTreeSet<u64>,
    pub(super) finalised: u64,
    /// Block up to which the pot was shared out.
    shared: u64,
    pub(super) pot: u128,
    bets: BTreeMap<(Address, u64), Bet>,
    pub(super) pots: BTreeMap<u64, u128>,
    paid: u128,
    /// Reported bets that lost, by target and footstone: amount, final checkpoint at which the loss is taken, whether it was.
    pub(super) lost: BTreeMap<(u64, Address), (u128, u64, bool)>,
    /// How often something became final, a set leaked, was worn out, somebody was slashed, lost a bet, was rewarded.
    pub(super) seen: [u32; 6],
}

impl Model {
    pub(super) fn new(rules: FootstoneRules, epoch_blocks: u64, power: BTreeMap<Address, u128>) -> Self {
        Self {
            rules,
            epoch_blocks,
            height: 0,
            now: 0,
            power,
            known: BTreeMap::new(),
            current: None,
            previous: None,
            since: 0,
            justified: [0].into(),
            finalised: 0,
            shared: 0,
            pot: 0,
            bets: BTreeMap::new(),
            pots: BTreeMap::new(),
            paid: 0,
            lost: BTreeMap::new(),
            seen: [0; 6],
        }
    }

    /// What the contract must hold, in units.
    pub(super) fn holds(&self) -> u128 {
        let bonds: u128 = self.known.values().map(|known| known.bond).sum();
        bonds + self.pots.values().sum::<u128>() - self.paid + self.pot
    }

    pub(super) fn enabled(&self) -> bool {
        let least = self.rules.least_weight.units().to::<u128>();
        self.current.as_ref().is_some_and(|set| !set.weights.is_empty() && set.made_weight >= least)
    }

    /// Begins the block of that number.
    pub(super) fn begin(&mut self, height: u64, now: u64) {
        (self.height, self.now) = (height, now);
        if height.is_multiple_of(self.epoch_blocks) {
            self.gather();
            self.turn();
        }
    }

    fn gather(&mut self) {
        let (blocks, kept) = (self.height - self.shared, self.rules.checkpoint_blocks * 4);
        if blocks > kept {
            self.pot = share(self.pot, kept.into(), blocks.into());
            self.shared = self.height - kept;
        }
    }

    fn turn(&mut self) {
        let is_final = self.finalised > 0 && self.finalised * self.rules.checkpoint_blocks >= self.since;
        let was_enabled = self.enabled();
        let leak = u128::from(if is_final { 0 } else { self.rules.leak_bps });
        let (known, since, interval) = (&self.known, self.since, self.rules.checkpoint_blocks);
        for set in [&mut self.current, &mut self.previous].into_iter().flatten() {
            for (who, weight) in &mut set.weights {
                if known[who].state == state::SLASHED {
                    *weight = 0;
                } else if known[who].last_target * interval < since {
                    *weight = *weight * (10_000 - leak) / 10_000;
                }
            }
        }
        self.seen[1] += u32::from(leak > 0 && was_enabled);
        let worn_out = self.current.as_ref().is_some_and(Set::is_worn_out);
        self.seen[2] += u32::from(worn_out && was_enabled);
        if is_final && was_enabled {
            self.previous = self.current.take();
        } else {
            self.previous = self.previous.take().filter(|set| !set.is_worn_out());
        }
        if is_final || !was_enabled || worn_out {
            let weighed = self.known.iter().filter(|(_, known)| known.candidate);
            let weights = weighed.map(|(who, known)| (*who, self.weight(*who, known.bond)));
            let weights: BTreeMap<_, _> = weights.filter(|(_, weight)| *weight > 0).collect();
            let made_weight = weights.values().sum();
            self.current = Some(Set { weights, made_weight, made: self.height });
        }
        self.since = self.height;
    }

    fn weight(&self, who: Address, bond: u128) -> u128 {
        let power = self.power[&who];
        if power * u128::from(MICRO) < u128::from(self.rules.least_power) { 0 } else { bond.min(power * BMM) }
    }

    pub(super) fn join(&mut self, who: Address, bond: u128) -> Result<(), Refused> {
        let least = u128::from(self.rules.least_power / MICRO);
        must(bond >= least * BMM && self.power[&who] >= least)?;
        let known = self.known.entry(who).or_default();
        must(known.state == state::NONE)?;
        (known.state, known.bond, known.candidate, known.free_at) = (state::CANDIDATE, bond, true, 0);
        Ok(())
    }

    pub(super) fn top_up(&mut self, who: Address, more: u128) -> Result<(), Refused> {
        let known = self.known.get_mut(&who).filter(|known| known.candidate).ok_or(Refused)?;
        known.bond += more;
        Ok(())
    }

    pub(super) fn leave(&mut self, who: Address) -> Result<(), Refused> {
        let (now, unbonding) = (self.now, self.rules.unbonding_secs);
        let known = self.known.get_mut(&who).filter(|known| known.candidate).ok_or(Refused)?;
        (known.state, known.candidate, known.free_at) = (state::LEAVING, false, now + unbonding);
        Ok(())
    }

    /// What a footstone's reported bets may still cost.
    fn held(&self, who: Address) -> u128 {
        let open = self.lost.iter().filter(|((_, of), (_, _, taken))| *of == who && !taken);
        open.map(|(_, (amount, ..))| self.most(*amount)).sum()
    }

    fn most(&self, amount: u128) -> u128 {
        amount * u128::from(self.rules.lost_bet_bps) / 10_000
    }

    pub(super) fn withdraw(&mut self, who: Address) -> Result<(), Refused> {
        let (held, now) = (self.held(who), self.now);
        let known = self.known.get_mut(&who).filter(|known| known.state == state::LEAVING).ok_or(Refused)?;
        must(now >= known.free_at && (known.bond > held || known.bond == 0))?;
        known.bond = known.bond.min(held);
        if known.bond == 0 {
            (known.state, known.free_at) = (state::NONE, 0);
        }
        Ok(())
    }

    pub(super) fn bet(&mut self, bets: &[Brought]) -> Result<(), Refused> {
        let mut some_count = bets.is_empty();
        for bet in bets {
            some_count |= self.bet_one(bet).is_ok();
        }
        must(some_count)
    }

    fn bet_one(&mut self, bet: &Brought) -> Result<(), Refused> {
        must(bet.known)?;
        if let Some(old) = self.bets.get(&(bet.who, bet.target)) {
            must(old.source == bet.source)?;
            if old.turn == self.since && old.amount >= bet.amount {
                return Ok(());
            }
        }
        must(self.enabled() && bet.source < bet.target && bet.source >= self.finalised)?;
        let made = self.previous.as_ref().or(self.current.as_ref()).map_or(0, |set| set.made);
        must(bet.target * self.rules.checkpoint_blocks >= made && self.justified.contains(&bet.source))?;
        let seats = [&self.current, &self.previous].map(|set| set.as_ref().map_or(0, |set| set.of(bet.who)));
        let most = seats[0].max(seats[1]);
        must(most > 0 && bet.signed && bet.amount > 0)?;
        let (now, unbonding) = (self.now, self.rules.unbonding_secs);
        let known = self.known.get_mut(&bet.who).filter(|known| known.bond >= bet.amount).ok_or(Refused)?;
        must(known.state == state::CANDIDATE || known.state == state::LEAVING)?;
        if known.state == state::LEAVING {
            known.free_at = known.free_at.max(now + unbonding);
        }
        known.last_target = known.last_target.max(bet.target);
        let before = self.bets.get(&(bet.who, bet.target)).map_or(0, |old| old.rewarded);
        let rewarded = bet.amount.min(most).max(before);
        let new = Bet { source: bet.source, amount: bet.amount, rewarded, paid: false, turn: self.since };
        self.bets.insert((bet.who, bet.target), new);
        self.conclude(bet.source, bet.target);
        Ok(())
    }

    /// Counts a link from the beginning.
    fn conclude(&mut self, source: u64, target: u64) {
        let carries = |set: &Set| {
            let on_link = self
                .bets
                .iter()
                .filter(|((_, to), bet)| *to == target && bet.source == source && bet.turn == self.since);
            let amount: u128 = on_link.map(|((who, _), bet)| bet.amount.min(set.of(*who))).sum();
            set.weight() > 0 && amount * 3 >= set.weight() * 2
        };
        if !self.current.as_ref().is_some_and(carries) || !self.previous.as_ref().is_none_or(carries) {
            return;
        }
        self.justified.insert(target);
        if source + 1 == target && source > self.finalised {
            self.gather();
            (self.finalised, self.shared) = (source, self.height);
            self.pots.insert(source, std::mem::take(&mut self.pot));
            self.seen[0] += 1;
        }
    }

    /// Sum of what is rewarded of the bets on a checkpoint.
    pub(super) fn bet_amount(&self, target: u64) -> u128 {
        self.bets.iter().filter(|((_, to), _)| *to == target).map(|(_, bet)| bet.rewarded).sum()
    }

    pub(super) fn reward(&mut self, who: Address, from: u64, to: u64) -> Result<u128, Refused> {
        let mut due = 0;
        for target in from..=to.min(self.finalised) {
            let (pot, all) = (self.pots.get(&target).copied().unwrap_or(0), self.bet_amount(target));
            if let Some(bet) = self.bets.get_mut(&(who, target)).filter(|bet| !bet.paid) {
                due += share(pot, bet.rewarded, all);
                bet.paid = true;
            }
        }
        must(due > 0)?;
        self.paid += due;
        self.seen[5] += 1;
        Ok(due)
    }

    /// `offends`: whether the two bets shown contradict each other.
    pub(super) fn slash(&mut self, who: Address, offends: bool) -> Result<u128, Refused> {
        let known = self.known.get_mut(&who).ok_or(Refused)?;
        must(offends && (known.state == state::CANDIDATE || known.state == state::LEAVING))?;
        let bond = std::mem::take(&mut known.bond);
        *known = Known { state: state::SLASHED, ..Known::default() };
        self.seen[3] += 1;
        Ok(bond * u128::from(self.rules.bounty_bps) / 10_000)
    }

    pub(super) fn report(&mut self, who: Address, target: u64, amount: u128) -> Result<(), Refused> {
        must(target <= self.finalised)?;
        let known = self.known.get(&who).ok_or(Refused)?;
        must(known.state == state::CANDIDATE || known.state == state::LEAVING)?;
        let amount = amount.min(known.bond);
        let lost = self.lost.entry((target, who)).or_default();
        must(amount > lost.0 && !lost.2)?;
        (lost.0, lost.1) = (amount, self.finalised + LOST_BET_WAIT);
        Ok(())
    }

    pub(super) fn take(&mut self, who: Address, target: u64) -> Result<(), Refused> {
        let (amount, due, taken) = self.lost.get(&(target, who)).copied().ok_or(Refused)?;
        must(amount > 0 && !taken && self.finalised >= due)?;
        let all: u128 = self.lost.iter().filter(|((of, _), _)| *of == target).map(|(_, lost)| lost.0).sum();
        let weight = self.current.as_ref().map_or(0, Set::weight);
        let most = self.most(amount);
        let loss = if all * 3 >= weight { most } else { share(most, all * 3, weight) };
        self.lost.insert((target, who), (amount, due, true));
        let known = self.known.get_mut(&who).ok_or(Refused)?;
        known.bond -= loss.min(known.bond);
        self.seen[4] += 1;
        Ok(())
    }
}

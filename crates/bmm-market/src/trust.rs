//! Trust: how often a provider was seen to be right, weighted by how independent those are who saw it.
//!
//! Kept by one requester for itself; nothing in it is taken on anybody's word. All numbers are integers; trust is counted in
//! [`ONE`]s, each the worth of one result that the requester's own machine found right.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

/// Trust of one result that the requester's own machine found right.
pub const ONE: u64 = 1_024;
/// Results of a provider that the own machine counts at most.
const MOST_OWN: u32 = 4_096;
/// Results that one other operator counts at most: two operators that belong together agree as often as they like.
const MOST_OF_ONE: u32 = 64;
/// Worth of agreeing with an operator that the own machine has not found right yet: who vouches may itself be a cheat.
const STRANGER: u64 = ONE / 2;
/// Results that the own machine must have found right of an operator before agreeing with it counts in full.
const ANCHORED: u32 = 16;
/// Most counterparties that are kept of a provider.
const MOST_COUNTERPARTIES: usize = 256;
/// Most providers that are kept.
const MOST_PROVIDERS: usize = 65_536;

/// Something that was found out about providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// Two operators found the same.
    Agreed(Address, Address),
    /// The own machine found what the operator had found.
    Confirmed(Address),
    /// The operator was wrong.
    Wrong(Address),
}

impl Finding {
    /// Returns whose trust it changes: two, or twice the same.
    pub fn about(self) -> [Address; 2] {
        match self {
            Self::Agreed(a, b) => [a, b],
            Self::Confirmed(of) | Self::Wrong(of) => [of, of],
        }
    }
}

/// What is known of one provider.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    /// Results that the own machine found right.
    own: u32,
    /// Equal results, by the other operator.
    met: BTreeMap<Address, u32>,
    /// Wrong results, ever.
    wrong: u32,
    /// What `met` is worth, where it has been worked out: a provider may have met hundreds.
    #[serde(skip)]
    met_worth: Option<u64>,
}

/// Everything that a requester knows of providers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustBook(BTreeMap<Address, Known>);

impl TrustBook {
    /// Takes a finding in.
    pub fn note(&mut self, finding: Finding) {
        match finding {
            Finding::Agreed(a, b) if a != b => {
                self.met(a, b);
                self.met(b, a);
            }
            Finding::Agreed(..) => {}
            Finding::Confirmed(of) => {
                let Some(known) = self.entry(of) else { return };
                known.own = known.own.saturating_add(1).min(MOST_OWN);
                if known.own == ANCHORED {
                    // From now on its word counts in full.
                    let have_met = self.0.values_mut().filter(|known| known.met.contains_key(&of));
                    have_met.for_each(|known| known.met_worth = None);
                }
            }
            Finding::Wrong(of) => self.wrong(of),
        }
    }

    /// A wrong result takes all trust, and all that others had by agreeing with the one who was wrong.
    fn wrong(&mut self, of: Address) {
        if let Some(known) = self.entry(of) {
            *known = Known { wrong: known.wrong.saturating_add(1), ..Known::default() };
        }
        for known in self.0.values_mut() {
            // It may have been anchored, or not be there at all; those who met it are worked out anew.
            if known.met.remove(&of).is_some() {
                known.met_worth = None;
            }
        }
    }

    fn met(&mut self, of: Address, with: Address) {
        let worth = self.worth_of(with);
        let before = self.met_worth(of);
        let Some(known) = self.entry(of) else { return };
        known.met_worth = Some(before);
        if known.met.len() < MOST_COUNTERPARTIES || known.met.contains_key(&with) {
            let times = known.met.entry(with).or_default();
            if *times < MOST_OF_ONE {
                *times += 1;
                known.met_worth = Some(before.saturating_add(worth));
            }
        }
    }

    /// What one equal result of an operator is worth.
    fn worth_of(&self, with: Address) -> u64 {
        let anchored = self.0.get(&with).is_some_and(|with| with.own >= ANCHORED);
        if anchored { ONE } else { STRANGER }
    }

    /// What the equal results of all other operators are worth.
    fn met_worth(&self, of: Address) -> u64 {
        let Some(known) = self.0.get(&of) else { return 0 };
        let worth = |(with, times): (&Address, &u32)| u64::from(*times).saturating_mul(self.worth_of(*with));
        known.met_worth.unwrap_or_else(|| known.met.iter().map(worth).fold(0, u64::saturating_add))
    }

    fn entry(&mut self, of: Address) -> Option<&mut Known> {
        let room = self.0.len() < MOST_PROVIDERS || self.0.contains_key(&of);
        room.then(|| self.0.entry(of).or_default())
    }

    /// The rule of trust: a result that the own machine found right counts [`ONE`]; of each other operator at most 64 equal results
    /// count, each `ONE` if the own machine has found 16 of that operator's right, else a half.
    pub fn trust(&self, of: Address) -> u64 {
        let own = self.0.get(&of).map_or(0, |known| known.own);
        u64::from(own).saturating_mul(ONE).saturating_add(self.met_worth(of))
    }

    /// Returns how often the provider was found wrong, ever.
    pub fn wrongs(&self, of: Address) -> u32 {
        self.0.get(&of).map_or(0, |known| known.wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn who(number: u8) -> Address {
        Address::repeat_byte(number)
    }

    #[test]
    fn a_pair_that_agrees_for_ever_is_trusted_for_thirty_two_results() {
        let mut book = TrustBook::default();
        (0..10_000).for_each(|_| book.note(Finding::Agreed(who(1), who(2))));
        assert_eq!(book.trust(who(1)), 32 * ONE);
        (0..16).for_each(|_| book.note(Finding::Confirmed(who(2))));
        assert_eq!((book.trust(who(1)), book.trust(who(2))), (64 * ONE, (32 + 16) * ONE));
    }

    #[test]
    fn one_wrong_result_takes_all_of_it_and_what_it_gave_to_others() {
        let mut book = TrustBook::default();
        for _ in 0..20 {
            book.note(Finding::Agreed(who(1), who(2)));
            book.note(Finding::Agreed(who(1), who(3)));
            book.note(Finding::Confirmed(who(2)));
        }
        let before = book.trust(who(1));
        book.note(Finding::Wrong(who(2)));
        assert_eq!((book.trust(who(2)), book.wrongs(who(2))), (0, 1));
        assert!(book.trust(who(1)) < before && book.trust(who(1)) > 0);
    }

    proptest! {
        #[test]
        fn trust_never_falls_by_being_right(notes in prop::collection::vec((0u8..3, 0u8..5, 0u8..5), 0..400)) {
            let mut book = TrustBook::default();
            for (kind, a, b) in notes {
                let before: Vec<u64> = (0..5).map(|n| book.trust(who(n))).collect();
                let finding = match kind {
                    0 => Finding::Agreed(who(a), who(b)),
                    1 => Finding::Confirmed(who(a)),
                    _ => Finding::Wrong(who(a)),
                };
                book.note(finding);
                let mut fresh = book.clone();
                fresh.0.values_mut().for_each(|known| known.met_worth = None);
                for n in 0..5 {
                    prop_assert_eq!(book.trust(who(n)), fresh.trust(who(n)), "what was kept is what the rule gives");
                }
                for (n, before) in before.into_iter().enumerate() {
                    let now = book.trust(who(u8::try_from(n).unwrap()));
                    let expected = if kind == 2 { now <= before } else { now >= before };
                    prop_assert!(expected, "from {before} to {now}");
                }
                if kind == 2 {
                    prop_assert_eq!(book.trust(who(a)), 0);
                }
            }
        }
    }
}

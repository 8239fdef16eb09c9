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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Results that the own machine found right.
    own: u32,
    /// Equal results, by the other operator.
    met: BTreeMap<Address, u32>,
    /// Wrong results, ever.
    wrong: u32,
}

/// Everything that a requester knows of providers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
                if let Some(known) = self.entry(of) {
                    known.own = known.own.saturating_add(1).min(MOST_OWN);
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
            known.met.remove(&of);
        }
    }

    fn met(&mut self, of: Address, with: Address) {
        let Some(known) = self.entry(of) else { return };
        if known.met.len() < MOST_COUNTERPARTIES || known.met.contains_key(&with) {
            let times = known.met.entry(with).or_default();
            *times = times.saturating_add(1).min(MOST_OF_ONE);
        }
    }

    fn entry(&mut self, of: Address) -> Option<&mut Known> {
        let room = self.0.len() < MOST_PROVIDERS || self.0.contains_key(&of);
        room.then(|| self.0.entry(of).or_default())
    }

    /// The rule of trust: a result that the own machine found right counts [`ONE`]; of each other operator at most 64 equal results
    /// count, each `ONE` if the own machine has found 16 of that operator's right, else a half.
    pub fn trust(&self, of: Address) -> u64 {
        let Some(known) = self.0.get(&of) else { return 0 };
        let worth = |(with, times): (&Address, &u32)| {
            let anchored = self.0.get(with).is_some_and(|with| with.own >= ANCHORED);
            u64::from(*times).saturating_mul(if anchored { ONE } else { STRANGER })
        };
        known.met.iter().map(worth).fold(u64::from(known.own).saturating_mul(ONE), u64::saturating_add)
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
        fn trust_never_falls_by_being_right(notes in prop::collection::vec((0u8..3, 0u8..5, 0u8..5), 0..200)) {
            let mut book = TrustBook::default();
            for (kind, a, b) in notes {
                let before: Vec<u64> = (0..5).map(|n| book.trust(who(n))).collect();
                let finding = match kind {
                    0 => Finding::Agreed(who(a), who(b)),
                    1 => Finding::Confirmed(who(a)),
                    _ => Finding::Wrong(who(a)),
                };
                book.note(finding);
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

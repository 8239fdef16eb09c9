//! Rules of bets that everybody applies alike: the contract, the node that counts bets, and the node that signs them.
//!
//! Accountable safety rests on them: two conflicting final checkpoints need bets of at least a third of the weight that contradict each other
//! by [`offence`].

use crate::system::Bet;
use alloy_primitives::U256;

/// How two bets of one footstone contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// Two different targets of one number.
    Double,
    /// One bet's source lies below, and its target above, the other's.
    Surround,
}

/// Rule: a footstone never bets on two different targets of one number, and never surrounds its own bet. Returns the offence that two
/// bets are together; `None` for bets of different footstones and for bets that go together. Amounts do not matter.
pub fn offence(a: &Bet, b: &Bet) -> Option<Offence> {
    if a.footstone != b.footstone {
        return None;
    }
    if a.target == b.target && a.targetHash != b.targetHash {
        return Some(Offence::Double);
    }
    let surrounds = |outer: &Bet, inner: &Bet| outer.source < inner.source && inner.target < outer.target;
    (surrounds(a, b) || surrounds(b, a)).then_some(Offence::Surround)
}

/// Rule: amounts reach a quorum when they are 2/3 of the weight; never of no weight.
pub fn is_quorum(amount: U256, weight: U256) -> bool {
    // Weights are sums of bonds, far below 2^128.
    !weight.is_zero() && amount.saturating_mul(U256::from(3)) >= weight.saturating_mul(U256::from(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};

    fn bet(source: u64, target: u64, hash: u8) -> Bet {
        Bet {
            footstone: Address::repeat_byte(1),
            source,
            sourceHash: B256::repeat_byte(9),
            target,
            targetHash: B256::repeat_byte(hash),
            amount: U256::from(1),
        }
    }

    #[test]
    fn two_targets_of_one_number_are_an_offence_and_a_raise_is_none() {
        assert_eq!(offence(&bet(1, 2, 1), &bet(1, 2, 2)), Some(Offence::Double));
        assert_eq!(offence(&bet(0, 2, 1), &bet(1, 2, 1)), None);
        assert_eq!(offence(&bet(1, 2, 1), &Bet { amount: U256::from(7), ..bet(1, 2, 1) }), None);
        assert_eq!(offence(&bet(1, 2, 1), &Bet { footstone: Address::ZERO, ..bet(1, 2, 2) }), None);
    }

    #[test]
    fn a_bet_around_another_is_an_offence_whichever_comes_first() {
        assert_eq!(offence(&bet(1, 5, 1), &bet(2, 4, 2)), Some(Offence::Surround));
        assert_eq!(offence(&bet(2, 4, 2), &bet(1, 5, 1)), Some(Offence::Surround));
        assert_eq!(offence(&bet(1, 4, 1), &bet(2, 5, 2)), None);
        assert_eq!(offence(&bet(1, 4, 1), &bet(4, 5, 2)), None);
    }

    #[test]
    fn two_thirds_are_a_quorum_and_less_is_none() {
        let [two, three, none] = [2u8, 3, 0].map(U256::from);
        assert!(is_quorum(two, three));
        assert!(!is_quorum(two - U256::from(1), three));
        assert!(!is_quorum(U256::from(199), U256::from(300)));
        assert!(!is_quorum(none, none));
    }
}

//! What wrong bets cost.

use super::FIRST;
use crate::{
    rights::{is_slashed, may_produce},
    testkit::circle::{Circle, EPOCH, INTERVAL, Signed, UNBONDING, bmm},
};
use alloy_primitives::{B256, U256};
use bmm_types::system::{
    FOOTSTONES,
    Footstones::{
        AlreadyJoined, BadSignature, NoOffence, NotCandidate, NotLost, TooEarly, joinCall, leaveCall, reportLostCall,
        setOfCall, slashCall, takeLostCall, withdrawCall,
    },
    LOST_BET_WAIT, RESOURCES, footstone_state,
};

fn shown(first: Signed, second: Signed) -> slashCall {
    slashCall { first: first.0, firstSignature: first.1, second: second.0, secondSignature: second.1 }
}

/// A bet on the link of the numbers that ends on another branch.
fn elsewhere(circle: &Circle, who: usize, source: u64, target: u64, amount: u64) -> Signed {
    let id = B256::repeat_byte(7);
    circle.bet_on(who, (source, circle.checkpoint(source)), (target, id), bmm(amount))
}

#[test]
fn who_contradicts_itself_loses_everything() {
    let mut circle = Circle::with_bonds(&[300, 300, 300]);
    let (one, other) = (circle.bet(0, 0, FIRST, 1), elsewhere(&circle, 0, 0, FIRST, 1));
    circle.refuses(1, U256::ZERO, &shown(one.clone(), one.clone()), &NoOffence {});
    let foreign = elsewhere(&circle, 1, 0, FIRST, 1);
    circle.refuses(1, U256::ZERO, &shown(one.clone(), foreign.clone()), &NoOffence {});
    let forged = (other.0.clone(), foreign.1);
    circle.refuses(1, U256::ZERO, &shown(one.clone(), forged), &BadSignature { index: U256::ONE });
    let before = (circle.balance(1), circle.world.state.balance(RESOURCES), circle.world.state.balance(FOOTSTONES));
    let call = shown(one, other);
    assert!(
        may_produce(
            &circle.world.params,
            &circle.world.state,
            &circle.world.head,
            circle.people[0].address,
            circle.world.now
        )
        .expect("readable")
    );
    circle.does(2, &call);
    assert_eq!(circle.balance(1), before.0);
    assert!(circle.world.state.balance(RESOURCES) >= before.1 + bmm(288));
    assert!(circle.world.state.balance(FOOTSTONES) < before.2 - bmm(290));
    let (footstone, params) = (circle.people[0].address, &circle.world.params);
    assert_eq!(circle.footstone(0).state, footstone_state::SLASHED);
    assert!(is_slashed(&circle.world.state, footstone).expect("readable"));
    let may = may_produce(params, &circle.world.state, &circle.world.head, footstone, circle.world.now);
    assert!(!may.expect("readable"));
    circle.refuses(0, bmm(50), &joinCall {}, &AlreadyJoined { footstone });
    circle.refuses(0, U256::ZERO, &withdrawCall { footstone }, &NotCandidate { footstone });
    circle.refuses(1, U256::ZERO, &call, &NotCandidate { footstone });
    circle.advance_to(FIRST * INTERVAL + 1);
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST, 1)], 0, "it has no bond");
    // Its weight counts until the epoch turns, then no more, though nothing became final.
    let weight = |circle: &Circle| circle.ask(&setOfCall { previous: false }).weights.iter().copied().sum::<U256>();
    assert_eq!(weight(&circle), bmm(900));
    circle.place(vec![circle.bet(1, 0, FIRST, 300), circle.bet(2, 0, FIRST, 299)]);
    assert_eq!(circle.finality().justified, 0);
    circle.advance_to(3 * EPOCH);
    assert_eq!(weight(&circle), bmm(600));
}

#[test]
fn the_reporter_gets_four_hundredths() {
    let mut circle = Circle::with_bonds(&[300, 300, 300]);
    let stranger = crate::testkit::Person::new(99);
    circle.people.push(stranger);
    let call = shown(circle.bet(0, 1, FIRST + 1, 1), circle.bet(0, 2, FIRST, 1));
    let input = alloy_sol_types::SolCall::abi_encode(&call);
    // Somebody who sees the report pending can be first with it: the bond is taken all the same.
    let gas = crate::testkit::Send::new(circle.people[1].address, FOOTSTONES, U256::ZERO, input.clone());
    let late = crate::testkit::Send::new(circle.people[2].address, FOOTSTONES, U256::ZERO, input);
    let before = (circle.balance(1), circle.balance(2));
    let receipts = circle.block(&[gas, late]);
    assert_eq!((receipts[0].status(), receipts[1].status()), (true, false));
    assert!(circle.balance(1) > before.0 + bmm(11) && circle.balance(2) < before.1);
}

#[test]
fn a_bond_can_be_taken_until_it_is_withdrawn_and_the_next_one_too() {
    let mut circle = Circle::with_bonds(&[300, 300, 300]);
    let call = shown(circle.bet(0, 0, FIRST, 1), elsewhere(&circle, 0, 0, FIRST, 1));
    let mut leaving = circle.clone();
    leaving.does(0, &leaveCall {});
    leaving.world.now += UNBONDING + 50;
    let mut taken = leaving.clone();
    taken.does(1, &call);
    let footstone = circle.people[0].address;
    taken.refuses(0, U256::ZERO, &withdrawCall { footstone }, &NotCandidate { footstone });
    // Whoever got away loses what it comes back with.
    leaving.does(0, &withdrawCall { footstone });
    leaving.refuses(1, U256::ZERO, &call, &NotCandidate { footstone });
    assert!(leaving.send(0, bmm(200), &joinCall {}).status());
    leaving.does(1, &call);
    assert_eq!(leaving.footstone(0).state, footstone_state::SLASHED);
    circle.does(1, &call);
    assert_eq!(circle.footstone(0).bond, U256::ZERO);
}

/// Makes checkpoints final, one after the other, from the highest justified one on, by the footstones 1 and up.
fn finalise(circle: &mut Circle, count: u64) {
    for _ in 0..count {
        let source = circle.finality().justified;
        let target = (source + 1).max(circle.world.head.number / INTERVAL);
        circle.advance_to(target * INTERVAL + 1);
        let bets = (1..circle.people.len()).map(|who| circle.bet(who, source, target, 300)).collect();
        circle.place(bets);
    }
}

#[test]
fn a_lost_bet_costs_by_how_many_lost() {
    // (who lost, what each of them loses of 200 BMM, in thousandths of a BMM): alone with 200 of 1,500 BMM, 0.4 of 1 %.
    for (losers, thousandths) in [(1u64, 800u64), (2, 1_600), (3, 2_000)] {
        let mut circle = Circle::with_bonds(&[300, 300, 300, 300, 300]);
        let reports: Vec<_> = (0..3).map(|who| elsewhere(&circle, who, 0, FIRST + 1, 200)).collect();
        let report = |(bet, signature): Signed| reportLostCall { bet, signature };
        circle.refuses(4, U256::ZERO, &report(reports[0].clone()), &NotLost {});
        // Whoever lost bets as the others do afterwards; it did not on the lost number.
        finalise(&mut circle, 4);
        let right = circle.bet(0, 0, FIRST + 1, 200);
        circle.refuses(4, U256::ZERO, &report(right), &NotLost {});
        for (bet, signature) in reports.iter().take(usize::try_from(losers).expect("few")) {
            let lost = reportLostCall { bet: bet.clone(), signature: signature.clone() };
            circle.does(4, &lost);
            circle.refuses(4, U256::ZERO, &lost, &NotLost {});
        }
        let take = takeLostCall { footstone: circle.people[0].address, target: FIRST + 1 };
        let due = circle.finality().finalised + LOST_BET_WAIT;
        circle.refuses(4, U256::ZERO, &take, &TooEarly { checkpoint: due });
        while circle.finality().finalised < due {
            finalise(&mut circle, 1);
        }
        circle.does(4, &take);
        assert_eq!(bmm(300) - circle.footstone(0).bond, bmm(thousandths) / U256::from(1_000));
        circle.refuses(4, U256::ZERO, &take, &NotLost {});
        let other = takeLostCall { footstone: circle.people[4].address, target: FIRST + 1 };
        circle.refuses(4, U256::ZERO, &other, &NotLost {});
    }
}

#[test]
fn what_a_reported_bet_may_cost_stays_locked() {
    let mut circle = Circle::with_bonds(&[300, 300, 300, 300, 300]);
    finalise(&mut circle, 4);
    let (bet, signature) = elsewhere(&circle, 0, 0, FIRST + 1, 300);
    circle.does(4, &reportLostCall { bet, signature });
    circle.does(0, &leaveCall {});
    circle.world.now += UNBONDING;
    let (footstone, before) = (circle.people[0].address, circle.balance(0));
    circle.does(4, &withdrawCall { footstone });
    assert_eq!(circle.balance(0) - before, bmm(297));
    let due = circle.finality().finalised + LOST_BET_WAIT;
    while circle.finality().finalised < due {
        finalise(&mut circle, 1);
    }
    circle.does(4, &takeLostCall { footstone, target: FIRST + 1 });
    // 300 BMM of 1,200 that are left in the set: three quarters of 1 %.
    assert_eq!(circle.footstone(0).bond, bmm(75) / U256::from(100));
    circle.does(4, &withdrawCall { footstone });
    assert_eq!(circle.footstone(0).state, footstone_state::NONE);
}

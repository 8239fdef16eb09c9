//! Which bets count, what they justify and end, and what they are paid.

use super::FIRST;
use crate::{
    rights::{Checkpoint, bet_signer, bets_in, may_produce, rights},
    testkit::circle::{Circle, EPOCH, INTERVAL, bmm, call_of},
};
use alloy_primitives::{B256, U256};
use alloy_sol_types::SolCall;
use bmm_types::system::{
    FOOTSTONES,
    Footstones::{NothingOwed, betOfCall, checkpointOfCall, joinCall, leaveCall, rewardCall, setOfCall},
    MAX_REWARDED, RESOURCES,
};

#[test]
fn two_thirds_justify_and_the_next_makes_final() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    let set = circle.ask(&setOfCall { previous: false });
    assert_eq!((set.since, set.members.len(), set.weights[0]), (2 * EPOCH, 3, bmm(300)));
    circle.advance_to(FIRST * INTERVAL + 1);
    circle.place(vec![circle.bet(0, 0, FIRST, 300)]);
    circle.place(vec![circle.bet(1, 0, FIRST, 299)]);
    assert_eq!(circle.finality().justified, 0);
    circle.place(vec![circle.bet(1, 0, FIRST, 300)]);
    assert_eq!(circle.finality().justified, FIRST);
    circle.all_bet(FIRST, FIRST + 1, &bonds);
    let finality = circle.finality();
    assert_eq!((finality.justified, finality.finalised), (FIRST + 1, FIRST));
    assert_eq!(finality.finalisedHash, circle.checkpoint(FIRST));
    let read = rights(&circle.world.params, &circle.world.state).expect("readable").expect("has footstones");
    assert_eq!(read.finalised, Checkpoint { number: FIRST, id: circle.checkpoint(FIRST) });
    assert_eq!(read.justified, Checkpoint { number: FIRST + 1, id: circle.checkpoint(FIRST + 1) });
    assert!(read.enabled && read.previous.members.is_empty());
    assert_eq!((read.current.since, read.current.weight()), (2 * EPOCH, bmm(900)));
}

#[test]
fn a_final_checkpoint_pays_its_bettors_once() {
    let bonds = [300, 100];
    let mut circle = Circle::with_bonds(&bonds);
    circle.all_bet(0, FIRST, &bonds);
    let all = |who: usize, circle: &Circle| rewardCall { footstone: circle.people[who].address, from: 0, to: FIRST };
    // Justified is not final.
    circle.refuses(0, U256::ZERO, &all(0, &circle), &NothingOwed {});
    circle.all_bet(FIRST, FIRST + 1, &bonds);
    let shares = circle.ask(&checkpointOfCall { checkpoint: FIRST });
    assert_eq!(shares.betAmount, bmm(400));
    assert!(shares.pot > U256::ZERO);
    let (before, call) = (circle.balance(1), all(1, &circle));
    circle.does(0, &call);
    assert_eq!(circle.balance(1) - before, shares.pot / U256::from(4));
    circle.refuses(0, U256::ZERO, &call, &NothingOwed {});
    // The next checkpoint is justified and not final: nothing is due for it.
    let next = rewardCall { from: FIRST + 1, to: FIRST + MAX_REWARDED, ..call };
    circle.refuses(0, U256::ZERO, &next, &NothingOwed {});
    let long = rewardCall { from: 0, to: MAX_REWARDED, ..next };
    assert!(circle.tries(0, U256::ZERO, &long).expect_err("too long").to_string().contains("512"));
    circle.does(0, &all(0, &circle));
    let left = circle.world.state.balance(FOOTSTONES) - bmm(400);
    let emission = crate::emission::reward(circle.world.params.emission.as_ref().expect("emits"), 1).footstones;
    // What came since the checkpoint became final, and at most a unit that rounding left.
    let blocks = circle.world.head.number - (FIRST + 1) * INTERVAL - 2 + 1;
    assert!(left.abs_diff(emission * U256::from(blocks)) < U256::from(100), "{left}");
}

#[test]
fn a_bet_must_keep_each_rule() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    circle.advance_to((FIRST + 2) * INTERVAL + 1);
    let bad = |bet, reason| circle.refuses_bet(vec![bet], 0, reason);
    let unknown = "not a checkpoint of this branch";
    bad(circle.bet(0, 0, FIRST + 3, 1), unknown);
    let id = circle.checkpoint(FIRST);
    bad(circle.bet_on(0, (0, circle.ids[0]), (FIRST, B256::repeat_byte(1)), bmm(1)), unknown);
    bad(circle.bet_on(0, (0, B256::ZERO), (FIRST, id), bmm(1)), unknown);
    bad(circle.bet_on(0, (u64::MAX, B256::ZERO), (u64::MAX, B256::ZERO), bmm(1)), unknown);
    bad(circle.bet(0, FIRST, FIRST + 1, 1), "the source is not justified");
    bad(circle.bet(0, FIRST, FIRST, 1), "the source is not below the target, or below the last final checkpoint");
    bad(circle.bet(0, 0, FIRST - 1, 1), "the target is older than the set");
    let amount = "its amount is zero or above the bond";
    bad(circle.bet(0, 0, FIRST, 0), amount);
    bad(circle.bet(0, 0, FIRST, 301), amount);
    bad(circle.bet_on(0, (0, circle.ids[0]), (FIRST, id), U256::MAX), amount);
    bad(circle.bet_on(0, (0, circle.ids[0]), (FIRST, id), bmm(1) + (U256::ONE << 128)), amount);
    let (bet, _) = circle.bet(0, 0, FIRST, 300);
    let other = circle.bet(0, 0, FIRST, 299).1;
    circle.refuses_bet(vec![(bet.clone(), other.clone())], 0, "it is not signed by its footstone");
    // The reason of the first is told where none counts.
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST, 301), (bet.clone(), other.clone())], 0, amount);

    // What cannot count spoils nothing, wherever it stands.
    circle.place(vec![circle.bet(0, FIRST, FIRST + 1, 1), circle.bet(0, 0, FIRST, 200), (bet, other)]);
    assert!(circle.ask(&betOfCall { footstone: circle.people[0].address, target: FIRST + 1 }).amount.is_zero());
    // The same and less are passed over, whoever brings them.
    circle.place(vec![circle.bet(0, 0, FIRST, 200), circle.bet(0, 0, FIRST, 7)]);
    let bet = circle.ask(&betOfCall { footstone: circle.people[0].address, target: FIRST });
    assert_eq!((bet.source, bet.amount), (0, bmm(200)));
    assert_eq!(circle.ask(&checkpointOfCall { checkpoint: FIRST }).betAmount, bmm(200));
    circle.place(vec![circle.bet(1, 0, FIRST, 300), circle.bet(2, 0, FIRST, 300)]);
    circle.all_bet(FIRST, FIRST + 1, &bonds);
    let below = "the source is not below the target, or below the last final checkpoint";
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST + 2, 300)], 0, below);
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST, 300)], 0, below);
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST + 1, 1)], 0, "it has a bet on another link to this target");
    // A footstone that came later is in no set yet.
    circle.people.push(crate::testkit::Person::new(77));
    circle.refuses_bet(vec![circle.bet(3, FIRST + 1, FIRST + 2, 1)], 0, "it has no bond");
}

#[test]
fn links_do_not_add_up() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    circle.all_bet(0, FIRST, &bonds);
    circle.advance_to((FIRST + 1) * INTERVAL + 1);
    circle.place(vec![circle.bet(0, 0, FIRST + 1, 300), circle.bet(1, FIRST, FIRST + 1, 300)]);
    assert_eq!(circle.finality().justified, FIRST);
    circle.place(vec![circle.bet(2, FIRST, FIRST + 1, 300)]);
    assert_eq!((circle.finality().justified, circle.finality().finalised), (FIRST + 1, FIRST));
}

#[test]
fn a_skipped_checkpoint_makes_nothing_final() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    circle.all_bet(0, FIRST, &bonds);
    circle.all_bet(FIRST, FIRST + 2, &bonds);
    assert_eq!((circle.finality().justified, circle.finality().finalised), (FIRST + 2, 0));
    circle.all_bet(FIRST + 2, FIRST + 3, &bonds);
    assert_eq!((circle.finality().justified, circle.finality().finalised), (FIRST + 3, FIRST + 2));
}

#[test]
fn a_stall_pays_nobody() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    let emission = crate::emission::reward(circle.world.params.emission.as_ref().expect("emits"), 1).footstones;
    let pot = |circle: &Circle| circle.world.state.balance(FOOTSTONES) - bmm(900);
    // The turn of the epoch left what four intervals bring, and its own block brought one more; genesis brought nothing.
    let kept = emission * U256::from(4 * INTERVAL);
    let is_kept = |pot: U256| pot <= kept + emission && pot > kept - emission;
    assert!(is_kept(pot(&circle)), "{}", pot(&circle));
    circle.advance_to(3 * EPOCH - 1);
    let before = (pot(&circle), circle.world.state.balance(RESOURCES));
    assert!(before.0 > kept);
    circle.advance_to(3 * EPOCH);
    assert!(is_kept(pot(&circle)));
    assert!(circle.world.state.balance(RESOURCES) - before.1 >= before.0 - kept);
    let first = 3 * EPOCH / INTERVAL;
    circle.all_bet(0, first, &bonds);
    circle.all_bet(first, first + 1, &bonds);
    let paid = circle.ask(&checkpointOfCall { checkpoint: first }).pot;
    assert!(is_kept(paid), "{paid}");
}

#[test]
fn a_node_reads_bets_out_of_transactions() {
    let circle = Circle::with_bonds(&[300, 300]);
    let bets = vec![circle.bet(0, 0, FIRST, 300), circle.bet(1, 0, FIRST, 20)];
    let input = call_of(bets.clone()).abi_encode();
    let found = bets_in(Some(FOOTSTONES), &input);
    assert_eq!(found.len(), 2);
    for ((bet, signature), (sent, _)) in found.iter().zip(&bets) {
        assert_eq!(bet, sent);
        let signer = bet_signer(circle.world.params.chain_id, bet, signature);
        assert_eq!(signer, Some(bet.footstone));
        assert_ne!(bet_signer(circle.world.params.chain_id + 1, bet, signature), signer);
        assert_eq!(bet_signer(circle.world.params.chain_id, bet, &signature[..64]), None);
    }
    assert!(bets_in(Some(RESOURCES), &input).is_empty() && bets_in(None, &input).is_empty());
    assert!(bets_in(Some(FOOTSTONES), &input[..input.len() - 32]).is_empty());
    let many = call_of(vec![bets[0].clone(); 129]).abi_encode();
    assert!(bets_in(Some(FOOTSTONES), &many).is_empty());
    circle.tries(0, U256::ZERO, &call_of(vec![bets[0].clone(); 129])).expect_err("too many");
}

#[test]
fn members_produce_until_the_door_opens() {
    let mut circle = Circle::new(3);
    let (params, interval) = (circle.world.params.clone(), circle.world.params.block_secs);
    let may = |circle: &Circle, who: usize, after: u64| {
        let (head, of) = (&circle.world.head, circle.people[who].address);
        may_produce(&params, &circle.world.state, head, of, head.timestamp + after).expect("readable")
    };
    assert!(may(&circle, 2, 1), "before there is a set");
    circle.advance_to(EPOCH + EPOCH / 2);
    for who in 0..2 {
        assert!(circle.send(who, bmm(300), &joinCall {}).status());
    }
    circle.advance_to(2 * EPOCH);
    assert!(may(&circle, 0, 1) && may(&circle, 1, 1) && !may(&circle, 2, 1));
    assert!(!may(&circle, 2, 100 * interval - 1) && may(&circle, 2, 100 * interval));
    circle.does(1, &leaveCall {});
    assert!(may(&circle, 1, 1), "until the set is made without it");
}

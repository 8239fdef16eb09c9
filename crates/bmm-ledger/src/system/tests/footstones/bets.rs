//! Which bets count, what they justify and end, and what they are paid.

use crate::rights::{Checkpoint, rights};
use crate::testkit::circle::{Circle, EPOCH, INTERVAL, bmm};
use alloy_primitives::U256;
use bmm_types::system::Footstones::{checkpointOfCall, rewardCall, setOfCall};

/// First checkpoint of the epoch of the first set.
const FIRST: u64 = 2 * EPOCH / INTERVAL;

#[test]
fn two_thirds_justify_and_the_next_makes_final() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    let set = circle.ask(&setOfCall { previous: false });
    assert_eq!((set.since, set.members.len(), set.weights[0]), (2 * EPOCH, 3, bmm(300)));
    circle.to_block(FIRST * INTERVAL + 1);
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
    let shares = circle.ask(&checkpointOfCall { checkpoint: FIRST });
    assert_eq!(shares.betAmount, bmm(600));
    let before = circle.world.state.balance(circle.people[1].address);
    let footstone = circle.people[1].address;
    circle.does(0, &rewardCall { footstone, from: 0, to: FIRST + 5 });
    assert_eq!(circle.world.state.balance(footstone) - before, shares.pot / U256::from(2));
    let again = circle.tries(0, U256::ZERO, &rewardCall { footstone, from: 0, to: FIRST + 5 });
    again.expect_err("it is paid once");
}

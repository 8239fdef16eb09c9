//! When the set changes, and what happens while nothing becomes final.

use super::FIRST;
use crate::{
    rights::rights,
    testkit::circle::{Circle, EPOCH, INTERVAL, bmm},
};
use alloy_primitives::U256;
use bmm_types::{
    Amount,
    system::{
        Footstones::{betOfCall, joinCall, leaveCall, setOfCall},
        set_root,
    },
};

fn weights(circle: &Circle, previous: bool) -> Vec<U256> {
    circle.ask(&setOfCall { previous }).weights
}

#[test]
fn the_set_changes_when_something_became_final_in_it() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    circle.all_bet(0, FIRST, &bonds);
    circle.does(2, &leaveCall {});
    let mut stalled = circle.clone();
    stalled.advance_to(3 * EPOCH);
    assert_eq!((weights(&stalled, false).len(), weights(&stalled, true).len()), (3, 0));
    circle.all_bet(FIRST, FIRST + 1, &bonds);
    circle.advance_to(3 * EPOCH);
    assert_eq!((weights(&circle, false).len(), weights(&circle, true).len()), (2, 3));
    let read = rights(&circle.world.params, &circle.world.state).expect("readable").expect("has footstones");
    // Bets on targets of the set before still count.
    assert_eq!((read.current.since, read.previous.since), (2 * EPOCH, 2 * EPOCH));
    assert_eq!((read.current.members.len(), read.previous.members.len()), (2, 3));
    let begins = &circle.world.head.extra_data[..32];
    assert_eq!(begins, set_root(&read.current.members).as_slice());
}

/// Rule: a quorum of the present set and of the one before.
#[test]
fn the_set_before_has_a_say() {
    let bonds = [300, 300, 100];
    let mut circle = Circle::with_bonds(&bonds);
    circle.all_bet(0, FIRST, &bonds);
    circle.all_bet(FIRST, FIRST + 1, &bonds);
    circle.does(0, &leaveCall {});
    circle.advance_to(3 * EPOCH);
    assert_eq!(weights(&circle, false), [bmm(300), bmm(100)]);
    let first = 3 * EPOCH / INTERVAL;
    circle.advance_to(first * INTERVAL + 1);
    // All of the present set, and 4/7 of the one before.
    circle.place(vec![circle.bet(1, FIRST + 1, first, 300), circle.bet(2, FIRST + 1, first, 100)]);
    assert_eq!(circle.finality().justified, FIRST + 1);
    circle.place(vec![circle.bet(0, FIRST + 1, first, 300)]);
    assert_eq!(circle.finality().justified, first);
}

/// Rule: links are counted anew in each epoch; what was brought in another counts when it is brought again.
#[test]
fn a_bet_of_the_past_epoch_counts_when_it_is_brought_again() {
    let mut circle = Circle::with_bonds(&[300, 300, 300, 300]);
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST - 1, 300)], 0, "the target is older than the set");
    circle.advance_to(FIRST * INTERVAL + 1);
    let early = circle.bet(0, 0, FIRST, 300);
    circle.place(vec![early.clone()]);
    circle.advance_to(3 * EPOCH + 1);
    let brought = betOfCall { footstone: circle.people[0].address, target: FIRST };
    assert_eq!(circle.ask(&brought).amount, U256::ZERO);
    circle.place(vec![circle.bet(1, 0, FIRST, 300), circle.bet(2, 0, FIRST, 300)]);
    assert_eq!(circle.finality().justified, 0);
    circle.place(vec![early]);
    assert_eq!((circle.finality().justified, circle.ask(&brought).amount), (FIRST, bmm(300)));
}

/// Of two equal halves the one that bets alone has two thirds after 22 epochs of the public chain's leak, and no sooner.
#[test]
fn the_silent_half_leaks_until_the_other_is_two_thirds() {
    let mut circle = Circle::with_bonds(&[300, 300]);
    for epoch in 2..40 {
        let target = epoch * EPOCH / INTERVAL;
        circle.advance_to(target * INTERVAL + 1);
        circle.place(vec![circle.bet(0, 0, target, 300)]);
        if circle.finality().justified > 0 {
            assert_eq!(epoch - 2, 22);
            assert!(weights(&circle, false).into_iter().min() <= Some(bmm(150)));
            // The bond itself is not touched.
            assert_eq!(circle.footstone(1).bond, bmm(300));
            return;
        }
    }
    panic!("nothing became justified");
}

/// A set of which less than a third bets is made anew once half of its weight is gone; who joined meanwhile is in it.
#[test]
fn a_silent_set_is_made_anew() {
    let mut circle = Circle::with_bonds(&[300, 300]);
    circle.does(1, &leaveCall {});
    for epoch in 3..24 {
        circle.advance_to(epoch * EPOCH);
        assert_eq!(weights(&circle, false).len(), 2, "epoch {epoch}");
    }
    circle.advance_to(24 * EPOCH);
    assert_eq!((weights(&circle, false), weights(&circle, true).len()), (vec![bmm(300)], 0));
}

#[test]
fn a_set_below_its_least_weight_makes_nothing_final_and_is_made_each_epoch() {
    let mut circle = Circle::with_rules(3, |rules| rules.least_weight = Amount::from_bmm(500));
    circle.advance_to(EPOCH + EPOCH / 2);
    for who in 0..2 {
        assert!(circle.send(who, bmm(200), &joinCall {}).status());
    }
    circle.advance_to(2 * EPOCH + 1);
    assert!(!circle.finality().enabled && weights(&circle, false).len() == 2);
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST, 200)], 0, "the set is below its least weight");
    assert!(circle.send(2, bmm(200), &joinCall {}).status());
    circle.advance_to(3 * EPOCH);
    assert!(circle.finality().enabled && weights(&circle, false).len() == 3 && weights(&circle, true).is_empty());
}

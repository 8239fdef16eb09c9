//! Bonds and seats.

use super::FIRST;
use crate::testkit::{
    Send,
    circle::{Circle, EPOCH, INTERVAL, UNBONDING, bmm, set_power},
};
use alloy_eips::eip4788::SYSTEM_ADDRESS;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use bmm_types::{
    Amount,
    params::Allocation,
    system::{
        FOOTSTONES,
        Footstones::{
            AlreadyJoined, BondLocked, Full, NotCandidate, TooLittleBond, TooLittlePower, candidatesCall, joinCall,
            leaveCall, onBlockCall, setOfCall, topUpCall, withdrawCall,
        },
        MAX_CANDIDATES, MAX_MEMBERS, MICRO, footstone_state,
    },
};

#[test]
fn joining_takes_power_and_bond_once() {
    let mut circle = Circle::new(2);
    let least = U256::from(10 * MICRO);
    circle.refuses(0, bmm(10), &joinCall {}, &TooLittlePower { power: U256::ZERO, least });
    circle.advance_to(EPOCH + EPOCH / 4);
    circle.refuses(0, bmm(9), &joinCall {}, &TooLittleBond { bond: bmm(9), least: bmm(10) });
    let poor = circle.people[1].address;
    set_power(&mut circle.world, poor, 0..9, 9);
    circle.refuses(1, bmm(10), &joinCall {}, &TooLittlePower { power: U256::from(9 * MICRO), least });
    circle.refuses(0, bmm(10), &topUpCall {}, &NotCandidate { footstone: circle.people[0].address });
    assert!(circle.send(0, bmm(10), &joinCall {}).status());
    assert!(circle.send(0, bmm(5), &topUpCall {}).status());
    circle.refuses(0, bmm(10), &joinCall {}, &AlreadyJoined { footstone: circle.people[0].address });
    let read = circle.footstone(0);
    assert_eq!((read.state, read.bond, read.weight), (footstone_state::CANDIDATE, bmm(15), U256::ZERO));
    assert_eq!(circle.ask(&candidatesCall {}), [circle.people[0].address]);
    circle.advance_to(2 * EPOCH);
    assert_eq!(circle.footstone(0).weight, bmm(15));
}

#[test]
fn weight_is_the_smaller_of_bond_and_power() {
    let mut circle = Circle::new(3);
    let people: Vec<_> = circle.people.iter().map(|person| person.address).collect();
    set_power(&mut circle.world, people[1], 0..9, 40);
    circle.advance_to(EPOCH + EPOCH / 4);
    for who in 0..3 {
        assert!(circle.send(who, bmm(50), &joinCall {}).status());
    }
    // Who falls below the least power weighs nothing, and stays a candidate.
    set_power(&mut circle.world, people[2], 0..9, 9);
    circle.advance_to(2 * EPOCH);
    let set = circle.ask(&setOfCall { previous: false });
    assert_eq!((set.members, set.weights), (vec![people[0], people[1]], vec![bmm(50), bmm(40)]));
    assert_eq!(circle.ask(&candidatesCall {}).len(), 3);
}

#[test]
fn a_bond_is_free_after_its_time_and_the_last_bet() {
    let bonds = [300, 300, 300];
    let mut circle = Circle::with_bonds(&bonds);
    let footstone = circle.people[0].address;
    let withdraw = withdrawCall { footstone };
    circle.refuses(1, U256::ZERO, &withdraw, &NotCandidate { footstone });
    let left = circle.world.now;
    circle.does(0, &leaveCall {});
    circle.refuses(0, U256::ZERO, &leaveCall {}, &NotCandidate { footstone });
    circle.refuses(0, bmm(50), &joinCall {}, &AlreadyJoined { footstone });
    circle.refuses(0, bmm(1), &topUpCall {}, &NotCandidate { footstone });
    circle.refuses(1, U256::ZERO, &withdraw, &BondLocked { until: left + UNBONDING });
    // It is in the set still, and what it says there counts, at its risk.
    circle.world.now += UNBONDING - 20;
    circle.advance_to(FIRST * INTERVAL + 1);
    let bet = circle.world.now;
    circle.place(vec![circle.bet(0, 0, FIRST, 300)]);
    circle.refuses(1, U256::ZERO, &withdraw, &BondLocked { until: bet + UNBONDING });
    circle.world.now = bet + UNBONDING;
    let before = circle.balance(0);
    circle.does(1, &withdraw);
    assert_eq!(circle.balance(0) - before, bmm(300));
    let read = circle.footstone(0);
    assert_eq!((read.state, read.bond, read.freeAt), (footstone_state::NONE, U256::ZERO, 0));
    circle.refuses(1, U256::ZERO, &withdraw, &NotCandidate { footstone });
    // The seat is there while the set is; without a bond nothing can be said from it.
    assert_eq!(read.weight, bmm(300));
    circle.advance_to((FIRST + 1) * INTERVAL + 1);
    circle.refuses_bet(vec![circle.bet(0, 0, FIRST + 1, 1)], 0, "it has no bond");
    assert!(circle.send(0, bmm(20), &joinCall {}).status());
}

/// 256 candidates, of whom half are in the set: the hook at an epoch's first block, when the set wears and is made anew, takes 3.9 million gas. Where slots are new
/// it takes 4.4 million more, and a set before 1.5 million; a system call has 30 million.
#[test]
fn all_seats_are_taken_and_the_hook_has_gas_enough() {
    let address = |n: usize| Address::from_word(B256::from(U256::from(0x1_0000 + n)));
    let mut params = Circle::new(1).world.params;
    // Worn out after the first turn in which nobody bets.
    params.footstones.as_mut().expect("has footstones").leak_bps = 6_000;
    let balance = Amount::from_bmm(10_000);
    params.alloc.extend((0..=MAX_CANDIDATES).map(|n| Allocation { address: address(n), balance }));
    let mut circle = Circle::new(1);
    circle.world = crate::testkit::World::with_params(params);
    for n in 0..=MAX_CANDIDATES {
        set_power(&mut circle.world, address(n), 0..30, 1_000);
    }
    circle.advance_to(EPOCH + EPOCH / 4);
    let join = |n: usize, bond: usize| {
        let send =
            Send::new(address(n), FOOTSTONES, bmm(u64::try_from(bond).expect("small")), joinCall {}.abi_encode());
        Send { gas: 16_000_000, ..send }
    };
    for n in 0..MAX_CANDIDATES {
        assert!(circle.block(&[join(n, 20 + n)])[0].status());
    }
    let full = circle.world.revert_of(address(256), FOOTSTONES, bmm(20), joinCall {}.abi_encode());
    assert_eq!(full, alloy_primitives::Bytes::from(alloy_sol_types::SolError::abi_encode(&Full {})));
    assert!(circle.block(&[join(256, 1_000)])[0].status());
    let candidates = circle.ask(&candidatesCall {});
    assert_eq!((candidates.len(), candidates.contains(&address(0))), (MAX_CANDIDATES, false));
    assert_eq!(circle.ask(&candidatesCall {}).iter().filter(|who| **who == address(256)).count(), 1);

    let epochs = circle.world.head.number / EPOCH;
    let mut most = 0;
    for epoch in epochs + 1..epochs + 4 {
        circle.advance_to(epoch * EPOCH - 1);
        let hook = onBlockCall { parent: B256::ZERO }.abi_encode();
        let outcome = circle.world.call(SYSTEM_ADDRESS, FOOTSTONES, U256::ZERO, hook).expect("the hook");
        most = outcome.gas_used.max(most);
        circle.advance_to(epoch * EPOCH);
        let set = circle.ask(&setOfCall { previous: false });
        assert_eq!((set.members.len(), set.members[0]), (MAX_MEMBERS, address(256)));
        assert!(set.weights.windows(2).all(|pair| pair[0] >= pair[1]));
    }
    assert!((2_000_000..8_000_000).contains(&most), "{most} gas");
}

//! Finality: what bets make of the chain, and which branch is taken for them.

use crate::{
    footstones::{INTERVAL, bet, footstone_params, open, world, world_with_slashed},
    world::{World, key, sign},
};
use alloy_consensus::TxEip1559;
use alloy_eips::BlockId;
use alloy_primitives::U256;
use alloy_sol_types::SolCall as _;
use bmm_chain::{Chain, ChainError, ChainOptions, Heard, ImportError, ManualClock, Standing, TemplateRequest};
use bmm_ledger::store::Store;
use bmm_types::{
    SealedBlock,
    system::{FOOTSTONES, Footstones},
};
use std::sync::Arc;

fn import(world: &World, blocks: &[SealedBlock]) {
    for block in blocks {
        match world.chain.import(block) {
            Ok(_) | Err(ImportError::Known(_)) => {}
            Err(error) => panic!("block {}: {error}", block.block.header.number),
        }
    }
}

/// Two chains with the same first blocks; the second one's clock is a little ahead, so that their blocks differ.
fn rivals(common: u64) -> (World, World) {
    let (ours, theirs) = (world(), world());
    ours.grow_to(common, 1);
    theirs.clock.advance(common + 1);
    if common > 0 {
        import(&theirs, &ours.blocks(1..=common));
    }
    (ours, theirs)
}

#[test]
fn two_thirds_justify_and_the_next_checkpoint_makes_final() {
    let world = world();
    world.grow_to(2 * INTERVAL + 2, 1);
    let (zero, one, two) = (world.checkpoint(0), world.checkpoint(1), world.checkpoint(2));
    assert_eq!((world.justified(), world.finalised()), (zero, zero));
    assert_eq!(world.bet(&[1, 2], zero, one), [Heard::New, Heard::New]);
    assert_eq!(world.justified(), zero, "half is not enough");
    assert_eq!(world.bet(&[2, 3], zero, one), [Heard::Known, Heard::New]);
    assert_eq!((world.justified(), world.finalised()), (one, zero));
    world.bet(&[1, 2, 4], one, two);
    assert_eq!((world.justified(), world.finalised()), (two, one));
    let resolve = |at: BlockId| world.chain.resolve(at).expect("known").map(|block| block.number());
    assert_eq!(resolve(BlockId::safe()), Some(2 * INTERVAL));
    assert_eq!(resolve(BlockId::finalized()), Some(INTERVAL));
}

#[test]
fn bets_of_strangers_small_amounts_and_false_signatures_count_nothing() {
    let world = world();
    world.grow_to(INTERVAL + 2, 1);
    let (zero, one) = (world.checkpoint(0), world.checkpoint(1));
    assert_eq!(world.bet(&[5], zero, one), [Heard::Unfit]);
    let mut forged = bet(&world.chain, 1, zero, one, U256::from(7));
    forged.bet.amount = U256::MAX;
    assert_eq!(world.chain.hear_bets(&[forged]), [Heard::Rubbish]);
    let small: Vec<_> = [1, 2, 3, 4].iter().map(|n| bet(&world.chain, *n, zero, one, U256::from(7))).collect();
    assert_eq!(world.chain.hear_bets(&small), [Heard::New; 4]);
    assert_eq!(world.justified(), zero);
    // The same bets again with more.
    world.bet(&[1, 2, 3], zero, one);
    assert_eq!(world.justified(), one);
    // Beyond its weight nobody's bet counts.
    let two = bmm_chain::Checkpoint { number: 2, ..one };
    let huge = bet(&world.chain, 1, one, two, U256::MAX);
    assert_eq!(world.chain.hear_bets(&[huge]), [Heard::New]);
    assert_eq!(world.justified(), one);
}

#[test]
fn bets_in_blocks_count_for_the_contract_and_for_the_node() {
    let (ours, theirs) = (world(), world());
    ours.grow_to(INTERVAL + 2, 1);
    let (zero, one) = (ours.checkpoint(0), ours.checkpoint(1));
    let bets = [1, 2, 3].map(|n| bet(&ours.chain, n, zero, one, U256::from(10).pow(U256::from(20))));
    let call = Footstones::betCall {
        bets: bets.iter().map(|signed| signed.bet.clone()).collect(),
        signatures: bets.iter().map(|signed| signed.signature.to_vec().into()).collect(),
    };
    let transaction = TxEip1559 {
        gas_limit: 3_000_000,
        input: call.abi_encode().into(),
        ..crate::world::unsigned(&ours.chain, 0, FOOTSTONES, 0)
    };
    ours.chain.submit(crate::world::signed(5, transaction)).expect("a valid transaction");
    assert_eq!(ours.chain.bets_from(0, 10).len(), 3, "as soon as it waits");
    ours.grow(1);
    let head = ours.chain.head().number();
    theirs.clock.set(ours.chain.now_secs());
    theirs.chain.import_all(ours.blocks(1..=head).into_iter(), |_| ()).expect("valid");
    for world in [&ours, &theirs] {
        let status = world.chain.finality().expect("a chain with footstones");
        assert_eq!((status.rights.justified, status.justified), (one, one));
        assert_eq!(world.chain.bets_from(0, 10).len(), 3);
    }
}

#[test]
fn bets_of_who_was_slashed_count_nothing() {
    let world = world_with_slashed(3);
    world.grow_to(INTERVAL + 2, 1);
    let (zero, one) = (world.checkpoint(0), world.checkpoint(1));
    world.bet(&[1, 2, 3], zero, one);
    assert_eq!(world.justified(), zero);
    world.bet(&[4], zero, one);
    assert_eq!(world.justified(), one);
}

#[test]
fn two_bets_that_contradict_each_other_are_kept_as_evidence() {
    let (ours, theirs) = rivals(2);
    ours.grow_to(INTERVAL + 1, 1);
    theirs.grow_to(INTERVAL + 1, 2);
    ours.bet(&[1], ours.checkpoint(0), ours.checkpoint(1));
    assert!(ours.chain.offences().is_empty());
    assert_eq!(ours.bet(&[1], ours.checkpoint(0), theirs.checkpoint(1)), [Heard::Offence]);
    let [(first, second)] = &ours.chain.offences()[..] else { panic!("one pair") };
    assert!(bmm_types::finality::offence(&first.bet, &second.bet).is_some());
    assert!(first.is_signed(ours.chain.params().chain_id) && second.is_signed(ours.chain.params().chain_id));
}

#[test]
fn nothing_that_conflicts_with_a_final_block_is_taken() {
    let (ours, theirs) = rivals(INTERVAL - 1);
    ours.grow_to(2 * INTERVAL + 1, 1);
    theirs.grow_to(4 * INTERVAL, 2);
    let (zero, one, two) = (ours.checkpoint(0), ours.checkpoint(1), ours.checkpoint(2));
    // A branch that is here already when the other becomes final, and one that comes after it.
    import(&ours, &theirs.blocks(INTERVAL..=INTERVAL + 2));
    ours.bet(&[1, 2, 3], zero, one);
    ours.bet(&[1, 2, 3], one, two);
    assert_eq!(ours.finalised(), one);
    let head = ours.chain.head();
    for block in theirs.blocks(INTERVAL + 3..=4 * INTERVAL) {
        let error = ours.chain.import(&block).expect_err("below the final block");
        let expected = matches!(error, ImportError::BelowFinal { .. } | ImportError::UnknownParent(_));
        assert!(expected, "{error:?}");
    }
    let sealed = theirs.chain.sealed_header(INTERVAL + 3).expect("a store").expect("there");
    assert!(matches!(ours.chain.standing(&sealed), Err(ImportError::BelowFinal { fork, .. }) if fork == INTERVAL - 1));
    // Not even if all footstones bet on it.
    ours.bet(&[1, 2, 3, 4], zero, theirs.checkpoint(4));
    assert_eq!(ours.chain.head(), head);
}

#[test]
fn a_lighter_branch_is_taken_for_its_justified_checkpoint() {
    for bets_first in [true, false] {
        let (ours, theirs) = rivals(2);
        ours.grow_to(3 * INTERVAL, 1);
        theirs.grow_to(INTERVAL + 2, 2);
        let longer = world();
        longer.clock.set(ours.chain.now_secs());
        import(&longer, &ours.blocks(1..=3 * INTERVAL));
        let bets = |world: &World| world.bet(&[2, 3, 4], theirs.checkpoint(0), theirs.checkpoint(1));
        let blocks = theirs.blocks(3..=INTERVAL + 2);
        let events = ours.chain.subscribe_heads(8);
        if bets_first {
            bets(&ours);
            assert_eq!(ours.chain.missing_promises(), [(INTERVAL, theirs.checkpoint(1).id)]);
            let last = theirs.chain.sealed_header(3).expect("a store").expect("there");
            assert_eq!(ours.chain.standing(&last).expect("valid"), Standing::Side);
            import(&ours, &blocks);
        } else {
            import(&ours, &blocks);
            assert_eq!(ours.chain.head().number(), 3 * INTERVAL, "lighter");
            bets(&ours);
        }
        assert_eq!(ours.chain.head().id, theirs.chain.head().id);
        assert_eq!(ours.justified(), theirs.checkpoint(1));
        let event = events.try_recv().expect("a new head");
        assert_eq!(event.reorg.expect("another branch").ancestor, 2);
        // The heavier branch that it left does not bring it back, however long it grows.
        longer.grow_to(5 * INTERVAL, 1);
        ours.clock.set(longer.chain.now_secs());
        import(&ours, &longer.blocks(3..=5 * INTERVAL));
        assert_eq!(ours.chain.head().id, theirs.chain.head().id);
    }
}

#[test]
fn more_work_does_not_lead_away_from_a_justified_checkpoint() {
    let (ours, theirs) = rivals(2);
    ours.grow_to(INTERVAL + 1, 1);
    theirs.grow_to(3 * INTERVAL, 2);
    ours.bet(&[1, 2, 3], ours.checkpoint(0), ours.checkpoint(1));
    let head = ours.chain.head();
    import(&ours, &theirs.blocks(3..=3 * INTERVAL));
    assert_eq!(ours.chain.head(), head);
    // From a block above it on, work decides again.
    let above = world();
    above.clock.advance(50);
    import(&above, &ours.blocks(1..=INTERVAL));
    above.grow_to(INTERVAL + 4, 3);
    ours.clock.set(above.chain.now_secs());
    import(&ours, &above.blocks(INTERVAL + 1..=INTERVAL + 4));
    assert_eq!(ours.chain.head().id, above.chain.head().id);
}

#[test]
fn to_a_branch_that_conflicts_with_the_own_justified_one_a_node_goes_early_in_an_interval() {
    let (ours, theirs) = rivals(2);
    ours.grow_to(INTERVAL + 3, 1);
    theirs.grow_to(2 * INTERVAL, 2);
    let (zero, one) = (ours.checkpoint(0), ours.checkpoint(1));
    ours.bet(&[1, 2, 3], zero, one);
    import(&ours, &theirs.blocks(3..=2 * INTERVAL));
    ours.bet(&[1, 2, 3], zero, theirs.checkpoint(2));
    assert_eq!(ours.justified(), one, "late in the interval");
    ours.grow_to(2 * INTERVAL - 1, 1);
    assert_eq!(ours.justified(), one, "still");
    ours.grow(1);
    assert_eq!(ours.chain.head().id, theirs.chain.head().id);
    assert_eq!(ours.justified(), theirs.checkpoint(2));
}

#[test]
fn a_branch_that_stands_still_is_left_at_any_time() {
    let (ours, theirs) = rivals(2);
    ours.grow_to(INTERVAL + 3, 1);
    theirs.grow_to(2 * INTERVAL, 2);
    ours.bet(&[1, 2, 3], ours.checkpoint(0), ours.checkpoint(1));
    import(&ours, &theirs.blocks(3..=2 * INTERVAL));
    ours.bet(&[1, 2, 3], ours.checkpoint(0), theirs.checkpoint(2));
    assert_ne!(ours.chain.head().id, theirs.chain.head().id);
    ours.clock.advance(INTERVAL + 1);
    ours.chain.reconsider();
    assert_eq!(ours.chain.head().id, theirs.chain.head().id);
}

#[test]
fn halves_that_were_apart_meet_again_and_go_on() {
    let (ours, theirs) = rivals(3);
    ours.grow_to(3 * INTERVAL, 1);
    theirs.grow_to(3 * INTERVAL + 2, 3);
    let zero = ours.checkpoint(0);
    ours.bet(&[1, 2], zero, ours.checkpoint(1));
    ours.bet(&[1, 2], zero, ours.checkpoint(2));
    theirs.bet(&[3, 4], zero, theirs.checkpoint(1));
    theirs.bet(&[3, 4], zero, theirs.checkpoint(2));
    assert_eq!((ours.finalised(), theirs.finalised()), (zero, zero), "a half alone ends nothing");
    let (a, b) = (ours.chain.bets_from(0, 100), theirs.chain.bets_from(0, 100));
    assert_eq!((a.len(), b.len()), (4, 4));
    ours.chain.hear_bets(&b);
    theirs.chain.hear_bets(&a);
    import(&ours, &theirs.blocks(4..=3 * INTERVAL + 2));
    import(&theirs, &ours.blocks(4..=3 * INTERVAL + 2));
    assert_eq!(ours.chain.head(), theirs.chain.head(), "the heavier half");
    assert!(ours.chain.offences().is_empty());
    ours.grow_to(4 * INTERVAL, 1);
    let (three, four) = (ours.checkpoint(3), ours.checkpoint(4));
    ours.bet(&[1, 2, 3, 4], zero, three);
    ours.bet(&[1, 2, 3, 4], three, four);
    assert_eq!(ours.finalised(), three);
    assert!(ours.chain.offences().is_empty());
}

#[test]
fn what_was_final_is_final_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = open(folder.path());
    ours.grow_to(2 * INTERVAL, 1);
    let (zero, one, two) = (ours.checkpoint(0), ours.checkpoint(1), ours.checkpoint(2));
    ours.bet(&[1, 2, 3], zero, one);
    ours.bet(&[1, 2, 3], one, two);
    drop(ours);
    let ours = open(folder.path());
    assert_eq!((ours.justified(), ours.finalised()), (two, one));
    let theirs = world();
    theirs.clock.advance(9);
    theirs.grow_to(4 * INTERVAL, 2);
    ours.clock.advance(100);
    let error = ours.chain.import(&theirs.blocks(1..=1)[0]).expect_err("below the final block");
    assert!(matches!(error, ImportError::BelowFinal { .. }), "{error:?}");
}

#[test]
fn a_crash_during_a_switch_leaves_one_branch_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (open(folder.path()), world());
    theirs.clock.advance(9);
    ours.grow_to(3 * INTERVAL, 1);
    theirs.grow_to(INTERVAL, 2);
    ours.clock.advance(20);
    import(&ours, &theirs.blocks(1..=INTERVAL));
    let (old, target) = (ours.chain.head().id, theirs.checkpoint(1));
    drop(ours);
    // The crash came when the old branch was taken back and nothing of the new one stood; the bets were in no block.
    let store = Store::open(folder.path(), footstone_params().digest()).expect("nobody else has it open");
    while let Some(head) = store.head().filter(|head| head.number > 0) {
        store.rewind(head.id).expect("above genesis");
    }
    let mut payload = alloy_rlp::encode(vec![target.id, old])[2..].to_vec();
    payload.extend(alloy_rlp::encode(target.number));
    payload.extend(alloy_rlp::encode(target.id));
    let mut bytes = Vec::new();
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut bytes);
    bytes.extend(payload);
    store.put_note("chain/reorg", &bytes).expect("a short note");
    drop(store);
    let ours = open(folder.path());
    assert_eq!(ours.chain.head().id, old, "without the bets there is no reason to go");
    ours.clock.advance(1_000);
    ours.bet(&[1, 2, 3], ours.checkpoint(0), target);
    assert_eq!(ours.chain.head().id, target.id);
    drop(ours);
    let ours = open(folder.path());
    assert_eq!((ours.chain.head().id, ours.justified()), (target.id, target));
}

#[test]
fn only_footstones_produce_until_the_door_opens() {
    let world = world();
    world.grow_to(1, 1);
    world.clock.advance(1);
    let request = TemplateRequest { beneficiary: key(6).address(), ..TemplateRequest::default() };
    let template = || world.chain.template(&request, &|hash| sign(6, hash));
    assert!(matches!(template(), Err(ChainError::NoRight(who)) if who == key(6).address()));
    world.clock.advance(99);
    let block = crate::world::seal(&world.chain, template().expect("the door is open").block);
    assert!(world.chain.import(&block).expect("valid").became_head);

    // The same block with an earlier time is refused, by its execution and among many.
    let other = self::world();
    import(&other, &world.blocks(1..=1));
    other.clock.advance(150);
    let mut early = block.block;
    early.header.timestamp -= 1;
    let early = SealedBlock { block: crate::world::resign(early, 6), seal: bmm_types::Seal::None };
    let refused = other.chain.import_all(std::iter::once(early.clone()), |_| ()).expect_err("too early");
    assert!(matches!(refused.error, ImportError::NoRight { .. }), "{refused}");
    assert!(matches!(other.chain.import(&early), Err(ImportError::KnownInvalid(_))));
}

#[test]
fn ten_thousand_blocks_without_finality_take_bounded_room() {
    let world = world();
    for checkpoint in 1..=10_000 / INTERVAL {
        world.grow_to(checkpoint * INTERVAL, 1);
        world.bet(&[1, 2], world.checkpoint(0), world.checkpoint(checkpoint));
    }
    assert_eq!(world.justified().number, 0);
    assert_eq!(world.chain.bets_from(0, usize::MAX).len(), 2 * bmm_chain::MAX_BETS_OF_ONE);
    // It goes on from genesis when the others are back.
    let last = 10_000 / INTERVAL;
    world.bet(&[3], world.checkpoint(0), world.checkpoint(last));
    assert_eq!(world.justified(), world.checkpoint(last));
}

#[test]
fn a_chain_without_the_block_that_the_operator_named_is_refused() {
    let theirs = world();
    theirs.grow_to(5, 1);
    let other = theirs.chain.canonical(3).expect("a store").expect("there");
    let mine = world();
    mine.clock.advance(9);
    mine.grow_to(5, 2);
    let named = mine.chain.canonical(3).expect("a store").expect("there");
    let params = footstone_params();
    let (genesis, diff) = crate::footstones::genesis_with_footstones(&params);
    let options = ChainOptions { checkpoint: Some((3, named)), ..ChainOptions::default() };
    let clock = Arc::new(ManualClock::new(theirs.chain.now_secs() + 100));
    let chain = Chain::in_memory_from(params, genesis, diff, clock, options).expect("a chain");
    for block in theirs.blocks(1..=2) {
        chain.import(&block).expect("below the named block");
    }
    let error = chain.import(&theirs.blocks(3..=3)[0]).expect_err("another block");
    assert!(matches!(error, ImportError::OtherCheckpoint { got, .. } if got == other), "{error:?}");
    let rest = chain.import_all(theirs.blocks(3..=5).into_iter(), |_| ()).expect_err("another block");
    assert!(matches!(rest.error, ImportError::OtherCheckpoint { .. }), "{rest}");
    chain.import_all(mine.blocks(1..=5).into_iter(), |_| ()).expect("the chain that has it");
    assert_eq!(chain.head().id, mine.chain.head().id);
}

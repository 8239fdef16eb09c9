//! The chain on disk: closed and opened again it is the same chain.

use crate::world::{GENESIS_TIME, World, key, params, proof, sign, transfer};
use alloy_eips::BlockId;
use alloy_primitives::{B256, U256};
use bmm_chain::{Chain, ChainError, ChainOptions, ManualClock, TemplateRequest};
use bmm_ledger::store::Store;
use bmm_types::{Amount, ChainParams, Engine, Seal, SealedBlock};
use std::{path::Path, sync::Arc};

fn open(folder: &Path, params: ChainParams) -> Result<World, ChainError> {
    let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1_000));
    let chain = Chain::open(params, folder, clock.clone(), ChainOptions::default())?;
    Ok(World { chain, clock })
}

#[test]
fn opened_again_it_has_the_same_head() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = open(folder.path(), params(Engine::Dev)).expect("a new chain");
    let hash = world.chain.submit(transfer(&world.chain, 1, 0, key(9).address(), 5)).expect("valid");
    (0..3).for_each(|_| drop(world.grow(2)));
    let (head, genesis) = (world.chain.head(), world.chain.genesis());
    assert!(open(folder.path(), params(Engine::Dev)).is_err(), "one process at a time");
    drop(world);

    let world = open(folder.path(), params(Engine::Dev)).expect("the same chain");
    assert_eq!((world.chain.head(), world.chain.genesis()), (head.clone(), genesis));
    assert_eq!(world.chain.transaction(hash).expect("a store").map(|found| found.header.number), Some(1));
    assert_eq!(world.chain.state(BlockId::latest()).expect("a state").block().id, head.id);
    assert_eq!(world.grow(2).id, world.chain.head().id);
    drop(world);
    assert!(open(folder.path(), params(Engine::Pow)).is_err(), "another chain's folder");
}

#[test]
fn further_seals_survive() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = open(folder.path(), params(Engine::Pow)).expect("a new chain");
    world.clock.advance(1);
    let block = world.template(2).block;
    let id = block.header.hash_slow();
    let (first, second) = (proof(&block, 0), proof(&block, 50));
    world.chain.import(&SealedBlock { block: block.clone(), seal: first }).expect("valid");
    // Another seal of a known block is kept when the block comes again.
    assert!(world.chain.import(&SealedBlock { block, seal: second.clone() }).is_err());
    drop(world);

    let world = open(folder.path(), params(Engine::Pow)).expect("the same chain");
    world.clock.advance(5);
    assert!(!world.chain.add_seal(id, second.clone()).expect("valid"), "known from before");
    let request = TemplateRequest { beneficiary: key(2).address(), ..TemplateRequest::default() };
    let mut child = world.chain.template(&request, &|hash| sign(2, hash)).expect("a template").block;
    child.header.mix_hash = second.randomness(id);
    let child = crate::world::resign(child, 2);
    let seal: Seal = proof(&child, 0);
    world.chain.import(&SealedBlock { block: child, seal }).expect("a child of the second seal");
}

/// Leaves `folder` as a crash in the midst of a change of branch from `from` to `to` would: with the common ancestor, genesis, as
/// head and the note of what was under way.
fn crash_between(folder: &Path, from: B256, to: B256) {
    let store = Store::open(folder, params(Engine::Dev).digest()).expect("nobody else has it open");
    while let Some(head) = store.head().filter(|head| head.number > 0) {
        store.rewind(head.id).expect("above genesis");
    }
    store.put_note("chain/reorg", &alloy_rlp::encode(vec![to, from])).expect("a short note");
}

#[test]
fn a_change_of_branch_survives_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = open(folder.path(), params(Engine::Dev)).expect("a new chain");
    let old = world.grow(2).id;
    let other = World::new(Engine::Dev);
    other.clock.advance(7);
    let branch: Vec<_> =
        (0..2).map(|_| other.chain.block(other.grow(3).id).expect("a store").expect("stored")).collect();
    for block in &branch {
        world.chain.import(block).expect("valid");
    }
    let new = world.chain.head();
    assert_eq!(new.id, branch[1].id());
    drop(world);

    crash_between(folder.path(), old, new.id);
    let world = open(folder.path(), params(Engine::Dev)).expect("the same chain");
    assert_eq!(world.chain.head(), new);

    // Had the new branch been invalid, the old head would be back.
    let mut lie = branch[1].clone();
    lie.block.header.state_root = B256::ZERO;
    lie.block = crate::world::resign(lie.block, 3);
    drop(world);
    let store = Store::open(folder.path(), params(Engine::Dev).digest()).expect("nobody else has it open");
    store.store_side_block(&lie, new.work.get()).expect("fits");
    drop(store);
    crash_between(folder.path(), old, lie.id());
    let world = open(folder.path(), params(Engine::Dev)).expect("the same chain");
    assert_eq!(world.chain.head().id, old);
    assert_eq!(world.chain.state(BlockId::latest()).expect("a state").block().id, old);
    // Nothing of it is left: it grows on.
    world.clock.advance(20);
    assert_eq!(world.grow(2).id, world.chain.head().id);
}

#[test]
fn a_heavier_branch_is_not_left_lying() {
    let folder = tempfile::tempdir().expect("a folder");
    let open_store = || Store::open(folder.path(), params(Engine::Dev).digest()).expect("nobody else has it open");
    let note = |to: B256, from: B256| open_store().put_note("chain/reorg", &alloy_rlp::encode(vec![to, from]));
    let world = open(folder.path(), params(Engine::Dev)).expect("a new chain");
    let old = world.grow(2).id;
    let other = World::new(Engine::Dev);
    other.clock.advance(7);
    let branch: Vec<_> =
        (0..3).map(|_| other.chain.block(other.grow(3).id).expect("a store").expect("stored")).collect();
    world.chain.import(&branch[0]).expect("valid");
    let work =
        |block: &SealedBlock| other.chain.resolve(block.id().into()).expect("a store").expect("stored").work.get();
    drop(world);

    // A crash after the note, before the block is stored.
    note(branch[1].id(), old).expect("a short note");
    let world = open(folder.path(), params(Engine::Dev)).expect("the same chain");
    assert_eq!(world.chain.head().id, old);
    drop(world);
    // A crash after both, before anything is taken back.
    note(branch[1].id(), old).expect("a short note");
    open_store().store_side_block(&branch[1], work(&branch[1])).expect("fits");
    let world = open(folder.path(), params(Engine::Dev)).expect("the same chain");
    assert_eq!(world.chain.head().id, branch[1].id());
    drop(world);
    // A block that was stored, while the change to it failed for reasons of this node, is tried again when it comes again.
    open_store().store_side_block(&branch[2], work(&branch[2])).expect("fits");
    let world = open(folder.path(), params(Engine::Dev)).expect("the same chain");
    world.clock.advance(20);
    assert!(world.chain.import(&branch[2]).expect("valid").became_head);
    // A note that outlived its change takes nothing back.
    let head = world.grow(2).id;
    drop(world);
    note(branch[1].id(), old).expect("a short note");
    let world = open(folder.path(), params(Engine::Dev)).expect("the same chain");
    assert_eq!(world.chain.head().id, head);
}

#[test]
fn parameters_that_nothing_can_be_built_on_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let field = |change: &dyn Fn(&mut ChainParams)| {
        let mut params = params(Engine::Dev);
        change(&mut params);
        match open(folder.path(), params).err() {
            Some(ChainError::Params { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(field(&|p| p.min_difficulty = U256::ZERO), "min_difficulty");
    assert_eq!(field(&|p| p.asert_half_life_secs = 0), "asert_half_life_secs");
    assert_eq!(field(&|p| p.gas_limit = 4_999), "gas_limit");
    assert_eq!(field(&|p| p.gas_limit = 1 << 63), "gas_limit");
    assert_eq!(field(&|p| p.emission.as_mut().expect("emits").blocks_per_era = 0), "emission.blocks_per_era");
    assert_eq!(field(&|p| p.emission.as_mut().expect("emits").producer_bps += 1), "emission");
    assert_eq!(field(&|p| p.jobs.as_mut().expect("there").fee_bps = 10_001), "jobs.fee_bps");
    assert_eq!(field(&|p| p.base_fee_to = None), "base_fee_to");
    assert_eq!(field(&|p| p.alloc[0].balance = Amount::from_units(u128::MAX)), "alloc");
    assert_eq!(field(&|p| p.alloc[0].balance = Amount(U256::MAX)), "alloc");
    assert!(open(folder.path(), params(Engine::Dev)).is_ok(), "nothing was begun in the folder");
}

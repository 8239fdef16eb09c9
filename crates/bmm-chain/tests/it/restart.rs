//! The chain on disk: closed and opened again it is the same chain.

use crate::world::{GENESIS_TIME, World, key, params, proof, sign, transfer};
use alloy_eips::BlockId;
use alloy_primitives::B256;
use bmm_chain::{Chain, ChainError, ChainOptions, ManualClock, TemplateRequest};
use bmm_ledger::store::Store;
use bmm_types::{ChainParams, Engine, Seal, SealedBlock};
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

//! Many blocks at once: the same chain as block by block.

use crate::world::{World, key, params, resign, transfer};
use alloy_eips::BlockId;
use alloy_primitives::{B256, U256};
use bmm_chain::{ChainOptions, ImportError};
use bmm_types::{Engine, SealedBlock};

/// A chain with a few transfers in every block.
fn grown(engine: Engine, blocks: u64) -> (World, Vec<SealedBlock>) {
    let world = World::new(engine);
    let grown = (0..blocks).map(|number| {
        for sender in 1..4 {
            let to = key(100 + (number * 3 + sender) % 50).address();
            world.chain.submit(transfer(&world.chain, sender, number, to, 7)).expect("valid");
        }
        let id = world.grow(5).id;
        world.chain.block(id).expect("a store").expect("stored")
    });
    let grown = grown.collect();
    (world, grown)
}

fn balances(world: &World) -> Vec<Option<U256>> {
    let state = world.chain.state(BlockId::latest()).expect("a state");
    let accounts = (0..8).chain(100..150);
    accounts.map(|n| state.account(key(n).address()).expect("a store").map(|account| account.balance)).collect()
}

fn fresh(engine: Engine) -> World {
    let world = World::new(engine);
    world.clock.advance(100_000);
    world
}

#[test]
fn many_blocks_make_the_chain_that_one_after_another_makes() {
    for engine in [Engine::Pow, Engine::Dev] {
        let (world, blocks) = grown(engine, 60);
        let other = fresh(engine);
        let mut heads = Vec::new();
        let all = other.chain.import_all(blocks.iter().cloned(), |head| heads.push(head.id)).expect("valid");
        assert_eq!((all.taken, all.known), (60, 0));
        assert_eq!(heads, blocks.iter().map(SealedBlock::id).collect::<Vec<_>>());
        assert_eq!(other.chain.head(), world.chain.head());
        assert_eq!(balances(&other), balances(&world));
        for block in &blocks {
            assert_eq!(
                other.chain.receipts(block.id()).expect("a store"),
                world.chain.receipts(block.id()).expect("a store")
            );
        }
        let again = other.chain.import_all(blocks.iter().cloned(), |_| ()).expect("known");
        assert_eq!((again.taken, again.known), (0, 60));
    }
}

#[test]
fn a_bad_block_in_the_middle_ends_it_there() {
    let (_, mut blocks) = grown(Engine::Dev, 12);
    let mut bad = blocks[7].clone();
    bad.block.header.state_root = B256::repeat_byte(1);
    bad.block = resign(bad.block, 5);
    blocks[7] = bad.clone();
    let other = fresh(Engine::Dev);
    let error = other.chain.import_all(blocks.into_iter(), |_| ()).expect_err("a wrong state root");
    assert_eq!((error.number, error.id, error.before.taken), (8, bad.id(), 7));
    assert!(matches!(error.error, ImportError::StateRoot { .. }), "{error}");
    assert_eq!(other.chain.head().number(), 7);
    assert!(matches!(other.chain.import(&bad), Err(ImportError::KnownInvalid(_))));
    // The right block goes on from there.
    let (_, blocks) = grown(Engine::Dev, 12);
    let rest = other.chain.import_all(blocks.into_iter(), |_| ()).expect("valid");
    assert_eq!((rest.taken, rest.known), (5, 7));
}

#[test]
fn a_body_that_is_not_the_headers_is_refused_and_not_remembered() {
    let (_, mut blocks) = grown(Engine::Dev, 4);
    let good = blocks[2].clone();
    blocks[2].block.body.transactions.pop();
    let other = fresh(Engine::Dev);
    let error = other.chain.import_all(blocks.into_iter(), |_| ()).expect_err("a body of others");
    assert_eq!((error.number, error.before.taken), (3, 2));
    other.chain.import(&good).expect("the same id with its own body");
}

#[test]
fn branches_are_followed_on_the_way() {
    let (main, blocks) = grown(Engine::Dev, 8);
    let side = World::with(params(Engine::Dev), ChainOptions::default());
    for block in &blocks[..3] {
        side.clock.advance(1);
        side.chain.import(block).expect("valid");
    }
    side.clock.advance(50);
    let side_blocks: Vec<SealedBlock> =
        (0..3).map(|_| side.chain.block(side.grow(6).id).expect("a store").expect("stored")).collect();
    let other = fresh(Engine::Dev);
    // The side branch leads first, and is left again.
    let mixed = blocks[..3].iter().chain(&side_blocks).chain(&blocks[3..]).cloned();
    let all = other.chain.import_all(mixed, |_| ()).expect("valid");
    assert_eq!(all.taken, 11);
    assert_eq!(other.chain.head(), main.chain.head());
    assert_eq!(balances(&other), balances(&main));
}

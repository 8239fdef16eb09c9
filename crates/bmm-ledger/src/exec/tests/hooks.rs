//! What the chain itself calls before a block's transactions, and the root in an epoch's first block.

use crate::{
    exec::{BlockBuilder, BlockError, BlockPlan, ExecError, execute_block},
    rights::{Checkpoint, rights},
    testkit::{Person, World},
};
use alloy_eips::eip4788::SYSTEM_ADDRESS;
use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolCall;
use bmm_types::{
    Block,
    system::{
        FOOTSTONES,
        Footstones::{NotSystem, onBlockCall},
        set_root,
    },
};

/// A world whose next block is the first of epoch 1.
fn before_an_epoch() -> World {
    let mut world = World::new(&[Person::new(0)]);
    while world.head.number + 1 < world.params.epoch_blocks {
        world.block(&[]);
    }
    world
}

#[test]
fn an_epochs_first_block_begins_its_extra_data_with_the_set() {
    let world = before_an_epoch();
    let plan = BlockPlan { timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
    let plan = BlockPlan { extra_data: Bytes::from_static(b"made by hand"), ..plan };
    let built = BlockBuilder::begin(&world.params, &world.head, plan, &world.state).expect("readable");
    let built = built.finish().expect("readable");
    let root = set_root(&[]);
    assert_eq!(built.header.extra_data, Bytes::from(root));

    let block = Block { header: built.header, body: built.body };
    let executes = |extra: Vec<u8>| {
        let mut block = block.clone();
        block.header.extra_data = extra.into();
        execute_block(&world.params, &block, &[], &world.state).map(drop)
    };
    executes(root.to_vec()).expect("the root");
    executes([root.as_slice(), &[7; 65]].concat()).expect("the root and a signature");
    for wrong in [vec![], b"made by hand".to_vec(), root[..31].to_vec(), [&[0], root.as_slice()].concat()] {
        let error = executes(wrong).expect_err("no root");
        assert!(matches!(error, ExecError::Invalid(BlockError::SetRoot { expected }) if expected == root), "{error}");
    }
}

#[test]
fn other_blocks_have_free_bytes() {
    let mut world = before_an_epoch();
    world.block(&[]);
    let plan = BlockPlan { timestamp: world.now, gas_limit: 60_000_000, ..BlockPlan::default() };
    let plan = BlockPlan { extra_data: Bytes::from_static(b"made by hand"), ..plan };
    let built = BlockBuilder::begin(&world.params, &world.head, plan, &world.state).expect("readable");
    assert_eq!(built.finish().expect("readable").header.extra_data, Bytes::from_static(b"made by hand"));
}

#[test]
fn the_block_after_a_checkpoint_keeps_its_id() {
    let mut world = World::new(&[Person::new(0)]);
    let genesis = world.head.hash_slow();
    let unknown = rights(&world.params, &world.state).expect("readable").expect("has footstones");
    assert_eq!(unknown.finalised, Checkpoint::default());
    world.block(&[]);
    let known = rights(&world.params, &world.state).expect("readable").expect("has footstones");
    assert_eq!(known.justified, Checkpoint { number: 0, id: genesis });
    assert_eq!(known.finalised, Checkpoint { number: 0, id: genesis });
    assert!(!known.enabled && known.current.members.is_empty() && known.previous.members.is_empty());
}

#[test]
fn nobody_else_calls_the_hook() {
    let world = World::new(&[Person::new(0)]);
    let caller = Person::new(0).address;
    let hook = onBlockCall { parent: world.head.hash_slow() }.abi_encode();
    let said = world.revert_of(caller, FOOTSTONES, U256::ZERO, hook.clone());
    assert_eq!(said, Bytes::from(alloy_sol_types::SolError::abi_encode(&NotSystem { caller })));
    // A simulated call may name any sender; what it does is not kept.
    let outcome = world.call(SYSTEM_ADDRESS, FOOTSTONES, U256::ZERO, hook).expect("the system's");
    assert_eq!(outcome.output, Bytes::from(set_root(&[])));
}

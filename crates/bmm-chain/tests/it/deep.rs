//! Ten thousand blocks of which none is final, and a change of branch a thousand blocks deep.

use crate::world::{World, key, transfer};
use alloy_eips::BlockId;
use alloy_primitives::U256;
use bmm_types::{Engine, SealedBlock};

const BLOCKS: u64 = 10_000;
const DEPTH: u64 = 1_024;
/// Blocks between two transfers.
const EVERY: u64 = 50;

/// Grows a chain; every fiftieth block has a transfer of `sender`.
fn grow(world: &World, blocks: u64, sender: u64) -> Vec<SealedBlock> {
    let grown = (0..blocks).map(|number| {
        if number % EVERY == 0 {
            let nonce = world.chain.pending_nonce(key(sender).address()).expect("a store");
            world.chain.submit(transfer(&world.chain, sender, nonce, key(100).address(), 5)).expect("valid");
        }
        let id = world.grow(sender).id;
        world.chain.block(id).expect("a store").expect("stored")
    });
    grown.collect()
}

fn balances(world: &World) -> Vec<Option<U256>> {
    let state = world.chain.state(BlockId::latest()).expect("a state");
    let accounts = [0, 1, 2, 3, 100].map(|n| state.account(key(n).address()).expect("a store"));
    accounts.map(|account| account.map(|account| account.balance)).to_vec()
}

fn transfers(blocks: &[SealedBlock]) -> usize {
    blocks.iter().map(|block| block.block.body.transactions.len()).sum()
}

#[test]
fn a_branch_a_thousand_blocks_deep_is_left_and_taken_again() {
    let first = World::new(Engine::Dev);
    let common = grow(&first, BLOCKS - DEPTH, 1);
    let ours = grow(&first, DEPTH, 2);
    let second = World::new(Engine::Dev);
    second.clock.advance(2 * BLOCKS);
    second.chain.import_all(common.iter().cloned(), |_| ()).expect("valid");
    let theirs = grow(&second, DEPTH + 1, 3);

    let node = World::new(Engine::Dev);
    node.clock.advance(10 * BLOCKS);
    node.chain.import_all(common.iter().chain(&ours).cloned(), |_| ()).expect("valid");
    assert_eq!(node.chain.head().number(), BLOCKS);
    for block in &theirs[..theirs.len() - 1] {
        assert!(!node.chain.import(block).expect("valid").became_head, "no branch with more work yet");
    }
    let reorg = node.chain.import(theirs.last().expect("many")).expect("valid").reorg.expect("a change of branch");
    let depth = usize::try_from(DEPTH).expect("small");
    assert_eq!((reorg.abandoned.len(), reorg.adopted.len()), (depth, depth + 1));
    assert_eq!(node.chain.head(), second.chain.head());
    assert_eq!(balances(&node), balances(&second));

    // Nothing of the branch that was left is found any more, and its transfers wait again.
    assert_eq!(node.chain.pool_status().pending, transfers(&ours));
    for block in &ours {
        assert_eq!(node.chain.receipts(block.id()).expect("a store"), None);
        for transaction in &block.block.body.transactions {
            assert!(node.chain.transaction(*transaction.tx_hash()).expect("a store").is_none());
        }
    }
    let first_nonce = node.chain.state(BlockId::latest()).expect("a state").account(key(2).address());
    assert_eq!(first_nonce.expect("a store").expect("rich").nonce, 0);
    for block in &theirs {
        for transaction in &block.block.body.transactions {
            let found = node.chain.transaction(*transaction.tx_hash()).expect("a store").expect("canonical");
            assert_eq!(found.block, block.id());
        }
    }

    // The other branch grows and is taken again: the state is its own, as if nothing had been.
    let more = grow(&first, 2, 2);
    for block in &more {
        node.chain.import(block).expect("valid");
    }
    assert_eq!(node.chain.head(), first.chain.head());
    assert_eq!(balances(&node), balances(&first));
    assert_eq!(node.chain.pool_status().pending, transfers(&theirs), "now those of the other branch wait");
    let depth_view = node.chain.state((BLOCKS - DEPTH + 2).into()).expect("as deep as views go");
    assert_eq!(depth_view.account(key(3).address()).expect("a store").map(|account| account.nonce), Some(0));
}

//! Branches: whatever the order in which blocks come, the head is the end of the branch with the most work.

use crate::world::{World, key, params, resign, transfer};
use alloy_eips::BlockId;
use alloy_primitives::{B256, U256};
use bmm_chain::{ChainOptions, ImportError, TemplateRequest};
use bmm_types::{Engine, Seal, SealedBlock};
use proptest::prelude::*;
use std::collections::HashMap;

/// Grows a tree of valid blocks: each step extends the block that the step's number selects, on a chain that holds just that
/// branch. Returns the blocks in the order of their making.
fn tree(steps: &[(usize, u64)]) -> Vec<SealedBlock> {
    let mut branches: Vec<Vec<SealedBlock>> = vec![Vec::new()];
    for (step, (choice, value)) in steps.iter().enumerate() {
        let branch = branches[choice % branches.len()].clone();
        let world = World::new(Engine::Dev);
        for block in &branch {
            world.chain.import(block).expect("valid");
        }
        let sender = 1 + value % 3;
        let nonce = world.chain.pending_nonce(key(sender).address()).expect("a store");
        let to = key(100 + value % 4).address();
        world.chain.submit(transfer(&world.chain, sender, nonce, to, *value)).expect("valid");
        world.clock.advance(u64::try_from(step).expect("small") + 1);
        let mut longer = branch;
        longer.push(world.next(4));
        branches.push(longer);
    }
    let mut seen = std::collections::HashSet::new();
    branches.into_iter().flatten().filter(|block| seen.insert(block.id())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_most_work_wins_whatever_the_order(
        steps in prop::collection::vec((any::<usize>(), 0u64..1_000), 1..9),
        order in prop::collection::vec(any::<usize>(), 9),
    ) {
        let blocks = tree(&steps);
        let height: u64 = blocks.iter().map(|block| block.block.header.number).max().expect("blocks");
        let world = World::new(Engine::Dev);
        world.clock.advance(10_000);
        // Any order in which parents come first.
        let mut waiting = blocks.clone();
        let mut first_at: HashMap<u64, B256> = HashMap::new();
        let mut picks = order.into_iter().cycle();
        while !waiting.is_empty() {
            let ready: Vec<usize> = (0..waiting.len())
                .filter(|i| world.chain.header(waiting[*i].block.header.parent_hash).expect("a store").is_some())
                .collect();
            let block = waiting.remove(ready[picks.next().expect("a cycle") % ready.len()]);
            first_at.entry(block.block.header.number).or_insert_with(|| block.id());
            world.chain.import(&block).expect("valid");
        }
        let head = world.chain.head();
        prop_assert_eq!(head.number(), height);
        prop_assert_eq!(head.id, first_at[&height], "of equals the first stays");
        prop_assert_eq!(head.work.get(), U256::from(height) + world.chain.params().min_difficulty);

        // The canonical chain leads from the head to genesis, and its state is that of a chain that never saw another branch.
        let straight = World::new(Engine::Dev);
        straight.clock.advance(10_000);
        for number in 1..=height {
            let id = world.chain.canonical(number).expect("a store").expect("canonical");
            let block = world.chain.block(id).expect("a store").expect("stored");
            prop_assert_eq!(world.chain.receipts(id).expect("a store").expect("canonical").len(), block.block.body.transactions.len());
            straight.chain.import(&block).expect("valid");
        }
        prop_assert_eq!(straight.chain.head().id, head.id);
        for account in (0..8).chain(100..104) {
            let balance = |world: &World| {
                let state = world.chain.state(BlockId::latest()).expect("a state");
                state.account(key(account).address()).expect("a store")
            };
            prop_assert_eq!(balance(&world), balance(&straight));
        }
        // Transactions of abandoned blocks wait in the pool, unless the branch used their nonce.
        for tx in world.chain.pool_content().pending {
            prop_assert!(world.chain.transaction(tx.hash).expect("a store").is_none());
        }
    }
}

/// Two worlds with a common beginning; the second one's branch is longer.
fn rivals() -> (World, Vec<SealedBlock>) {
    let (ours, theirs) = (World::new(Engine::Dev), World::new(Engine::Dev));
    ours.pay(1, 0, 77);
    ours.grow(3);
    theirs.clock.advance(1);
    theirs.pay(2, 0, 88);
    let blocks = (0..3).map(|_| theirs.grow(4).id).map(|id| theirs.chain.block(id).expect("a store").expect("stored"));
    (ours, blocks.collect())
}

#[test]
fn a_longer_branch_takes_over_and_transactions_go_back() {
    let (ours, blocks) = rivals();
    let old = ours.chain.head();
    // Waiting here: one that their branch holds, and one that follows on the abandoned one.
    let theirs = ours.pay(2, 0, 88);
    let follows = ours.pay(1, 1, 78);
    let events = ours.chain.subscribe_heads(8);
    let first = ours.chain.import(&blocks[0]).expect("valid");
    assert!(!first.became_head, "as heavy as ours, and later");
    let second = ours.chain.import(&blocks[1]).expect("valid");
    let reorg = second.reorg.expect("a change of branch");
    assert_eq!(reorg.ancestor, 0);
    assert_eq!(reorg.abandoned, [old.id]);
    assert_eq!(reorg.adopted, [blocks[0].id(), blocks[1].id()]);
    assert_eq!(ours.chain.head().id, blocks[1].id());
    let event = events.try_recv().expect("one event");
    assert_eq!((event.head.id, event.reorg), (blocks[1].id(), Some(reorg)));

    let waiting: Vec<_> = ours.chain.pool_content().pending;
    assert_eq!(waiting.len(), 2, "the abandoned transfer and what follows on it");
    assert!(waiting.iter().all(|tx| tx.sender == key(1).address()));
    assert_eq!(waiting[1].hash, follows);
    assert!(ours.chain.pending_transaction(theirs).is_none(), "their branch holds it");
    ours.clock.advance(10);
    assert_eq!(ours.template(3).block.body.transactions.len(), 2);
    assert!(ours.chain.import(&blocks[2]).expect("valid").became_head);
}

#[test]
fn a_branch_that_fails_is_remembered_and_the_head_restored() {
    let (ours, blocks) = rivals();
    let old = ours.chain.head();
    let state = |world: &World| world.chain.state(BlockId::latest()).expect("a state").block();
    // The second block of their branch lies about the state; the third builds on the lie.
    let mut bad = blocks[1].block.clone();
    bad.header.state_root = B256::repeat_byte(7);
    let bad = SealedBlock { block: resign(bad, 4), seal: Seal::None };
    assert!(!ours.chain.import(&blocks[0]).expect("valid").became_head);
    let error = ours.chain.import(&bad).expect_err("a false state root");
    assert!(matches!(error, ImportError::StateRoot { .. }), "{error:?}");
    assert_eq!(ours.chain.head(), old);
    assert_eq!(state(&ours).id, old.id);
    let mut child = blocks[2].block.clone();
    child.header.parent_hash = bad.id();
    let child = SealedBlock { block: resign(child, 4), seal: Seal::None };
    assert!(matches!(ours.chain.import(&child), Err(ImportError::InvalidParent(_))));
    // The honest branch is still free to win.
    assert!(ours.chain.import(&blocks[1]).expect("valid").became_head);
}

#[test]
fn what_stands_on_an_invalid_block_is_not_executed_again() {
    let (ours, blocks) = rivals();
    let old = ours.chain.head();
    let on = |parent: &SealedBlock, vanity: u8| {
        let mut child = blocks[1].block.clone();
        child.header.parent_hash = parent.id();
        child.header.number = parent.block.header.number + 1;
        child.header.timestamp = parent.block.header.timestamp + 1;
        child.header.mix_hash = Seal::None.randomness(parent.id());
        let extra = &child.header.extra_data;
        child.header.extra_data = [&[vanity], &extra[1..]].concat().into();
        child.header.base_fee_per_gas = Some(bmm_ledger::exec::header::next_base_fee(&parent.block.header));
        SealedBlock { block: resign(child, 4), seal: Seal::None }
    };
    // The first block of their branch lies; two others stand on it before anybody looks.
    let mut lie = blocks[0].block.clone();
    lie.header.state_root = B256::repeat_byte(7);
    let lie = SealedBlock { block: resign(lie, 4), seal: Seal::None };
    ours.grow(3);
    ours.clock.advance(10);
    let (one, other) = (on(&lie, 1), on(&lie, 2));
    for block in [&lie, &one, &other] {
        assert!(!ours.chain.import(block).expect("not looked at yet").became_head);
    }
    let error = ours.chain.import(&on(&one, 1)).expect_err("heavier, and false");
    assert!(matches!(error, ImportError::StateRoot { .. }), "{error:?}");
    let error = ours.chain.import(&on(&other, 2)).expect_err("heavier, and known to be false");
    assert!(matches!(error, ImportError::InvalidParent(id) if id == lie.id()), "{error:?}");
    assert!(matches!(ours.chain.import(&on(&other, 3)), Err(ImportError::InvalidParent(id)) if id == other.id()));
    assert_eq!(ours.chain.head().header.parent_hash, old.id);
}

#[test]
fn with_proof_of_work_work_counts_and_not_length() {
    let mut hard = params(Engine::Pow);
    hard.block_secs = 10;
    hard.asert_half_life_secs = 5;
    let make = || World::with(hard.clone(), ChainOptions::default());
    let (slow, fast) = (make(), make());
    let genesis = hard.genesis_time;
    // Blocks on schedule keep the least difficulty; blocks ahead of it become harder.
    for n in 1..=3 {
        slow.clock.set(genesis + n * 10 - 1);
        slow.grow(1);
    }
    for n in 1..=2 {
        fast.clock.set(genesis + n - 1);
        fast.grow(2);
    }
    assert!(fast.chain.head().work > slow.chain.head().work);
    assert!(fast.chain.head().number() < slow.chain.head().number());
    let head = slow.chain.head();
    for number in 1..=2 {
        let id = fast.chain.canonical(number).expect("a store").expect("canonical");
        let block = fast.chain.block(id).expect("a store").expect("stored");
        slow.chain.import(&block).expect("valid");
    }
    assert_eq!(slow.chain.head().id, fast.chain.head().id, "the shorter branch has more work");
    assert_eq!(slow.chain.header(head.id).expect("a store").map(|h| h.number), Some(3), "the other stays stored");
}

#[test]
fn reads_by_tag_number_and_id() {
    let world = World::new(Engine::Dev);
    let hash = world.pay(1, 0, 5);
    let first = world.grow(2).id;
    let second = world.grow(2).id;
    let chain = &world.chain;
    let resolve = |at: BlockId| chain.resolve(at).expect("known").map(|block| block.id);
    assert_eq!(resolve(BlockId::latest()), Some(second));
    assert_eq!(resolve(BlockId::pending()), Some(second));
    assert_eq!(resolve(BlockId::earliest()), Some(chain.genesis()));
    assert_eq!(resolve(BlockId::number(1)), Some(first));
    assert_eq!(resolve(BlockId::number(9)), None);
    assert_eq!(resolve(BlockId::hash(first)), Some(first));
    for tag in [BlockId::safe(), BlockId::finalized()] {
        assert_eq!(resolve(tag), Some(chain.genesis()), "without footstones nothing but genesis is final");
    }
    let found = chain.transaction(hash).expect("a store").expect("mined");
    assert_eq!((found.block, found.index, found.sender), (first, 0, key(1).address()));
    let nonce = |at| chain.state(at).expect("a state").account(key(1).address()).expect("a store").map(|a| a.nonce);
    assert_eq!(nonce(BlockId::earliest()), Some(0));
    assert_eq!(nonce(BlockId::latest()), Some(1));
    let request = TemplateRequest { beneficiary: key(1).address(), vanity: vec![0; 33].into() };
    assert!(chain.template(&request, &|hash| crate::world::sign(1, hash)).is_err(), "33 free bytes are too many");
}

//! The pool: what it takes, what it refuses and in which words, and what comes out first.

use crate::world::{GWEI, World, key, params, signed, transfer, unsigned};
use alloy_consensus::{SignableTransaction, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, TxKind, U256};
use bmm_chain::{ChainOptions, PoolError, PoolLimits};
use bmm_ledger::TxError;
use bmm_types::{Engine, Transaction};
use proptest::prelude::*;

fn world() -> World {
    World::new(Engine::Dev)
}

fn small(transactions: usize, per_sender: usize) -> World {
    let pool = PoolLimits { transactions, per_sender, ..PoolLimits::default() };
    World::with(params(Engine::Dev), ChainOptions { pool, ..ChainOptions::default() })
}

/// A transfer with these fees, in gwei.
fn with_fees(world: &World, from: u64, nonce: u64, fee: u128, tip: u128) -> Transaction {
    let mut tx = unsigned(&world.chain, nonce, key(9).address(), 1);
    tx.max_fee_per_gas = fee * GWEI;
    tx.max_priority_fee_per_gas = tip * GWEI;
    signed(from, tx)
}

fn refused(world: &World, tx: Transaction) -> PoolError {
    world.chain.submit(tx).expect_err("not acceptable")
}

#[test]
fn a_raw_transaction_comes_in_once() {
    let world = world();
    let tx = transfer(&world.chain, 1, 0, key(9).address(), 1);
    let bytes = tx.encoded_2718();
    let pending = world.chain.subscribe_pending(4);
    let hash = world.chain.submit_raw(&bytes).expect("valid");
    assert_eq!(hash, *tx.tx_hash());
    assert_eq!(pending.try_recv(), Ok(hash));
    assert_eq!(world.chain.submit_raw(&bytes).expect_err("twice").to_string(), "already known");
    assert_eq!(world.chain.pending_transaction(hash).map(|tx| tx.sender), Some(key(1).address()));
    let tail = [&bytes[..], &[0]].concat();
    assert!(matches!(world.chain.submit_raw(&tail), Err(PoolError::Malformed(_))));
    assert!(matches!(world.chain.submit_raw(&bytes[1..]), Err(PoolError::Malformed(_))));
    assert!(matches!(world.chain.submit_raw(&vec![2; 200_000]), Err(PoolError::Oversized { .. })));
}

#[test]
fn each_rule_has_its_words() {
    let world = world();
    let edit = |change: &dyn Fn(&mut alloy_consensus::TxEip1559)| {
        let mut tx = unsigned(&world.chain, 0, key(9).address(), 1);
        change(&mut tx);
        refused(&world, signed(1, tx))
    };
    let says = |error: PoolError, words: &str| assert!(error.to_string().starts_with(words), "{error}");
    says(edit(&|tx| tx.gas_limit = 20_999), "intrinsic gas too low");
    says(edit(&|tx| tx.gas_limit = 60_000_001), "exceeds block gas limit");
    says(edit(&|tx| tx.value = U256::from(10u64).pow(U256::from(24))), "insufficient funds for gas * price + value");
    says(edit(&|tx| tx.nonce = 5_000), "nonce too high");
    assert!(matches!(edit(&|tx| tx.chain_id = 1), PoolError::Invalid(TxError::ChainId { .. })));
    assert!(matches!(edit(&|tx| tx.gas_limit = (1 << 24) + 1), PoolError::Invalid(TxError::GasCap { .. })));
    assert!(matches!(edit(&|tx| tx.max_priority_fee_per_gas = 11 * GWEI), PoolError::Invalid(TxError::TipAboveFee)));
    let create = |len: usize| {
        edit(&|tx| {
            (tx.to, tx.input, tx.gas_limit) = (TxKind::Create, vec![0; len].into(), 8_000_000);
        })
    };
    assert!(matches!(create(49_153), PoolError::Invalid(TxError::InitCodeTooLong)));
    // 100 bytes of data, half of them zero: floor 21,000 + 10 · (50 + 4 · 50).
    let data = |gas: u64| {
        let mut tx = unsigned(&world.chain, 0, key(9).address(), 1);
        (tx.input, tx.gas_limit) = ([[0u8; 50], [1u8; 50]].concat().into(), gas);
        world.chain.submit(signed(1, tx))
    };
    assert!(matches!(data(23_499), Err(PoolError::IntrinsicGas { needed: 23_500, .. })));
    data(23_500).expect("enough");

    world.pay(2, 0, 1);
    world.grow(3);
    says(refused(&world, transfer(&world.chain, 2, 0, key(9).address(), 2)), "nonce too low");
}

#[test]
fn a_legacy_transaction_needs_no_chain_id() {
    let world = world();
    let legacy = |chain_id| {
        let tx = TxLegacy {
            chain_id,
            nonce: 0,
            gas_price: 2 * GWEI,
            gas_limit: 21_000,
            to: TxKind::Call(key(9).address()),
            value: U256::ONE,
            ..TxLegacy::default()
        };
        let signature = crate::world::sign(1, tx.signature_hash());
        Transaction::from(tx.into_signed(signature))
    };
    assert!(matches!(refused(&world, legacy(Some(1))), PoolError::Invalid(TxError::ChainId { .. })));
    world.chain.submit(legacy(None)).expect("replayable, as the sender wished");
    assert_eq!(world.grow(2).id, world.chain.head().id);
    assert_eq!(world.chain.pool_status().pending, 0);
}

#[test]
fn gaps_are_held_until_they_are_filled() {
    let world = world();
    let nonce = || world.chain.pending_nonce(key(1).address()).expect("a store");
    world.pay(1, 2, 1);
    world.pay(1, 1, 1);
    assert_eq!((world.chain.pool_status().pending, world.chain.pool_status().queued), (0, 2));
    assert_eq!(nonce(), 0);
    world.grow(2);
    assert_eq!(world.chain.head().header.gas_used, 0, "nothing could be in the block");
    world.pay(1, 0, 1);
    assert_eq!((world.chain.pool_status().pending, nonce()), (3, 3));
    world.grow(2);
    assert_eq!(world.chain.head().header.gas_used, 63_000);
    assert_eq!((world.chain.pool_status().pending, nonce()), (0, 3));
}

#[test]
fn a_replacement_pays_a_tenth_more() {
    let world = world();
    world.chain.submit(with_fees(&world, 1, 0, 10, 2)).expect("valid");
    for (fee, tip) in [(10, 2), (10, 9), (20, 2)] {
        let mut tx = unsigned(&world.chain, 0, key(8).address(), 2);
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (fee * GWEI, tip * GWEI);
        let error = refused(&world, signed(1, tx));
        assert!(error.to_string().starts_with("replacement transaction underpriced"), "{error}");
    }
    let better = world.chain.submit(with_fees(&world, 1, 0, 11, 3)).expect("a tenth more");
    assert_eq!(world.chain.pool_status().pending, 1);
    let id = world.grow(2).id;
    assert_eq!(world.chain.transaction(better).expect("a store").expect("mined").block, id);
}

#[test]
fn funds_cover_all_that_waits() {
    let world = world();
    let half = |nonce| {
        let mut tx = unsigned(&world.chain, nonce, key(9).address(), 0);
        tx.value = bmm_types::Amount::from_bmm(499).units();
        signed(1, tx)
    };
    world.chain.submit(half(0)).expect("499 of 1000");
    world.chain.submit(half(1)).expect("998 of 1000");
    assert!(matches!(refused(&world, half(2)), PoolError::Funds { .. }));
    // When the balance falls otherwise, what cannot be paid any more goes.
    world.grow(2);
    assert_eq!(world.chain.pool_status().pending, 0);
    assert!(matches!(refused(&world, half(2)), PoolError::Funds { .. }));
}

#[test]
fn the_cheapest_goes_when_the_pool_is_full() {
    let world = small(3, 64);
    for (from, tip) in [(1, 2), (2, 3), (3, 4)] {
        world.chain.submit(with_fees(&world, from, 0, 10, tip)).expect("room");
    }
    assert!(matches!(refused(&world, with_fees(&world, 4, 0, 10, 1)), PoolError::Full));
    assert!(matches!(refused(&world, with_fees(&world, 4, 0, 10, 2)), PoolError::Full), "of equals the first stays");
    // A fee below the base fee is worth nothing, however much of it would be tip.
    let mut low = unsigned(&world.chain, 0, key(9).address(), 1);
    (low.max_fee_per_gas, low.max_priority_fee_per_gas) = (9, 9);
    assert!(matches!(refused(&world, signed(5, low)), PoolError::Full));
    world.chain.submit(with_fees(&world, 4, 0, 10, 5)).expect("better than the worst");
    let senders: Vec<_> = world.chain.pool_content().pending.iter().map(|tx| tx.sender).collect();
    assert_eq!(senders.len(), 3);
    assert!(!senders.contains(&key(1).address()));
}

#[test]
fn what_waits_for_a_nonce_keeps_nothing_out() {
    let world = small(3, 64);
    for from in 1..4 {
        world.chain.submit(with_fees(&world, from, 1, 100, 90)).expect("room");
    }
    for from in 4..7 {
        world.chain.submit(with_fees(&world, from, 0, 10, 1)).expect("could be in the next block");
    }
    assert_eq!((world.chain.pool_status().pending, world.chain.pool_status().queued), (3, 0));
    assert!(matches!(refused(&world, with_fees(&world, 1, 1, 100, 90)), PoolError::Full));
    // One's own later one makes room for an earlier one, and not the other way round.
    let world = small(1, 64);
    world.chain.submit(with_fees(&world, 1, 5, 100, 90)).expect("room");
    world.chain.submit(with_fees(&world, 1, 0, 10, 1)).expect("it comes before the other one");
    assert_eq!((world.chain.pool_status().pending, world.chain.pool_status().queued), (1, 0));
    assert!(matches!(refused(&world, with_fees(&world, 1, 1, 100, 90)), PoolError::Full));
}

#[test]
fn a_gap_that_is_filled_counts_as_filled() {
    let world = small(3, 64);
    world.chain.submit(with_fees(&world, 1, 1, 10, 5)).expect("room");
    world.chain.submit(with_fees(&world, 2, 0, 10, 3)).expect("room");
    world.chain.submit(with_fees(&world, 1, 0, 10, 4)).expect("room");
    // All could be in the next block now, and the second sender's is the worst of the last ones.
    world.chain.submit(with_fees(&world, 3, 0, 10, 4)).expect("better than the worst");
    let senders: Vec<_> = world.chain.pool_content().pending.iter().map(|tx| tx.sender).collect();
    assert!(senders.contains(&key(1).address()) && !senders.contains(&key(2).address()));
}

#[test]
fn a_high_tip_behind_what_nobody_wants_is_worth_nothing() {
    let world = small(3, 64);
    let mut blocker = unsigned(&world.chain, 0, key(9).address(), 1);
    (blocker.max_fee_per_gas, blocker.max_priority_fee_per_gas) = (9, 9);
    world.chain.submit(signed(1, blocker)).expect("room");
    for nonce in 1..3 {
        world.chain.submit(with_fees(&world, 1, nonce, 100, 90)).expect("room");
    }
    for from in 2..5 {
        world.chain.submit(with_fees(&world, from, 0, 10, 1)).expect("it pays the base fee");
    }
    assert!(world.chain.pool_content_of(key(1).address()).pending.is_empty());
}

#[test]
fn replacements_stay_within_the_bytes() {
    let limit = 500;
    let pool = PoolLimits { bytes: limit, ..PoolLimits::default() };
    let world = World::with(params(Engine::Dev), ChainOptions { pool, ..ChainOptions::default() });
    let long = |from, fee: u128, tip: u128, len: usize| {
        let mut tx = unsigned(&world.chain, 0, key(9).address(), 1);
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (fee * GWEI, tip * GWEI);
        (tx.input, tx.gas_limit) = (vec![0; len].into(), 100_000);
        signed(from, tx)
    };
    let bytes = || world.chain.pool_content().pending.iter().map(|tx| tx.transaction.encode_2718_len()).sum::<usize>();
    for from in 1..5 {
        world.chain.submit(long(from, 10, 5, 0)).expect("room");
    }
    assert!(bytes() <= limit);
    assert!(matches!(refused(&world, long(1, 20, 6, limit)), PoolError::Full), "longer than all that may wait");
    world.chain.submit(long(2, 20, 6, 200)).expect("better than those that go for it");
    assert!(bytes() <= limit, "{}", bytes());
    world.chain.submit(long(2, 30, 7, 300)).expect("in the room of the one before");
    assert!(bytes() <= limit, "{}", bytes());
}

#[test]
fn the_base_fee_is_known_before_the_first_block() {
    let world = small(1, 64);
    let mut low = unsigned(&world.chain, 0, key(9).address(), 1);
    let fee = u128::from(world.chain.next_base_fee()) - 1;
    (low.max_fee_per_gas, low.max_priority_fee_per_gas) = (fee, fee);
    world.chain.submit(signed(1, low)).expect("room");
    world.chain.submit(with_fees(&world, 2, 0, 10, 1)).expect("it pays the base fee, the other does not");
}

#[test]
fn one_sender_has_a_limit() {
    let world = small(100, 4);
    for nonce in 0..4 {
        world.pay(1, nonce, 1);
    }
    assert!(matches!(refused(&world, transfer(&world.chain, 1, 4, key(9).address(), 1)), PoolError::AccountLimit(4)));
    world.chain.submit(with_fees(&world, 1, 3, 12, 2)).expect("replacing is no addition");
}

#[test]
fn the_highest_tip_comes_first() {
    let world = world();
    world.chain.submit(with_fees(&world, 1, 0, 10, 1)).expect("valid");
    world.chain.submit(with_fees(&world, 1, 1, 10, 9)).expect("valid");
    world.chain.submit(with_fees(&world, 2, 0, 10, 3)).expect("valid");
    world.chain.submit(with_fees(&world, 3, 0, 10, 3)).expect("valid");
    let block = world.template(4).block;
    let order: Vec<_> =
        bmm_ledger::exec::recover_senders(&block.body.transactions).expect("signed").into_iter().collect();
    let (one, two, three) = (key(1).address(), key(2).address(), key(3).address());
    assert_eq!(order, [two, three, one, one], "tips 3, 3 (the earlier first), then 1, and 9 behind it");
    let pending = world.chain.pending_block().expect("a block");
    assert_eq!(pending.body.transactions, block.body.transactions);
    assert_eq!(pending.receipts.len(), 4);
}

#[test]
fn what_waits_too_long_goes() {
    let world = world();
    let status = || (world.chain.pool_status().pending, world.chain.pool_status().queued);
    for (from, nonce) in [(1, 0), (1, 2), (2, 5), (3, 0)] {
        world.pay(from, nonce, 1);
    }
    assert_eq!(status(), (2, 2));
    world.clock.advance(2 * 3_600);
    // Who goes on sending keeps what waits.
    world.pay(2, 6, 1);
    assert_eq!(status(), (2, 3));
    world.clock.advance(3_600);
    world.pay(4, 0, 1);
    assert_eq!(status(), (3, 2), "what waited three hours for an earlier nonce is gone");
    world.clock.advance(72 * 3_600);
    world.pay(4, 1, 1);
    assert_eq!(status(), (2, 0), "and what waited three days for a block, but for who has just sent more");
}

#[test]
fn a_template_ends_when_its_time_is_over() {
    let options = ChainOptions { max_build: std::time::Duration::ZERO, ..ChainOptions::default() };
    let world = World::with(params(Engine::Dev), options);
    world.pay(1, 0, 1);
    world.grow(2);
    assert_eq!((world.chain.head().number(), world.chain.head().header.gas_used), (1, 0));
    assert_eq!(world.chain.pool_status().pending, 1, "it waits for the next block");
}

#[test]
fn one_senders_transactions_are_told_alone() {
    let world = world();
    let hashes = [world.pay(1, 0, 1), world.pay(1, 1, 1), world.pay(1, 3, 1)];
    world.pay(2, 0, 1);
    let content = world.chain.pool_content_of(key(1).address());
    let list = |part: &[std::sync::Arc<bmm_chain::PoolTransaction>]| part.iter().map(|tx| tx.hash).collect::<Vec<_>>();
    assert_eq!((list(&content.pending), list(&content.queued)), (hashes[..2].to_vec(), hashes[2..].to_vec()));
    let nobody = world.chain.pool_content_of(key(5).address());
    assert!(nobody.pending.is_empty() && nobody.queued.is_empty());
    let all = world.chain.pool_content();
    assert_eq!((all.pending.len(), all.queued.len()), (3, 1));
}

/// Our branch of four blocks holds transfers of several senders; theirs, of five, holds some of them, and takes money away.
#[test]
fn a_change_of_branch_leaves_the_books_in_order() {
    let (ours, theirs) = (world(), world());
    for block in 0..4 {
        for from in 1..4 {
            ours.pay(from, block, 100 + block);
        }
        ours.grow(6);
    }
    ours.pay(1, 4, 1);
    ours.pay(4, 0, 1);
    let mut poor = unsigned(&theirs.chain, 0, key(9).address(), 0);
    poor.value = bmm_types::Amount::from_bmm(999).units() + U256::from(10u64.pow(18) - 10u64.pow(15));
    theirs.chain.submit(signed(5, poor)).expect("nearly all it has");
    ours.pay(5, 0, 1);
    // Theirs holds the first two of the first sender, the very same ones.
    theirs.pay(1, 0, 100);
    theirs.pay(1, 1, 101);
    theirs.clock.advance(7);
    let blocks: Vec<_> = (0..5)
        .map(|_| {
            let block = theirs.next(7);
            theirs.chain.import(&block).expect("valid");
            theirs.clock.advance(1);
            block
        })
        .collect();
    ours.clock.advance(100);
    let imported: Vec<_> = blocks.iter().map(|block| ours.chain.import(block).expect("valid")).collect();
    assert_eq!(imported[4].reorg.as_ref().map(|reorg| reorg.abandoned.len()), Some(4));
    let nonces = |from: u64| {
        let content = ours.chain.pool_content_of(key(from).address());
        assert!(content.queued.is_empty());
        content.pending.iter().map(|tx| alloy_consensus::Transaction::nonce(&tx.transaction)).collect::<Vec<_>>()
    };
    assert_eq!([1, 2, 3, 4, 5].map(nonces), [vec![2, 3, 4], vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![0], vec![]]);
    ours.grow(6);
    assert_eq!(ours.chain.head().header.gas_used, 12 * 21_000);
    assert_eq!(ours.chain.pool_status(), bmm_chain::PoolStatus::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever comes in, the books agree with each other, and a template of it is a valid block.
    #[test]
    fn the_books_agree(
        arrivals in prop::collection::vec((1u64..5, 0u64..6, 1u128..20, 1u128..20, any::<bool>()), 1..60),
    ) {
        let world = small(12, 5);
        for (from, nonce, fee, tip, block) in arrivals {
            let _ = world.chain.submit(with_fees(&world, from, nonce, fee, tip.min(fee)));
            if block && nonce == 0 {
                world.grow(6);
            }
            let (status, content) = (world.chain.pool_status(), world.chain.pool_content());
            prop_assert_eq!((status.pending, status.queued), (content.pending.len(), content.queued.len()));
            prop_assert!(status.pending + status.queued <= 12);
            for tx in content.pending.iter().chain(&content.queued) {
                prop_assert!(world.chain.pending_transaction(tx.hash).is_some());
                prop_assert!(world.chain.transaction(tx.hash).expect("a store").is_none());
            }
        }
        let ready = world.chain.pool_status().pending;
        world.grow(6);
        prop_assert_eq!(world.chain.pool_status().pending, 0);
        prop_assert_eq!(world.chain.head().header.gas_used, 21_000 * u64::try_from(ready).expect("few"));
        prop_assert_ne!(world.chain.head().id, B256::ZERO);
    }
}

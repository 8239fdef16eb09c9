//! Every rule of a block: a valid block, changed in one field, is refused by the error of that field's rule.

use crate::world::{World, key, proof, resign, seal, transfer};
use alloy_consensus::Header;
use alloy_eips::BlockId;
use alloy_primitives::{B64, B256, Bloom, U256};
use bmm_chain::ImportError;
use bmm_ledger::{BlockError, TxError};
use bmm_types::{Block, Engine, Seal, SealedBlock};
use proptest::prelude::*;

/// A block with two transactions on a chain of a few blocks.
fn world(engine: Engine) -> (World, Block) {
    let world = World::new(engine);
    world.pay(1, 0, 5);
    world.grow(3);
    world.grow(4);
    world.pay(1, 1, 7);
    world.pay(2, 0, 9);
    world.clock.advance(1);
    let block = world.template(5).block;
    assert_eq!(block.body.transactions.len(), 2);
    (world, block)
}

/// Changes the header, signs and seals it again, and imports it.
fn refuse(engine: Engine, change: impl Fn(&mut Block)) -> ImportError {
    let (world, mut block) = world(engine);
    let head = world.chain.head();
    change(&mut block);
    let block = seal(&world.chain, resign(block, 5));
    let error = world.chain.import(&block).expect_err("the block is not valid");
    assert_eq!(world.chain.head(), head, "the head stays");
    error
}

/// As `refuse`, for rules that the ledger checks.
fn broken(change: impl Fn(&mut Header)) -> BlockError {
    match refuse(Engine::Dev, |block| change(&mut block.header)) {
        ImportError::Block(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_valid_block_is_taken() {
    for engine in [Engine::Dev, Engine::Pow] {
        let (world, block) = world(engine);
        let id = block.header.hash_slow();
        let block = seal(&world.chain, block);
        let imported = world.chain.import(&block).expect("valid");
        assert_eq!((imported.id, imported.became_head, imported.reorg), (id, true, None));
        assert_eq!(world.chain.head().id, id);
        assert!(matches!(world.chain.import(&block), Err(ImportError::Known(known)) if known == id));
    }
}

#[test]
fn fields_that_follow_from_the_parent() {
    assert!(matches!(broken(|h| h.number += 1), BlockError::Number { .. }));
    assert!(matches!(broken(|h| h.timestamp -= 1), BlockError::Timestamp { .. }), "not later than the parent");
    assert!(matches!(broken(|h| h.gas_limit += h.gas_limit / 1_000), BlockError::GasLimit { .. }));
    assert!(matches!(broken(|h| h.gas_used = h.gas_limit + 1), BlockError::Field { field: "gasUsed", .. }));
    assert!(matches!(broken(|h| h.base_fee_per_gas = Some(1)), BlockError::BaseFee { .. }));
    assert!(matches!(broken(|h| h.base_fee_per_gas = None), BlockError::BaseFee { .. }));
    let error = refuse(Engine::Dev, |block| block.header.parent_hash = B256::repeat_byte(1));
    assert!(matches!(error, ImportError::UnknownParent(_)));
}

#[test]
fn fields_that_are_fixed() {
    let field = |change: fn(&mut Header)| match broken(change) {
        BlockError::Field { field, .. } => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(|h| h.nonce = B64::with_last_byte(1)), "nonce");
    assert_eq!(field(|h| h.ommers_hash = B256::ZERO), "sha3Uncles");
    assert_eq!(field(|h| h.withdrawals_root = Some(B256::ZERO)), "withdrawalsRoot");
    assert_eq!(field(|h| h.parent_beacon_block_root = Some(B256::repeat_byte(1))), "parentBeaconBlockRoot");
    assert_eq!(field(|h| h.blob_gas_used = Some(131_072)), "blobGasUsed");
    assert_eq!(field(|h| h.excess_blob_gas = Some(1)), "excessBlobGas");
    assert_eq!(field(|h| h.requests_hash = Some(B256::ZERO)), "requestsHash");
}

#[test]
fn fields_that_execution_decides() {
    assert!(matches!(broken(|h| h.gas_used -= 1), BlockError::GasUsed { .. }));
    assert!(matches!(broken(|h| h.receipts_root = B256::ZERO), BlockError::ReceiptsRoot { .. }));
    assert!(matches!(broken(|h| h.logs_bloom = Bloom::repeat_byte(1)), BlockError::LogsBloom));
    assert!(matches!(
        broken(|h| h.transactions_root = B256::ZERO),
        BlockError::BodyRoot { field: "transactionsRoot", .. }
    ));
    let error = refuse(Engine::Dev, |block| block.header.state_root = B256::ZERO);
    assert!(matches!(error, ImportError::StateRoot { .. }));
}

#[test]
fn what_the_engines_decide() {
    for engine in [Engine::Dev, Engine::Pow] {
        let error = refuse(engine, |block| block.header.difficulty += U256::ONE);
        assert!(matches!(error, ImportError::Difficulty { .. }), "{error:?}");
        let error = refuse(engine, |block| block.header.mix_hash = B256::ZERO);
        assert!(matches!(error, ImportError::MixHash { .. }), "{error:?}");
        let error = refuse(engine, |block| block.header.timestamp += 16);
        assert!(matches!(error, ImportError::TooFarAhead { .. }), "{error:?}");
        let error = refuse(engine, |block| block.header.beneficiary = key(6).address());
        assert!(matches!(error, ImportError::WrongSigner { .. }), "{error:?}");
    }
}

#[test]
fn extra_data_holds_a_signature() {
    let (world, block) = world(Engine::Dev);
    let import = |change: &dyn Fn(&mut Block)| {
        let mut block = block.clone();
        change(&mut block);
        world.chain.import(&SealedBlock { block, seal: Seal::None }).expect_err("not valid")
    };
    let short = |block: &mut Block| block.header.extra_data = block.header.extra_data.slice(5..);
    assert!(matches!(import(&short), ImportError::ExtraData(64)));
    let long = |block: &mut Block| block.header.extra_data = vec![0; 98].into();
    assert!(matches!(import(&long), ImportError::Block(BlockError::Field { field: "extraData", .. })));
    let parity = |block: &mut Block| {
        let mut extra = block.header.extra_data.to_vec();
        *extra.last_mut().expect("signed") += 27;
        block.header.extra_data = extra.into();
    };
    assert!(matches!(import(&parity), ImportError::Signature));
    let high_s = |block: &mut Block| {
        let mut extra = block.header.extra_data.to_vec();
        let at = extra.len() - 33;
        let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().expect("hex");
        let s = order - U256::from_be_slice(&extra[at..at + 32]);
        extra[at..at + 32].copy_from_slice(&s.to_be_bytes::<32>());
        extra[at + 32] ^= 1;
        block.header.extra_data = extra.into();
    };
    assert!(matches!(import(&high_s), ImportError::Signature));
    let vanity = |block: &mut Block| {
        let mut extra = block.header.extra_data.to_vec();
        extra[0] ^= 1;
        block.header.extra_data = extra.into();
    };
    assert!(matches!(import(&vanity), ImportError::WrongSigner { .. } | ImportError::Signature));
}

#[test]
fn seals_belong_to_their_engine() {
    let (pow, block) = world(Engine::Pow);
    let import = |seal| pow.chain.import(&SealedBlock { block: block.clone(), seal }).expect_err("no valid seal");
    assert!(matches!(import(Seal::None), ImportError::SealMissing));
    let Seal::AuxPow(mut aux) = proof(&block, 0) else { panic!("work gives an AuxPoW") };
    aux.chain_index = 1;
    assert!(matches!(import(Seal::AuxPow(aux)), ImportError::AuxPow(_)));
    // A bad proof says nothing about the block: with a good one it is taken.
    pow.chain.import(&seal(&pow.chain, block)).expect("valid");

    let (dev, block) = world(Engine::Dev);
    let seal = proof(&block, 0);
    assert!(matches!(dev.chain.import(&SealedBlock { block, seal }), Err(ImportError::SealUnexpected)));
}

#[test]
fn transactions_in_a_block_are_checked() {
    let chain_of = |change: &dyn Fn(&World, &mut Block)| {
        let (world, mut block) = world(Engine::Dev);
        change(&world, &mut block);
        block.header.transactions_root = alloy_consensus::proofs::calculate_transaction_root(&block.body.transactions);
        let block = resign(block, 5);
        let error = world.chain.import(&SealedBlock { block: block.clone(), seal: Seal::None }).expect_err("not valid");
        let again = world.chain.import(&SealedBlock { block, seal: Seal::None }).expect_err("not valid");
        assert!(matches!(again, ImportError::KnownInvalid(_)), "{again:?}");
        match error {
            ImportError::Block(BlockError::Transaction { error, .. }) => error,
            other => panic!("{other:?}"),
        }
    };
    let nonce = chain_of(&|world, block| {
        block.body.transactions[1] = transfer(&world.chain, 2, 3, key(9).address(), 1);
    });
    assert!(matches!(nonce, TxError::NonceTooHigh { .. }));
    let funds = chain_of(&|world, block| {
        block.body.transactions[1] = transfer(&world.chain, 99, 0, key(9).address(), 1);
    });
    assert!(matches!(funds, TxError::Funds { .. }));
}

#[test]
fn a_block_that_failed_is_no_parent() {
    let (world, mut block) = world(Engine::Dev);
    block.header.state_root = B256::ZERO;
    let bad = resign(block, 5);
    let bad_id = bad.header.hash_slow();
    let mut child = bad.clone();
    child.header.parent_hash = bad_id;
    child.header.number += 1;
    assert!(world.chain.import(&SealedBlock { block: bad, seal: Seal::None }).is_err());
    let child = SealedBlock { block: resign(child, 5), seal: Seal::None };
    assert!(matches!(world.chain.import(&child), Err(ImportError::InvalidParent(id)) if id == bad_id));
}

#[test]
fn a_child_may_build_on_any_valid_seal() {
    let world = World::new(Engine::Pow);
    world.clock.advance(1);
    let block = world.template(3).block;
    let id = block.header.hash_slow();
    let (first, second) = (proof(&block, 0), proof(&block, 1_000));
    assert_ne!(first.randomness(id), second.randomness(id));
    world.chain.import(&SealedBlock { block, seal: first.clone() }).expect("valid");

    world.clock.advance(1);
    let mut child = world.template(3).block;
    assert_eq!(child.header.mix_hash, first.randomness(id));
    child.header.mix_hash = second.randomness(id);
    let child = seal(&world.chain, resign(child, 3));
    assert!(matches!(world.chain.import(&child), Err(ImportError::MixHash { .. })));

    assert!(world.chain.add_seal(id, second.clone()).expect("valid"));
    assert!(!world.chain.add_seal(id, second).expect("known"));
    world.chain.import(&child).expect("valid now");

    assert!(matches!(world.chain.add_seal(B256::ZERO, first), Err(ImportError::UnknownBlock(_))));
}

#[test]
fn a_producer_of_many_seals_splits_nothing() {
    let world = World::new(Engine::Pow);
    world.clock.advance(1);
    let block = world.template(3).block;
    let id = block.header.hash_slow();
    let seals: Vec<_> = (0..7).map(|n| proof(&block, n * 1_000)).collect();
    world.chain.import(&SealedBlock { block, seal: seals[0].clone() }).expect("valid");
    for further in &seals[1..] {
        assert!(world.chain.add_seal(id, further.clone()).expect("valid"), "none is refused for their number");
    }
    world.clock.advance(1);
    let child_of = |number: usize| {
        let mut child = world.template(3).block;
        child.header.mix_hash = seals[number].randomness(id);
        seal(&world.chain, resign(child, 3))
    };
    // The first and the last three are kept; what was built on another is taken once that comes again.
    for kept in [0, 4, 5, 6] {
        assert!(!world.chain.add_seal(id, seals[kept].clone()).expect("known"));
    }
    let child = child_of(1);
    assert!(matches!(world.chain.import(&child), Err(ImportError::MixHash { .. })));
    assert!(world.chain.add_seal(id, seals[1].clone()).expect("valid"));
    assert!(world.chain.import(&child).expect("valid now").became_head);
}

#[test]
fn seals_of_old_blocks_are_not_kept() {
    let world = World::new(Engine::Pow);
    world.clock.advance(1);
    let block = world.template(3).block;
    let id = block.header.hash_slow();
    world.chain.import(&seal(&world.chain, block.clone())).expect("valid");
    (0..1_024).for_each(|_| drop(world.grow(3)));
    assert!(world.chain.add_seal(id, proof(&block, 1_000)).expect("just young enough"));
    world.grow(3);
    let late = world.chain.add_seal(id, proof(&block, 2_000));
    assert!(matches!(late, Err(ImportError::SealTooLate { depth: 1_025, .. })), "{late:?}");
}

#[test]
fn difficulty_follows_the_schedule() {
    let mut params = crate::world::params(Engine::Pow);
    params.asert_half_life_secs = 2;
    params.block_secs = 10;
    let world = World::with(params, bmm_chain::ChainOptions::default());
    world.clock.set(world.chain.params().genesis_time + 1);
    let difficulty = |world: &World| world.template(1).block.header.difficulty;
    assert_eq!(difficulty(&world), U256::from(2), "the least, at first");
    world.grow(1);
    // Eight seconds early at a half-life of two: four doublings.
    assert_eq!(difficulty(&world), U256::from(2 << 4));
    let state = world.chain.state(BlockId::latest()).expect("a state");
    assert!(state.account(key(1).address()).expect("a store").expect("rich").balance > U256::ZERO);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever comes over a wire in place of a valid block is refused and changes nothing; the block itself is taken afterwards.
    #[test]
    fn damaged_bytes_are_refused(
        damages in prop::collection::vec(prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), 1..40),
        pow: bool,
    ) {
        let (world, block) = world(if pow { Engine::Pow } else { Engine::Dev });
        let block = seal(&world.chain, block);
        let bytes = alloy_rlp::encode(&block);
        let head = world.chain.head();
        for damage in damages {
            let mut other = bytes.clone();
            for (at, byte) in damage {
                let at = at.index(other.len());
                other[at] = byte;
            }
            match alloy_rlp::decode_exact::<SealedBlock>(&other) {
                // Work is so easy here that a damaged nonce may be another proof of the same block.
                Ok(decoded) if decoded.block == block.block => {}
                Ok(decoded) => prop_assert!(world.chain.import(&decoded).is_err()),
                Err(_) => {}
            }
            prop_assert_eq!(world.chain.head(), head.clone());
        }
        prop_assert!(alloy_rlp::decode_exact::<SealedBlock>(&bytes[..bytes.len() - 1]).is_err());
        let same = alloy_rlp::decode_exact::<SealedBlock>(&bytes).expect("what was encoded");
        prop_assert!(world.chain.import(&same).expect("valid").became_head);
    }
}

//! Header and body rules, one by one.

use crate::{
    exec::{
        BlockError,
        header::{MAX_GAS_LIMIT, MIN_GAS_LIMIT, check_body, check_header, next_base_fee, next_gas_limit},
    },
    testkit::World,
};
use alloy_primitives::{B64, B256, Bytes};
use bmm_types::{Block, BlockBody, ChainParams, Header};
use proptest::prelude::*;

/// Parameters, a parent, and a header that may follow it.
fn valid() -> (ChainParams, Header, Header) {
    let mut world = World::new(&[]);
    let parent = world.head.clone();
    world.block(&[]);
    (world.params, parent, world.head)
}

fn error_of(change: impl FnOnce(&mut Header)) -> BlockError {
    let (params, parent, mut header) = valid();
    check_header(&params, &parent, &header).expect("valid before the change");
    change(&mut header);
    check_header(&params, &parent, &header).expect_err("invalid after the change")
}

fn field_of(change: impl FnOnce(&mut Header)) -> &'static str {
    match error_of(change) {
        BlockError::Field { field, .. } => field,
        other => panic!("another rule: {other}"),
    }
}

#[test]
fn each_rule_of_the_parent() {
    assert!(matches!(error_of(|h| h.parent_hash = B256::ZERO), BlockError::ParentHash { .. }));
    assert_eq!(error_of(|h| h.number = 2), BlockError::Number { got: 2, expected: 1 });
    let (_, parent, _) = valid();
    let time = parent.timestamp;
    assert_eq!(error_of(|h| h.timestamp = time), BlockError::Timestamp { got: time, parent: time });
    let limit = parent.gas_limit;
    for got in [limit + limit / 1024, limit - limit / 1024, 0, u64::MAX] {
        assert_eq!(error_of(|h| h.gas_limit = got), BlockError::GasLimit { got, parent: limit });
    }
    let expected = next_base_fee(&parent);
    assert_eq!(error_of(|h| h.base_fee_per_gas = Some(1)), BlockError::BaseFee { got: Some(1), expected });
    assert_eq!(error_of(|h| h.base_fee_per_gas = None), BlockError::BaseFee { got: None, expected });
}

#[test]
fn the_gas_limit_fits_63_bits() {
    let (params, mut parent, mut header) = valid();
    parent.gas_limit = MAX_GAS_LIMIT;
    header.parent_hash = parent.hash_slow();
    header.base_fee_per_gas = Some(next_base_fee(&parent));
    header.gas_limit = MAX_GAS_LIMIT;
    assert_eq!(check_header(&params, &parent, &header), Ok(()));
    header.gas_limit += 1;
    let error = check_header(&params, &parent, &header).expect_err("2^63");
    assert!(matches!(error, BlockError::Field { field: "gasLimit", .. }));
}

#[test]
fn each_fixed_field() {
    assert_eq!(field_of(|h| h.gas_used = h.gas_limit + 1), "gasUsed");
    assert_eq!(field_of(|h| h.ommers_hash = B256::ZERO), "sha3Uncles");
    assert_eq!(field_of(|h| h.nonce = B64::with_last_byte(1)), "nonce");
    assert_eq!(field_of(|h| h.withdrawals_root = None), "withdrawalsRoot");
    assert_eq!(field_of(|h| h.withdrawals_root = Some(B256::ZERO)), "withdrawalsRoot");
    assert_eq!(field_of(|h| h.parent_beacon_block_root = Some(B256::with_last_byte(1))), "parentBeaconBlockRoot");
    assert_eq!(field_of(|h| h.parent_beacon_block_root = None), "parentBeaconBlockRoot");
    assert_eq!(field_of(|h| h.blob_gas_used = Some(1)), "blobGasUsed");
    assert_eq!(field_of(|h| h.excess_blob_gas = Some(1)), "excessBlobGas");
    assert_eq!(field_of(|h| h.excess_blob_gas = None), "excessBlobGas");
    assert_eq!(field_of(|h| h.requests_hash = None), "requestsHash");
    assert_eq!(field_of(|h| h.requests_hash = Some(B256::ZERO)), "requestsHash");
    assert_eq!(field_of(|h| h.extra_data = Bytes::from(vec![0; 98])), "extraData");
    let (params, parent, mut header) = valid();
    header.extra_data = vec![0; 97].into();
    assert_eq!(check_header(&params, &parent, &header), Ok(()));
}

#[test]
fn the_body_is_the_headers() {
    let (params, _, header) = valid();
    let body = BlockBody { withdrawals: Some(Vec::new().into()), ..BlockBody::default() };
    let block = Block { header, body };
    assert_eq!(check_body(&params, &block), Ok(()));
    let with = |change: fn(&mut Block)| {
        let mut block = block.clone();
        change(&mut block);
        check_body(&params, &block).expect_err("changed")
    };
    assert_eq!(with(|b| b.body.ommers.push(Header::default())), BlockError::Ommers);
    let root = with(|b| b.header.transactions_root = B256::ZERO);
    assert!(matches!(root, BlockError::BodyRoot { field: "transactionsRoot", .. }));
    let root = with(|b| b.header.withdrawals_root = Some(B256::ZERO));
    assert!(matches!(root, BlockError::BodyRoot { field: "withdrawalsRoot", .. }));
    let root = with(|b| b.body.withdrawals = None);
    assert!(matches!(root, BlockError::Field { field: "withdrawals", .. }));
}

proptest! {
    /// Whatever the producer wants, the limit moves by a step that the rule allows, towards what is wanted.
    #[test]
    fn gas_limits_keep_the_rule(parent in MIN_GAS_LIMIT..=MAX_GAS_LIMIT, wanted: u64) {
        let next = next_gas_limit(parent, wanted);
        prop_assert!(next.abs_diff(parent) < (parent / 1_024).max(1));
        prop_assert!((MIN_GAS_LIMIT..=MAX_GAS_LIMIT).contains(&next));
        let wanted = wanted.clamp(MIN_GAS_LIMIT, MAX_GAS_LIMIT);
        prop_assert!(next.abs_diff(wanted) <= parent.abs_diff(wanted));
    }
}

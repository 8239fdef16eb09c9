//! Each rule of a transaction, by the error that names it.

use crate::{
    exec::{BlockBuilder, BlockPlan, TxError, TxOutcome},
    testkit::{GAS, MINER, Person, Send, World, deployer, forwarder},
};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEip4844, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use bmm_types::Transaction;

struct Case {
    world: World,
    person: Person,
}

impl Case {
    fn new() -> Self {
        let person = Person::new(0);
        Self { world: World::new(&[person]), person }
    }

    fn plain(&self) -> TxEip1559 {
        TxEip1559 {
            chain_id: self.world.params.chain_id,
            gas_limit: 21_000,
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 1,
            to: TxKind::Call(Address::repeat_byte(9)),
            ..TxEip1559::default()
        }
    }

    fn outcome(&self, tx: impl SignableTransaction<Signature> + Into2718, from: Address) -> TxOutcome {
        let plan = BlockPlan { beneficiary: MINER, timestamp: self.world.now, gas_limit: 0, ..BlockPlan::default() };
        let (params, head, state) = (&self.world.params, &self.world.head, &self.world.state);
        let mut builder = BlockBuilder::begin(params, head, plan, state).expect("readable");
        let outcome = builder.try_add(&tx.envelope(), from).expect("readable");
        let skipped = matches!(outcome, TxOutcome::Skipped(_));
        assert_eq!(builder.is_empty(), skipped);
        let built = builder.finish().expect("readable");
        // What was skipped left no trace.
        assert!(!skipped || !built.executed.diff.accounts.contains_key(&self.person.address));
        outcome
    }

    #[track_caller]
    fn refused(&self, tx: impl SignableTransaction<Signature> + Into2718, error: TxError) {
        assert_eq!(self.outcome(tx, self.person.address), TxOutcome::Skipped(error));
    }
}

/// Signs with a test signature; senders are given beside the transaction.
trait Into2718 {
    fn envelope(self) -> Transaction;
}

macro_rules! enveloped {
    ($($tx:ty),*) => {$(
        impl Into2718 for $tx {
            fn envelope(self) -> Transaction {
                self.into_signed(Signature::test_signature()).into()
            }
        }
    )*};
}
enveloped!(TxEip1559, TxEip4844, TxLegacy);

#[test]
fn a_good_one_is_included() {
    let case = Case::new();
    let outcome = case.outcome(case.plain(), case.person.address);
    assert_eq!(outcome, TxOutcome::Included { gas_used: 21_000, success: true });
}

#[test]
fn each_rule_has_its_name() {
    let case = Case::new();
    let (tx, chain) = (case.plain(), case.world.params.chain_id);
    case.refused(TxEip1559 { nonce: 1, ..tx.clone() }, TxError::NonceTooHigh { tx: 1, state: 0 });
    case.refused(TxEip1559 { chain_id: 1, ..tx.clone() }, TxError::ChainId { expected: chain });
    let other_chain =
        TxLegacy { chain_id: Some(1), gas_limit: 21_000, gas_price: 2_000_000_000, ..TxLegacy::default() };
    case.refused(TxLegacy { to: tx.to, ..other_chain }, TxError::ChainId { expected: chain });
    let short = TxEip1559 { gas_limit: 20_999, ..tx.clone() };
    case.refused(short, TxError::IntrinsicGas { limit: 20_999, needed: 21_000 });
    // EIP-7623: 10 gas a token, four tokens a byte that is not zero.
    let floor = TxEip1559 { gas_limit: 30_000, input: Bytes::from(vec![1; 300]), ..tx.clone() };
    case.refused(floor, TxError::IntrinsicGas { limit: 30_000, needed: 33_000 });
    let cap = 1 << 24;
    case.refused(TxEip1559 { gas_limit: cap + 1, ..tx.clone() }, TxError::GasCap { limit: cap + 1, cap });
    let tip = TxEip1559 { max_priority_fee_per_gas: 3_000_000_000, ..tx.clone() };
    case.refused(tip, TxError::TipAboveFee);
    let low = TxEip1559 { max_fee_per_gas: 1, ..tx.clone() };
    case.refused(low, TxError::FeeTooLow { base_fee: 875_000_000 });
    let balance = case.world.state.balance(case.person.address);
    let needed = balance + U256::from(21_000u64 * 2_000_000_000);
    case.refused(TxEip1559 { value: balance, ..tx.clone() }, TxError::Funds { needed, balance });
    let long = TxEip1559 { to: TxKind::Create, input: vec![0; 49_153].into(), gas_limit: 5_000_000, ..tx.clone() };
    case.refused(long, TxError::InitCodeTooLong);
    let blob = TxEip4844 {
        chain_id: chain,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        max_fee_per_blob_gas: 1,
        blob_versioned_hashes: vec![B256::with_last_byte(1)],
        ..TxEip4844::default()
    };
    case.refused(blob, TxError::Blob);
}

#[test]
fn a_used_nonce_and_a_contract_sender() {
    let mut case = Case::new();
    let deploy = Send::create(case.person.address, U256::ZERO, &deployer(&forwarder(0xf1)));
    assert!(case.world.send(deploy).status());
    case.refused(case.plain(), TxError::NonceTooLow { tx: 0, state: 1 });
    let contract = case.person.address.create(0);
    let tx = TxEip1559 { nonce: 1, ..case.plain() };
    assert_eq!(case.outcome(tx, contract), TxOutcome::Skipped(TxError::SenderIsContract));
}

#[test]
fn a_full_block_takes_no_more() {
    let person = Person::new(0);
    let mut params = bmm_types::ChainParams::dev(person.address, 1_000_000);
    params.gas_limit = 100_000;
    let mut world = World::with_params(params);
    let send = |gas| Send { gas, ..Send::new(person.address, MINER, U256::from(1), Bytes::new()) };
    let outcomes = world.block(&[send(60_000), send(80_000), send(79_000)]);
    assert!(outcomes[0].is_ok());
    assert!(matches!(outcomes[1], Err(TxError::BlockGas { limit: 80_000, left }) if left < 80_000));
    assert!(outcomes[2].is_ok(), "what fits is still taken");
    assert_eq!(world.head.gas_used, 42_000);
}

#[test]
fn a_failed_transaction_is_in_the_block() {
    let mut case = Case::new();
    let revert = Send::create(case.person.address, U256::from(5), &[0x5f, 0x5f, 0xfd]);
    let receipt = case.world.send(revert);
    assert!(!receipt.status() && receipt.cumulative_gas_used() < GAS);
    let endless = Send::create(case.person.address, U256::ZERO, &[0x5b, 0x5f, 0x56]);
    let receipt = case.world.send(endless);
    assert_eq!((receipt.status(), receipt.cumulative_gas_used()), (false, GAS));
    assert_eq!(case.world.state.account(case.person.address).nonce, 2);
}

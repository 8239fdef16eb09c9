//! The pool's books against a simple model, and how long they take.
#![expect(clippy::as_conversions, reason = "numbers of tests are small")]

mod model;
mod orders;
mod scale;

use super::{Candidate, PoolLimits, TxPool};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Signature, TxKind, U256, keccak256};
use bmm_ledger::diff::Account;
use bmm_types::{Header, Transaction};

/// A transfer of nothing by somebody who pays 21,000 · `fee` at most; the signature is none, since the books do not look at it.
fn transaction(sender: Address, nonce: u64, fee: u128, tip: u128, data: usize) -> Transaction {
    let tx = TxEip1559 {
        chain_id: 1,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: fee,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(sender),
        input: vec![1; data].into(),
        ..TxEip1559::default()
    };
    // The recipient tells senders apart, so that no two have a transaction of the same hash.
    tx.into_signed(Signature::new(U256::ONE, U256::ONE, false)).into()
}

fn address(n: u64) -> Address {
    Address::from_slice(&keccak256(n.to_be_bytes())[12..])
}

/// A head after which the base fee is `base_fee`: a block that is half full.
fn head(base_fee: u64) -> (B256, Header) {
    let header =
        Header { gas_limit: 60_000_000, gas_used: 30_000_000, base_fee_per_gas: Some(base_fee), ..Header::default() };
    (keccak256(base_fee.to_be_bytes()), header)
}

fn pool(limits: PoolLimits, base_fee: u64) -> TxPool {
    let (id, header) = head(base_fee);
    TxPool::new(limits, id, &header)
}

fn account(nonce: u64, balance: u64) -> Account {
    Account { nonce, balance: U256::from(balance), ..Account::default() }
}

fn candidate(sender: Address, account: Account, transaction: Transaction) -> Candidate {
    Candidate { transaction, sender, account, now: 0 }
}

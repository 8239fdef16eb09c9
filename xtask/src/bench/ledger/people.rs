//! Accounts that send, and their signed transactions.

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_types::Transaction;

/// The highest price per gas that a transaction offers, far above every base fee met here.
const MAX_FEE: u128 = 100_000_000_000;
/// The tip of every transaction: all the same, so that the order of arrival is the order in a block.
const TIP: u128 = 1_000_000_000;

/// An account with its key and the next nonce.
#[derive(Clone, Debug)]
pub struct Person {
    key: PrivateKeySigner,
    nonce: u64,
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The receiver; a contract creation if absent.
    pub to: Option<Address>,
    /// Units sent along.
    pub value: u64,
    /// Call data or creation code.
    pub input: Bytes,
    /// Gas limit.
    pub gas: u64,
}

impl Person {
    /// Makes the account number `index`; the same key in every run.
    pub fn new(index: usize) -> Self {
        let secret = keccak256(format!("bmm bench {index}"));
        let key = PrivateKeySigner::from_bytes(&secret).expect("a hash is a valid key, but for one in 2^128");
        Self { key, nonce: 0 }
    }

    /// Makes `count` accounts.
    pub fn many(count: usize) -> Vec<Self> {
        (0..count).map(Self::new).collect()
    }

    /// Returns the address.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Signs the account's next transaction.
    pub fn sign(&mut self, chain_id: u64, deed: Deed) -> Transaction {
        let tx = TxEip1559 {
            chain_id,
            nonce: self.nonce,
            gas_limit: deed.gas,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: TIP,
            to: deed.to.map_or(TxKind::Create, TxKind::Call),
            value: U256::from(deed.value),
            input: deed.input,
            ..TxEip1559::default()
        };
        self.nonce += 1;
        let signature = self.key.sign_hash_sync(&tx.signature_hash()).expect("a local key signs every hash");
        tx.into_signed(signature).into()
    }

    /// Signs the account's next transaction and encodes it for `eth_sendRawTransaction`.
    pub fn sign_raw(&mut self, chain_id: u64, deed: Deed) -> Bytes {
        self.sign(chain_id, deed).encoded_2718().into()
    }
}

impl Deed {
    /// Sends one unit.
    pub fn transfer(to: Address) -> Self {
        Self { to: Some(to), value: 1, input: Bytes::new(), gas: 21_000 }
    }
}

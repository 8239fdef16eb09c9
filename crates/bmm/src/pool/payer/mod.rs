//! Pays what miners have earned on the BMM chain.
//!
//! One payment at a time. It is signed, written into the books with its nonce and its hash, and only then sent; after a crash the same
//! transaction is sent again. Nothing that was signed is ever taken for lost: as long as a payment's nonce may still be used by it, nothing
//! else is paid.

#[cfg(test)]
mod tests;

use crate::rpc::{Fees, RpcClient, RpcError};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U256, hex};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_pool::{
    batch,
    books::{Books, BooksError, NewPayment, PayItem, Payment},
};
use bmm_types::Amount;
use serde_json::json;
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use tokio::runtime::Handle;

/// Name of the chain in the books.
pub const CHAIN: &str = "bmm";
/// Time after which a payment that is in no block is signed anew if its fee is too low, in seconds.
const PATIENCE_SECS: u64 = 600;

/// When and what is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayoutRules {
    /// Least balance that is paid, in units.
    pub threshold: u128,
    /// What each receiver pays for a payment, in units; less than the threshold.
    pub fee: u128,
    /// Blocks from the payment's own to the head, both counted, until it is final.
    pub confirmations: u64,
    /// Time between two looks.
    pub every: Duration,
}

/// Why nothing is paid at this moment.
#[derive(Debug, Error)]
pub enum PayError {
    /// The node.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The books.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// A payment's nonce was used by something else.
    #[error(
        "payment {payment}: nonce {nonce} of {sender} is used, and no transaction of the payment is in the chain; \
         if that is sure, give its money back with `bmm pool payments --give-back {payment}`"
    )]
    NonceUsed {
        /// The payment.
        payment: u64,
        /// Its nonce.
        nonce: u64,
        /// Its sender.
        sender: String,
    },
    /// A payment was made with another wallet.
    #[error("payment {payment} is of the wallet {sender}: run the pool with that one until it is final")]
    OtherWallet {
        /// The payment.
        payment: u64,
        /// Its sender.
        sender: String,
    },
    /// A stored transaction cannot be read.
    #[error("payment {0} has a transaction that cannot be read")]
    BadTransaction(u64),
}

/// Pays with one wallet.
pub struct Payer {
    /// A node of the chain.
    pub rpc: RpcClient,
    /// What is owed.
    pub books: Books,
    /// The wallet that the blocks' rewards go to.
    pub key: PrivateKeySigner,
    /// When and what.
    pub rules: PayoutRules,
    /// Where the books' work is done.
    pub runtime: Handle,
}

/// A transaction that is ready to be sent.
struct Signed {
    hash: String,
    raw: String,
}

impl Payer {
    /// Pays until `stop` says so or is dropped. Failures are logged, and tried again at the next look.
    pub fn run(&self, stop: &Receiver<()>) {
        let mut last = String::new();
        loop {
            match self.round() {
                Ok(()) => last.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != last {
                        tracing::warn!(%error, "payments wait");
                    }
                    last = text;
                }
            }
            if !matches!(stop.recv_timeout(self.rules.every), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    /// Looks after payments that are under way and, if none is, makes one.
    pub fn round(&self) -> Result<(), PayError> {
        let mut under_way = false;
        for payment in self.runtime.block_on(self.books.open_payments(CHAIN))? {
            under_way |= !self.follow(&payment)?;
        }
        if under_way { Ok(()) } else { self.pay() }
    }

    /// Sees what became of a payment, and sends it again if nothing has; returns whether it is over.
    fn follow(&self, payment: &Payment) -> Result<bool, PayError> {
        let attempts = self.runtime.block_on(self.books.attempts(payment.id))?;
        // Before the receipts, so that a nonce which was used in between is not taken for somebody else's.
        let head = self.rpc.block_number()?;
        let sender: Address = payment.sender.parse().map_err(|_| PayError::BadTransaction(payment.id))?;
        let used: U64 = self.rpc.call("eth_getTransactionCount", (sender, "latest"))?;
        for attempt in &attempts {
            let hash: B256 = attempt.hash.parse().map_err(|_| PayError::BadTransaction(payment.id))?;
            let Some(receipt) = self.rpc.receipt(hash)? else { continue };
            let depth = head.saturating_add(1).saturating_sub(receipt.block);
            if depth < self.rules.confirmations {
                return Ok(false);
            }
            let cost = u128::try_from(receipt.fee().units()).unwrap_or(u128::MAX);
            if receipt.succeeded {
                let done = self.books.paid(payment.id, &attempt.hash, receipt.block, cost, now_secs());
                self.runtime.block_on(done)?;
                tracing::info!(payment = payment.id, total = payment.total, "a payment is final");
            } else {
                self.runtime.block_on(self.books.failed(payment.id, cost, now_secs()))?;
                tracing::error!(payment = payment.id, "a payment failed in its block; what it took was put back");
            }
            return Ok(true);
        }
        if used.to::<u64>() > payment.nonce {
            let (payment, nonce, sender) = (payment.id, payment.nonce, payment.sender.clone());
            return Err(PayError::NonceUsed { payment, nonce, sender });
        }
        let Some(last) = attempts.last() else { return Err(PayError::BadTransaction(payment.id)) };
        let fees = self.rpc.fees()?;
        if now_secs().saturating_sub(last.made_at) >= PATIENCE_SECS
            && let Some(signed) = self.dearer(payment, &last.raw, fees)?
        {
            self.runtime.block_on(self.books.replace(payment.id, &signed.hash, &signed.raw, now_secs()))?;
            self.send(&signed.raw)?;
        } else {
            self.send(&last.raw)?;
        }
        Ok(false)
    }

    /// Signs a payment's transaction with twice the fee, if what it offers is less than blocks ask now.
    fn dearer(&self, payment: &Payment, raw: &str, fees: Fees) -> Result<Option<Signed>, PayError> {
        let bad = || PayError::BadTransaction(payment.id);
        let bytes = hex::decode(raw).map_err(|_| bad())?;
        let envelope = TxEnvelope::decode_2718(&mut bytes.as_slice()).map_err(|_| bad())?;
        let mut transaction = envelope.as_eip1559().ok_or_else(bad)?.tx().clone();
        if transaction.max_fee_per_gas >= fees.base_fee.saturating_add(fees.max_priority_fee) {
            return Ok(None);
        }
        if payment.sender != sender_text(self.key.address()) {
            return Err(PayError::OtherWallet { payment: payment.id, sender: payment.sender.clone() });
        }
        transaction.max_fee_per_gas = fees.max_fee.max(transaction.max_fee_per_gas.saturating_mul(2));
        let tip = transaction.max_priority_fee_per_gas.saturating_mul(2);
        transaction.max_priority_fee_per_gas = fees.max_priority_fee.max(tip);
        self.sign(transaction).map(Some)
    }

    /// Pays those who have enough, if anybody has.
    fn pay(&self) -> Result<(), PayError> {
        let limit = u32::try_from(batch::MAX_RECEIVERS).unwrap_or(u32::MAX);
        let payable = self.runtime.block_on(self.books.payable(CHAIN, self.rules.threshold, limit))?;
        let mut receivers = Vec::new();
        for (account, amount) in payable {
            if batch::is_payable(account) && amount > self.rules.fee {
                receivers.push((account, amount));
            } else {
                self.hold(account)?;
            }
        }
        while !receivers.is_empty() {
            match self.prepare(&receivers) {
                // Somebody among them cannot be paid: look for who with half of them.
                Err(PayError::Rpc(RpcError::Reverted { .. })) if receivers.len() > 1 => {
                    receivers.truncate(receivers.len() / 2);
                }
                Err(PayError::Rpc(RpcError::Reverted { reason, .. })) => {
                    tracing::error!(account = %receivers[0].0, %reason, "an account cannot be paid, and is held");
                    return self.hold(receivers[0].0);
                }
                other => return self.send(&other?),
            }
        }
        Ok(())
    }

    fn hold(&self, account: Address) -> Result<(), PayError> {
        Ok(self.runtime.block_on(self.books.hold(CHAIN, account, true))?)
    }

    /// Signs a payment and writes it down; returns the transaction, which is not sent yet.
    fn prepare(&self, receivers: &[(Address, u128)]) -> Result<String, PayError> {
        let fee = self.rules.fee;
        let items: Vec<PayItem> = receivers.iter().map(|&(account, amount)| PayItem { account, amount, fee }).collect();
        let net: Vec<(Address, u128)> =
            items.iter().map(|item| (item.account, item.amount.saturating_sub(item.fee))).collect();
        // Receivers were checked one by one, and are as many as fit.
        let (code, value) = batch::pay_many(&net).ok_or(BooksError::TooLarge)?;
        let transaction = self.draft(code, value)?;
        let nonce = transaction.nonce;
        let signed = self.sign(transaction)?;
        let payment = NewPayment {
            chain: CHAIN,
            sender: &sender_text(self.key.address()),
            nonce,
            items: &items,
            hash: &signed.hash,
            raw: &signed.raw,
            at: now_secs(),
        };
        let id = self.runtime.block_on(self.books.prepare(&payment))?;
        tracing::info!(payment = id, receivers = items.len(), hash = %signed.hash, "a payment is written down");
        Ok(signed.raw)
    }

    /// Makes the transaction, and checks that the wallet can pay for it.
    fn draft(&self, code: Bytes, value: U256) -> Result<TxEip1559, PayError> {
        let address = self.key.address();
        let fees = self.rpc.fees()?;
        let balance = self.rpc.balance(address)?;
        // Before the node is asked for gas: its refusal would be taken for a receiver's.
        let lacking = |needed: U256| RpcError::InsufficientFunds { address, balance, needed: Amount(needed) };
        if value >= balance.units() {
            return Err(lacking(value).into());
        }
        let call = json!({ "from": address, "value": value, "data": code });
        let estimate: u64 = self.rpc.call::<U64>("eth_estimateGas", (call,))?.to();
        let gas_limit = estimate.saturating_add(estimate / 8);
        let transaction = TxEip1559 {
            chain_id: self.rpc.chain_id()?,
            nonce: self.rpc.nonce(address)?,
            gas_limit,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.max_priority_fee,
            to: TxKind::Create,
            value,
            input: code,
            ..TxEip1559::default()
        };
        let gas = U256::from(gas_limit).saturating_mul(U256::from(fees.max_fee));
        let needed = value.saturating_add(gas);
        if needed > balance.units() { Err(lacking(needed).into()) } else { Ok(transaction) }
    }

    fn sign(&self, transaction: TxEip1559) -> Result<Signed, PayError> {
        let hash = transaction.signature_hash();
        let signature = self.key.sign_hash_sync(&hash).map_err(|error| RpcError::Signing(error.to_string()))?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        let raw = hex::encode_prefixed(envelope.encoded_2718());
        Ok(Signed { hash: envelope.tx_hash().to_string(), raw })
    }

    /// Hands a transaction to the node, which may know it.
    fn send(&self, raw: &str) -> Result<(), PayError> {
        match self.rpc.call::<B256>("eth_sendRawTransaction", (raw,)) {
            Ok(_) => Ok(()),
            Err(RpcError::Node { message, .. }) if message.contains("known") => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// An address as the books have it.
fn sender_text(address: Address) -> String {
    format!("{address:#x}")
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

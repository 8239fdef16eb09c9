//! What the command line asks of a chain: balances, contract calls, transactions, receipts.

use super::{RpcClient, RpcError};
use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, Log, LogData, TxKind, U64, U128, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolEvent};
use bmm_types::Amount;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Gas of a transfer that runs no code.
const TRANSFER_GAS: u64 = 21_000;
/// Time between two looks for a receipt.
const POLL: Duration = Duration::from_millis(150);

/// What a transaction pays for gas, in units per gas (EIP-1559).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The latest block's base fee.
    pub base_fee: u128,
    /// Tip of the block's producer.
    pub max_priority_fee: u128,
    /// Most that is paid, tip included: room for the base fee to double.
    pub max_fee: u128,
}

/// A transaction that is ready to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The sender.
    pub from: Address,
    /// The transaction.
    pub transaction: TxEip1559,
}

/// A transaction that a node has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its hash.
    pub transaction: B256,
    /// Its nonce.
    pub nonce: u64,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's hash.
    pub transaction: B256,
    /// Number of its block.
    pub block: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Whether it did what it should; a failed one still pays its gas.
    pub succeeded: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// What it paid for each gas, in units.
    pub gas_price: u128,
    /// Address of the contract it created.
    pub contract: Option<Address>,
    /// Events it left.
    pub logs: Vec<Log>,
}

#[derive(Serialize)]
struct CallObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Address>,
    to: Address,
    value: U256,
    // The older name, which every node knows.
    data: &'a Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockFee {
    base_fee_per_gas: U128,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawReceipt {
    transaction_hash: B256,
    block_number: U64,
    block_hash: B256,
    status: U64,
    gas_used: U64,
    effective_gas_price: U128,
    contract_address: Option<Address>,
    logs: Vec<RawLog>,
}

#[derive(Deserialize)]
struct RawLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

impl RpcClient {
    /// Returns the chain's id (EIP-155).
    pub fn chain_id(&self) -> Result<u64, RpcError> {
        Ok(self.call::<U64>("eth_chainId", ())?.to())
    }

    /// Returns the latest block's number.
    pub fn block_number(&self) -> Result<u64, RpcError> {
        Ok(self.call::<U64>("eth_blockNumber", ())?.to())
    }

    /// Returns the id of the canonical block `number`, if there is one.
    pub fn block_hash(&self, number: u64) -> Result<Option<B256>, RpcError> {
        #[derive(Deserialize)]
        struct Found {
            hash: B256,
        }
        let found: Option<Found> = self.call("eth_getBlockByNumber", (U64::from(number), false))?;
        Ok(found.map(|block| block.hash))
    }

    /// Returns the balance of `address` at the latest block.
    pub fn balance(&self, address: Address) -> Result<Amount, RpcError> {
        Ok(Amount(self.call("eth_getBalance", (address, "latest"))?))
    }

    /// Returns the next nonce of `address`, transactions that wait in the pool included.
    pub fn nonce(&self, address: Address) -> Result<u64, RpcError> {
        Ok(self.call::<U64>("eth_getTransactionCount", (address, "pending"))?.to())
    }

    /// Returns the fees that get a transaction into one of the next blocks.
    pub fn fees(&self) -> Result<Fees, RpcError> {
        let block: BlockFee = self.call("eth_getBlockByNumber", ("latest", false))?;
        let base_fee: u128 = block.base_fee_per_gas.to();
        let max_priority_fee: u128 = self.call::<U128>("eth_maxPriorityFeePerGas", ())?.to();
        Ok(Fees { base_fee, max_priority_fee, max_fee: base_fee.saturating_mul(2).saturating_add(max_priority_fee) })
    }

    /// Calls the contract at `to` at the latest block, without a transaction, and decodes what it returns.
    pub fn contract<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, RpcError> {
        let data = Bytes::from(call.abi_encode());
        let object = CallObject { from: None, to, value: U256::ZERO, data: &data };
        let returned: Bytes = self.call("eth_call", (object, "latest"))?;
        C::abi_decode_returns(&returned)
            .map_err(|error| RpcError::BadResult { method: C::SIGNATURE.to_owned(), reason: error.to_string() })
    }

    /// Returns the gas that a transaction needs; a contract's refusal shows here, before anything is paid.
    pub fn estimate_gas(&self, from: Address, to: Address, value: Amount, data: &Bytes) -> Result<u64, RpcError> {
        let object = CallObject { from: Some(from), to, value: value.units(), data };
        Ok(self.call::<U64>("eth_estimateGas", (object,))?.to())
    }

    /// Makes a transaction ready to be signed: nonce, gas and fees from the node. Fails if `from` cannot pay its most.
    pub fn draft(&self, from: Address, to: Address, value: Amount, data: Bytes) -> Result<Draft, RpcError> {
        let (balance, fees) = (self.balance(from)?, self.fees()?);
        // Before the node is asked for gas: its refusal would say less.
        check_funds(from, balance, value.checked_add(gas_cost(TRANSFER_GAS, fees.max_fee)))?;
        let estimate = self.estimate_gas(from, to, value, &data)?;
        // State may change until the transaction runs, so a contract gets a quarter more; what is not used is not paid.
        let gas_limit = if estimate <= TRANSFER_GAS { estimate } else { estimate.saturating_add(estimate / 4) };
        let transaction = TxEip1559 {
            chain_id: self.chain_id()?,
            nonce: self.nonce(from)?,
            gas_limit,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.max_priority_fee,
            to: TxKind::Call(to),
            value: value.units(),
            input: data,
            ..TxEip1559::default()
        };
        let draft = Draft { from, transaction };
        check_funds(from, balance, value.checked_add(draft.max_cost()))?;
        Ok(draft)
    }

    /// Signs a draft and hands it to the node.
    pub fn send(&self, signer: &PrivateKeySigner, draft: Draft) -> Result<Sent, RpcError> {
        let nonce = draft.transaction.nonce;
        let raw = draft.sign(signer)?;
        let transaction: B256 = self.call("eth_sendRawTransaction", (raw,))?;
        Ok(Sent { transaction, nonce })
    }

    /// Drafts, signs and sends a transaction from `signer`.
    pub fn send_transaction(
        &self,
        signer: &PrivateKeySigner,
        to: Address,
        value: Amount,
        data: Bytes,
    ) -> Result<Sent, RpcError> {
        self.send(signer, self.draft(signer.address(), to, value, data)?)
    }

    /// Sends `value` with a call of the contract at `to`, and waits until it is in a block and has succeeded.
    pub fn transact<C: SolCall>(
        &self,
        signer: &PrivateKeySigner,
        to: Address,
        value: Amount,
        call: &C,
        timeout: Duration,
    ) -> Result<Receipt, RpcError> {
        let sent = self.send_transaction(signer, to, value, call.abi_encode().into())?;
        self.wait_receipt(sent.transaction, timeout)?.success()
    }

    /// Returns the receipt of a transaction, if it is in a block.
    pub fn receipt(&self, transaction: B256) -> Result<Option<Receipt>, RpcError> {
        Ok(self.call::<Option<RawReceipt>>("eth_getTransactionReceipt", (transaction,))?.map(Receipt::from))
    }

    /// Waits until a transaction is in a block; whether it succeeded there is in the receipt.
    pub fn wait_receipt(&self, transaction: B256, timeout: Duration) -> Result<Receipt, RpcError> {
        let start = Instant::now();
        loop {
            if let Some(receipt) = self.receipt(transaction)? {
                return Ok(receipt);
            }
            if start.elapsed() >= timeout {
                return Err(RpcError::NotMined { transaction, secs: timeout.as_secs() });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Draft {
    /// Returns the most that the gas may cost.
    pub fn max_cost(&self) -> Amount {
        gas_cost(self.transaction.gas_limit, self.transaction.max_fee_per_gas)
    }

    /// Signs the transaction and returns its EIP-2718 encoding.
    fn sign(self, signer: &PrivateKeySigner) -> Result<Bytes, RpcError> {
        let signature = signer
            .sign_hash_sync(&self.transaction.signature_hash())
            .map_err(|error| RpcError::Signing(error.to_string()))?;
        Ok(TxEnvelope::from(self.transaction.into_signed(signature)).encoded_2718().into())
    }
}

impl Receipt {
    /// Returns the receipt if the transaction succeeded.
    pub fn success(self) -> Result<Self, RpcError> {
        if self.succeeded {
            Ok(self)
        } else {
            Err(RpcError::Failed { transaction: self.transaction, block: self.block })
        }
    }

    /// Returns what the gas cost.
    pub fn fee(&self) -> Amount {
        gas_cost(self.gas_used, self.gas_price)
    }

    /// Returns the events of type `E` that the contract at `address` left, in order.
    pub fn events<E: SolEvent>(&self, address: Address) -> Vec<E> {
        let logs = self.logs.iter().filter(|log| log.address == address);
        logs.filter_map(|log| E::decode_log(log).ok()).map(|log| log.data).collect()
    }
}

impl From<RawReceipt> for Receipt {
    fn from(raw: RawReceipt) -> Self {
        let log = |raw: RawLog| Log { address: raw.address, data: LogData::new_unchecked(raw.topics, raw.data) };
        Self {
            transaction: raw.transaction_hash,
            block: raw.block_number.to(),
            block_hash: raw.block_hash,
            succeeded: raw.status == U64::from(1),
            gas_used: raw.gas_used.to(),
            gas_price: raw.effective_gas_price.to(),
            contract: raw.contract_address,
            logs: raw.logs.into_iter().map(log).collect(),
        }
    }
}

/// Multiplies gas by its price: below 2^192, so it always fits.
fn gas_cost(gas: u64, price: u128) -> Amount {
    Amount(U256::from(gas).saturating_mul(U256::from(price)))
}

/// Fails if `needed` is more than the balance, or more than any amount (`None`).
fn check_funds(address: Address, balance: Amount, needed: Option<Amount>) -> Result<(), RpcError> {
    let needed = needed.unwrap_or(Amount(U256::MAX));
    if needed > balance { Err(RpcError::InsufficientFunds { address, balance, needed }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::transaction::SignerRecoverable;
    use alloy_eips::eip2718::Decodable2718;
    use bmm_types::system::{JOBS, Jobs, TOKEN};

    fn raw_receipt(status: &str) -> Receipt {
        let settled = Jobs::Settled { job: B256::repeat_byte(1), root: B256::ZERO, spent: U256::from(5), releaseAt: 9 };
        let data = settled.encode_log_data();
        let json = serde_json::json!({
            "transactionHash": B256::repeat_byte(2), "transactionIndex": "0x0", "blockNumber": "0x10",
            "blockHash": B256::repeat_byte(3), "status": status, "gasUsed": "0x5208", "effectiveGasPrice": "0x3b9aca00",
            "contractAddress": null, "type": "0x2", "logsBloom": "0x",
            "logs": [{ "address": JOBS, "topics": data.topics(), "data": data.data, "logIndex": "0x0", "removed": false }],
        });
        Receipt::from(serde_json::from_value::<RawReceipt>(json).expect("a receipt"))
    }

    #[test]
    fn receipts_are_read() {
        let receipt = raw_receipt("0x1").success().expect("succeeded");
        assert_eq!((receipt.block, receipt.gas_used), (16, 21_000));
        assert_eq!(receipt.fee(), Amount::from_units(21_000_000_000_000));
        let events = receipt.events::<Jobs::Settled>(JOBS);
        assert_eq!(events.iter().map(|event| event.releaseAt).collect::<Vec<_>>(), [9]);
        assert!(receipt.events::<Jobs::Settled>(TOKEN).is_empty(), "another contract's events do not count");
        assert!(receipt.events::<Jobs::Opened>(JOBS).is_empty(), "nor do other events");
        assert!(matches!(raw_receipt("0x0").success(), Err(RpcError::Failed { block: 16, .. })));
    }

    #[test]
    fn a_signed_draft_is_its_signers_transaction() {
        let signer = PrivateKeySigner::random();
        let transaction = TxEip1559 { chain_id: 20_191, nonce: 4, gas_limit: 21_000, ..TxEip1559::default() };
        let raw = Draft { from: signer.address(), transaction: transaction.clone() }.sign(&signer).expect("signed");
        let envelope = TxEnvelope::decode_2718(&mut raw.as_ref()).expect("EIP-2718");
        assert_eq!(envelope.recover_signer().expect("recoverable"), signer.address());
        assert_eq!(envelope.as_eip1559().expect("type 2").tx(), &transaction);
    }

    #[test]
    fn funds_are_checked_without_overflow() {
        let check = |balance, needed| check_funds(Address::ZERO, Amount::from_bmm(balance), needed);
        assert_eq!(check(2, Some(Amount::from_bmm(2))), Ok(()));
        assert!(check(1, Some(Amount::from_bmm(2))).is_err());
        assert!(check(1, Amount(U256::MAX).checked_add(gas_cost(u64::MAX, u128::MAX))).is_err());
    }
}

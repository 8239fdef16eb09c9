//! The one way in which blocks are executed, whether they came in or are being built.

use super::{
    BlockError, ExecError, Executed, StateRead, TxError,
    desk::Desk,
    env::{self, Machine},
    error::unreadable,
    header,
    overlay::CreditError,
    receipts::Hashed,
    speculation::Speculated,
};
use crate::{
    emission,
    system::{self, hooks},
};
use alloy_consensus::{EthereumReceipt, Transaction as _};
use alloy_eips::{
    eip4788::SYSTEM_ADDRESS,
    eip4895::Withdrawal,
    eip6110::{DEPOSIT_REQUEST_TYPE, MAINNET_DEPOSIT_CONTRACT_ADDRESS},
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_TYPE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_TYPE},
    eip7685::Requests,
};
use alloy_evm::{Evm as _, FromRecoveredTx, eth::eip6110};
use alloy_primitives::{Address, B256, Bytes, U256};
use bmm_types::{ChainParams, Header, Transaction, params::Fork, system::FOOTSTONES};
use revm::{
    context::{
        TxEnv,
        result::{EVMError, ExecutionResult},
    },
    state::EvmState,
};

/// Accounts that a transaction mostly touches at the most; the room for more is not kept for the next.
const KEPT_ACCOUNTS: usize = 64;

/// Accounts that a transaction mostly adds to what a block touches.
const ACCOUNTS_PER_TRANSACTION: usize = 2;

/// What a transaction left behind.
pub(super) struct Ran {
    pub(super) gas_used: u64,
    pub(super) success: bool,
}

/// A block under execution.
pub(super) struct Executor<'a, DB: StateRead> {
    params: &'a ChainParams,
    header: Header,
    machine: Machine<'a, DB>,
    desk: Desk,
    gas_used: u64,
    blob_gas_used: u64,
    /// What the block's extraData must begin with.
    set_root: Option<B256>,
}

impl<'a, DB: StateRead> Executor<'a, DB> {
    /// Begins the block of `header` (of which only what the producer decides is read) and makes the calls that come before
    /// the some `transactions` transactions.
    pub(super) fn begin(
        params: &'a ChainParams,
        header: Header,
        db: DB,
        desk: Desk,
        transactions: usize,
    ) -> Result<Self, ExecError> {
        let mut machine = env::machine(params, env::env(params, &header), db);
        machine.db_mut().reserve(transactions.saturating_mul(ACCOUNTS_PER_TRANSACTION));
        let mut this = Self { params, header, machine, desk, gas_used: 0, blob_gas_used: 0, set_root: None };
        this.before_transactions()?;
        Ok(this)
    }

    pub(super) fn gas_left(&self) -> u64 {
        self.header.gas_limit.saturating_sub(self.gas_used)
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Begins extraData with the root of the set of footstones, where it must; other free bytes are left out then.
    pub(super) fn put_set_root(&mut self) {
        if let Some(root) = self.set_root {
            self.header.extra_data = root.into();
        }
    }

    /// Makes the calls that come before the transactions. One of a system contract must not fail; of the fork's own, the EIPs let them.
    fn before_transactions(&mut self) -> Result<(), ExecError> {
        for (contract, input) in env::calls_before(self.params, &self.header) {
            let done = self.system_call(contract, input)?;
            if !system::ADDRESSES.contains(&contract) {
                continue;
            }
            let ExecutionResult::Success { output, .. } = done else {
                return Err(BlockError::SystemCall { contract, reason: format!("{done:?}") }.into());
            };
            if contract == FOOTSTONES && hooks::begins_epoch(self.params, self.header.number) {
                let root = B256::try_from(output.data().as_ref());
                let reason = || "no root of the set".to_owned();
                self.set_root = Some(root.map_err(|_| BlockError::SystemCall { contract, reason: reason() })?);
            }
        }
        Ok(())
    }

    /// The extraData of an epoch's first block begins with the root of the set of footstones.
    fn check_set_root(&self) -> Result<(), BlockError> {
        match self.set_root {
            Some(expected) if !self.header.extra_data.starts_with(expected.as_slice()) => {
                Err(BlockError::SetRoot { expected })
            }
            _ => Ok(()),
        }
    }

    /// Calls `contract` as the system does: without fee, signature or nonce.
    fn system_call(&mut self, contract: Address, input: Bytes) -> Result<ExecutionResult, ExecError> {
        let done = self.machine.transact_system_call(SYSTEM_ADDRESS, contract, input);
        let done = done.map_err(|error| match error {
            EVMError::Transaction(error) => BlockError::SystemCall { contract, reason: error.to_string() }.into(),
            other => ExecError::State(unreadable(other)),
        })?;
        self.machine.db_mut().commit(&done.state).map_err(|e| ExecError::State(e.to_string()))?;
        Ok(done.result)
    }

    /// Executes `tx` as the next transaction; a transaction that may not be here changes nothing.
    pub(super) fn transact(&mut self, tx: &Transaction, sender: Address) -> Result<Result<Ran, TxError>, ExecError> {
        if let Err(error) = self.may_begin(tx) {
            return Ok(Err(error));
        }
        let done = match self.machine.transact_raw(TxEnv::from_recovered_tx(tx, sender)) {
            Ok(done) => done,
            Err(EVMError::Transaction(error)) => {
                let base_fee = self.header.base_fee_per_gas.unwrap_or(0);
                let (left, limit) = (self.gas_left(), tx.gas_limit());
                return Ok(Err(TxError::from_evm(error, self.params.chain_id, base_fee, left, limit)));
            }
            Err(other) => return Err(ExecError::State(unreadable(other))),
        };
        self.machine.db_mut().commit(&done.state).map_err(|e| ExecError::State(e.to_string()))?;
        self.reuse(done.state);
        Ok(Ok(self.note(tx, done.result)))
    }

    /// Takes over what came of executing `tx` ahead of its turn, if all that it read is what it would read now; otherwise nothing
    /// happens.
    pub(super) fn adopt(&mut self, tx: &Transaction, speculated: Speculated) -> Result<Option<Ran>, ExecError> {
        let Speculated { result, state, tip, reads } = speculated;
        if self.may_begin(tx).is_err() || !self.machine.db_mut().agrees(reads) {
            return Ok(None);
        }
        let beneficiary = self.header.beneficiary;
        let overlay = self.machine.db_mut();
        let done = overlay.commit(&state).and_then(|()| tip.map_or(Ok(()), |tip| overlay.tip(beneficiary, tip)));
        done.map_err(|e| ExecError::State(e.to_string()))?;
        Ok(Some(self.note(tx, result)))
    }

    /// Counts a transaction and makes its receipt.
    fn note(&mut self, tx: &Transaction, result: ExecutionResult) -> Ran {
        let (gas_used, success) = (result.tx_gas_used(), result.is_success());
        self.gas_used = self.gas_used.saturating_add(gas_used);
        self.blob_gas_used = self.blob_gas_used.saturating_add(tx.blob_gas_used().unwrap_or(0));
        let (tx_type, logs) = (tx.tx_type(), result.into_logs());
        self.desk.push(EthereumReceipt { tx_type, success, cumulative_gas_used: self.gas_used, logs });
        Ran { gas_used, success }
    }

    /// Gives the machine back the room that a transaction's state took.
    fn reuse(&mut self, mut state: EvmState) {
        if state.capacity() <= KEPT_ACCOUNTS {
            state.clear();
            self.machine.journaled_state.inner.state = state;
        }
    }

    /// The rules of a transaction's place in the block; those of the transaction itself are the EVM's.
    fn may_begin(&self, tx: &Transaction) -> Result<(), TxError> {
        let (limit, left) = (tx.gas_limit(), self.gas_left());
        if limit > left {
            return Err(TxError::BlockGas { limit, left });
        }
        let Some(blob_gas) = tx.blob_gas_used() else { return Ok(()) };
        if header::has_fixed_fields(self.params) {
            return Err(TxError::Blob);
        }
        let max = header::blob_params(self.params.fork).max_blob_gas_per_block();
        if self.blob_gas_used.saturating_add(blob_gas) > max {
            return Err(TxError::Other(format!("the blobs of this block pass {max} blob gas")));
        }
        Ok(())
    }

    /// Ends the block: withdrawals and requests (foreign vectors), the base fee's way, the emission, the roots.
    pub(super) fn finish(mut self, withdrawals: &[Withdrawal]) -> Result<Executed, ExecError> {
        self.check_set_root()?;
        if header::has_fixed_fields(self.params) && !withdrawals.is_empty() {
            return Err(BlockError::Field { field: "withdrawals", must: "empty" }.into());
        }
        for withdrawal in withdrawals {
            self.credit(withdrawal.address, withdrawal.amount_wei())?;
        }
        self.desk.close();
        let requests_hash = self.requests_hash()?;
        self.collect_vanished()?;
        self.pay_emission()?;
        let (gas_used, blob_gas_used) = (self.gas_used, self.blob_gas_used);
        // Before the receipts are asked for: another thread may be at them.
        let diff = self.machine.into_db().into_diff();
        let Hashed { receipts, root: receipts_root, logs_bloom } = self.desk.finish()?;
        Ok(Executed { receipts, gas_used, blob_gas_used, receipts_root, logs_bloom, requests_hash, diff })
    }

    /// What transactions took out of the balances goes to the place of base fees, where there is one: the base fee of the
    /// gas used, and coins left in contracts that were created and destroyed within one transaction. So the supply is
    /// constant but for emission.
    fn collect_vanished(&mut self) -> Result<(), ExecError> {
        let vanished = self.machine.db().vanished();
        self.params.base_fee_to.map_or(Ok(()), |to| self.credit(to, vanished))
    }

    /// The block's emission goes to producer, resource pot and footstones' pot.
    fn pay_emission(&mut self) -> Result<(), ExecError> {
        for (to, amount) in emission::payments(self.params, &self.header) {
            self.credit(to, amount)?;
        }
        Ok(())
    }

    fn credit(&mut self, address: Address, amount: U256) -> Result<(), ExecError> {
        self.machine.db_mut().credit(address, amount).map_err(|error| match error {
            CreditError::State(error) => ExecError::State(error.to_string()),
            CreditError::Overflow => BlockError::BalanceOverflow(address).into(),
        })
    }

    /// EIP-7685: the hash over deposits (EIP-6110), withdrawal requests (EIP-7002) and consolidations (EIP-7251). A chain
    /// without a beacon chain has no requests.
    fn requests_hash(&mut self) -> Result<Option<B256>, ExecError> {
        if self.params.fork == Fork::Cancun || header::has_fixed_fields(self.params) {
            return Ok(header::empty_requests_hash(self.params.fork));
        }
        let contract = MAINNET_DEPOSIT_CONTRACT_ADDRESS;
        let mut deposits = Vec::new();
        eip6110::accumulate_deposits_from_receipts(contract, self.desk.receipts()?, &mut deposits)
            .map_err(|error| BlockError::SystemCall { contract, reason: error.to_string() })?;
        let mut requests = Requests::default();
        requests.push_request_with_type(DEPOSIT_REQUEST_TYPE, deposits);
        for (kind, contract) in [
            (WITHDRAWAL_REQUEST_TYPE, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS),
            (CONSOLIDATION_REQUEST_TYPE, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS),
        ] {
            match self.system_call(contract, Bytes::new())? {
                ExecutionResult::Success { output, .. } => requests.push_request_with_type(kind, output.into_data()),
                failed => return Err(BlockError::SystemCall { contract, reason: format!("{failed:?}") }.into()),
            }
        }
        Ok(Some(requests.requests_hash()))
    }
}

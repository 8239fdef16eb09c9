//! One call of a system contract: its gas, its access to the state, its end.

use super::gas;
use alloy_consensus::crypto::secp256k1;
use alloy_evm::{EvmInternals, EvmInternalsError, precompiles::PrecompileInput};
use alloy_primitives::{Address, B256, Bytes, Log, Signature, U256, keccak256};
use alloy_sol_types::{Revert, SolError, SolEvent};
use bmm_types::system::{ACCOUNTS, JOBS, MAX_INPUT_BYTES, TOKEN};
use revm::precompile::{PrecompileError, PrecompileHalt, PrecompileOutput, PrecompileResult};

/// Why a call ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The gas given is used up.
    OutOfGas,
    /// A rule is broken; ABI-encoded error. The machine undoes what the call did.
    Revert(Bytes),
    /// The state cannot be read.
    Fatal(String),
}

impl Stop {
    /// Reverts with a custom error of the ABI.
    pub(super) fn error(error: &impl SolError) -> Self {
        Self::Revert(error.abi_encode().into())
    }

    /// Reverts with `Error(string)`.
    pub(super) fn reason(reason: &str) -> Self {
        Self::Revert(Revert::from(reason).abi_encode().into())
    }

    /// Reverts for call data that is not a call of the contract's ABI. Revert data is what contracts see, and so consensus: none of
    /// it may come from the text of a library's error.
    pub(super) fn not_of_the_abi() -> Self {
        Self::reason("system contract: call data is not a call of its ABI")
    }
}

impl From<EvmInternalsError> for Stop {
    fn from(error: EvmInternalsError) -> Self {
        Self::Fatal(error.to_string())
    }
}

/// Ends the call with `error` unless `holds`.
#[expect(clippy::needless_pass_by_value, reason = "an error is built where the rule stands")]
pub(super) fn ensure(holds: bool, error: impl SolError) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::error(&error)) }
}

/// One call of a system contract.
pub(super) struct Frame<'a> {
    internals: EvmInternals<'a>,
    address: Address,
    direct: bool,
    is_static: bool,
    caller: Address,
    value: U256,
    gas_limit: u64,
    gas_left: u64,
}

impl<'a> Frame<'a> {
    pub(super) fn new(input: PrecompileInput<'a>) -> Self {
        Self {
            address: input.bytecode_address,
            direct: input.is_direct_call(),
            is_static: input.is_static,
            caller: input.caller,
            value: input.value,
            gas_limit: input.gas,
            gas_left: input.gas,
            internals: input.internals,
        }
    }

    /// Charges for the call and refuses what no function takes: code run on another account's behalf (DELEGATECALL,
    /// CALLCODE), too much data, coins without a function.
    pub(super) fn enter(&mut self, data: &[u8]) -> Result<(), Stop> {
        self.charge(gas::CALL)?;
        self.charge(gas::words(data.len(), gas::INPUT_WORD))?;
        if !self.direct {
            return Err(Stop::reason("system contract: call it directly, not by DELEGATECALL or CALLCODE"));
        }
        if data.len() > MAX_INPUT_BYTES {
            return Err(Stop::reason("system contract: call data longer than 73728 bytes"));
        }
        if data.is_empty() {
            return Err(Stop::reason("system contract: no function called; it takes no plain transfers"));
        }
        Ok(())
    }

    /// Ends the call.
    pub(super) fn leave(self, result: Result<Vec<u8>, Stop>, reservoir: u64) -> PrecompileResult {
        let used = self.gas_limit.saturating_sub(self.gas_left);
        match result {
            Ok(output) => Ok(PrecompileOutput::new(used, output.into(), reservoir)),
            Err(Stop::Revert(output)) => Ok(PrecompileOutput::revert(used, output, reservoir)),
            Err(Stop::OutOfGas) => Ok(PrecompileOutput::halt(PrecompileHalt::OutOfGas, reservoir)),
            Err(Stop::Fatal(error)) => Err(PrecompileError::Fatal(error)),
        }
    }

    /// For functions that read: no coins may come.
    pub(super) fn reads(&self) -> Result<(), Stop> {
        if self.value.is_zero() { Ok(()) } else { Err(Stop::reason("system contract: the function takes no coins")) }
    }

    /// For functions that change something and take no coins.
    pub(super) fn writes(&self) -> Result<(), Stop> {
        self.reads()?;
        self.pays()
    }

    /// For functions that change something and take coins.
    pub(super) fn pays(&self) -> Result<(), Stop> {
        if self.is_static { Err(Stop::reason("system contract: state change in a static call")) } else { Ok(()) }
    }

    pub(super) fn caller(&self) -> Address {
        self.caller
    }

    pub(super) fn value(&self) -> U256 {
        self.value
    }

    /// The block's time, Unix seconds.
    pub(super) fn now(&self) -> u64 {
        self.internals.block_timestamp().saturating_to()
    }

    /// The block's number.
    pub(super) fn height(&self) -> u64 {
        self.internals.block_number().saturating_to()
    }

    /// Takes `amount` gas.
    pub(super) fn charge(&mut self, amount: u64) -> Result<(), Stop> {
        self.gas_left = self.gas_left.checked_sub(amount).ok_or(Stop::OutOfGas)?;
        Ok(())
    }

    pub(super) fn keccak(&mut self, bytes: &[u8]) -> Result<B256, Stop> {
        self.charge(gas::KECCAK)?;
        self.charge(gas::words(bytes.len(), gas::KECCAK_WORD))?;
        Ok(keccak256(bytes))
    }

    pub(super) fn load(&mut self, slot: U256) -> Result<U256, Stop> {
        self.load_at(self.address, slot)
    }

    /// Reads a slot of another system contract.
    pub(super) fn load_at(&mut self, address: Address, slot: U256) -> Result<U256, Stop> {
        self.charge(gas::WARM)?;
        let loaded = self.internals.sload(address, slot)?;
        if loaded.is_cold {
            self.charge(gas::COLD_SLOT)?;
        }
        Ok(loaded.data)
    }

    /// Writes a slot: EIP-2200's prices with EIP-2929's, without refunds.
    pub(super) fn store(&mut self, slot: U256, value: U256) -> Result<(), Stop> {
        self.store_at(self.address, slot, value)
    }

    /// Writes a slot of another system contract, for that contract's own functions.
    pub(super) fn store_at(&mut self, address: Address, slot: U256, value: U256) -> Result<(), Stop> {
        self.charge(gas::WARM)?;
        let stored = self.internals.sstore(address, slot, value)?;
        // What is not touched is not kept, and a call touches only the contract that is called.
        self.internals.touch_account(address)?;
        if stored.is_cold {
            self.charge(gas::COLD_SLOT)?;
        }
        let slot = stored.data;
        if slot.present_value == slot.new_value || slot.original_value != slot.present_value {
            return Ok(());
        }
        self.charge(if slot.original_value.is_zero() { gas::SLOT_SET } else { gas::SLOT_CHANGE })
    }

    pub(super) fn emit(&mut self, event: &impl SolEvent) -> Result<(), Stop> {
        self.emit_at(self.address, event)
    }

    /// Emits an event of another system contract, for that contract's own functions.
    pub(super) fn emit_at(&mut self, address: Address, event: &impl SolEvent) -> Result<(), Stop> {
        let data = event.encode_log_data();
        let topics = u64::try_from(data.topics().len()).unwrap_or(u64::MAX);
        let bytes = u64::try_from(data.data.len()).unwrap_or(u64::MAX);
        self.charge(gas::LOG.saturating_mul(topics.saturating_add(1)))?;
        self.charge(gas::LOG_BYTE.saturating_mul(bytes))?;
        self.internals.log(Log { address, data });
        Ok(())
    }

    /// Returns the balance of `account` and whether the account is empty.
    fn account(&mut self, account: Address) -> Result<(U256, bool), Stop> {
        self.charge(gas::WARM)?;
        let loaded = self.internals.load_account(account)?;
        let (is_cold, balance, is_empty) = (loaded.is_cold, loaded.data.info.balance, loaded.data.is_empty());
        if is_cold {
            self.charge(gas::COLD_ACCOUNT.saturating_sub(gas::WARM))?;
        }
        Ok((balance, is_empty))
    }

    /// Returns the balance of `account`, in units.
    pub(super) fn balance(&mut self, account: Address) -> Result<U256, Stop> {
        self.account(account).map(|(balance, _)| balance)
    }

    /// Moves `amount` units without calling any code; the caller has made sure that `from` has them.
    pub(super) fn transfer(&mut self, from: Address, to: Address, amount: U256) -> Result<(), Stop> {
        if amount.is_zero() {
            return Ok(());
        }
        let (_, is_new) = self.account(to)?;
        self.charge(gas::MOVE)?;
        if is_new {
            self.charge(gas::NEW_ACCOUNT)?;
        }
        match self.internals.transfer(from, to, amount)? {
            None => Ok(()),
            Some(error) => Err(Stop::Fatal(format!("a checked transfer of {amount} units failed: {error:?}"))),
        }
    }

    /// Moves `amount` units of this contract.
    pub(super) fn pay(&mut self, to: Address, amount: U256) -> Result<(), Stop> {
        self.transfer(self.address, to, amount)
    }

    /// Returns who signed the EIP-712 structure, if the signature is one: `v` 27 or 28, `s` in the lower half (EIP-2).
    pub(super) fn signer(
        &mut self,
        separator: B256,
        hash: B256,
        v: u8,
        r: B256,
        s: B256,
    ) -> Result<Option<Address>, Stop> {
        let mut message = [0u8; 66];
        message[..2].copy_from_slice(b"\x19\x01");
        message[2..34].copy_from_slice(separator.as_slice());
        message[34..].copy_from_slice(hash.as_slice());
        let digest = self.keccak(&message)?;
        self.charge(gas::RECOVER)?;
        let odd = match v {
            27 => false,
            28 => true,
            _ => return Ok(None),
        };
        let signature = Signature::from_scalars_and_parity(r, s, odd);
        Ok(secp256k1::recover_signer(&signature, digest).ok().filter(|signer| !signer.is_zero()))
    }
}

/// Whether coins sent to `account` could never be spent: the zero address, and contracts that hold coins for others only.
pub(super) fn is_sink(account: Address) -> bool {
    account.is_zero() || account == TOKEN || account == JOBS || account == ACCOUNTS
}

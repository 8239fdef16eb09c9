//! A state with some of its values replaced: the overrides of a simulated call, and the blocks of a simulation before this one.

use super::StateRead;
use crate::diff::{Account, StateDiff};
use alloy_primitives::{
    Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256,
    map::{AddressMap, B256Map, HashMap},
};
use alloy_rpc_types_eth::state::{AccountOverride, StateOverride};
use revm::{
    DatabaseRef,
    state::{AccountInfo, Bytecode},
};
use std::collections::BTreeMap;

/// Accounts that one set of overrides may name.
pub const MAX_OVERRIDDEN_ACCOUNTS: usize = 1_024;

/// Slots that one set of overrides may name.
pub const MAX_OVERRIDDEN_SLOTS: usize = 16_384;

/// Why overrides cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum OverrideError {
    /// More than [`MAX_OVERRIDDEN_ACCOUNTS`].
    #[error("{0} accounts overridden, at most {MAX_OVERRIDDEN_ACCOUNTS} are allowed")]
    Accounts(usize),
    /// More than [`MAX_OVERRIDDEN_SLOTS`].
    #[error("more than {MAX_OVERRIDDEN_SLOTS} slots overridden; send fewer")]
    Slots,
    /// The storage is replaced and changed at once.
    #[error("account {0} has both 'state' and 'stateDiff'; send one")]
    BothStates(Address),
    /// Precompiles stay where they are.
    #[error("account {0} has 'movePrecompileToAddress', which this node does not support; leave it out")]
    MovesPrecompile(Address),
    /// The machine would go on running the contract that is built in.
    #[error("account {0} is a precompile or a system contract, whose code cannot be overridden; use another address")]
    BuiltIn(Address),
    /// Code that no account can have.
    #[error("account {account}: the code is not valid: {reason}")]
    Code {
        /// The account.
        account: Address,
        /// What is wrong.
        reason: String,
    },
    /// The state below could not be read.
    #[error("the state could not be read: {0}")]
    State(String),
}

/// Storage of one account.
#[derive(Clone, Debug, Default)]
struct Slots {
    /// Whether the values are all that the account has.
    whole: bool,
    values: HashMap<U256, U256>,
}

/// A state over another.
#[derive(Clone, Debug)]
pub struct Overridden<DB> {
    db: DB,
    accounts: AddressMap<Option<Account>>,
    storage: AddressMap<Slots>,
    code: B256Map<Bytecode>,
    block_hashes: BTreeMap<u64, B256>,
}

impl<DB: StateRead> Overridden<DB> {
    /// Begins over `db` with nothing replaced.
    pub fn new(db: DB) -> Self {
        Self {
            db,
            accounts: AddressMap::default(),
            storage: AddressMap::default(),
            code: B256Map::default(),
            block_hashes: BTreeMap::new(),
        }
    }

    /// Returns an account as it is now, if it exists.
    ///
    /// # Errors
    /// When the state below cannot be read.
    pub fn account(&self, address: Address) -> Result<Option<Account>, DB::Error> {
        let plain = |info: AccountInfo| Account { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash };
        Ok(self.basic_ref(address)?.map(plain))
    }

    /// Sets the id that the code sees of a past block.
    pub fn set_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
    }

    /// Applies `overrides`; `is_built_in` tells precompiles and system contracts.
    ///
    /// # Errors
    /// [`OverrideError`]; what was applied before stays.
    pub fn apply(
        &mut self,
        overrides: StateOverride,
        is_built_in: impl Fn(Address) -> bool,
    ) -> Result<(), OverrideError> {
        if overrides.len() > MAX_OVERRIDDEN_ACCOUNTS {
            return Err(OverrideError::Accounts(overrides.len()));
        }
        let count = |slots: &Option<B256Map<B256>>| slots.as_ref().map_or(0, B256Map::len);
        let slots = overrides.values().map(|o| count(&o.state).saturating_add(count(&o.state_diff)));
        if slots.fold(0, usize::saturating_add) > MAX_OVERRIDDEN_SLOTS {
            return Err(OverrideError::Slots);
        }
        for (address, account) in overrides {
            if account.move_precompile_to.is_some() {
                return Err(OverrideError::MovesPrecompile(address));
            }
            if account.code.is_some() && is_built_in(address) {
                return Err(OverrideError::BuiltIn(address));
            }
            self.apply_account(address, account)?;
        }
        Ok(())
    }

    fn apply_account(&mut self, address: Address, account: AccountOverride) -> Result<(), OverrideError> {
        let mut now =
            self.account(address).map_err(|error| OverrideError::State(error.to_string()))?.unwrap_or_default();
        now.balance = account.balance.unwrap_or(now.balance);
        now.nonce = account.nonce.unwrap_or(now.nonce);
        if let Some(code) = account.code {
            now.code_hash = self.add_code(address, code)?;
        }
        self.accounts.insert(address, Some(now));
        let words = |slots: B256Map<B256>| slots.into_iter().map(|(slot, value)| (slot.into(), value.into()));
        match (account.state, account.state_diff) {
            (Some(_), Some(_)) => return Err(OverrideError::BothStates(address)),
            (Some(state), None) => {
                self.storage.insert(address, Slots { whole: true, values: words(state).collect() });
            }
            (None, Some(changes)) => self.storage.entry(address).or_default().values.extend(words(changes)),
            (None, None) => {}
        }
        Ok(())
    }

    fn add_code(&mut self, account: Address, code: Bytes) -> Result<B256, OverrideError> {
        if code.is_empty() {
            return Ok(KECCAK256_EMPTY);
        }
        let hash = keccak256(&code);
        let code = Bytecode::new_raw_checked(code)
            .map_err(|error| OverrideError::Code { account, reason: error.to_string() })?;
        self.code.insert(hash, code);
        Ok(hash)
    }

    /// Applies what a block over this state changed.
    pub fn apply_diff(&mut self, diff: StateDiff) {
        self.code.extend(diff.code.into_iter().map(|(hash, code)| (hash, Bytecode::new_raw(code))));
        for (address, change) in diff.accounts {
            self.accounts.insert(address, change.after);
            let slots = self.storage.entry(address).or_default();
            if change.after.is_none() {
                *slots = Slots { whole: true, values: HashMap::default() };
            }
            slots.values.extend(change.storage.into_iter().map(|(slot, (_, after))| (slot, after)));
        }
    }
}

impl<DB: StateRead> StateRead for Overridden<DB> {
    fn has_storage(&self, address: Address) -> Result<bool, DB::Error> {
        match self.storage.get(&address) {
            Some(slots) if slots.values.values().any(|value| !value.is_zero()) => Ok(true),
            Some(slots) if slots.whole => Ok(false),
            _ => self.db.has_storage(address),
        }
    }
}

impl<DB: StateRead> DatabaseRef for Overridden<DB> {
    type Error = DB::Error;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, DB::Error> {
        let Some(account) = self.accounts.get(&address) else { return self.db.basic_ref(address) };
        Ok(account.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: None,
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, DB::Error> {
        self.code.get(&hash).map_or_else(|| self.db.code_by_hash_ref(hash), |code| Ok(code.clone()))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, DB::Error> {
        match self.storage.get(&address) {
            Some(slots) => match slots.values.get(&slot) {
                Some(value) => Ok(*value),
                None if slots.whole => Ok(U256::ZERO),
                None => self.db.storage_ref(address, slot),
            },
            None => self.db.storage_ref(address, slot),
        }
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, DB::Error> {
        self.block_hashes.get(&number).map_or_else(|| self.db.block_hash_ref(number), |hash| Ok(*hash))
    }
}

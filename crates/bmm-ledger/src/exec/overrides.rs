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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{diff::AccountDiff, testkit::MemState};
    use std::iter;

    const HERE: Address = Address::repeat_byte(0x11);

    fn word(value: u64) -> B256 {
        U256::from(value).into()
    }

    /// A state in which [`HERE`] has a nonce, coins, and slots 1 and 2.
    fn state() -> Overridden<MemState> {
        let account = Account { nonce: 3, balance: U256::from(50), ..Account::default() };
        let storage = [(1u64, 10u64), (2, 20)].map(|(slot, value)| (U256::from(slot), (U256::ZERO, U256::from(value))));
        let diff =
            AccountDiff { after: Some(account), storage: storage.into_iter().collect(), ..AccountDiff::default() };
        let mut below = MemState::default();
        below.apply(&StateDiff { accounts: iter::once((HERE, diff)).collect(), ..StateDiff::default() });
        Overridden::new(below)
    }

    fn set(state: &mut Overridden<MemState>, account: AccountOverride) -> Result<(), OverrideError> {
        state.apply(iter::once((HERE, account)).collect(), |address| address == Address::with_last_byte(1))
    }

    fn slots(state: &Overridden<MemState>) -> [u64; 3] {
        [1u64, 2, 3].map(|slot| state.storage_ref(HERE, U256::from(slot)).expect("readable").to())
    }

    #[test]
    fn what_is_not_named_stays() {
        let mut state = state();
        set(&mut state, AccountOverride { balance: Some(U256::from(7)), ..AccountOverride::default() }).expect("good");
        let account = state.account(HERE).expect("readable").expect("there");
        assert_eq!((account.nonce, account.balance), (3, U256::from(7)));
        assert_eq!(slots(&state), [10, 20, 0]);
        let changes = iter::once((word(2), word(21))).collect();
        set(&mut state, AccountOverride { state_diff: Some(changes), ..AccountOverride::default() }).expect("good");
        assert_eq!(slots(&state), [10, 21, 0]);
        let whole = iter::once((word(3), word(30))).collect();
        set(&mut state, AccountOverride { state: Some(whole), ..AccountOverride::default() }).expect("good");
        assert_eq!(slots(&state), [0, 0, 30], "a whole storage replaces what was there");
        assert!(state.has_storage(HERE).expect("readable"));
        set(&mut state, AccountOverride { state: Some(B256Map::default()), ..AccountOverride::default() })
            .expect("good");
        assert_eq!((slots(&state), state.has_storage(HERE).expect("readable")), ([0; 3], false));
        assert_eq!(state.account(HERE).expect("readable").expect("there").balance, U256::from(7));
    }

    #[test]
    fn code_is_found_by_its_hash() {
        let mut state = state();
        let code = Bytes::from_static(&[0x5f, 0x5f, 0xfd]);
        set(&mut state, AccountOverride { code: Some(code.clone()), ..AccountOverride::default() }).expect("good");
        let hash = state.account(HERE).expect("readable").expect("there").code_hash;
        assert_eq!(hash, keccak256(&code));
        assert_eq!(state.code_by_hash_ref(hash).expect("readable").original_bytes(), code);
        set(&mut state, AccountOverride { code: Some(Bytes::new()), ..AccountOverride::default() }).expect("good");
        assert_eq!(state.account(HERE).expect("readable").expect("there").code_hash, KECCAK256_EMPTY);
    }

    #[test]
    fn blocks_before_are_seen_and_overrides_of_later_ones_win() {
        let mut state = state();
        let gone = AccountDiff { before: None, after: None, ..AccountDiff::default() };
        state.apply_diff(StateDiff { accounts: iter::once((HERE, gone)).collect(), ..StateDiff::default() });
        assert_eq!(state.account(HERE).expect("readable"), None);
        assert_eq!(slots(&state), [0; 3], "what is gone has no storage");
        set(&mut state, AccountOverride { nonce: Some(1), ..AccountOverride::default() }).expect("good");
        assert_eq!(state.account(HERE).expect("readable").expect("there").balance, U256::ZERO);
        state.set_block_hash(9, word(99));
        assert_eq!(state.block_hash_ref(9).expect("readable"), word(99));
        assert_ne!(state.block_hash_ref(8).expect("readable"), word(99));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut state = state();
        let one: B256Map<B256> = iter::once((word(1), word(1))).collect();
        let both = AccountOverride { state: Some(one.clone()), state_diff: Some(one), ..AccountOverride::default() };
        assert!(matches!(set(&mut state, both), Err(OverrideError::BothStates(HERE))));
        let moved = AccountOverride { move_precompile_to: Some(HERE), ..AccountOverride::default() };
        assert!(matches!(set(&mut state, moved), Err(OverrideError::MovesPrecompile(HERE))));
        let coded = AccountOverride { code: Some(Bytes::from_static(&[0])), ..AccountOverride::default() };
        let built_in: StateOverride = iter::once((HERE, coded)).collect();
        assert!(matches!(state.apply(built_in, |address| address == HERE), Err(OverrideError::BuiltIn(HERE))));
        let many = (0..=MAX_OVERRIDDEN_SLOTS).map(|slot| (word(slot.try_into().expect("small")), B256::ZERO));
        let many = AccountOverride { state_diff: Some(many.collect()), ..AccountOverride::default() };
        assert!(matches!(set(&mut state, many), Err(OverrideError::Slots)));
        assert_eq!(slots(&state), [10, 20, 0], "nothing was applied");
    }
}

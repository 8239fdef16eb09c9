//! The state as a block in the making sees it: the parent's below, the block's changes above.

use super::StateRead;
use crate::diff::{Account, AccountDiff, StateDiff};
use alloy_primitives::{
    Address, B256, U256,
    map::{AddressMap, B256Map, HashMap},
};
use revm::{
    Database,
    primitives::{KECCAK_EMPTY, StorageKey, StorageValue},
    state::{AccountInfo, Bytecode, EvmState},
};
use std::{collections::BTreeMap, fmt};

/// One account: as the parent block left it, and as it is now.
struct Entry {
    before: Option<Account>,
    now: Option<AccountInfo>,
    /// Value in the parent state, value now.
    storage: HashMap<U256, (U256, U256)>,
    /// Whether it has storage but neither code nor nonce, see [`STORAGE_WITHOUT_CODE`].
    storage_without_code: bool,
}

/// Nonce that the machine sees on an account that has storage but neither code nor nonce, so that no contract can be created
/// over it (EIP-7610): the machine itself looks at code and nonce only.
///
/// Nothing else can see it, as such an account has no code that could create and has never sent. Only foreign states hold such
/// accounts. On chains of our own, what has storage is a contract (nonce 1 from its creation, EIP-161) or delegates or once
/// did (a nonce for each delegation, EIP-7702).
const STORAGE_WITHOUT_CODE: u64 = u64::MAX;

/// A parent state that is only read, and the changes of one block over it.
pub(super) struct Overlay<DB> {
    db: DB,
    /// Whether the state may hold storage without code.
    foreign: bool,
    accounts: AddressMap<Entry>,
    code: B256Map<Bytecode>,
    /// What left the balances and arrived nowhere, modulo 2^256.
    vanished: U256,
}

/// Why coins could not be credited.
pub(super) enum CreditError<E> {
    State(E),
    Overflow,
}

fn plain(info: &AccountInfo) -> Account {
    Account { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
}

fn balance(info: Option<&AccountInfo>) -> U256 {
    info.map_or(U256::ZERO, |info| info.balance)
}

/// Loads an account once; the state knows no empty ones (EIP-161), so that such count as absent.
fn load<'a, DB: StateRead>(
    db: &DB,
    foreign: bool,
    accounts: &'a mut AddressMap<Entry>,
    address: Address,
) -> Result<&'a mut Entry, DB::Error> {
    use alloy_primitives::map::Entry as Place;
    Ok(match accounts.entry(address) {
        Place::Occupied(place) => place.into_mut(),
        Place::Vacant(place) => {
            let now = db.basic_ref(address)?;
            let bare = foreign && now.as_ref().is_some_and(AccountInfo::has_no_code_and_nonce);
            let storage_without_code = bare && db.has_storage(address)?;
            let before = now.as_ref().map(plain);
            place.insert(Entry { before, now, storage: HashMap::default(), storage_without_code })
        }
    })
}

impl<DB: StateRead> Overlay<DB> {
    /// Begins over `db`, which is `foreign` if it was made by other rules than this chain's.
    pub(super) fn new(db: DB, foreign: bool) -> Self {
        Self { db, foreign, accounts: AddressMap::default(), code: B256Map::default(), vanished: U256::ZERO }
    }

    /// Takes over what one transaction did. An account that was destroyed or left empty is gone with its storage (EIP-161,
    /// EIP-6780).
    pub(super) fn commit(&mut self, state: EvmState) -> Result<(), DB::Error> {
        for (address, mut account) in state.into_iter().filter(|(_, account)| account.is_touched()) {
            let entry = load(&self.db, self.foreign, &mut self.accounts, address)?;
            if entry.storage_without_code {
                account.info.nonce = 0;
            }
            let had = balance(entry.now.as_ref());
            if account.is_selfdestructed() || account.is_created() {
                entry.storage.values_mut().for_each(|(_, now)| *now = U256::ZERO);
            }
            if account.is_selfdestructed() || account.is_empty() {
                entry.now = None;
                self.vanished = self.vanished.wrapping_add(had);
                continue;
            }
            for (&slot, value) in account.storage.iter().filter(|(_, value)| value.is_changed()) {
                // A slot that was never asked for belongs to an account created just now: it was zero.
                entry.storage.entry(slot).or_default().1 = value.present_value;
            }
            if let Some(code) = account.info.code.as_ref().filter(|_| account.info.code_hash != KECCAK_EMPTY) {
                self.code.entry(account.info.code_hash).or_insert_with(|| code.clone());
            }
            self.vanished = self.vanished.wrapping_add(had).wrapping_sub(account.info.balance);
            entry.now = Some(account.info);
        }
        Ok(())
    }

    /// Returns the units that transactions took out of the balances so far and that arrived nowhere: base fees, and balances
    /// destroyed with contracts that a transaction both created and destroyed.
    pub(super) fn vanished(&self) -> U256 {
        self.vanished
    }

    /// Adds `amount` units to the balance of `address`.
    pub(super) fn credit(&mut self, address: Address, amount: U256) -> Result<(), CreditError<DB::Error>> {
        if amount.is_zero() {
            return Ok(());
        }
        let entry = load(&self.db, self.foreign, &mut self.accounts, address).map_err(CreditError::State)?;
        let info = entry.now.get_or_insert_default();
        info.balance = info.balance.checked_add(amount).ok_or(CreditError::Overflow)?;
        Ok(())
    }

    /// Returns what changed against the parent's state.
    pub(super) fn into_diff(self) -> StateDiff {
        let mut diff = StateDiff::default();
        for (address, entry) in self.accounts {
            let after = entry.now.as_ref().map(plain);
            let storage: BTreeMap<_, _> =
                entry.storage.into_iter().filter(|(_, (before, now))| before != now).collect();
            if entry.before == after && storage.is_empty() {
                continue;
            }
            if let Some(hash) =
                after.map(|a| a.code_hash).filter(|hash| entry.before.is_none_or(|b| b.code_hash != *hash))
                && let Some(code) = self.code.get(&hash)
            {
                diff.code.insert(hash, code.original_bytes());
            }
            diff.accounts
                .insert(address, AccountDiff { before: entry.before, after, storage, ..AccountDiff::default() });
        }
        diff
    }
}

impl<DB: StateRead> Database for Overlay<DB> {
    type Error = DB::Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        let entry = load(&self.db, self.foreign, &mut self.accounts, address)?;
        let mut info = entry.now.clone();
        if entry.storage_without_code
            && let Some(info) = &mut info
        {
            info.nonce = STORAGE_WITHOUT_CODE;
        }
        Ok(info)
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Self::Error> {
        if let Some(code) = self.code.get(&hash) {
            return Ok(code.clone());
        }
        let code = self.db.code_by_hash_ref(hash)?;
        self.code.insert(hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: StorageKey) -> Result<StorageValue, Self::Error> {
        use alloy_primitives::map::Entry as Place;
        let entry = load(&self.db, self.foreign, &mut self.accounts, address)?;
        Ok(match entry.storage.entry(slot) {
            Place::Occupied(place) => place.get().1,
            // An account that the parent state lacks has no storage there either.
            Place::Vacant(_) if entry.before.is_none() => U256::ZERO,
            Place::Vacant(place) => {
                let value = self.db.storage_ref(address, slot)?;
                place.insert((value, value)).1
            }
        })
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Self::Error> {
        self.db.block_hash_ref(number)
    }
}

impl<DB> fmt::Debug for Overlay<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("accounts", &self.accounts.len()).finish_non_exhaustive()
    }
}

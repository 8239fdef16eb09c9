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
    state::{Account as Touched, AccountInfo, Bytecode, EvmState},
};
use std::{collections::BTreeMap, fmt};

/// One account in the block: as the parent block left it, and as it is now.
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

/// Reads of a plain transfer, with room to spare.
const READS: usize = 4;

/// A value that the machine asked for, with what the parent state says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// An account.
    Account {
        address: Address,
        before: Option<Account>,
        seen: Option<Account>,
        /// See [`STORAGE_WITHOUT_CODE`].
        storage_without_code: bool,
    },
    /// A slot of an account that was read before.
    Slot { address: Address, slot: U256, before: U256, seen: U256 },
}

/// A parent state that is only read, and the changes of one block over it.
pub(super) struct Overlay<DB> {
    db: DB,
    /// Whether the state may hold storage without code.
    foreign: bool,
    accounts: AddressMap<Entry>,
    code: B256Map<Bytecode>,
    /// What left the balances and arrived nowhere, modulo 2^256.
    vanished: U256,
    /// What was read, where that is to be known.
    reads: Option<Vec<Read>>,
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

impl Entry {
    /// An account as the parent state has it, read by somebody else.
    fn unchanged(before: Option<Account>, storage_without_code: bool) -> Self {
        let now = before.map(|account| AccountInfo {
            nonce: account.nonce,
            balance: account.balance,
            code_hash: account.code_hash,
            code: None,
            account_id: None,
        });
        Self { before, now, storage: HashMap::default(), storage_without_code }
    }

    /// Takes over what one transaction did to the account; returns the units that left its balance, modulo 2^256.
    fn commit(&mut self, account: &Touched) -> U256 {
        let had = balance(self.now.as_ref());
        if account.is_selfdestructed() || account.is_created() {
            self.storage.values_mut().for_each(|(_, now)| *now = U256::ZERO);
        }
        let mut info = account.info.clone();
        if self.storage_without_code {
            info.nonce = 0;
        }
        if account.is_selfdestructed() || info.is_empty() {
            self.now = None;
            return had;
        }
        for (&slot, value) in account.storage.iter().filter(|(_, value)| value.is_changed()) {
            // A slot that was never asked for belongs to an account created just now: it was zero.
            self.storage.entry(slot).or_default().1 = value.present_value;
        }
        let vanished = had.wrapping_sub(info.balance);
        self.now = Some(info);
        vanished
    }
}

impl<DB: StateRead> Overlay<DB> {
    /// Begins over `db`, which is `foreign` if it was made by other rules than this chain's.
    pub(super) fn new(db: DB, foreign: bool) -> Self {
        Self {
            db,
            foreign,
            accounts: AddressMap::default(),
            code: B256Map::default(),
            vanished: U256::ZERO,
            reads: None,
        }
    }

    /// Makes room for so many more accounts.
    pub(super) fn reserve(&mut self, accounts: usize) {
        self.accounts.reserve(accounts);
    }

    /// Begins to keep what is read, anew if that was so already.
    pub(super) fn record_reads(&mut self) {
        self.reads = Some(Vec::with_capacity(READS));
    }

    /// Returns what was read since [`Self::record_reads`], and ends that.
    pub(super) fn take_reads(&mut self) -> Vec<Read> {
        self.reads.take().unwrap_or_default()
    }

    /// Returns whether everything that somebody read over the same parent state is what this state says too. What was not read here
    /// yet is taken over, so that nobody has to read it again.
    pub(super) fn agrees(&mut self, reads: Vec<Read>) -> bool {
        use alloy_primitives::map::Entry as Place;
        reads.into_iter().all(|read| match read {
            Read::Account { address, before, seen, storage_without_code } => {
                let entry =
                    self.accounts.entry(address).or_insert_with(|| Entry::unchanged(before, storage_without_code));
                entry.now.as_ref().map(plain) == seen
            }
            Read::Slot { address, slot, before, seen } => {
                let Some(entry) = self.accounts.get_mut(&address) else { return false };
                match entry.storage.entry(slot) {
                    Place::Occupied(place) => place.get().1 == seen,
                    Place::Vacant(_) if entry.before.is_none() => seen.is_zero(),
                    Place::Vacant(place) => place.insert((before, before)).1 == seen,
                }
            }
        })
    }

    /// Takes over what one transaction did. An account that was destroyed or left empty is gone with its storage (EIP-161,
    /// EIP-6780).
    pub(super) fn commit(&mut self, state: &EvmState) -> Result<(), DB::Error> {
        for (&address, account) in state.iter().filter(|(_, account)| account.is_touched()) {
            self.commit_account(address, account)?;
        }
        Ok(())
    }

    fn commit_account(&mut self, address: Address, account: &Touched) -> Result<(), DB::Error> {
        let entry = load(&self.db, self.foreign, &mut self.accounts, address)?;
        self.vanished = self.vanished.wrapping_add(entry.commit(account));
        if let Some(info) = &entry.now
            && info.code_hash != KECCAK_EMPTY
            && let Some(code) = &info.code
        {
            self.code.entry(info.code_hash).or_insert_with(|| code.clone());
        }
        Ok(())
    }

    /// Pays a transaction's tip to the beneficiary as the machine does at a transaction's end: the account is touched, and a balance
    /// that would overflow stays.
    pub(super) fn tip(&mut self, beneficiary: Address, tip: U256) -> Result<(), DB::Error> {
        let mut account = Touched::from(self.basic(beneficiary)?.unwrap_or_default());
        account.mark_touch();
        account.info.balance = account.info.balance.checked_add(tip).unwrap_or(account.info.balance);
        self.commit_account(beneficiary, &account)
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
        let mut code = BTreeMap::new();
        let mut changed: Vec<Option<AccountDiff>> = Vec::with_capacity(self.accounts.len());
        // Sorting places instead of the long entries; a map built from a sorted list does not compare them again.
        let mut places: Vec<(Address, usize)> = Vec::with_capacity(self.accounts.len());
        for (address, entry) in self.accounts {
            let after = entry.now.as_ref().map(plain);
            let mut storage: Vec<_> = entry.storage.into_iter().filter(|(_, (before, now))| before != now).collect();
            if entry.before == after && storage.is_empty() {
                continue;
            }
            if let Some(hash) =
                after.map(|a| a.code_hash).filter(|hash| entry.before.is_none_or(|b| b.code_hash != *hash))
                && let Some(bytes) = self.code.get(&hash)
            {
                code.insert(hash, bytes.original_bytes());
            }
            storage.sort_unstable_by_key(|(slot, _)| *slot);
            let storage = storage.into_iter().collect();
            places.push((address, changed.len()));
            changed.push(Some(AccountDiff { before: entry.before, after, storage, ..AccountDiff::default() }));
        }
        places.sort_unstable();
        let in_order = places.into_iter().filter_map(|(address, place)| Some((address, changed[place].take()?)));
        StateDiff { accounts: in_order.collect(), code }
    }
}

impl<DB: StateRead> Database for Overlay<DB> {
    type Error = DB::Error;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Self::Error> {
        let entry = load(&self.db, self.foreign, &mut self.accounts, address)?;
        if let Some(reads) = &mut self.reads {
            let (before, seen) = (entry.before, entry.now.as_ref().map(plain));
            let storage_without_code = entry.storage_without_code;
            reads.push(Read::Account { address, before, seen, storage_without_code });
        }
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
        let (before, seen) = match entry.storage.entry(slot) {
            Place::Occupied(place) => *place.get(),
            // An account that the parent state lacks has no storage there either.
            Place::Vacant(_) if entry.before.is_none() => (U256::ZERO, U256::ZERO),
            Place::Vacant(place) => {
                let value = self.db.storage_ref(address, slot)?;
                *place.insert((value, value))
            }
        };
        if let Some(reads) = &mut self.reads {
            reads.push(Read::Slot { address, slot, before, seen });
        }
        Ok(seen)
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

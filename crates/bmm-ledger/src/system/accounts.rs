//! Accounts: a handle, the wallets bound to it, and who referred it.
//!
//! Slot 0: accounts by wallet. Slot 1: bindings used, by wallet. Slot 2: accounts by id, each four slots: owner (160 bits), wallets (32),
//! time of registration (64) | handle, left-aligned, zeros behind it | referrer | profile.

use super::{
    Rules,
    frame::{Frame, Stop, ensure},
    gas,
    jobs::{field, split_signature},
    slots::Mapping,
};
use alloy_primitives::{Address, B256, U256, aliases::U160};
use alloy_sol_types::{SolCall, SolInterface, SolStruct};
use bmm_types::system::{
    ACCOUNTS,
    Accounts::{
        AccountsCalls, BadBinding, BadHandle, Bound, Expired, HandleTaken, NotBound, NotOwner, OwnerChanged,
        OwnerStays, ProfileChanged, Registered, TooManyWallets, Unbound, UnknownAccount, WalletTaken, accountOfCall,
        bindCall, infoOfCall, infoOfReturn, nonceOfCall, registerCall,
    },
    Binding, MAX_WALLETS, account_id, is_handle,
};

const OF_WALLET: Mapping = Mapping::at(0);
const NONCES: Mapping = Mapping::at(1);
const BY_ID: Mapping = Mapping::at(2);

/// Answers one call.
pub(super) fn run(frame: &mut Frame<'_>, rules: &Rules, data: &[u8]) -> Result<Vec<u8>, Stop> {
    let call = AccountsCalls::abi_decode_validate(data).map_err(|_| Stop::not_of_the_abi())?;
    match call {
        AccountsCalls::register(_)
        | AccountsCalls::bind(_)
        | AccountsCalls::unbind(_)
        | AccountsCalls::setOwner(_)
        | AccountsCalls::setProfile(_) => frame.writes()?,
        AccountsCalls::accountOf(_) | AccountsCalls::infoOf(_) | AccountsCalls::nonceOf(_) => frame.reads()?,
    }
    match call {
        AccountsCalls::register(c) => return Ok(registerCall::abi_encode_returns(&register(frame, &c)?)),
        AccountsCalls::bind(c) => bind(frame, rules, &c)?,
        AccountsCalls::unbind(c) => unbind(frame, c.wallet)?,
        AccountsCalls::setOwner(c) => set_owner(frame, c.wallet)?,
        AccountsCalls::setProfile(c) => set_profile(frame, c.profile)?,
        AccountsCalls::accountOf(c) => return Ok(accountOfCall::abi_encode_returns(&account_of(frame, c.wallet)?)),
        AccountsCalls::infoOf(c) => return Ok(infoOfCall::abi_encode_returns(&info_of(frame, c.account)?)),
        AccountsCalls::nonceOf(c) => return Ok(nonceOfCall::abi_encode_returns(&nonce_of(frame, c.wallet)?.1)),
    }
    Ok(Vec::new())
}

/// An account as the first of its slots holds it.
struct Account {
    id: B256,
    slot: U256,
    owner: Address,
    wallets: u32,
    registered_at: u64,
}

impl Account {
    /// Reads the account `id`; without an owner if it was never registered.
    fn load(frame: &mut Frame<'_>, id: B256) -> Result<Self, Stop> {
        let slot = BY_ID.slot(frame, id)?;
        let word = frame.load_at(ACCOUNTS, slot)?;
        Ok(Self {
            id,
            slot,
            owner: Address::from(word.wrapping_to::<U160>()),
            wallets: word.wrapping_shr(160).wrapping_to(),
            registered_at: word.wrapping_shr(192).wrapping_to(),
        })
    }

    fn store(&self, frame: &mut Frame<'_>) -> Result<(), Stop> {
        let owner = U256::from_be_bytes(self.owner.into_word().0);
        let numbers = U256::from(self.wallets).wrapping_shl(160) | U256::from(self.registered_at).wrapping_shl(192);
        frame.store(self.slot, owner | numbers)
    }

    /// Rule: only the owner of an account acts for it. Returns the caller's account.
    fn of_caller(frame: &mut Frame<'_>) -> Result<Self, Stop> {
        let caller = frame.caller();
        let account = Self::of_wallet(frame, caller)?;
        ensure(account.owner == caller, NotOwner { caller, owner: account.owner })?;
        Ok(account)
    }

    /// Returns the account of a wallet that must be bound to one.
    fn of_wallet(frame: &mut Frame<'_>, wallet: Address) -> Result<Self, Stop> {
        let id = account_of(frame, wallet)?;
        ensure(!id.is_zero(), NotBound { wallet })?;
        Self::load(frame, id)
    }
}

/// Returns the account that a wallet is bound to; zero if none. Other contracts may ask.
fn account_of(frame: &mut Frame<'_>, wallet: Address) -> Result<B256, Stop> {
    let slot = OF_WALLET.slot(frame, wallet)?;
    Ok(frame.load_at(ACCOUNTS, slot)?.into())
}

/// Returns the account that referred the one `wallet` is bound to, and its owner; `None` without a referrer. Other contracts may ask.
pub(super) fn referrer_of(frame: &mut Frame<'_>, wallet: Address) -> Result<Option<(B256, Address)>, Stop> {
    let id = account_of(frame, wallet)?;
    if id.is_zero() {
        return Ok(None);
    }
    let slot = BY_ID.slot(frame, id)?;
    let referrer: B256 = frame.load_at(ACCOUNTS, field(slot, 2))?.into();
    if referrer.is_zero() {
        return Ok(None);
    }
    Ok(Some((referrer, Account::load(frame, referrer)?.owner)))
}

/// Rule: a wallet belongs to one account at a time.
fn must_be_free(frame: &mut Frame<'_>, wallet: Address) -> Result<(), Stop> {
    let account = account_of(frame, wallet)?;
    ensure(account.is_zero(), WalletTaken { wallet, account })
}

/// Rule: a handle is registered once; the referrer is none or an account that exists, and stays for ever.
fn register(frame: &mut Frame<'_>, call: &registerCall) -> Result<B256, Stop> {
    let (owner, referrer) = (frame.caller(), call.referrer);
    ensure(is_handle(&call.handle), BadHandle {})?;
    must_be_free(frame, owner)?;
    // A handle is one word.
    frame.charge(gas::KECCAK.saturating_add(gas::KECCAK_WORD))?;
    let id = account_id(&call.handle);
    let old = Account::load(frame, id)?;
    ensure(old.owner.is_zero(), HandleTaken { account: id })?;
    if !referrer.is_zero() {
        let known = Account::load(frame, referrer)?;
        ensure(!known.owner.is_zero(), UnknownAccount { account: referrer })?;
    }
    let account = Account { owner, wallets: 1, registered_at: frame.now(), ..old };
    account.store(frame)?;
    frame.store(field(account.slot, 1), B256::right_padding_from(call.handle.as_bytes()).into())?;
    frame.store(field(account.slot, 2), referrer.into())?;
    let wallet = OF_WALLET.slot(frame, owner)?;
    frame.store(wallet, id.into())?;
    frame.emit(&Registered { account: id, owner, handle: call.handle.clone(), referrer })?;
    Ok(id)
}

/// Rule: the owner binds a wallet that signed so (EIP-712, 65 bytes r ‖ s ‖ v), before the deadline that it named, and each signature
/// once. An account has at most 64 wallets.
fn bind(frame: &mut Frame<'_>, rules: &Rules, call: &bindCall) -> Result<(), Stop> {
    let &bindCall { wallet, deadline, .. } = call;
    let mut account = Account::of_caller(frame)?;
    ensure(frame.now() <= deadline, Expired { deadline })?;
    must_be_free(frame, wallet)?;
    ensure(u64::from(account.wallets) < MAX_WALLETS, TooManyWallets {})?;
    let (slot, nonce) = nonce_of(frame, wallet)?;
    // Type hash and four words.
    frame.charge(gas::KECCAK.saturating_add(gas::words(5 * 32, gas::KECCAK_WORD)))?;
    let hash = Binding { account: account.id, wallet, nonce, deadline }.eip712_hash_struct();
    let signer = match split_signature(&call.signature) {
        Some((r, s, v)) => frame.signer(rules.accounts_separator(), hash, v, r, s)?.unwrap_or_default(),
        None => Address::ZERO,
    };
    ensure(signer == wallet && !wallet.is_zero(), BadBinding { signer, wallet })?;
    // 2^64 bindings cannot be used up.
    frame.store(slot, U256::from(nonce.saturating_add(1)))?;
    account.wallets = account.wallets.saturating_add(1);
    account.store(frame)?;
    let of_wallet = OF_WALLET.slot(frame, wallet)?;
    frame.store(of_wallet, account.id.into())?;
    frame.emit(&Bound { account: account.id, wallet })
}

/// Rule: a wallet is unbound by the owner or by itself; the owner's own wallet stays.
fn unbind(frame: &mut Frame<'_>, wallet: Address) -> Result<(), Stop> {
    let caller = frame.caller();
    let mut account = Account::of_wallet(frame, wallet)?;
    ensure(caller == account.owner || caller == wallet, NotOwner { caller, owner: account.owner })?;
    ensure(wallet != account.owner, OwnerStays {})?;
    account.wallets = account.wallets.saturating_sub(1);
    account.store(frame)?;
    let of_wallet = OF_WALLET.slot(frame, wallet)?;
    frame.store(of_wallet, U256::ZERO)?;
    frame.emit(&Unbound { account: account.id, wallet })
}

/// Rule: the owner hands the account to another wallet that is bound to it.
fn set_owner(frame: &mut Frame<'_>, wallet: Address) -> Result<(), Stop> {
    let mut account = Account::of_caller(frame)?;
    ensure(account_of(frame, wallet)? == account.id, NotBound { wallet })?;
    account.owner = wallet;
    account.store(frame)?;
    frame.emit(&OwnerChanged { account: account.id, owner: wallet })
}

fn set_profile(frame: &mut Frame<'_>, profile: B256) -> Result<(), Stop> {
    let account = Account::of_caller(frame)?;
    frame.store(field(account.slot, 3), profile.into())?;
    frame.emit(&ProfileChanged { account: account.id, profile })
}

/// Returns the slot and the number of a wallet's bindings that were used.
fn nonce_of(frame: &mut Frame<'_>, wallet: Address) -> Result<(U256, u64), Stop> {
    let slot = NONCES.slot(frame, wallet)?;
    Ok((slot, frame.load(slot)?.wrapping_to()))
}

/// An account that does not exist has no owner and no handle.
fn info_of(frame: &mut Frame<'_>, id: B256) -> Result<infoOfReturn, Stop> {
    let account = Account::load(frame, id)?;
    let handle: B256 = frame.load(field(account.slot, 1))?.into();
    let handle = handle.iter().copied().take_while(|byte| *byte != 0).map(char::from).collect();
    Ok(infoOfReturn {
        handle,
        owner: account.owner,
        referrer: frame.load(field(account.slot, 2))?.into(),
        profile: frame.load(field(account.slot, 3))?.into(),
        wallets: account.wallets.into(),
        registeredAt: account.registered_at,
    })
}

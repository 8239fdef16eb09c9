//! Accounts: handles, wallets, owners, referrers.

use super::{ask, people, reverts};
use crate::testkit::{Person, Send, World};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolError, SolEvent, SolStruct};
use bmm_types::system::{
    ACCOUNTS,
    Accounts::{
        BadBinding, BadHandle, Bound, Expired, HandleTaken, NotBound, NotOwner, OwnerStays, Registered, TooManyWallets,
        UnknownAccount, WalletTaken, accountOfCall, bindCall, infoOfCall, nonceOfCall, registerCall, setOwnerCall,
        setProfileCall, unbindCall,
    },
    Binding, MAX_WALLETS, account_id, accounts_domain,
};

struct Case {
    world: World,
    owner: Person,
    wallet: Person,
    other: Person,
    account: B256,
}

impl Case {
    /// A chain on which `owner` has registered "alice".
    fn new() -> Self {
        let [owner, wallet, other, _] = people();
        let world = World::new(&[owner, wallet, other]);
        let mut case = Self { world, owner, wallet, other, account: account_id("alice") };
        case.does(owner, &registerCall { handle: "alice".into(), referrer: B256::ZERO });
        case
    }

    #[track_caller]
    fn does(&mut self, from: Person, call: &impl SolCall) -> Vec<alloy_primitives::Log> {
        let receipt = self.world.send(Send::new(from.address, ACCOUNTS, U256::ZERO, call.abi_encode()));
        assert!(receipt.status());
        receipt.logs().to_vec()
    }

    #[track_caller]
    fn reverts(&self, from: Person, call: &impl SolCall, error: &impl SolError) {
        reverts(&self.world, from.address, ACCOUNTS, U256::ZERO, call, error);
    }

    /// The call by which the owner binds `wallet`, signed by `signer` for the wallet's next binding.
    fn binding(&self, wallet: Person, signer: Person, deadline: u64) -> bindCall {
        let nonce = ask(&self.world, ACCOUNTS, &nonceOfCall { wallet: wallet.address });
        let binding = Binding { account: self.account, wallet: wallet.address, nonce, deadline };
        let digest = binding.eip712_signing_hash(&accounts_domain(self.world.params.chain_id));
        let signature: Bytes = signer.sign(digest).as_bytes().to_vec().into();
        bindCall { wallet: wallet.address, deadline, signature }
    }

    fn account_of(&self, wallet: Person) -> B256 {
        ask(&self.world, ACCOUNTS, &accountOfCall { wallet: wallet.address })
    }

    fn owner(&self) -> Address {
        ask(&self.world, ACCOUNTS, &infoOfCall { account: self.account }).owner
    }
}

#[test]
fn an_account_is_registered_once_with_its_referrer() {
    let mut case = Case::new();
    let (alice, time) = (case.account, case.world.head.timestamp);
    let info = ask(&case.world, ACCOUNTS, &infoOfCall { account: alice });
    assert_eq!((info.handle.as_str(), info.owner, info.wallets), ("alice", case.owner.address, 1));
    assert_eq!((info.referrer, info.profile, info.registeredAt), (B256::ZERO, B256::ZERO, time));
    assert_eq!(case.account_of(case.owner), alice);

    let logs = case.does(case.other, &registerCall { handle: "bob-2".into(), referrer: alice });
    let event = Registered::decode_log(&logs[0]).expect("registered").data;
    let bob = account_id("bob-2");
    let expected = Registered { account: bob, owner: case.other.address, handle: "bob-2".into(), referrer: alice };
    assert_eq!(event, expected);
    assert_eq!(ask(&case.world, ACCOUNTS, &infoOfCall { account: bob }).referrer, alice);
}

#[test]
fn registering_keeps_its_rules() {
    let case = Case::new();
    let call = |handle: &str, referrer| registerCall { handle: handle.into(), referrer };
    for bad in ["", "ab", "-ab", "ab-", "Abc", "a b", "äbc", &"x".repeat(33)] {
        case.reverts(case.other, &call(bad, B256::ZERO), &BadHandle {});
    }
    case.reverts(case.other, &call("alice", B256::ZERO), &HandleTaken { account: case.account });
    let wallet = case.owner.address;
    case.reverts(case.owner, &call("carol", B256::ZERO), &WalletTaken { wallet, account: case.account });
    let account = account_id("nobody");
    case.reverts(case.other, &call("carol", account), &UnknownAccount { account });
    let own = account_id("carol");
    case.reverts(case.other, &call("carol", own), &UnknownAccount { account: own });
}

#[test]
fn a_handle_of_32_characters_comes_back() {
    let mut case = Case::new();
    let handle = "z".repeat(32);
    case.does(case.other, &registerCall { handle: handle.clone(), referrer: B256::ZERO });
    assert_eq!(ask(&case.world, ACCOUNTS, &infoOfCall { account: account_id(&handle) }).handle, handle);
    assert_eq!(ask(&case.world, ACCOUNTS, &infoOfCall { account: account_id("nobody") }).owner, Address::ZERO);
}

#[test]
fn a_wallet_is_bound_by_its_own_word_and_once() {
    let mut case = Case::new();
    let deadline = case.world.now + 50;
    let bind = case.binding(case.wallet, case.wallet, deadline);
    case.reverts(case.wallet, &bind, &NotBound { wallet: case.wallet.address });
    let logs = case.does(case.owner, &bind);
    assert_eq!(
        Bound::decode_log(&logs[0]).expect("bound").data,
        Bound { account: case.account, wallet: case.wallet.address }
    );
    assert_eq!(case.account_of(case.wallet), case.account);
    assert_eq!(ask(&case.world, ACCOUNTS, &infoOfCall { account: case.account }).wallets, 2);
    assert_eq!(ask(&case.world, ACCOUNTS, &nonceOfCall { wallet: case.wallet.address }), 1);
    let taken = WalletTaken { wallet: case.wallet.address, account: case.account };
    case.reverts(case.owner, &bind, &taken);
    // Unbound, the old word is used up.
    case.does(case.wallet, &unbindCall { wallet: case.wallet.address });
    assert_eq!(case.account_of(case.wallet), B256::ZERO);
    let data = case.world.revert_of(case.owner.address, ACCOUNTS, U256::ZERO, bind.abi_encode());
    assert_eq!(BadBinding::abi_decode(&data).expect("refused").wallet, case.wallet.address);
    let again = case.binding(case.wallet, case.wallet, deadline);
    case.does(case.owner, &again);
}

#[test]
fn binding_keeps_its_rules() {
    let mut case = Case::new();
    let deadline = case.world.now;
    let bind = case.binding(case.wallet, case.wallet, deadline);
    let forged = case.binding(case.wallet, case.other, deadline);
    let (signer, wallet) = (case.other.address, case.wallet.address);
    case.reverts(case.owner, &forged, &BadBinding { signer, wallet });
    let short = bindCall { signature: Bytes::from(vec![1; 64]), ..bind.clone() };
    case.reverts(case.owner, &short, &BadBinding { signer: Address::ZERO, wallet });
    let zero = bindCall { wallet: Address::ZERO, ..short };
    case.reverts(case.owner, &zero, &BadBinding { signer: Address::ZERO, wallet: Address::ZERO });
    case.world.now = deadline + 1;
    case.reverts(case.owner, &bind, &Expired { deadline });
    case.world.now = deadline;
    case.does(case.owner, &bind);
    // Bound, but not the owner.
    let bind = case.binding(case.other, case.other, deadline + 9);
    case.reverts(case.wallet, &bind, &NotOwner { caller: wallet, owner: case.owner.address });
}

#[test]
fn unbinding_is_the_owners_and_the_wallets() {
    let mut case = Case::new();
    let deadline = case.world.now + 50;
    for person in [case.wallet, case.other] {
        let bind = case.binding(person, person, deadline);
        case.does(case.owner, &bind);
    }
    let (owner, wallet) = (case.owner.address, case.wallet.address);
    case.reverts(case.other, &unbindCall { wallet }, &NotOwner { caller: case.other.address, owner });
    case.reverts(case.owner, &unbindCall { wallet: owner }, &OwnerStays {});
    case.does(case.owner, &unbindCall { wallet });
    case.reverts(case.owner, &unbindCall { wallet }, &NotBound { wallet });
    case.does(case.other, &unbindCall { wallet: case.other.address });
    assert_eq!(ask(&case.world, ACCOUNTS, &infoOfCall { account: case.account }).wallets, 1);
}

#[test]
fn another_wallet_becomes_the_owner() {
    let mut case = Case::new();
    let (owner, wallet) = (case.owner.address, case.wallet.address);
    case.reverts(case.owner, &setOwnerCall { wallet }, &NotBound { wallet });
    let bind = case.binding(case.wallet, case.wallet, case.world.now + 9);
    case.does(case.owner, &bind);
    case.reverts(case.wallet, &setOwnerCall { wallet }, &NotOwner { caller: wallet, owner });
    case.does(case.owner, &setOwnerCall { wallet });
    assert_eq!(case.owner(), wallet);
    let profile = B256::repeat_byte(7);
    case.reverts(case.owner, &setProfileCall { profile }, &NotOwner { caller: owner, owner: wallet });
    case.does(case.wallet, &setProfileCall { profile });
    assert_eq!(ask(&case.world, ACCOUNTS, &infoOfCall { account: case.account }).profile, profile);
    case.does(case.wallet, &unbindCall { wallet: owner });
    assert_eq!(case.account_of(case.owner), B256::ZERO);
}

#[test]
fn an_account_has_64_wallets_at_most() {
    let mut case = Case::new();
    let deadline = case.world.now + 1_000;
    for number in 1..MAX_WALLETS {
        let person = Person::new(u8::try_from(number).expect("few") + 10);
        let bind = case.binding(person, person, deadline);
        case.does(case.owner, &bind);
    }
    let bind = case.binding(case.other, case.other, deadline);
    case.reverts(case.owner, &bind, &TooManyWallets {});
}

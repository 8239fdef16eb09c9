//! The contracts' errors, told in words.

use alloy_primitives::{Address, B256, hex};
use alloy_sol_types::{Panic, Revert, SolError, SolInterface};
use bmm_types::{
    Amount,
    system::{
        Accounts::AccountsErrors as A, Jobs::JobsErrors as J, Resources::ResourcesErrors as R, Token::TokenErrors as T,
    },
};

/// Tells what a revert's data says: an error of the system contracts, a contract's own text, or the bare data.
pub fn reason(data: &[u8]) -> String {
    if data.is_empty() {
        return "it gives no reason".to_owned();
    }
    if let Ok(error) = T::abi_decode(data) {
        return token(&error);
    }
    if let Ok(error) = J::abi_decode(data) {
        return jobs(&error);
    }
    if let Ok(error) = A::abi_decode(data) {
        return accounts(&error);
    }
    if let Ok(error) = R::abi_decode(data) {
        return resources(&error);
    }
    if let Ok(error) = Revert::abi_decode(data) {
        return error.reason.chars().take(500).collect();
    }
    if let Ok(error) = Panic::abi_decode(data) {
        return format!("it panicked with code {:#x}", error.code);
    }
    let shown = data.get(..68).unwrap_or(data);
    format!("it answers with the error data {}", hex::encode_prefixed(shown))
}

fn token(error: &T) -> String {
    match error {
        T::ERC20InsufficientBalance(e) => {
            format!("{} has {}, and {} are needed", e.sender, Amount(e.balance), Amount(e.needed))
        }
        T::ERC20InsufficientAllowance(e) => {
            format!("{} may spend {}, and {} are needed", e.spender, Amount(e.allowance), Amount(e.needed))
        }
        T::ERC20InvalidReceiver(e) => format!("{} cannot receive", e.receiver),
        T::ERC20InvalidSpender(e) => format!("{} cannot be a spender", e.spender),
        T::ERC2612ExpiredSignature(e) => format!("the permit ended at {} (Unix seconds)", e.deadline),
        T::ERC2612InvalidSigner(e) => format!("the permit is signed by {} instead of {}", e.signer, e.owner),
    }
}

fn jobs(error: &J) -> String {
    match error {
        J::JobExists(e) => format!("there is already a {}", job(e.job)),
        J::NoBudget(_) => "a job needs a budget above zero".to_owned(),
        J::BadDeadline(e) => format!(
            "the deadline {} is out of range; it must lie from {} to {} (Unix seconds)",
            e.deadline, e.earliest, e.latest
        ),
        J::UnknownJob(e) => format!("there is no {}", job(e.job)),
        J::JobClosed(e) => format!("{} is closed; nothing is left in it", job(e.job)),
        J::JobAlreadySettled(e) => format!("{} is settled already", job(e.job)),
        J::NotRequester(e) => only_requester(e.caller, e.requester),
        J::TooLate(e) => format!("it is too late; the time ended at {} (Unix seconds)", e.end),
        J::TooEarly(e) => format!("it is too early; the lock ends at {} (Unix seconds)", e.release),
        J::BadVoucher(e) => format!("the voucher is signed by {} instead of the requester {}", e.signer, e.requester),
        J::NothingToClaim(e) => {
            format!(
                "nothing is left to claim: the voucher is over {}, and {} are paid",
                Amount(e.total),
                Amount(e.paid)
            )
        }
        J::BadTotals(_) => "the providers must be in ascending order, each once, with one total each".to_owned(),
        J::TotalBelowPaid(e) => {
            format!("the total {} of {} is below what is paid already, {}", Amount(e.total), e.provider, Amount(e.paid))
        }
        J::OverBudget(e) => format!("{} are needed, and {} of the budget are left", Amount(e.needed), Amount(e.left)),
        J::BadProvider(e) => format!("{} is no account of a provider: nobody could spend what it is paid", e.provider),
        error => stakes(error),
    }
}

fn stakes(error: &J) -> String {
    match error {
        J::BadTerms(e) => {
            format!("a stake of {} with a quorum of {} is out of range: above 0, and 2 to 8", Amount(e.stake), e.quorum)
        }
        J::NoStakeAsked(e) => format!("{} asks for no stake, or takes none any more", job(e.job)),
        J::AlreadyStaked(e) => format!("{} has a stake in {} already, or had one", e.provider, job(e.job)),
        J::StakeTooSmall(e) => format!("the stake of {} is below the {} asked for", Amount(e.stake), Amount(e.least)),
        J::WrongStakeState(e) => {
            format!("the stake of {} is not in a state for this (it is in state {})", e.provider, e.state)
        }
        J::StakeLocked(e) => format!("the stake is locked until {} (Unix seconds)", e.until),
        J::BadTestimony(e) => format!("{} did not sign what is shown, or it is not in order", e.provider),
        J::NoContradiction(_) => "what is shown does not contradict".to_owned(),
        J::QuorumMissing(e) => format!("{} others testify, and the job asks for {} to 8", e.testimonies, e.quorum),
        J::WrongBond(e) => format!("the bond is {}, not {}", Amount(e.bond), Amount(e.sent)),
        J::NotJury(e) => format!("only the jury may rule, not {}", e.caller),
        _ => "it breaks a rule of the escrow".to_owned(),
    }
}

fn accounts(error: &A) -> String {
    match error {
        A::BadHandle(_) => {
            "a handle has 3 to 32 characters out of a to z, 0 to 9 and '-', neither first nor last a '-'".to_owned()
        }
        A::HandleTaken(_) => "somebody else has this handle; choose another".to_owned(),
        A::UnknownAccount(e) => format!("there is no account {}", e.account),
        A::WalletTaken(e) => format!("{} is bound to the account {} already; unbind it first", e.wallet, e.account),
        A::NotBound(e) => format!("{} is not bound to the account", e.wallet),
        A::NotOwner(e) => format!("only the owner {} may do this, not {}", e.owner, e.caller),
        A::OwnerStays(_) => "the owner cannot be unbound; make another wallet the owner first".to_owned(),
        A::Expired(e) => format!("the wallet's signature was good until {} (Unix seconds)", e.deadline),
        A::BadBinding(e) => format!("the binding is signed by {} instead of the wallet {}", e.signer, e.wallet),
        A::TooManyWallets(_) => "an account has at most 64 wallets".to_owned(),
    }
}

fn resources(error: &R) -> String {
    match error {
        R::ProofTime(e) => format!(
            "the work of epoch {} is proven from block {} to block {}, and not now",
            e.epoch,
            e.from,
            e.until.saturating_sub(1)
        ),
        R::AlreadyProven(e) => format!("{} has proven its work of epoch {} already", e.contributor, e.epoch),
        R::BadProof(e) => format!("hash {} of the proof is not good: {}", e.index, e.reason),
        R::NotClosed(e) => format!("epoch {} is not closed yet; work of it may still be proven", e.epoch),
        R::AlreadyClaimed(e) => format!("the reward of {} for epoch {} is paid already", e.contributor, e.epoch),
        R::NothingToClaim(e) => format!("{} contributed nothing in epoch {}", e.contributor, e.epoch),
        R::NotSystem(e) => format!("only the chain itself begins epochs, not {}", e.caller),
    }
}

fn job(id: B256) -> String {
    format!("job {id}")
}

fn only_requester(caller: Address, requester: Address) -> String {
    format!("only the job's requester {requester} may do this, not {caller}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use bmm_types::system::{Jobs, Token};
    use proptest::prelude::*;

    #[test]
    fn errors_of_the_system_contracts_are_words_with_amounts() {
        let one = Amount::from_bmm(1).units();
        let over = Jobs::OverBudget { needed: one * U256::from(5), left: one }.abi_encode();
        assert_eq!(reason(&over), "5 BMM are needed, and 1 BMM of the budget are left");
        let poor =
            Token::ERC20InsufficientBalance { sender: Address::ZERO, balance: U256::ZERO, needed: one }.abi_encode();
        assert_eq!(reason(&poor), format!("{} has 0 BMM, and 1 BMM are needed", Address::ZERO));
    }

    #[test]
    fn other_errors_are_told_as_far_as_they_can_be() {
        assert_eq!(reason(&Revert::from("no entry").abi_encode()), "no entry");
        assert!(reason(&Panic { code: U256::from(0x11) }.abi_encode()).contains("0x11"));
        assert!(reason(&[0xde, 0xad, 0xbe, 0xef]).contains("0xdeadbeef"));
        assert!(reason(&[]).contains("no reason"));
        assert!(reason(&vec![7; 100_000]).len() < 300);
    }

    proptest! {
        #[test]
        fn any_data_gets_some_words(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!reason(&data).is_empty());
        }
    }
}

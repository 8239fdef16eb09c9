//! Token: the ERC-20 face of the native coin (EIP-20, EIP-2612).
//!
//! Balances are the accounts' own. Slot 0: allowances by owner and spender. Slot 1: permit nonces by owner.

use super::{
    Rules,
    frame::{Frame, Stop, ensure, is_sink},
    gas,
    slots::Mapping,
};
use crate::emission;
use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall, SolInterface, SolStruct};
use bmm_types::system::{
    Permit,
    Token::{
        Approval, DOMAIN_SEPARATORCall, ERC20InsufficientAllowance, ERC20InsufficientBalance, ERC20InvalidReceiver,
        ERC20InvalidSpender, ERC2612ExpiredSignature, ERC2612InvalidSigner, TokenCalls, Transfer, allowanceCall,
        approveCall, balanceOfCall, capCall, decimalsCall, nameCall, noncesCall, permitCall, symbolCall,
        totalSupplyCall, transferCall, transferFromCall,
    },
};

const ALLOWANCES: Mapping = Mapping::at(0);
const NONCES: Mapping = Mapping::at(1);

/// Answers one call.
pub(super) fn run(frame: &mut Frame<'_>, rules: &Rules, data: &[u8]) -> Result<Vec<u8>, Stop> {
    let call = TokenCalls::abi_decode_validate(data).map_err(|_| Stop::not_of_the_abi())?;
    match call {
        TokenCalls::transfer(_) | TokenCalls::approve(_) | TokenCalls::transferFrom(_) | TokenCalls::permit(_) => {
            frame.writes()?;
        }
        _ => frame.reads()?,
    }
    let caller = frame.caller();
    Ok(match call {
        TokenCalls::name(_) => nameCall::abi_encode_returns(&"BMM".to_owned()),
        TokenCalls::symbol(_) => symbolCall::abi_encode_returns(&"BMM".to_owned()),
        TokenCalls::decimals(_) => decimalsCall::abi_encode_returns(&bmm_types::amount::DECIMALS),
        TokenCalls::totalSupply(_) => totalSupplyCall::abi_encode_returns(&supply(rules, frame.height())),
        TokenCalls::cap(_) => capCall::abi_encode_returns(&cap(rules)),
        TokenCalls::balanceOf(c) => balanceOfCall::abi_encode_returns(&frame.balance(c.account)?),
        TokenCalls::allowance(c) => allowanceCall::abi_encode_returns(&allowance(frame, c.owner, c.spender)?.1),
        TokenCalls::nonces(c) => {
            let slot = NONCES.slot(frame, c.owner)?;
            noncesCall::abi_encode_returns(&frame.load(slot)?)
        }
        TokenCalls::DOMAIN_SEPARATOR(_) => DOMAIN_SEPARATORCall::abi_encode_returns(&rules.token_separator()),
        TokenCalls::transfer(c) => {
            move_coins(frame, caller, c.to, c.value)?;
            transferCall::abi_encode_returns(&true)
        }
        TokenCalls::approve(c) => {
            approve(frame, caller, c.spender, c.value)?;
            approveCall::abi_encode_returns(&true)
        }
        TokenCalls::transferFrom(c) => {
            spend_allowance(frame, c.from, caller, c.value)?;
            move_coins(frame, c.from, c.to, c.value)?;
            transferFromCall::abi_encode_returns(&true)
        }
        TokenCalls::permit(c) => {
            permit(frame, rules, &c)?;
            Vec::new()
        }
    })
}

/// Units in existence at the end of block `height`: genesis and emission.
fn supply(rules: &Rules, height: u64) -> U256 {
    let emitted = rules.emission.map_or(U256::ZERO, |e| emission::emitted(&e, height));
    rules.genesis_supply.saturating_add(emitted)
}

/// Units that can ever exist.
fn cap(rules: &Rules) -> U256 {
    rules.genesis_supply.saturating_add(rules.emission.map_or(U256::ZERO, |e| e.mined_total.units()))
}

/// A transfer moves what the sender has, to somebody who can spend it. Zero is a transfer too (EIP-20).
fn move_coins(frame: &mut Frame<'_>, from: Address, to: Address, value: U256) -> Result<(), Stop> {
    ensure(!is_sink(to), ERC20InvalidReceiver { receiver: to })?;
    let balance = frame.balance(from)?;
    ensure(balance >= value, ERC20InsufficientBalance { sender: from, balance, needed: value })?;
    if from != to {
        frame.transfer(from, to, value)?;
    }
    frame.emit(&Transfer { from, to, value })
}

/// Returns the slot and the value of an allowance.
fn allowance(frame: &mut Frame<'_>, owner: Address, spender: Address) -> Result<(U256, U256), Stop> {
    let slot = ALLOWANCES.inner(frame, owner)?.slot(frame, spender)?;
    Ok((slot, frame.load(slot)?))
}

fn approve(frame: &mut Frame<'_>, owner: Address, spender: Address, value: U256) -> Result<(), Stop> {
    ensure(!spender.is_zero(), ERC20InvalidSpender { spender })?;
    let (slot, _) = allowance(frame, owner, spender)?;
    frame.store(slot, value)?;
    frame.emit(&Approval { owner, spender, value })
}

/// Spending lowers the allowance, unless it is the highest number, which means without end.
fn spend_allowance(frame: &mut Frame<'_>, owner: Address, spender: Address, value: U256) -> Result<(), Stop> {
    let (slot, allowance) = allowance(frame, owner, spender)?;
    if allowance == U256::MAX {
        return Ok(());
    }
    let left = allowance.checked_sub(value);
    let left = left.ok_or_else(|| Stop::error(&ERC20InsufficientAllowance { spender, allowance, needed: value }))?;
    frame.store(slot, left)
}

/// EIP-2612: an approval signed by the owner, once, until a deadline.
fn permit(frame: &mut Frame<'_>, rules: &Rules, call: &permitCall) -> Result<(), Stop> {
    let &permitCall { owner, spender, value, deadline, v, r, s } = call;
    ensure(U256::from(frame.now()) <= deadline, ERC2612ExpiredSignature { deadline })?;
    let slot = NONCES.slot(frame, owner)?;
    let nonce = frame.load(slot)?;
    // Type hash and five words.
    frame.charge(gas::KECCAK.saturating_add(gas::words(6 * 32, gas::KECCAK_WORD)))?;
    let hash = Permit { owner, spender, value, nonce, deadline }.eip712_hash_struct();
    let signer = frame.signer(rules.token_separator(), hash, v, r, s)?.unwrap_or_default();
    ensure(signer == owner && !owner.is_zero(), ERC2612InvalidSigner { signer, owner })?;
    // 2^256 permits cannot be used up.
    frame.store(slot, nonce.saturating_add(U256::ONE))?;
    approve(frame, owner, spender, value)
}

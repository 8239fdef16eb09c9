//! The system contracts as the EVM's code reaches them.

use super::{bmm, people};
use crate::{
    exec::{self, CallError, CallRequest},
    testkit::{GAS, Person, Send, World, deployer, forwarded, forwarder, short_lived},
};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{Revert, SolCall, SolError};
use bmm_types::system::{
    APPS, JOBS,
    Jobs::openCall,
    TOKEN,
    Token::{balanceOfCall, transferCall},
    job_id,
};

const CALL: u8 = 0xf1;
const CALLCODE: u8 = 0xf2;
const DELEGATECALL: u8 = 0xf4;
const STATICCALL: u8 = 0xfa;

/// A chain with a contract that forwards calls by `op`.
fn world_with(op: u8) -> (World, Person, Address) {
    let [a, ..] = people();
    let mut world = World::new(&[a]);
    let contract = a.address.create(0);
    assert!(world.send(Send::create(a.address, U256::ZERO, &deployer(&forwarder(op)))).status());
    (world, a, contract)
}

#[test]
fn call_reaches_them_as_the_contract() {
    let (mut world, a, contract) = world_with(CALL);
    let open = openCall { salt: B256::ZERO, spec: B256::ZERO, deadline: world.now + 50 };
    let data = forwarded(JOBS, &open.abi_encode());
    let receipt = world.send(Send::new(a.address, contract, bmm(2), data));
    assert!(receipt.status());
    assert_eq!(receipt.logs()[0].address, JOBS);
    assert_eq!(receipt.logs()[0].topics()[1], job_id(world.params.chain_id, contract, B256::ZERO));
    assert_eq!(world.state.balance(JOBS), bmm(2));
}

#[test]
fn a_revert_comes_back_with_its_data() {
    let (world, a, contract) = world_with(CALL);
    let data = forwarded(TOKEN, &transferCall { to: a.address, value: bmm(1) }.abi_encode());
    let text = world.call(a.address, contract, U256::ZERO, data).expect_err("the contract has nothing").to_string();
    assert!(text.contains("ERC20InsufficientBalance"), "{text}");
}

#[test]
fn static_call_reads_and_changes_nothing() {
    let (world, a, contract) = world_with(STATICCALL);
    let data = forwarded(TOKEN, &balanceOfCall { account: a.address }.abi_encode());
    let output = world.call(a.address, contract, U256::ZERO, data).expect("a view").output;
    assert_eq!(U256::from_be_slice(&output), world.state.balance(a.address));
    let data = forwarded(TOKEN, &transferCall { to: a.address, value: U256::ZERO }.abi_encode());
    let data = world.revert_of(a.address, contract, U256::ZERO, data);
    assert!(Revert::abi_decode(&data).expect("Error(string)").reason.contains("static call"));
}

#[test]
fn code_is_not_lent() {
    for op in [DELEGATECALL, CALLCODE] {
        let (world, a, contract) = world_with(op);
        for (target, input) in [
            (TOKEN, balanceOfCall { account: a.address }.abi_encode()),
            (TOKEN, transferCall { to: a.address, value: U256::ZERO }.abi_encode()),
            (JOBS, openCall { salt: B256::ZERO, spec: B256::ZERO, deadline: world.now + 5 }.abi_encode()),
        ] {
            let data = world.revert_of(a.address, contract, U256::ZERO, forwarded(target, &input));
            assert!(Revert::abi_decode(&data).expect("Error(string)").reason.contains("DELEGATECALL"));
        }
    }
}

#[test]
fn an_account_that_delegates_to_them_gets_nothing() {
    // EIP-7702: the delegate's code is the one byte of genesis, not the rules.
    let [a, b, ..] = people();
    let world = World::new(&[a, b]);
    let authorization = Authorization { chain_id: U256::from(world.params.chain_id), address: TOKEN, nonce: 0 };
    let signature = b.sign(authorization.signature_hash());
    let request = CallRequest {
        from: Some(a.address),
        to: Some(b.address),
        input: transferCall { to: a.address, value: bmm(1) }.abi_encode().into(),
        authorizations: vec![authorization.into_signed(signature)],
        ..CallRequest::default()
    };
    let outcome = exec::call(&world.params, &world.next_header(), &world.state, &request, GAS);
    assert_eq!(outcome, Err(CallError::Halt("InvalidFEOpcode".into())));
}

#[test]
fn addresses_without_rules_refuse_calls_and_coins() {
    let [a, ..] = people();
    let mut world = World::new(&[a]);
    let receipt = world.send(Send::new(a.address, APPS, bmm(1), vec![]));
    assert!(!receipt.status());
    assert_eq!(receipt.cumulative_gas_used(), GAS, "INVALID uses all gas");
}

#[test]
fn they_have_code_and_survive() {
    let [a, ..] = people();
    let mut world = World::new(&[a]);
    // EXTCODESIZE of the address in the first word.
    let code = [0x5f, 0x35, 0x3b, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3];
    world.send(Send::create(a.address, U256::ZERO, &deployer(&code)));
    for address in super::super::ADDRESSES {
        let output =
            world.call(a.address, a.address.create(0), U256::ZERO, address.into_word().0).expect("runs").output;
        assert_eq!(U256::from_be_slice(&output), U256::ONE, "{address}");
        assert_eq!(world.state.account(address).nonce, 1);
    }
}

#[test]
fn forced_coins_belong_to_no_job() {
    let [a, ..] = people();
    let mut world = World::new(&[a]);
    let receipt = world.send(Send::create(a.address, bmm(1), &short_lived(JOBS)));
    assert!(receipt.status());
    assert_eq!(world.state.balance(JOBS), bmm(1));
}

#[test]
fn too_little_gas_is_out_of_gas() {
    let [a, b, ..] = people();
    let mut world = World::new(&[a]);
    let mut send = Send::new(a.address, TOKEN, U256::ZERO, transferCall { to: b.address, value: bmm(1) }.abi_encode());
    let used = world.clone().send(send.clone()).cumulative_gas_used();
    send.gas = used - 1;
    let receipt = world.clone().send(send.clone());
    assert!(!receipt.status());
    assert_eq!(receipt.cumulative_gas_used(), used - 1);
    send.gas = used;
    assert!(world.send(send).status());
    // The 21,000 of a transaction, its call data, a new account, two accesses, an event.
    assert!((50_000..60_000).contains(&used), "{used}");
}

//! Token.

use super::{ask, bmm, people, reverts, reverts_saying};
use crate::{
    emission,
    testkit::{Person, Send, World},
};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Revert, SolCall, SolError, SolEvent, SolStruct, SolValue};
use bmm_types::system::{
    JOBS, Permit, TOKEN,
    Token::{
        Approval, DOMAIN_SEPARATORCall, ERC20InsufficientAllowance, ERC20InsufficientBalance, ERC20InvalidReceiver,
        ERC20InvalidSpender, ERC2612ExpiredSignature, ERC2612InvalidSigner, Transfer, allowanceCall, approveCall,
        balanceOfCall, capCall, decimalsCall, nameCall, noncesCall, permitCall, symbolCall, totalSupplyCall,
        transferCall, transferFromCall,
    },
    token_domain,
};

fn send(world: &mut World, from: Person, call: &impl SolCall) -> crate::store::Receipt {
    world.send(Send::new(from.address, TOKEN, U256::ZERO, call.abi_encode()))
}

#[test]
fn describes_itself() {
    let [a, ..] = people();
    let mut world = World::new(&[a]);
    assert_eq!(ask(&world, TOKEN, &nameCall {}), "BMM");
    assert_eq!(ask(&world, TOKEN, &symbolCall {}), "BMM");
    assert_eq!(ask(&world, TOKEN, &decimalsCall {}), 18);
    let emission = world.params.emission.expect("emits");
    let genesis = world.params.genesis_supply().units();
    assert_eq!(ask(&world, TOKEN, &capCall {}), genesis + emission.mined_total.units());
    world.block(&[]);
    world.block(&[]);
    // Asked in the third block.
    assert_eq!(ask(&world, TOKEN, &totalSupplyCall {}), genesis + emission::emitted(&emission, 3));
    let separator = token_domain(world.params.chain_id).separator();
    assert_eq!(ask(&world, TOKEN, &DOMAIN_SEPARATORCall {}), separator);
}

#[test]
fn transfers_native_coins() {
    let [a, b, ..] = people();
    let mut world = World::new(&[a]);
    let receipt = send(&mut world, a, &transferCall { to: b.address, value: bmm(3) });
    assert!(receipt.status());
    assert_eq!(world.state.balance(b.address), bmm(3));
    assert_eq!(ask(&world, TOKEN, &balanceOfCall { account: b.address }), bmm(3));
    let event = Transfer::decode_log(&receipt.logs()[0]).expect("a transfer");
    assert_eq!(event.data, Transfer { from: a.address, to: b.address, value: bmm(3) });
    assert_eq!(event.address, TOKEN);
}

#[test]
fn transfers_nothing_and_to_oneself() {
    let [a, b, ..] = people();
    let mut world = World::new(&[a]);
    let receipt = send(&mut world, a, &transferCall { to: b.address, value: U256::ZERO });
    assert_eq!((receipt.status(), receipt.logs().len()), (true, 1));
    assert_eq!(world.state.account(b.address), crate::diff::Account::default());
    let receipt = send(&mut world, a, &transferCall { to: a.address, value: bmm(5) });
    assert_eq!((receipt.status(), receipt.logs().len()), (true, 1));
    let too_much = bmm(2_000_000);
    let balance = world.state.balance(a.address);
    let error = ERC20InsufficientBalance { sender: a.address, balance, needed: too_much };
    reverts(&world, a.address, TOKEN, U256::ZERO, &transferCall { to: a.address, value: too_much }, &error);
    reverts(&world, a.address, TOKEN, U256::ZERO, &transferCall { to: b.address, value: too_much }, &error);
}

#[test]
fn refuses_receivers_that_cannot_spend() {
    let [a, ..] = people();
    let world = World::new(&[a]);
    for receiver in [Address::ZERO, TOKEN, JOBS] {
        let call = transferCall { to: receiver, value: bmm(1) };
        reverts(&world, a.address, TOKEN, U256::ZERO, &call, &ERC20InvalidReceiver { receiver });
    }
}

#[test]
fn allowances_are_spent() {
    let [a, b, c, _] = people();
    let mut world = World::new(&[a, b]);
    let receipt = send(&mut world, a, &approveCall { spender: b.address, value: bmm(5) });
    let event = Approval::decode_log(&receipt.logs()[0]).expect("an approval").data;
    assert_eq!(event, Approval { owner: a.address, spender: b.address, value: bmm(5) });
    let take = transferFromCall { from: a.address, to: c.address, value: bmm(3) };
    assert!(send(&mut world, b, &take).status());
    assert_eq!(world.state.balance(c.address), bmm(3));
    let allowance = allowanceCall { owner: a.address, spender: b.address };
    assert_eq!(ask(&world, TOKEN, &allowance), bmm(2));
    let error = ERC20InsufficientAllowance { spender: b.address, allowance: bmm(2), needed: bmm(3) };
    reverts(&world, b.address, TOKEN, U256::ZERO, &take, &error);
    // Storage lies as Solidity lays a mapping of mappings at slot 0.
    let outer = keccak256((a.address, U256::ZERO).abi_encode());
    let slot = keccak256((b.address, outer).abi_encode());
    assert_eq!(world.state.slot(TOKEN, slot.into()), bmm(2));
}

#[test]
fn an_endless_allowance_stays() {
    let [a, b, c, _] = people();
    let mut world = World::new(&[a, b]);
    send(&mut world, a, &approveCall { spender: b.address, value: U256::MAX });
    assert!(send(&mut world, b, &transferFromCall { from: a.address, to: c.address, value: bmm(3) }).status());
    assert_eq!(ask(&world, TOKEN, &allowanceCall { owner: a.address, spender: b.address }), U256::MAX);
    let zero = approveCall { spender: Address::ZERO, value: bmm(1) };
    reverts(&world, a.address, TOKEN, U256::ZERO, &zero, &ERC20InvalidSpender { spender: Address::ZERO });
}

fn signed_permit(world: &World, owner: Person, spender: Address, nonce: u64, deadline: u64) -> permitCall {
    let permit = Permit {
        owner: owner.address,
        spender,
        value: bmm(7),
        nonce: U256::from(nonce),
        deadline: U256::from(deadline),
    };
    let signature = owner.sign(permit.eip712_signing_hash(&token_domain(world.params.chain_id)));
    permitCall {
        owner: owner.address,
        spender,
        value: permit.value,
        deadline: permit.deadline,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    }
}

#[test]
fn a_permit_approves_once() {
    let [a, b, c, _] = people();
    let mut world = World::new(&[a, c]);
    let permit = signed_permit(&world, a, b.address, 0, world.now + 5);
    assert!(send(&mut world, c, &permit).status());
    assert_eq!(ask(&world, TOKEN, &allowanceCall { owner: a.address, spender: b.address }), bmm(7));
    assert_eq!(ask(&world, TOKEN, &noncesCall { owner: a.address }), U256::from(1));
    // The second time the nonce differs, and so the signer.
    let data = world.revert_of(c.address, TOKEN, U256::ZERO, permit.abi_encode());
    assert_eq!(data[..4], <ERC2612InvalidSigner as alloy_sol_types::SolError>::SELECTOR);
}

#[test]
fn a_permit_ends_at_its_deadline() {
    let [a, b, ..] = people();
    let mut world = World::new(&[a]);
    let deadline = world.now + 1;
    let permit = signed_permit(&world, a, b.address, 0, deadline);
    world.now = deadline + 1;
    let error = ERC2612ExpiredSignature { deadline: U256::from(deadline) };
    reverts(&world, a.address, TOKEN, U256::ZERO, &permit, &error);
    world.now = deadline;
    assert!(world.call(a.address, TOKEN, U256::ZERO, permit.abi_encode()).is_ok());
}

#[test]
fn a_permit_needs_the_owners_canonical_signature() {
    let [a, b, ..] = people();
    let world = World::new(&[a]);
    let good = signed_permit(&world, a, b.address, 0, world.now + 5);
    let invalid = |signer| ERC2612InvalidSigner { signer, owner: a.address };
    let bad_v = permitCall { v: good.v - 27, ..good.clone() };
    reverts(&world, a.address, TOKEN, U256::ZERO, &bad_v, &invalid(Address::ZERO));
    let bad_r = permitCall { r: B256::ZERO, ..good.clone() };
    reverts(&world, a.address, TOKEN, U256::ZERO, &bad_r, &invalid(Address::ZERO));
    // The other signature of the same message: s -> n - s, the other parity.
    let order = U256::from_be_slice(&alloy_primitives::hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    let high = permitCall { s: (order - U256::from_be_bytes(good.s.0)).into(), v: 55 - good.v, ..good.clone() };
    reverts(&world, a.address, TOKEN, U256::ZERO, &high, &invalid(Address::ZERO));
    let mut others = signed_permit(&world, b, b.address, 0, world.now + 5);
    others.owner = a.address;
    let data = world.revert_of(a.address, TOKEN, U256::ZERO, others.abi_encode());
    assert_eq!(data[..4], <ERC2612InvalidSigner as alloy_sol_types::SolError>::SELECTOR);
}

#[test]
fn takes_no_coins_and_no_rubbish() {
    let [a, b, ..] = people();
    let world = World::new(&[a]);
    let call = transferCall { to: b.address, value: bmm(1) }.abi_encode();
    reverts_saying(&world, a.address, TOKEN, U256::ONE, call.clone(), "takes no coins");
    reverts_saying(&world, a.address, TOKEN, U256::ONE, nameCall {}.abi_encode(), "takes no coins");
    reverts_saying(&world, a.address, TOKEN, U256::ONE, Vec::new(), "no function called");
    reverts_saying(&world, a.address, TOKEN, U256::ZERO, vec![1, 2, 3, 4], "not a call of its ABI");
    reverts_saying(&world, a.address, TOKEN, U256::ZERO, call[..40].to_vec(), "not a call of its ABI");
    let mut dirty = call;
    dirty[4] = 1;
    // Byte for byte the same, whatever is wrong: contracts see it.
    let data = |input: Vec<u8>| world.revert_of(a.address, TOKEN, U256::ZERO, input);
    assert_eq!(data(dirty), data(vec![1, 2, 3, 4]));
    assert_eq!(
        data(vec![1, 2, 3, 4]),
        Revert::from("system contract: call data is not a call of its ABI").abi_encode()
    );
    reverts_saying(&world, a.address, TOKEN, U256::ZERO, vec![0; 80_000], "longer than");
}

//! Simulated calls and estimates.

use crate::{
    exec::{CallError, CallRequest, TxError, call, decode_revert, estimate_gas},
    testkit::{Person, Send, World, deployer, forwarded, forwarder},
};
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolError};
use bmm_types::system::{JOBS, Jobs, TOKEN, Token};

const CAP: u64 = 50_000_000;

fn world() -> (World, Person) {
    let person = Person::new(0);
    (World::new(&[person]), person)
}

fn request(from: Address, to: Address, input: impl Into<Bytes>) -> CallRequest {
    CallRequest { from: Some(from), to: Some(to), input: input.into(), ..CallRequest::default() }
}

fn run(world: &World, request: &CallRequest) -> Result<crate::exec::CallOutcome, CallError> {
    call(&world.params, &world.next_header(), &world.state, request, CAP)
}

fn estimate(world: &World, request: &CallRequest) -> Result<u64, CallError> {
    estimate_gas(&world.params, &world.next_header(), &world.state, request, CAP)
}

#[test]
fn a_transfer_costs_21000() {
    let (world, person) = world();
    let mut request = request(person.address, Address::repeat_byte(7), Bytes::new());
    request.value = U256::from(1);
    assert_eq!(estimate(&world, &request), Ok(21_000));
    assert_eq!(run(&world, &request).map(|o| o.gas_used), Ok(21_000));
}

#[test]
fn estimates_are_enough_and_close() {
    let (mut world, person) = world();
    let transfer = Token::transferCall { to: Address::repeat_byte(7), value: U256::from(1) }.abi_encode();
    assert!(world.send(Send::create(person.address, U256::ZERO, &deployer(&forwarder(0xf1)))).status());
    let balance = Token::balanceOfCall { account: person.address }.abi_encode();
    let contract = person.address.create(0);
    for (to, input) in [(TOKEN, Bytes::from(transfer)), (contract, forwarded(TOKEN, &balance))] {
        let gas = estimate(&world, &request(person.address, to, input.clone())).expect("possible");
        let send = |gas| Send { gas, ..Send::new(person.address, to, U256::ZERO, input.clone()) };
        let used = world.clone().send(send(gas)).cumulative_gas_used();
        assert!(world.clone().send(send(gas)).status());
        assert!(gas <= used + used / 32 + 1, "{gas} for {used}");
    }
}

#[test]
fn reverts_come_with_data_and_words() {
    let (world, person) = world();
    let refund = Jobs::refundCall { job: B256::ZERO }.abi_encode();
    let error = Jobs::UnknownJob { job: B256::ZERO };
    for result in [
        run(&world, &request(person.address, JOBS, refund.clone())).map(|o| o.gas_used),
        estimate(&world, &request(person.address, JOBS, refund)),
    ] {
        let Err(CallError::Revert { data, reason }) = result else { panic!("{result:?}") };
        assert_eq!(data, error.abi_encode());
        assert!(reason.expect("known").starts_with("UnknownJob { job: 0x00"));
    }
    let text = hex!(
        "08c379a0000000000000000000000000000000000000000000000000000000000000002000000000000000000000000000000000000000000000000000000000000000026e6f000000000000000000000000000000000000000000000000000000000000"
    );
    assert_eq!(decode_revert(&text).as_deref(), Some("no"));
    let panic = alloy_sol_types::Panic { code: U256::from(0x11) };
    assert!(decode_revert(&panic.abi_encode()).expect("Panic(uint256)").contains("overflow"));
    assert_eq!(decode_revert(&[]), None);
    assert_eq!(decode_revert(&[1, 2, 3, 4, 5]), None);
}

#[test]
fn what_cannot_be_is_named() {
    let (world, person) = world();
    let mut poor = request(Address::repeat_byte(3), person.address, Bytes::new());
    poor.value = U256::from(1);
    let funds = TxError::Funds { needed: U256::from(1), balance: U256::ZERO };
    assert_eq!(run(&world, &poor), Err(CallError::Invalid(funds.clone())));
    assert_eq!(estimate(&world, &poor), Err(CallError::Invalid(funds)));
    // An endless loop takes all there is, and a transaction can have no more than EIP-7825's cap.
    let endless = CallRequest { to: None, ..request(person.address, TOKEN, vec![0x5b, 0x5f, 0x56]) };
    assert_eq!(estimate(&world, &endless), Err(CallError::GasAllowance(1 << 24)));
    assert_eq!(
        run(&world, &CallRequest { gas: Some(100_000), ..endless.clone() }),
        Err(CallError::GasAllowance(100_000))
    );
    let invalid = CallRequest { to: None, ..request(person.address, TOKEN, vec![0xfe]) };
    assert_eq!(run(&world, &invalid), Err(CallError::Halt("InvalidFEOpcode".into())));
    let short = CallRequest { gas: Some(20_000), ..request(person.address, TOKEN, Bytes::new()) };
    assert_eq!(estimate(&world, &short), Err(CallError::GasAllowance(20_000)));
    let cheap = CallRequest { gas_price: Some(1), ..request(person.address, TOKEN, Bytes::new()) };
    let base_fee = world.next_header().base_fee_per_gas.expect("has one");
    assert_eq!(run(&world, &cheap), Err(CallError::Invalid(TxError::FeeTooLow { base_fee })));
}

#[test]
fn an_estimate_stays_within_the_purse() {
    let (mut world, person) = world();
    let poor = Person::new(1);
    // Enough for 30,000 gas at 2 gwei and not for an approval, which writes a slot.
    let purse = U256::from(30_000u64 * 2_000_000_000);
    world.send(Send::new(person.address, poor.address, purse, Bytes::new()));
    let input = Token::transferCall { to: Address::repeat_byte(7), value: U256::ZERO }.abi_encode();
    let priced = CallRequest { gas_price: Some(2_000_000_000), ..request(poor.address, TOKEN, input.clone()) };
    assert!(estimate(&world, &priced).is_ok_and(|gas| gas <= 30_000));
    let input = Token::approveCall { spender: Address::repeat_byte(7), value: U256::from(1) }.abi_encode();
    let priced = CallRequest { input: input.into(), ..priced };
    assert_eq!(estimate(&world, &priced), Err(CallError::GasAllowance(30_000)));
}

#[test]
fn contracts_may_be_callers_and_nothing_stays() {
    let (world, _) = world();
    let supply = world.state.supply();
    let from_contract = request(TOKEN, Address::repeat_byte(9), Bytes::new());
    assert!(run(&world, &from_contract).is_ok());
    assert_eq!(world.state.supply(), supply);
}

#[test]
fn a_creation_returns_its_code() {
    let (world, person) = world();
    let code = forwarder(0xfa);
    let create = CallRequest { to: None, ..request(person.address, TOKEN, deployer(&code)) };
    assert_eq!(run(&world, &create).map(|o| o.output), Ok(code.into()));
}

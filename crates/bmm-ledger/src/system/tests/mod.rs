//! The system contracts, function by function and error by error.

mod accounts;
mod footstones;
mod jobs;
mod reach;
mod resources;
mod stakes;
mod token;

use crate::testkit::{Person, World};
use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{Revert, SolCall, SolError};

const BMM: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

fn bmm(n: u64) -> U256 {
    BMM * U256::from(n)
}

/// Calls a function and decodes what it returns.
fn ask<C: SolCall>(world: &World, to: Address, call: &C) -> C::Return {
    let outcome = world.call(Address::ZERO, to, U256::ZERO, call.abi_encode()).expect("a view");
    C::abi_decode_returns(&outcome.output).expect("its ABI")
}

/// The call reverts with exactly this error.
#[track_caller]
fn reverts<C: SolCall>(world: &World, from: Address, to: Address, value: U256, call: &C, error: &impl SolError) {
    assert_eq!(world.revert_of(from, to, value, call.abi_encode()), Bytes::from(error.abi_encode()));
}

/// The call reverts with a text that contains `part`.
#[track_caller]
fn reverts_saying(world: &World, from: Address, to: Address, value: U256, input: Vec<u8>, part: &str) {
    let data = world.revert_of(from, to, value, input);
    let text = Revert::abi_decode(&data).expect("Error(string)").reason;
    assert!(text.contains(part), "{text}");
}

fn people() -> [Person; 4] {
    [0, 1, 2, 3].map(Person::new)
}

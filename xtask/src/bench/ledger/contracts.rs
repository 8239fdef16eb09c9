//! The contracts that transactions call. `contracts/compile.mjs` made their creation code from the sources beside it.

use super::people::Deed;
use alloy_primitives::{Address, Bytes, U256, hex};

const TOKEN: &str = include_str!("contracts/Token.hex");
const WORK: &str = include_str!("contracts/Work.hex");
/// keccak("store(uint256,uint256,uint256)"), first four bytes.
const STORE: [u8; 4] = hex!("6b58be3a");
/// keccak("compute(uint256,uint256)"), first four bytes.
const COMPUTE: [u8; 4] = hex!("7a85644b");
/// keccak("transfer(address,uint256)"), first four bytes.
const TRANSFER: [u8; 4] = hex!("a9059cbb");
/// keccak("balanceOf(address)"), first four bytes.
const BALANCE_OF: [u8; 4] = hex!("70a08231");

/// Units of the token that its creator gets.
const SUPPLY: u64 = 1 << 60;

fn words(selector: [u8; 4], words: &[U256]) -> Bytes {
    let mut input = selector.to_vec();
    input.extend(words.iter().flat_map(U256::to_be_bytes::<32>));
    input.into()
}

fn word(address: Address) -> U256 {
    U256::from_be_bytes(address.into_word().0)
}

/// Creates the token.
pub fn create_token() -> Deed {
    let mut code = hex::decode(TOKEN.trim()).expect("compile.mjs writes hexadecimal digits");
    code.extend_from_slice(&U256::from(SUPPLY).to_be_bytes::<32>());
    Deed { to: None, value: 0, input: code.into(), gas: 2_000_000 }
}

/// Sends `units` of the token.
pub fn transfer(token: Address, to: Address, units: u64) -> Deed {
    let input = words(TRANSFER, &[word(to), U256::from(units)]);
    Deed { to: Some(token), value: 0, input, gas: 80_000 }
}

/// Returns the call data of `balanceOf`.
pub fn balance_of(owner: Address) -> Bytes {
    words(BALANCE_OF, &[word(owner)])
}

/// Creates the contract of heavy calls.
pub fn create_work() -> Deed {
    let code = hex::decode(WORK.trim()).expect("compile.mjs writes hexadecimal digits");
    Deed { to: None, value: 0, input: code.into(), gas: 2_000_000 }
}

/// Rewrites `count` of `span` slots.
pub fn store(work: Address, seed: u32, count: u32, span: u32) -> Deed {
    let input = words(STORE, &[seed, count, span].map(U256::from));
    Deed { to: Some(work), value: 0, input, gas: 1_500_000 }
}

/// Multiplies and hashes `rounds` times.
pub fn compute(work: Address, seed: u32, rounds: u32) -> Deed {
    let input = words(COMPUTE, &[seed, rounds].map(U256::from));
    Deed { to: Some(work), value: 0, input, gas: 3_000_000 }
}

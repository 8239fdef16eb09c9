//! The contracts that transactions call. `contracts/compile.mjs` made their creation code from the sources beside it.

use super::people::Deed;
use alloy_primitives::{Address, Bytes, U256, hex};

const TOKEN: &str = include_str!("contracts/Token.hex");
/// keccak("transfer(address,uint256)"), first four bytes.
const TRANSFER: [u8; 4] = hex!("a9059cbb");

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

//! One transaction of the BMM chain that pays many.
//!
//! A transaction that creates a contract: its init code transfers by the Token, the ERC-20 face of the native coin, to each receiver, and
//! leaves no code and no storage behind. Such a transfer runs no code of the receiver, so that a receiver which is a contract can neither
//! refuse, nor use up gas, nor come between the others' pay. All are paid or, if one transfer fails, nobody is.

use alloy_primitives::{Address, Bytes, U256};
use bmm_types::system;

/// Most receivers of one transaction: 36 bytes and at most some 50,000 gas each, where a transaction may have 16.7 million (EIP-7825).
pub const MAX_RECEIVERS: usize = 250;

/// The init code; the receivers follow it: address (20 bytes) and amount (16 bytes, big-endian) each.
const INIT_CODE: [u8; 75] = [
    0x63, 0xa9, 0x05, 0x9c, 0xbb, // PUSH4 transfer(address,uint256)
    0x60, 0xe0, 0x1b, // PUSH1 224 SHL
    0x5f, 0x52, // PUSH0 MSTORE: the selector, and zeroes up to byte 32
    0x60, 0x4b, // PUSH1 75: p, where the receivers begin
    0x5b, // 12: JUMPDEST, the loop; stack: p
    0x38, 0x81, 0x10, 0x15, // CODESIZE DUP2 LT ISZERO: p >= size?
    0x60, 0x41, 0x57, // PUSH1 65 JUMPI: the end
    0x60, 0x14, 0x81, 0x60, 0x10, 0x39, // PUSH1 20 DUP2 PUSH1 16 CODECOPY: the address to bytes 16..36
    0x60, 0x10, 0x81, 0x60, 0x14, 0x01, // PUSH1 16 DUP2 PUSH1 20 ADD
    0x60, 0x34, 0x39, // PUSH1 52 CODECOPY: the amount to bytes 52..68
    0x60, 0x20, 0x60, 0x60, // PUSH1 32 PUSH1 96: what it returns
    0x60, 0x44, 0x5f, 0x5f, // PUSH1 68 PUSH0 PUSH0: what is sent, with no value
    0x61, 0xb0, 0x01, 0x5a, 0xf1, // PUSH2 Token GAS CALL
    0x15, 0x60, 0x43, 0x57, // ISZERO PUSH1 67 JUMPI: it failed
    0x60, 0x60, 0x51, 0x15, // PUSH1 96 MLOAD ISZERO
    0x60, 0x43, 0x57, // PUSH1 67 JUMPI: it returned false
    0x60, 0x24, 0x01, // PUSH1 36 ADD: the next receiver
    0x60, 0x0c, 0x56, // PUSH1 12 JUMP
    0x5b, 0x00, // 65: JUMPDEST STOP: no code
    0x5b, 0x3d, 0x5f, 0x5f, 0x3e, // 67: JUMPDEST RETURNDATASIZE PUSH0 PUSH0 RETURNDATACOPY
    0x3d, 0x5f, 0xfd, // RETURNDATASIZE PUSH0 REVERT
];

/// Whether the Token transfers to this address: the zero address and the Token itself are refused, and the other system contracts could
/// never spend it.
pub fn is_payable(account: Address) -> bool {
    let low = U256::from_be_slice(account.as_slice());
    let first = U256::from_be_slice(system::TOKEN.as_slice());
    !low.is_zero() && !(first..first.saturating_add(U256::from(256))).contains(&low)
}

/// Returns the init code of a transaction that pays these, and the value that it must be sent with. `None` for nobody, for more than
/// [`MAX_RECEIVERS`], and for a receiver that cannot be paid.
pub fn pay_many(receivers: &[(Address, u128)]) -> Option<(Bytes, U256)> {
    if receivers.is_empty() || receivers.len() > MAX_RECEIVERS {
        return None;
    }
    let mut code = INIT_CODE.to_vec();
    let mut value = U256::ZERO;
    for (account, amount) in receivers {
        is_payable(*account).then_some(())?;
        code.extend(account);
        code.extend(amount.to_be_bytes());
        value = value.checked_add(U256::from(*amount))?;
    }
    Some((code.into(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_land_where_they_should() {
        assert_eq!(INIT_CODE[12], 0x5b);
        assert_eq!(INIT_CODE[65], 0x5b);
        assert_eq!(INIT_CODE[67], 0x5b);
        assert_eq!(INIT_CODE[66], 0x00);
        assert_eq!(INIT_CODE.len(), 0x4b);
    }

    #[test]
    fn who_cannot_be_paid_is_refused() {
        let good = Address::repeat_byte(7);
        assert!(pay_many(&[]).is_none());
        assert!(pay_many(&[(good, 1), (Address::ZERO, 1)]).is_none());
        assert!(pay_many(&[(system::TOKEN, 1)]).is_none() && pay_many(&[(system::TREASURY, 1)]).is_none());
        assert!(pay_many(&vec![(good, 1); MAX_RECEIVERS + 1]).is_none());
        let (code, value) = pay_many(&[(good, 5), (good, u128::MAX)]).expect("two");
        assert_eq!(code.len(), INIT_CODE.len() + 2 * 36);
        assert_eq!(value, U256::from(u128::MAX) + U256::from(5));
    }
}

//! Contracts whose calls depend on each other in every way.

use alloy_primitives::{Address, B256, address, keccak256};

/// Adds one to slot 0: every call hangs on the one before.
pub(super) const COUNTER: (Address, &[u8]) = (Address::repeat_byte(0xc1), &[0x5f, 0x54, 0x60, 0x01, 0x01, 0x5f, 0x55]);
/// Adds one to the caller's slot: calls of different people are independent.
pub(super) const OWN_SLOT: (Address, &[u8]) = (Address::repeat_byte(0xc2), &[0x33, 0x54, 0x60, 0x01, 0x01, 0x33, 0x55]);
/// Keeps the beneficiary's balance in the caller's slot.
pub(super) const COINBASE_READER: (Address, &[u8]) = (Address::repeat_byte(0xc3), &[0x41, 0x31, 0x33, 0x55]);
/// Keeps the balance of the account in its data in the caller's slot, and logs it.
pub(super) const BALANCE_READER: (Address, &[u8]) =
    (Address::repeat_byte(0xc4), &[0x5f, 0x35, 0x31, 0x80, 0x33, 0x55, 0x5f, 0x52, 0x33, 0x60, 0x20, 0x5f, 0xa1]);
/// CREATE2 with its data as code, always with the same salt; the new address goes to slot 0.
pub(super) const FACTORY: (Address, &[u8]) =
    (Address::repeat_byte(0xc5), &[0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x36, 0x5f, 0x34, 0xf5, 0x5f, 0x55]);
/// Writes its own slot 1, then reverts.
pub(super) const REVERTER: (Address, &[u8]) = (Address::repeat_byte(0xc6), &[0x60, 1, 0x60, 1, 0x55, 0x5f, 0x5f, 0xfd]);
/// Runs out of gas.
pub(super) const LOOP: (Address, &[u8]) = (Address::repeat_byte(0xc7), &[0x5b, 0x5f, 0x56]);
/// Destroys itself in favour of the beneficiary: only its coins go, as it was not created just now.
pub(super) const TO_COINBASE: (Address, &[u8]) = (Address::repeat_byte(0xc8), &[0x41, 0xff]);
/// Keeps the id of the block before the last in slot 0.
pub(super) const ANCESTOR: (Address, &[u8]) = (Address::repeat_byte(0xc9), &[0x60, 2, 0x43, 0x03, 0x40, 0x5f, 0x55]);
/// CREATE with code that reverts: only the contract's nonce changes.
pub(super) const NONCE: (Address, &[u8]) =
    (Address::repeat_byte(0xca), &[0x63, 0x5f, 0x5f, 0xfd, 0, 0x5f, 0x52, 0x60, 4, 0x60, 28, 0x5f, 0xf0]);

pub(super) const CONTRACTS: [(Address, &[u8]); 11] = [
    COUNTER,
    OWN_SLOT,
    COINBASE_READER,
    BALANCE_READER,
    FACTORY,
    REVERTER,
    LOOP,
    TO_COINBASE,
    ANCESTOR,
    NONCE,
    FICKLE_PAYER,
];

/// Counts in one of its slots and pays on what it gets to one of four accounts: as the beneficiary's balance has it, or with data
/// the first.
pub(super) const FICKLE_PAYER: (Address, &[u8]) = (
    Address::repeat_byte(0xcb),
    &[
        0x5f, 0x5f, 0x5f, 0x5f, 0x34, 0x36, 0x15, 0x41, 0x02, 0x31, 0x60, 12, 0x1c, 0x60, 3, 0x16, 0x80, 0x54, 0x60, 1,
        0x01, 0x81, 0x55, 0x61, 0x10, 0x00, 0x01, 0x5a, 0xf1,
    ],
);
/// The first of the accounts that [`FICKLE_PAYER`] pays.
pub(super) const PAID: Address = address!("0000000000000000000000000000000000001000");

/// Deploys STOP or ADD, which fails, as the beneficiary's balance has it: the account differs by its code alone, depending on
/// what went before.
pub(super) const FICKLE: &[u8] = &[0x41, 0x31, 0x60, 12, 0x1c, 0x60, 1, 0x16, 0x5f, 0x52, 0x60, 1, 0x60, 31, 0xf3];
/// Deploys a counter that begins with 1 or 0, as the beneficiary's balance has it.
pub(super) const FICKLE_SLOT: &[u8] = &[
    0x41, 0x31, 0x60, 12, 0x1c, 0x60, 1, 0x16, 0x15, 0x5f, 0x55, 0x66, 0x5f, 0x54, 0x60, 1, 0x01, 0x5f, 0x55, 0x5f,
    0x52, 0x60, 7, 0x60, 25, 0xf3,
];

/// Where [`FACTORY`] puts what `code` deploys.
pub(super) fn made(code: &[u8]) -> Address {
    FACTORY.0.create2(B256::ZERO, keccak256(code))
}

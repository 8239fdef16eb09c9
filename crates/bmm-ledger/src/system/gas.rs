//! What the system contracts charge, in gas.
//!
//! The EVM's prices for the same work (EIP-150, EIP-2200, EIP-2929), without its refunds, so that nothing is cheaper here than
//! in a contract that does the same.

/// Entering a contract.
pub(super) const CALL: u64 = 300;
/// Each begun word of call data, for reading and decoding it.
pub(super) const INPUT_WORD: u64 = 6;
/// First touch of an account in a transaction.
pub(super) const COLD_ACCOUNT: u64 = 2_600;
/// First touch of a slot in a transaction.
pub(super) const COLD_SLOT: u64 = 2_100;
/// Any further touch.
pub(super) const WARM: u64 = 100;
/// Writing a slot that was zero.
pub(super) const SLOT_SET: u64 = 20_000;
/// Writing a slot that was not, the first time in a transaction.
pub(super) const SLOT_CHANGE: u64 = 2_900;
/// Moving coins: CALL's 9,000 less the stipend of 2,300, as no code is called.
pub(super) const MOVE: u64 = 6_700;
/// Moving coins to an account that does not exist.
pub(super) const NEW_ACCOUNT: u64 = 25_000;
/// An event, and each of its topics.
pub(super) const LOG: u64 = 375;
/// Each byte of an event's data.
pub(super) const LOG_BYTE: u64 = 8;
/// keccak-256, and each begun word of what is hashed.
pub(super) const KECCAK: u64 = 30;
/// Each begun word of what is hashed.
pub(super) const KECCAK_WORD: u64 = 6;
/// Recovering the signer of a signature.
pub(super) const RECOVER: u64 = 3_000;
/// One Scrypt(1024,1,1) of a proof of hash work. 63 µs in a proof of 32 and 395 µs alone on one core of a Xeon with AVX-512 (`cargo run --release -p
/// bmm-pow --example proof_time`): a block of 60 million gas holds 2,400 at most, which take a second even one after the other.
pub(super) const SCRYPT: u64 = 25_000;
/// Each begun word of a solution: reading it, and two SHA-256 over what is in it (EIP-150's 12 a word), twice as much for a branch's
/// nodes.
pub(super) const SOLUTION_WORD: u64 = 60;

/// Returns the price of `each` for every begun word of `bytes`.
pub(super) fn words(bytes: usize, each: u64) -> u64 {
    u64::try_from(bytes.div_ceil(32)).unwrap_or(u64::MAX).saturating_mul(each)
}

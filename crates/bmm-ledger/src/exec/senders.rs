//! Who signed the transactions.

use super::error::BlockError;
use alloy_primitives::Address;
use bmm_types::Transaction;

/// Recovers the senders of `transactions` on two threads, in order.
pub fn recover_senders(transactions: &[Transaction]) -> Result<Vec<Address>, BlockError> {
    todo!()
}

//! The end of a service: its providers are paid by one transaction, and the rest comes back.

use super::record::{ServiceFolder, ServiceRecord};
use crate::{failure::Outcome, jobs::Escrow, output};
use bmm_types::Amount;
use serde::Serialize;
use std::fmt;

/// What a service came to.
#[derive(Debug, Serialize)]
struct Receipt<'a> {
    #[serde(flatten)]
    record: &'a ServiceRecord,
    spent_bmm: Amount,
}

impl fmt::Display for Receipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &self.record.account;
        let (id, name, intervals) = (account.id, &account.name, self.record.intervals);
        writeln!(f, "service {id:x} ({name}) is settled: {intervals} intervals, {}", self.spent_bmm)?;
        for (provider, amount) in &account.promised_bmm {
            writeln!(f, "  {provider}  {amount}")?;
        }
        if let Some(amount) = account.refunded_bmm {
            return write!(f, "  came back: {amount}");
        }
        write!(f, "  the rest comes back after the challenge time: bmm service stop {}", account.short_id())
    }
}

/// Pays, takes back the rest, and prints what it came to; may be repeated.
pub(super) fn settle(escrow: &Escrow, folder: &ServiceFolder, record: &mut ServiceRecord, json: bool) -> Outcome {
    record.account.settle(escrow)?;
    folder.save(record)?;
    record.account.refund(escrow)?;
    folder.save(record)?;
    let receipt = Receipt { record, spent_bmm: record.account.spent() };
    output::print(json, &receipt, &receipt);
    Ok(())
}

//! The end of a service: its providers are paid by one transaction, and the rest comes back.

use super::record::{ServiceFolder, ServiceRecord, ServiceState};
use crate::{
    failure::Outcome,
    jobs::{Escrow, REFUND_PATIENCE, short_id},
    output,
};
use alloy_primitives::{Address, B256};
use bmm_market::requester::{Accepted, ProviderTotal, Settlement, merkle_root};
use bmm_types::Amount;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// What a service came to.
#[derive(Debug, Serialize)]
struct Receipt {
    id: B256,
    name: String,
    intervals: u64,
    begun: u64,
    promised_bmm: BTreeMap<Address, Amount>,
    spent_bmm: Amount,
    refunded_bmm: Option<Amount>,
    settle_transaction: Option<B256>,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "service {:x} ({}) is settled: {} intervals, {}",
            self.id, self.name, self.intervals, self.spent_bmm
        )?;
        for (provider, amount) in &self.promised_bmm {
            writeln!(f, "  {provider}  {amount}")?;
        }
        if let Some(amount) = self.refunded_bmm {
            return write!(f, "  came back: {amount}");
        }
        write!(f, "  the rest comes back after the challenge time: bmm service stop {}", short_id(self.id))
    }
}

/// Pays, takes back the rest, and prints what it came to; may be repeated.
pub(super) fn settle(escrow: &Escrow, folder: &ServiceFolder, record: &mut ServiceRecord, json: bool) -> Outcome {
    let settlement = settlement(record);
    let mined = escrow.settle(&settlement)?;
    record.settle_transaction = Some(mined.transaction);
    record.state = ServiceState::Settled;
    folder.save(record)?;
    if record.refunded_bmm.is_none() && escrow.refund(REFUND_PATIENCE)?.is_some() {
        record.refunded_bmm = Some(record.budget_bmm.saturating_sub(record.spent()));
        folder.save(record)?;
    }
    let receipt = Receipt {
        id: record.id,
        name: record.name.clone(),
        intervals: record.intervals,
        begun: record.begun,
        promised_bmm: record.promised_bmm.clone(),
        spent_bmm: record.spent(),
        refunded_bmm: record.refunded_bmm,
        settle_transaction: record.settle_transaction,
    };
    output::print(json, &receipt, &receipt);
    Ok(())
}

/// Who gets how much. The leaves of the root are one acceptance a provider.
fn settlement(record: &ServiceRecord) -> Settlement {
    let paid = || record.promised_bmm.iter().filter(|(_, amount)| !amount.is_zero());
    let leaf = |(number, (provider, amount)): (u64, (&Address, &Amount))| {
        let (provider, amount) = (*provider, *amount);
        Accepted { provider, number, tasks: 1, fuel: 0, amount, results: B256::ZERO }.leaf(record.id)
    };
    let leaves: Vec<B256> = (0..).zip(paid()).map(leaf).collect();
    let total = |(provider, total): (&Address, &Amount)| ProviderTotal {
        provider: *provider,
        tasks: 1,
        fuel: 0,
        total: *total,
    };
    let root = if leaves.is_empty() { B256::ZERO } else { merkle_root(&leaves) };
    Settlement { job: record.id, root, providers: paid().map(total).collect() }
}

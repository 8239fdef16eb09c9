//! The receipt of a job: what was done, by whom, for how much, and where on the chain that stands.

use super::folder::JobStatus;
use alloy_primitives::{Address, B256};
use bmm_types::Amount;
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// What one provider did and was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPay {
    /// The provider.
    pub address: Address,
    /// Results of it that were paid for.
    pub tasks: u64,
    /// Fuel that was paid for.
    pub fuel: u64,
    /// What it was paid.
    pub pay_bmm: Amount,
}

/// A provider that was found wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundWrong {
    /// The provider.
    pub address: Address,
    /// The task that showed it.
    pub task: u64,
}

/// How the results were verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Results that somebody else found as well, or the verifier said yes to.
    pub checked: u64,
    /// Of them, those that the requester's own machine looked at.
    pub own_machine: u64,
    /// Results that rest on their provider's word alone.
    pub unchecked: u64,
    /// Providers that were wrong: unpaid for it, and out of the job.
    pub wrong: Vec<FoundWrong>,
}

/// The receipt. `--json` prints it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// How the job ended.
    pub status: JobStatus,
    /// Id of the job in the escrow.
    pub job: B256,
    /// The job's name.
    pub name: String,
    /// Tasks of the job.
    pub tasks: u64,
    /// Tasks with a verified result.
    pub done: u64,
    /// Tasks without one.
    pub failed: u64,
    /// Fuel that was paid for, all copies of replicated tasks counted.
    pub fuel: u64,
    /// What the providers were paid together.
    pub price_bmm: Amount,
    /// What the escrow held.
    pub escrow_bmm: Amount,
    /// What came back from it; absent while the challenge time lasts.
    pub refunded_bmm: Option<Amount>,
    /// How the results were verified.
    #[serde(default)]
    pub verified: Verified,
    /// Who did the work.
    pub providers: Vec<ProviderPay>,
    /// The settlement's transaction.
    pub transaction: B256,
    /// The settlement's block.
    pub block: u64,
    /// Merkle root of the receipts, as the escrow records it.
    pub root: B256,
    /// Files that the job wrote.
    pub outputs: Vec<PathBuf>,
    /// From the escrow's opening to the settlement, milliseconds; time in which no process worked on the job left out.
    pub wall_ms: u64,
    /// Of it, from the first lease to the last results, milliseconds.
    pub running_ms: u64,
    /// Time that programs ran, all providers added, milliseconds.
    pub busy_ms: u64,
    /// How it ended, for people.
    pub ending: String,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row =
            |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| writeln!(f, "  {name:<12} {value}");
        writeln!(f, "{}: {}", self.name, self.status.name())?;
        if self.status != JobStatus::Settled {
            row(f, "ending", &self.ending)?;
        }
        row(f, "job", &self.job)?;
        row(f, "tasks", &format!("{} done, {} failed, of {}", self.done, self.failed, self.tasks))?;
        let Verified { checked, own_machine, unchecked, wrong } = &self.verified;
        if *checked > 0 {
            let own = if *own_machine > 0 { format!(" ({own_machine} here)") } else { String::new() };
            row(f, "checked", &format!("{checked} results{own}, {unchecked} taken on their provider's word"))?;
        }
        for FoundWrong { address, task } in wrong {
            row(f, "wrong", &format!("{address}  in task {task}: unpaid for it, and out"))?;
        }
        row(f, "fuel", &gfuel(self.fuel))?;
        row(f, "price", &self.price_bmm)?;
        let back = match self.refunded_bmm {
            Some(amount) => format!("{amount} came back"),
            None => "the rest comes back after the challenge time".to_owned(),
        };
        row(f, "escrow", &format!("{}, {back}", self.escrow_bmm))?;
        for provider in &self.providers {
            let work = format!("{} tasks, {}, {}", provider.tasks, gfuel(provider.fuel), provider.pay_bmm);
            row(f, "provider", &format!("{}  {work}", provider.address))?;
        }
        row(f, "transaction", &format!("{} in block {}", self.transaction, self.block))?;
        let seconds = |millis: u64| format!("{}.{:01} s", millis / 1_000, millis % 1_000 / 100);
        row(f, "time", &seconds(self.wall_ms))?;
        for (number, path) in self.outputs.iter().take(10).enumerate() {
            row(f, if number == 0 { "outputs" } else { "" }, &path.display())?;
        }
        if self.outputs.len() > 10 {
            row(f, "", &format!("and {} more", self.outputs.len() - 10))?;
        }
        Ok(())
    }
}

/// Writes fuel in units of 10^9 with three digits after the point.
pub fn gfuel(fuel: u64) -> String {
    format!("{}.{:03} Gfuel", fuel / 1_000_000_000, fuel % 1_000_000_000 / 1_000_000)
}

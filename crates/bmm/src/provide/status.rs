//! What `bmm provide --status` shows: whether a provider runs in the data folder, and what its operators have earned.

use super::ledger::{Earning, Ledger, PayState};
use crate::{
    cli::Context,
    failure::{IoContext, Outcome},
    output,
    paths::{DataDir, write_atomically},
};
use alloy_primitives::Address;
use bmm_types::Amount;
use serde::{Deserialize, Serialize};
use std::{fmt, fs::File, path::PathBuf};

/// Jobs that people are shown.
const SHOWN_JOBS: usize = 20;

/// What a running provider says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process.
    pub pid: u32,
    /// Its operator, who is paid.
    pub operator: Address,
    /// Its libp2p peer.
    pub peer: String,
    /// Where it listens, each with the peer, as `--bootstrap` of others takes it.
    pub addresses: Vec<String>,
    /// Tasks at once.
    pub slots: u16,
    /// Of them, without work.
    pub free_slots: u16,
    /// Price of 10^9 units of fuel.
    pub price_per_gfuel_bmm: Amount,
    /// Why it takes no work now, if it does not.
    pub paused: Option<String>,
    /// Peers that are connected.
    pub peers: usize,
}

/// Returns the file in which the running provider says so.
fn file(data: &DataDir) -> PathBuf {
    data.providers().join("running.json")
}

/// Returns the file that the running provider has locked.
pub(super) fn lock_file(data: &DataDir) -> PathBuf {
    data.providers().join("running.lock")
}

/// Returns the file whose being there means that the owner has paused the provider.
fn pause_file(data: &DataDir) -> PathBuf {
    data.providers().join("paused")
}

/// Tells whether the owner has paused the provider of a data folder.
pub(super) fn is_paused(data: &DataDir) -> bool {
    pause_file(data).exists()
}

/// Answers `bmm provide pause` and `bmm provide resume`: it holds for the running provider, and for later ones.
pub fn set_paused(context: &Context, paused: bool) -> Outcome {
    let (data, path) = (&context.data, pause_file(&context.data));
    data.create(&data.providers())?;
    if paused {
        write_atomically(&path, b"")?;
    } else if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).doing("remove", &path);
    }
    let running = Running::read(data)?.map(|running| running.pid);
    let text = match (paused, running) {
        (true, Some(_)) => "paused: what is not started goes back, what runs is finished; `bmm provide resume` goes on",
        (true, None) => "paused: no provider runs, and one that is started takes no work; `bmm provide resume` lets it",
        (false, Some(_)) => "the provider takes work again",
        (false, None) => "not paused any more; no provider runs, `bmm provide` starts one",
    };
    output::print(context.global.json, &serde_json::json!({ "paused": paused, "running": running }), text);
    Ok(())
}

impl Running {
    /// Writes it for others to read.
    pub(super) fn write(&self, data: &DataDir) -> Outcome {
        write_atomically(&file(data), &serde_json::to_vec_pretty(self).expect("plain values"))
    }

    /// Removes what was written.
    pub(super) fn remove(data: &DataDir) {
        let _ = std::fs::remove_file(file(data));
    }

    /// Reads what the running provider of a data folder says, if there is one.
    pub fn read(data: &DataDir) -> Outcome<Option<Self>> {
        let lock = lock_file(data);
        let held = match File::open(&lock) {
            Ok(held) => held,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("open", &lock),
        };
        // Whoever died has left its lock.
        if held.try_lock_shared().is_ok() {
            return Ok(None);
        }
        Ok(std::fs::read(file(data)).ok().and_then(|text| serde_json::from_slice(&text).ok()))
    }
}

/// What one operator of the data folder has earned.
#[derive(Debug, Serialize)]
struct Operator {
    #[serde(rename = "operator")]
    address: Address,
    jobs: usize,
    paid_bmm: Amount,
    promised_bmm: Amount,
    lost_bmm: Amount,
    earnings: Vec<Earning>,
}

/// Everything.
#[derive(Debug, Serialize)]
struct Status {
    running: Option<Running>,
    /// Whether the owner has paused it, running or not.
    owner_paused: bool,
    operators: Vec<Operator>,
}

/// Answers `bmm provide --status`.
pub fn status(context: &Context) -> Outcome {
    let mut operators = Vec::new();
    for (operator, ledger) in Ledger::all(&context.data)? {
        let earnings = ledger.list()?;
        let sum = |which: &dyn Fn(&Earning) -> Amount| earnings.iter().map(which).sum();
        let open = |earning: &Earning, state| {
            let rest = earning.promised().saturating_sub(earning.paid_bmm);
            if earning.state == state { rest } else { Amount::ZERO }
        };
        operators.push(Operator {
            address: operator,
            jobs: earnings.len(),
            paid_bmm: sum(&|earning| earning.paid_bmm),
            promised_bmm: sum(&|earning| open(earning, PayState::Promised)),
            lost_bmm: sum(&|earning| open(earning, PayState::Lost)),
            earnings,
        });
    }
    let status = Status { running: Running::read(&context.data)?, owner_paused: is_paused(&context.data), operators };
    output::print(context.global.json, &status, status.to_string().trim_end());
    Ok(())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.running {
            None => {
                writeln!(f, "no provider runs in this data folder; start one with `bmm provide`")?;
                if self.owner_paused {
                    writeln!(f, "  it would take no work: paused by its owner; `bmm provide resume`")?;
                }
            }
            Some(running) => {
                let work = match &running.paused {
                    Some(reason) => format!("paused: {reason}"),
                    None => format!("{} of {} slots free", running.free_slots, running.slots),
                };
                writeln!(f, "running (process {}): {work}", running.pid)?;
                writeln!(f, "  operator     {}", running.operator)?;
                writeln!(f, "  price        {} a Gfuel", running.price_per_gfuel_bmm)?;
                writeln!(f, "  peers        {}", running.peers)?;
                for (number, address) in running.addresses.iter().enumerate() {
                    writeln!(f, "  {:<12} {address}", if number == 0 { "listens at" } else { "" })?;
                }
            }
        }
        for operator in &self.operators {
            writeln!(f, "{}: {} jobs", operator.address, operator.jobs)?;
            writeln!(f, "  paid         {}", operator.paid_bmm)?;
            writeln!(f, "  promised     {}", operator.promised_bmm)?;
            if !operator.lost_bmm.is_zero() {
                writeln!(f, "  lost         {}", operator.lost_bmm)?;
            }
            for earning in operator.earnings.iter().take(SHOWN_JOBS) {
                let state = match earning.state {
                    PayState::Promised => "promised",
                    PayState::Paid => "paid",
                    PayState::Lost => "lost",
                };
                let job = format!("{:.8}", format!("{:x}", earning.job));
                writeln!(f, "  {job}     {state:<9} {}", earning.promised())?;
            }
        }
        Ok(())
    }
}

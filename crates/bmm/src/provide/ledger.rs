//! What a provider has earned: one file a job, written before more work is asked for, so that a provider which dies loses nothing.

use crate::{
    failure::{Failure, IoContext, Outcome},
    paths::{DataDir, write_atomically},
};
use alloy_primitives::{Address, B256};
use bmm_types::{
    Amount,
    market::{JobAnnouncement, SignedVoucher},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// How the pay of a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayState {
    /// Promised by a voucher, and not on chain yet.
    Promised,
    /// Paid on chain, all of it.
    Paid,
    /// The escrow is closed, and paid less than was promised.
    Lost,
}

/// What one job has earned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earning {
    /// The job.
    pub job: B256,
    /// Who pays.
    pub requester: Address,
    /// Chain of the escrow.
    pub chain_id: u64,
    /// End of the escrow's lock, Unix seconds: a voucher is claimed after it, if nobody has settled.
    pub deadline: u64,
    /// When the job was taken, Unix seconds.
    pub taken: u64,
    /// The last voucher.
    pub voucher: Option<SignedVoucher>,
    /// What the chain has paid, as last seen.
    pub paid_bmm: Amount,
    /// How the pay stands.
    pub state: PayState,
    /// The transaction that claimed the voucher, if it had to be claimed.
    pub claim_transaction: Option<B256>,
}

impl Earning {
    /// Returns what the last voucher promises.
    pub fn promised(&self) -> Amount {
        self.voucher.as_ref().map_or(Amount::ZERO, |voucher| voucher.total)
    }
}

/// The ledger of one operator.
#[derive(Clone, Debug)]
pub struct Ledger {
    dir: PathBuf,
    writing: Arc<Mutex<()>>,
}

impl Ledger {
    /// Opens the ledger of `operator`.
    pub fn open(data: &DataDir, operator: Address) -> Outcome<Self> {
        let dir = data.earnings().join(format!("{operator:x}"));
        data.create(&dir)?;
        Ok(Self { dir, writing: Arc::default() })
    }

    /// Opens the ledgers of all operators of a data folder.
    pub fn all(data: &DataDir) -> Outcome<Vec<(Address, Self)>> {
        let root = data.earnings();
        let entries = match std::fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).doing("read", &root),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.doing("read", &root)?.file_name();
            if let Some(operator) = name.to_str().and_then(|name| name.parse().ok()) {
                found.push((operator, Self::open(data, operator)?));
            }
        }
        found.sort_unstable_by_key(|(operator, _)| *operator);
        Ok(found)
    }

    fn path(&self, job: B256) -> PathBuf {
        self.dir.join(format!("{job:x}.json"))
    }

    /// Enters a job that is taken; one that is known stays as it is.
    pub fn enter(&self, announcement: &JobAnnouncement) -> Outcome {
        let _writing = self.writing.lock();
        if self.read(announcement.job)?.is_some() {
            return Ok(());
        }
        self.write(&Earning {
            job: announcement.job,
            requester: announcement.requester,
            chain_id: announcement.chain_id,
            deadline: announcement.deadline,
            taken: crate::jobs::now_secs(),
            voucher: None,
            paid_bmm: Amount::ZERO,
            state: PayState::Promised,
            claim_transaction: None,
        })
    }

    /// Keeps a checked voucher in place of the job's earlier one; it is on disk when this returns.
    pub fn keep(&self, voucher: &SignedVoucher) -> Outcome {
        self.change(voucher.job, |earning| {
            if earning.promised() <= voucher.total {
                earning.voucher = Some(voucher.clone());
            }
        })
    }

    /// Returns what the last voucher of a job promises; nothing if there is none.
    pub fn promised(&self, job: B256) -> Outcome<Amount> {
        Ok(self.read(job)?.map_or(Amount::ZERO, |earning| earning.promised()))
    }

    /// Changes what is known of a job.
    pub fn change(&self, job: B256, how: impl FnOnce(&mut Earning)) -> Outcome {
        let _writing = self.writing.lock();
        let unknown = || Failure::internal(format!("the job {job} is not in the ledger"));
        let mut earning = self.read(job)?.ok_or_else(unknown)?;
        how(&mut earning);
        self.write(&earning)
    }

    /// Drops a job that has earned nothing.
    pub fn drop_empty(&self, job: B256) -> Outcome {
        let _writing = self.writing.lock();
        match self.read(job)? {
            Some(earning) if earning.voucher.is_none() => {
                let path = self.path(job);
                std::fs::remove_file(&path).doing("remove", &path)
            }
            _ => Ok(()),
        }
    }

    /// Notes that a stake is about to be locked for a job; it is looked after from then on.
    pub fn mark_stake(&self, job: B256) -> Outcome {
        write_atomically(&self.stake_path(job), b"")
    }

    /// Forgets a stake that is gone.
    pub fn drop_stake(&self, job: B256) -> Outcome {
        let path = self.stake_path(job);
        std::fs::remove_file(&path).doing("remove", &path)
    }

    fn stake_path(&self, job: B256) -> PathBuf {
        self.dir.join(format!("{job:x}.stake"))
    }

    /// Returns the jobs with a stake.
    pub fn stakes(&self) -> Outcome<Vec<B256>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.dir).doing("read", &self.dir)? {
            let name = entry.doing("read", &self.dir)?.file_name();
            let job: Option<B256> =
                name.to_str().and_then(|name| name.strip_suffix(".stake")).and_then(|name| name.parse().ok());
            all.extend(job);
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Returns all jobs, the newest first.
    pub fn list(&self) -> Outcome<Vec<Earning>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.dir).doing("read", &self.dir)? {
            let name = entry.doing("read", &self.dir)?.file_name();
            let job = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|name| name.parse().ok());
            if let Some(earning) = job.map(|job| self.read(job)).transpose()?.flatten() {
                all.push(earning);
            }
        }
        all.sort_unstable_by_key(|earning| (std::cmp::Reverse(earning.taken), earning.job));
        Ok(all)
    }

    fn read(&self, job: B256) -> Outcome<Option<Earning>> {
        let path = self.path(job);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                Failure::config(format!("{} cannot be understood: {error}", path.display()))
                    .hint("it holds a voucher, which is money: look at it before you remove it")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("read", &path),
        }
    }

    fn write(&self, earning: &Earning) -> Outcome {
        write_atomically(&self.path(earning.job), &serde_json::to_vec_pretty(earning).expect("plain values"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmm_types::market::SignatureBytes;

    #[test]
    fn the_best_voucher_survives_the_process() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = DataDir::open(Some(dir.path())).expect("a data folder");
        let operator = Address::repeat_byte(7);
        let job = B256::repeat_byte(1);
        let announcement = JobAnnouncement {
            job,
            requester: Address::repeat_byte(9),
            chain_id: 5,
            budget: Amount::from_bmm(9),
            deadline: 100,
            spec: Vec::new(),
        };
        let ledger = Ledger::open(&data, operator).expect("opened");
        let voucher = |bmm| SignedVoucher {
            job,
            provider: operator,
            total: Amount::from_bmm(bmm),
            signature: SignatureBytes::ZERO,
        };
        assert!(ledger.keep(&voucher(1)).is_err(), "a voucher for a job that was never taken");
        ledger.enter(&announcement).expect("entered");
        ledger.keep(&voucher(2)).expect("kept");
        ledger.keep(&voucher(1)).expect("an older one changes nothing");
        ledger.enter(&announcement).expect("announced again after a break");
        ledger.drop_empty(job).expect("it is not empty");
        drop(ledger);
        let ledgers = Ledger::all(&data).expect("opened again");
        assert_eq!(ledgers.len(), 1);
        let earnings = ledgers[0].1.list().expect("read");
        assert_eq!((ledgers[0].0, earnings.len(), earnings[0].promised()), (operator, 1, Amount::from_bmm(2)));
    }
}

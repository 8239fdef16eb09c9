//! Folders of things that outlive their process, and are paid out of an escrow: services and rentals.

use crate::{
    cli::Context,
    failure::{Failure, IoContext, Outcome},
    jobs::{Escrow, REFUND_PATIENCE, now_secs, short_id},
    paths::{DataDir, write_atomically},
};
use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::requester::{Accepted, ProviderTotal, Settlement, merkle_root};
use bmm_types::{
    Amount,
    market::{JobAnnouncement, SignatureBytes, SignedVoucher, Wire, voucher_hash},
    system::{self, Voucher},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// Longest log that is kept before it is begun anew, bytes; one such part stays beside it.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// Where such a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptState {
    /// Its budget is not locked yet.
    Opening,
    /// It is to run.
    Open,
    /// It is over and paid.
    Settled,
}

/// What escrow and wallet know of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Id of the job in the escrow.
    pub id: B256,
    /// Name for people.
    pub name: String,
    /// Where it stands.
    pub state: KeptState,
    /// Who pays.
    pub requester: Address,
    /// Chain of the escrow.
    pub chain_id: u64,
    /// Of the job's id.
    pub salt: B256,
    /// What the escrow holds.
    pub budget_bmm: Amount,
    /// End of the escrow's lock, Unix seconds.
    pub deadline: u64,
    /// When it was begun, Unix seconds.
    pub created: u64,
    /// What each provider was promised.
    pub promised_bmm: BTreeMap<Address, Amount>,
    /// The transaction that paid the providers.
    pub settle_transaction: Option<B256>,
    /// What came back.
    pub refunded_bmm: Option<Amount>,
}

impl Account {
    /// Begins one that nobody has paid into.
    pub fn new(name: String, chain_id: u64, requester: Address, budget_bmm: Amount, deadline: u64) -> Self {
        let salt = B256::random();
        Self {
            id: system::job_id(chain_id, requester, salt),
            name,
            state: KeptState::Opening,
            requester,
            chain_id,
            salt,
            budget_bmm,
            deadline,
            created: now_secs(),
            promised_bmm: BTreeMap::new(),
            settle_transaction: None,
            refunded_bmm: None,
        }
    }

    /// Locks the budget for what `spec` describes.
    pub fn open(&mut self, escrow: &Escrow, spec: B256) -> Outcome {
        escrow.open(self.salt, spec, self.deadline, self.budget_bmm, None)?;
        self.state = KeptState::Open;
        Ok(())
    }

    /// Returns what providers are told of it.
    pub fn announcement(&self, spec: Vec<u8>) -> JobAnnouncement {
        JobAnnouncement {
            job: self.id,
            requester: self.requester,
            chain_id: self.chain_id,
            budget: self.budget_bmm,
            deadline: self.deadline,
            spec,
        }
    }

    /// Signs a promise to a provider.
    pub fn promise(&self, key: &PrivateKeySigner, provider: Address, total: Amount) -> Result<SignedVoucher, String> {
        let job = self.id;
        let hash = voucher_hash(self.chain_id, &Voucher { job, provider, total: total.units() });
        let signature = key.sign_hash_sync(&hash).map_err(|error| error.to_string())?;
        Ok(SignedVoucher { job, provider, total, signature: SignatureBytes::from(signature.as_bytes()) })
    }

    /// Returns the beginning of the id, by which people name it.
    pub fn short_id(&self) -> String {
        short_id(self.id)
    }

    /// Returns what all providers were promised.
    pub fn spent(&self) -> Amount {
        self.promised_bmm.values().copied().sum()
    }

    /// Pays by one transaction and takes the rest back if the escrow lets it already; may be repeated.
    pub fn settle(&mut self, escrow: &Escrow) -> Outcome {
        let mined = escrow.settle(&self.settlement())?;
        self.settle_transaction = Some(mined.transaction);
        self.state = KeptState::Settled;
        Ok(())
    }

    /// Takes the rest back, once the escrow lets it.
    pub fn refund(&mut self, escrow: &Escrow) -> Outcome {
        if self.refunded_bmm.is_none() && escrow.refund(REFUND_PATIENCE)?.is_some() {
            self.refunded_bmm = Some(self.budget_bmm.saturating_sub(self.spent()));
        }
        Ok(())
    }

    /// Who gets how much. The leaves of the root are one acceptance a provider.
    fn settlement(&self) -> Settlement {
        let paid = || self.promised_bmm.iter().filter(|(_, amount)| !amount.is_zero());
        let leaf = |(number, (provider, amount)): (u64, (&Address, &Amount))| {
            let (provider, amount) = (*provider, *amount);
            Accepted { provider, number, tasks: 1, fuel: 0, amount, results: B256::ZERO }.leaf(self.id)
        };
        let leaves: Vec<B256> = (0..).zip(paid()).map(leaf).collect();
        let total = |(provider, total): (&Address, &Amount)| ProviderTotal {
            provider: *provider,
            tasks: 1,
            fuel: 0,
            total: *total,
        };
        let root = if leaves.is_empty() { B256::ZERO } else { merkle_root(&leaves) };
        Settlement { job: self.id, root, providers: paid().map(total).collect() }
    }
}

/// A kind of thing that is kept.
pub trait Record: Serialize + DeserializeOwned {
    /// Its description, which the escrow names.
    type Spec: Wire;
    /// Folder of all of them, within the data folder.
    const FOLDER: &'static str;
    /// What people call one.
    const NOUN: &'static str;
    /// The command for them.
    const COMMAND: &'static str;
    /// What escrow and wallet know of it.
    fn account(&self) -> &Account;
}

/// The folder of one.
#[derive(Debug)]
pub struct Kept<R>(PathBuf, PhantomData<fn() -> R>);

impl<R> Clone for Kept<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<R: Record> Kept<R> {
    /// Makes the folder of a new one.
    pub fn create(data: &DataDir, record: &R, spec: &R::Spec) -> Outcome<Self> {
        let folder = Self(data.root().join(R::FOLDER).join(format!("{:x}", record.account().id)), PhantomData);
        data.create(&folder.0)?;
        write_atomically(&folder.path("spec"), &spec.encode())?;
        folder.save(record)?;
        Ok(folder)
    }

    /// Returns all of a data folder, the newest first.
    pub fn all(data: &DataDir) -> Outcome<Vec<(Self, R)>> {
        let root = data.root().join(R::FOLDER);
        let mut found: Vec<(Self, R)> = Vec::new();
        let entries = match fs::read_dir(&root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error).doing("read", &root),
        };
        for entry in entries {
            let folder = Self(entry.doing("read", &root)?.path(), PhantomData);
            // One without a record was never begun.
            if folder.path("record.json").exists() {
                let record = folder.record()?;
                found.push((folder, record));
            }
        }
        found.sort_by_key(|(_, record)| std::cmp::Reverse(record.account().created));
        Ok(found)
    }

    /// Finds one by the first digits of its id.
    pub fn find(context: &Context, id: &str) -> Outcome<(Self, R)> {
        let wanted = id.trim_start_matches("0x").to_lowercase();
        let mut found = Self::all(&context.data)?;
        found.retain(|(_, record)| format!("{:x}", record.account().id).starts_with(&wanted));
        let (count, noun) = (found.len(), R::NOUN);
        match found.pop() {
            Some(one) if count == 1 => Ok(one),
            Some(_) => Err(Failure::user(format!("{count} {noun}s begin with {id:?}")).hint("write more digits")),
            None => Err(Failure::user(format!("there is no {noun} {id:?}"))
                .hint(format!("`bmm {} list` shows them", R::COMMAND))),
        }
    }

    /// Returns what is known of it.
    pub fn record(&self) -> Outcome<R> {
        let path = self.path("record.json");
        let text = fs::read(&path).doing("read", &path)?;
        serde_json::from_slice(&text)
            .map_err(|error| Failure::config(format!("{} cannot be understood: {error}", path.display())))
    }

    /// Keeps what is known; it is on disk when this returns.
    pub fn save(&self, record: &R) -> Outcome {
        write_atomically(&self.path("record.json"), &serde_json::to_vec_pretty(record).expect("plain values"))
    }

    /// Returns the description.
    pub fn spec(&self) -> Outcome<R::Spec> {
        let path = self.path("spec");
        let bytes = fs::read(&path).doing("read", &path)?;
        R::Spec::decode(&bytes).map_err(|error| Failure::config(format!("{}: {error}", path.display())))
    }

    /// Returns the path of one of its files.
    pub fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.0.join(file)
    }

    /// Returns the log.
    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Writes on in the log.
    pub fn append_log(&self, bytes: &[u8]) -> Outcome {
        let path = self.log();
        if fs::metadata(&path).is_ok_and(|found| found.len() > MAX_LOG_BYTES) {
            fs::rename(&path, path.with_extension("1")).doing("rename", &path)?;
        }
        let mut file = File::options().create(true).append(true).open(&path).doing("open", &path)?;
        file.write_all(bytes).doing("write", &path)
    }

    /// Takes it for this process; `None` if another one has it.
    pub fn lock(&self) -> Outcome<Option<File>> {
        let path = self.path("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error).doing("lock", &path),
        }
    }

    /// Takes it for this process, which must not share it.
    pub fn lock_alone(&self) -> Outcome<File> {
        let (noun, command) = (R::NOUN, R::COMMAND);
        self.lock()?.ok_or_else(|| {
            Failure::user(format!("another process keeps this {noun} already"))
                .hint(format!("`bmm {command} show` tells how it is"))
        })
    }

    /// Returns the file by which a running process is asked to stop.
    pub fn stop_mark(&self) -> PathBuf {
        self.path("stop")
    }
}

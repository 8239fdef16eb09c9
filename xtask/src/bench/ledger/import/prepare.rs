//! The state and the blocks, made by the chain itself and written into a folder.

use super::{
    super::{
        people::Person,
        server::{disk_bytes, folder},
    },
    workload::{Kind, SENDERS, account, setup},
};
use crate::bench::Outcome;
use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_primitives::{B256, Bytes, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::{Chain, ChainOptions, PoolLimits, SystemClock, TemplateRequest};
use bmm_ledger::{
    diff::{Account, AccountDiff, StateDiff},
    exec::header::next_base_fee,
    genesis::{genesis_block, genesis_diff},
    store::Store,
};
use bmm_types::{
    Amount, Block, BlockBody, ChainParams, Engine, Header, Seal, SealedBlock, Transaction, params::Allocation, system,
};
use std::{
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// Accounts that come into the state at once.
const CHUNK: u32 = 100_000;
/// Units that each of the many accounts has.
pub const BALANCE: u64 = 1_000_000_000_000_000_000;
/// Transactions of one block of the setup.
const SETUP_BLOCK: usize = 800;

/// A prepared folder: the database that every run begins with, and the blocks.
pub struct Prepared {
    pub folder: TempDir,
    /// Size of the database, in bytes.
    pub database_bytes: u64,
}

/// What is in a prepared folder, without the database.
pub struct Contents {
    pub params: ChainParams,
    pub accounts: u32,
    /// Blocks that are in the database.
    pub setup: Vec<SealedBlock>,
    /// Blocks to be imported, for each kind.
    pub load: Vec<Vec<SealedBlock>>,
}

impl Prepared {
    /// Makes a state of `accounts` and the blocks on it.
    pub fn new(accounts: u32) -> Outcome<Self> {
        let folder = folder()?;
        let base = folder.path().join("database");
        let (mut people, mut creator) = (Person::many(SENDERS), Person::new(usize::MAX));
        let params = params(people.iter().chain([&creator]))?;
        grow(&params, &base, accounts)?;

        let (deeds, contracts) = setup(&mut creator, &people);
        let signed: Vec<Transaction> = deeds.into_iter().map(|deed| creator.sign(params.chain_id, deed)).collect();
        let chain = open(&params, &base)?;
        let setup: Vec<SealedBlock> =
            signed.chunks(SETUP_BLOCK).map(|some| block(&chain, some)).collect::<Outcome<_>>()?;
        drop(chain);
        let database_bytes = disk_bytes(&base)?;
        let prepared = Self { folder, database_bytes };

        let build = prepared.folder.path().join("build");
        prepared.copy_database(&build)?;
        let chain = open(&params, &build)?;
        let mut load = Vec::new();
        for kind in Kind::ALL {
            let mut blocks = Vec::new();
            for number in 0..kind.blocks() {
                let first = number * kind.transactions();
                let sign = |at: usize| {
                    let deed = kind.deed(at, accounts, contracts);
                    people[at % SENDERS].sign(params.chain_id, deed)
                };
                let transactions: Vec<_> = (first..first + kind.transactions()).map(sign).collect();
                blocks.push(block(&chain, &transactions)?);
            }
            load.push(blocks);
        }
        drop(chain);
        std::fs::remove_dir_all(build)?;
        let path = prepared.folder.path();
        std::fs::write(path.join("params.json"), serde_json::to_vec(&(&params, accounts))?)?;
        load.insert(0, setup);
        for (index, blocks) in load.iter().enumerate() {
            std::fs::write(path.join(format!("blocks-{index}")), alloy_rlp::encode(blocks))?;
        }
        Ok(prepared)
    }

    /// Copies the database into another folder.
    pub fn copy_database(&self, to: &Path) -> Outcome<()> {
        copy_folder(&self.folder.path().join("database"), to)
    }
}

/// Copies files and folders, and waits until they are on the disk, so that none of it is left for what is measured next.
fn copy_folder(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.metadata()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
            std::fs::File::open(target)?.sync_all()?;
        }
    }
    Ok(())
}

/// Reads what [`Prepared::new`] wrote.
pub fn read(folder: &Path) -> Outcome<Contents> {
    let (params, accounts) = serde_json::from_slice(&std::fs::read(folder.join("params.json"))?)?;
    let blocks = |index: usize| -> Outcome<Vec<SealedBlock>> {
        Ok(alloy_rlp::decode_exact(std::fs::read(folder.join(format!("blocks-{index}")))?)?)
    };
    let load = (1..=Kind::ALL.len()).map(blocks).collect::<Outcome<_>>()?;
    Ok(Contents { params, accounts, setup: blocks(0)?, load })
}

/// A development chain without proof of work, whose times may run ahead.
pub fn params<'a>(funded: impl Iterator<Item = &'a Person>) -> Outcome<ChainParams> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut params = ChainParams::dev(system::AIRDROP, now);
    params.engine = Engine::Dev;
    params.max_ahead_secs = 1_000_000_000;
    // The blocks are about half full, so that the base fee stays where it is.
    params.gas_limit = 100_000_000;
    let balance = Amount::from_bmm(1_000_000);
    params.alloc.extend(funded.map(|person| Allocation { address: person.address(), balance }));
    Ok(params)
}

pub fn open(params: &ChainParams, folder: &Path) -> Outcome<Arc<Chain>> {
    let pool = PoolLimits { per_sender: SETUP_BLOCK, ..PoolLimits::default() };
    let options = ChainOptions { pool, ..ChainOptions::default() };
    Ok(Chain::open(params.clone(), folder, Arc::new(SystemClock), options)?)
}

/// Makes genesis, and then blocks that hold nothing but bring accounts into the state: no transaction could bring so many.
fn grow(params: &ChainParams, folder: &Path, accounts: u32) -> Outcome<()> {
    let store = Store::open(folder, params.digest())?;
    let diff = genesis_diff(params);
    let root = store.stage(B256::ZERO, diff.clone())?.root();
    let mut block = genesis_block(params, root);
    store.init(&SealedBlock { block: block.clone(), seal: Seal::None }, diff)?;
    let mut work = block.header.difficulty;
    let after = Some(Account { balance: U256::from(BALANCE), ..Account::default() });
    for first in (0..accounts).step_by(usize::try_from(CHUNK)?) {
        let last = first.saturating_add(CHUNK).min(accounts);
        let entry = |index| (account(index), AccountDiff { after, ..AccountDiff::default() });
        let diff = StateDiff { accounts: (first..last).map(entry).collect(), ..StateDiff::default() };
        let parent = block.header.hash_slow();
        let staged = store.stage(parent, diff)?;
        block = child(&block.header, parent, staged.root());
        work += U256::ONE;
        store.commit(staged, &SealedBlock { block: block.clone(), seal: Seal::None }, &[], work)?;
    }
    Ok(())
}

/// Returns an empty block with this state root.
fn child(parent: &Header, parent_hash: B256, state_root: B256) -> Block {
    let header = Header {
        parent_hash,
        state_root,
        number: parent.number + 1,
        timestamp: parent.timestamp + 1,
        difficulty: U256::ONE,
        gas_used: 0,
        extra_data: Bytes::new(),
        base_fee_per_gas: Some(next_base_fee(parent)),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        ..parent.clone()
    };
    Block {
        header,
        body: BlockBody { transactions: Vec::new(), ommers: Vec::new(), withdrawals: Some(Vec::new().into()) },
    }
}

/// Makes the next block of exactly these transactions, and imports it.
pub fn block(chain: &Chain, transactions: &[Transaction]) -> Outcome<SealedBlock> {
    for transaction in transactions {
        chain.submit(transaction.clone())?;
    }
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0xbb))?;
    let request = TemplateRequest { beneficiary: key.address(), vanity: Bytes::new() };
    let template =
        chain.template(&request, &|hash| key.sign_hash_sync(&hash).expect("a local key signs every hash"))?;
    let (made, wanted) = (template.block.body.transactions.len(), transactions.len());
    if made != wanted {
        return Err(format!("a block took {made} of {wanted} transactions").into());
    }
    let block = SealedBlock { block: template.block, seal: Seal::None };
    chain.import(&block)?;
    let receipts = chain.receipts(block.id())?.ok_or("a block has no receipts")?;
    let failed = receipts.iter().filter(|receipt| !receipt.status()).count();
    if failed > 0 {
        return Err(format!("{failed} transactions of a prepared block failed").into());
    }
    Ok(block)
}

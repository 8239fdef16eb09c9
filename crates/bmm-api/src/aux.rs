//! Merged mining as Namecoin and Dogecoin have it: `createauxblock`, `submitauxblock`, `getauxblock`.
//!
//! A pool asks for a block, commits to its hash in a parent's coinbase, and hands in the proof. Blocks are signed by their beneficiary, so
//! they are made only for addresses whose keys the node was given ([`Miners`]). Hashes are written as everywhere here, without `0x`: what
//! Bitcoin-style software takes for a hash as it is displayed.
//!
//! The same hashes are the beneficiary's work of the epoch. Beside the block stands what they must commit to for that, under a chain id of its
//! own; who does so hands in the smallest by `submitauxwork`, and the node proves them. Others leave it out.

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Param},
};
use alloy_primitives::{Address, B256, U256, hex};
use bmm_chain::{BlockSigner, ImportError, Solutions, Template, TemplateRequest, WorkKey};
use bmm_pow::{
    auxpow::wire,
    resource::{check_solution, solution_hash},
};
use bmm_types::{AuxPow, Engine, Seal, SealedBlock, system::RESOURCE_AUX_CHAIN_ID};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// The methods' names. They may be called by JSON-RPC 1.0, as Bitcoin-style nodes are.
pub(crate) const NAMES: [&str; 4] = ["createauxblock", "getauxblock", "submitauxblock", "submitauxwork"];

/// Blocks that are worked on at once.
const MAX_OPEN: usize = 32;
/// How long a proof of a block is waited for.
const MAX_AGE: Duration = Duration::from_mins(5);
/// How old a block may be that is handed out once more while the head stays: new transactions wait as long.
const REUSE: Duration = Duration::from_secs(2);
/// One that took long to build is handed out so many times as long, so that building takes a fifth of a core at most.
const REUSE_FACTOR: u32 = 4;
/// How many seconds ahead of the clock a block may be dated: with its head's time it rises by one at least. More would make the schedule
/// believe that work is slow.
const MAX_AHEAD_SECS: u64 = 5;
/// Units of 10^-18 BMM in one of 10^-8, in which Bitcoin-style software counts.
const UNITS_PER_COIN_UNIT: u64 = 10_000_000_000;

/// Codes of Bitcoin-style nodes.
const INVALID_ADDRESS: i32 = -5;
const INVALID_PARAMETER: i32 = -8;
const SYNCING: i32 = -10;
const UNREADABLE: i32 = -22;
const REFUSED: i32 = -25;

/// For whom a node makes blocks: addresses, each with what signs by its key; and where their smallest hashes go, if they are proven.
#[derive(Clone, Default)]
pub struct Miners {
    signers: Vec<(Address, BlockSigner)>,
    solutions: Option<Arc<Solutions>>,
}

impl Miners {
    /// Adds an address and what signs with its key. The first one is that of `getauxblock`.
    pub fn add(&mut self, address: Address, signer: BlockSigner) {
        self.signers.push((address, signer));
    }

    /// Has the smallest hashes of their work collected there.
    pub fn collect(&mut self, solutions: Arc<Solutions>) {
        self.solutions = Some(solutions);
    }

    fn find(&self, address: Address) -> RpcResult<&BlockSigner> {
        let found = self.signers.iter().find(|(known, _)| *known == address).map(|(_, signer)| signer);
        found.ok_or_else(|| {
            let keys: Vec<String> = self.signers.iter().map(|(known, _)| known.to_string()).collect();
            let keys = if keys.is_empty() { "of no address".to_owned() } else { format!("of {}", keys.join(", ")) };
            let words = format!(
                "a block is signed by its beneficiary, and this node has no key of {address} but {keys}; start it with --mine-for WALLET"
            );
            RpcError::Coded { code: INVALID_ADDRESS, words }
        })
    }
}

/// A block that is worked on elsewhere.
struct Open {
    template: Template,
    beneficiary: Address,
    /// What its hashes are work for besides.
    work: Option<WorkKey>,
    begun: Instant,
    took: Duration,
}

/// The blocks that are worked on elsewhere.
pub(crate) struct AuxDesk {
    miners: Miners,
    /// Held while a block is built, so that two that ask at once get the same one.
    building: Mutex<()>,
    open: Mutex<VecDeque<Arc<Open>>>,
}

impl AuxDesk {
    pub(crate) fn new(miners: Miners) -> Self {
        Self { miners, building: Mutex::default(), open: Mutex::default() }
    }

    fn get(&self, is: impl Fn(&Open) -> bool) -> Option<Arc<Open>> {
        self.open.lock().iter().find(|open| is(open) && open.begun.elapsed() < MAX_AGE).cloned()
    }

    /// Returns whose work of which epoch the hashes of a block after `parent` are, where they are collected.
    fn work_after(&self, context: &Context, parent: &bmm_chain::HeadBlock, contributor: Address) -> Option<WorkKey> {
        self.miners.solutions.as_ref()?;
        let (epoch, seed) = context.chain.epoch_after(parent.id, parent.number()).ok()??;
        Some(WorkKey { epoch, seed, contributor })
    }

    /// Returns a block on the present head: the last one if it is young, else a new one.
    fn open(&self, context: &Context, beneficiary: Address) -> RpcResult<Arc<Open>> {
        let signer = self.miners.find(beneficiary)?;
        let _building = self.building.lock();
        let head = context.chain.head();
        let is_young = |open: &&Arc<Open>| {
            open.beneficiary == beneficiary
                && open.template.block.header.parent_hash == head.id
                && open.begun.elapsed() < REUSE.max(open.took.saturating_mul(REUSE_FACTOR))
        };
        if let Some(last) = self.open.lock().iter().rev().find(is_young) {
            return Ok(Arc::clone(last));
        }
        check_ready(context, head.header.timestamp)?;
        let begun = Instant::now();
        let request = TemplateRequest { beneficiary, ..TemplateRequest::default() };
        let template = context.chain.template(&request, &**signer)?;
        let work = self.work_after(context, &head, beneficiary);
        let made = Arc::new(Open { template, beneficiary, work, begun, took: begun.elapsed() });
        let mut open = self.open.lock();
        open.retain(|open| open.begun.elapsed() < MAX_AGE);
        if open.len() >= MAX_OPEN {
            open.pop_front();
        }
        open.push_back(Arc::clone(&made));
        Ok(made)
    }
}

/// Work is of use only on a chain that needs it, on its newest block, and in time.
fn check_ready(context: &Context, head_time: u64) -> RpcResult<()> {
    if context.chain.params().engine != Engine::Pow {
        let words = "this chain's blocks need no proof of work: there is nothing to mine";
        return Err(RpcError::Refused(words.into()));
    }
    if let Some(sync) = context.network.as_ref().and_then(|network| (network.syncing)()) {
        let words = format!(
            "the node is catching up, at block {} of {}; work on its head would be for nothing: wait",
            sync.current, sync.highest
        );
        return Err(RpcError::Coded { code: SYNCING, words });
    }
    let ahead = head_time.saturating_add(1).saturating_sub(context.chain.now_secs());
    if ahead > MAX_AHEAD_SECS.min(context.chain.params().max_ahead_secs) {
        let words = format!(
            "the next block's time is {ahead} s ahead of this node's clock: wait, or, if that lasts, check the clock"
        );
        return Err(RpcError::Coded { code: SYNCING, words });
    }
    Ok(())
}

/// A block to work on, as pools read it.
#[derive(Serialize)]
struct AuxBlock {
    hash: String,
    chainid: u32,
    previousblockhash: String,
    /// In units of 10^-8 BMM, rounded down.
    coinbasevalue: u64,
    bits: String,
    height: u64,
    /// The bytes of a little-endian number, as Namecoin writes it.
    #[serde(rename = "_target")]
    namecoin_target: String,
    /// The same, as Dogecoin calls it.
    target: String,
    /// In units of 10^-18 BMM, exactly, as a decimal number.
    reward: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<EpochWork>,
}

/// What hashes must commit to so that they are work of an epoch as well, as pools read it.
#[derive(Serialize)]
struct EpochWork {
    hash: String,
    chainid: u32,
    epoch: u64,
    /// How many of the smallest are of use.
    count: usize,
}

impl AuxBlock {
    fn new(context: &Context, Open { template, work, .. }: &Open) -> Self {
        let header = &template.block.header;
        let solutions = context.aux.miners.solutions.as_ref();
        let work = work.as_ref().zip(solutions).map(|(work, solutions)| EpochWork {
            hash: hex::encode(work.leaf()),
            chainid: RESOURCE_AUX_CHAIN_ID,
            epoch: work.epoch,
            count: solutions.count(),
        });
        let target = hex::encode(template.target.get().to_le_bytes::<32>());
        let coinbasevalue = template.reward / U256::from(UNITS_PER_COIN_UNIT);
        Self {
            hash: hex::encode(template.id),
            chainid: context.chain.params().aux_chain_id,
            previousblockhash: hex::encode(header.parent_hash),
            coinbasevalue: coinbasevalue.saturating_to(),
            bits: format!("{:08x}", template.target.to_compact()),
            height: header.number,
            namecoin_target: target.clone(),
            target,
            reward: template.reward.to_string(),
            work,
        }
    }
}

/// `createauxblock`: a block for that address.
pub(crate) fn create(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address = args.required()?;
    block_for(context, address)
}

/// `getauxblock`: without parameters a block for the node's own address, with them the proof of one.
pub(crate) fn get(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Some(HexHash(hash)) = args.optional()? else {
        let first = context.aux.miners.signers.first().map(|(address, _)| *address);
        let none = || RpcError::Refused("this node mines for nobody; start it with --mine-for WALLET".into());
        return block_for(context, first.ok_or_else(none)?);
    };
    let HexBytes(proof) = args.required()?;
    hand_in(context, hash, &proof)
}

/// `submitauxblock`: the proof of a block that was handed out.
pub(crate) fn submit(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let HexHash(hash) = args.required()?;
    let HexBytes(proof) = args.required()?;
    hand_in(context, hash, &proof)
}

/// `submitauxwork`: one of the smallest hashes of an epoch's work, by what it commits to.
pub(crate) fn submit_work(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let HexHash(leaf) = args.required()?;
    let HexBytes(proof) = args.required()?;
    let open = context.aux.get(|open| open.work.is_some_and(|work| work.leaf() == leaf));
    let Some((work, solutions)) = open.and_then(|open| open.work).zip(context.aux.miners.solutions.as_ref()) else {
        return Err(unknown("work", leaf));
    };
    let aux = read_proof(&proof)?;
    check_solution(&aux, leaf).map_err(|error| refused(REFUSED, format!("the work is refused: {error}")))?;
    // False for one that is known, or above enough others.
    json(&solutions.note(&work, solution_hash(&aux), || aux))
}

fn block_for(context: &Context, address: Address) -> RpcResult<Json> {
    let open = context.aux.open(context, address)?;
    json(&AuxBlock::new(context, &open))
}

/// Answers `true` for a block that became the head, `false` for a valid one that came too late.
fn hand_in(context: &Context, hash: B256, proof: &[u8]) -> RpcResult<Json> {
    let open = context.aux.get(|open| open.template.id == hash).ok_or_else(|| unknown("block", hash))?;
    let aux = read_proof(proof)?;
    let block = SealedBlock { block: open.template.block.clone(), seal: Seal::AuxPow(Box::new(aux)) };
    match context.chain.import(&block) {
        Ok(imported) => json(&imported.became_head),
        Err(ImportError::Known(_)) => Err(refused(REFUSED, "duplicate: this block is known already".into())),
        Err(error) if error.is_internal() => Err(RpcError::Internal(error.to_string())),
        Err(error) => Err(refused(REFUSED, format!("the proof is refused: {error}"))),
    }
}

fn read_proof(proof: &[u8]) -> RpcResult<AuxPow> {
    wire::decode(proof).map_err(|error| refused(UNREADABLE, error.to_string()))
}

const fn refused(code: i32, words: String) -> RpcError {
    RpcError::Coded { code, words }
}

fn unknown(what: &str, hash: B256) -> RpcError {
    let minutes = MAX_AGE.as_secs() / 60;
    let words = format!(
        "{what} hash unknown: {} is no {what} that this node has handed out within {minutes} minutes",
        hex::encode(hash)
    );
    refused(INVALID_PARAMETER, words)
}

/// A hash as pools write it; `0x` may stand before it.
struct HexHash(B256);

/// Bytes as pools write them; `0x` may stand before them.
struct HexBytes(Vec<u8>);

impl Param for HexHash {
    const EXPECTED: &'static str = "a block's hash, 64 hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let HexBytes(bytes) = HexBytes::read(json)?;
        B256::try_from(&bytes[..]).map(Self).map_err(|_| Some(format!("{} bytes", bytes.len())))
    }
}

impl Param for HexBytes {
    const EXPECTED: &'static str = "a merged-mining proof as hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let text: std::borrow::Cow<'_, str> = serde_json::from_str(json).map_err(|_| None)?;
        hex::decode(text.as_ref()).map(Self).map_err(|error| Some(error.to_string()))
    }
}

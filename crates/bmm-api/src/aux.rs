//! Merged mining as Namecoin and Dogecoin have it: `createauxblock`, `submitauxblock`, `getauxblock`.
//!
//! A pool asks for a block, commits to its hash in a parent's coinbase, and hands in the proof. Blocks are signed by their beneficiary, so
//! they are made only for addresses whose keys the node was given ([`Miners`]). Hashes are written as everywhere here, without `0x`: what
//! Bitcoin-style software takes for a hash as it is displayed.

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Param},
};
use alloy_primitives::{Address, B256, U256, hex};
use bmm_chain::{BlockSigner, ImportError, Template, TemplateRequest};
use bmm_pow::auxpow::wire;
use bmm_types::{Engine, Seal, SealedBlock};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// The methods' names. They may be called by JSON-RPC 1.0, as Bitcoin-style nodes are.
pub(crate) const NAMES: [&str; 3] = ["createauxblock", "getauxblock", "submitauxblock"];

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

/// For whom a node makes blocks: addresses, each with what signs by its key.
#[derive(Clone, Default)]
pub struct Miners(Vec<(Address, BlockSigner)>);

impl Miners {
    /// Adds an address and what signs with its key. The first one is that of `getauxblock`.
    pub fn add(&mut self, address: Address, signer: BlockSigner) {
        self.0.push((address, signer));
    }

    fn find(&self, address: Address) -> RpcResult<&BlockSigner> {
        let found = self.0.iter().find(|(known, _)| *known == address).map(|(_, signer)| signer);
        found.ok_or_else(|| {
            let keys: Vec<String> = self.0.iter().map(|(known, _)| known.to_string()).collect();
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

    fn get(&self, id: B256) -> Option<Arc<Open>> {
        self.open.lock().iter().find(|open| open.template.id == id && open.begun.elapsed() < MAX_AGE).cloned()
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
        let made = Arc::new(Open { template, beneficiary, begun, took: begun.elapsed() });
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
}

impl AuxBlock {
    fn new(context: &Context, template: &Template) -> Self {
        let header = &template.block.header;
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
        let first = context.aux.miners.0.first().map(|(address, _)| *address);
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

fn block_for(context: &Context, address: Address) -> RpcResult<Json> {
    let open = context.aux.open(context, address)?;
    json(&AuxBlock::new(context, &open.template))
}

/// Answers `true` for a block that became the head, `false` for a valid one that came too late.
fn hand_in(context: &Context, hash: B256, proof: &[u8]) -> RpcResult<Json> {
    let open = context.aux.get(hash).ok_or_else(|| {
        let words = format!(
            "block hash unknown: {} is no block that this node has handed out within {} minutes",
            hex::encode(hash),
            MAX_AGE.as_secs() / 60
        );
        RpcError::Coded { code: INVALID_PARAMETER, words }
    })?;
    let refused = |code, words: String| RpcError::Coded { code, words };
    let aux = wire::decode(proof).map_err(|error| refused(UNREADABLE, error.to_string()))?;
    let block = SealedBlock { block: open.template.block.clone(), seal: Seal::AuxPow(Box::new(aux)) };
    match context.chain.import(&block) {
        Ok(imported) => json(&imported.became_head),
        Err(ImportError::Known(_)) => Err(refused(REFUSED, "duplicate: this block is known already".into())),
        Err(error) if error.is_internal() => Err(RpcError::Internal(error.to_string())),
        Err(error) => Err(refused(REFUSED, format!("the proof is refused: {error}"))),
    }
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

//! Contributions of one's own wallets: what a node's miner hashed is proven, and what wallets earned is claimed, by ordinary transactions. A
//! provider, which hashes nothing, claims only.
//!
//! All that it needs is on the chain and in the file of solutions, so a restart changes nothing. While a transaction of a wallet waits, it
//! sends no other from it; so nothing is sent twice.

use crate::{
    failure::{Failure, Outcome},
    rpc::{RpcClient, RpcError},
};
use alloy_primitives::{Address, B256, Bytes, U64};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use bmm_chain::{Solutions, WorkKey};
use bmm_types::{
    Amount, ChainParams,
    system::{RESOURCES, Resources},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Time between two looks at the chain, where there is work to prove in time, and where not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_SELDOM: Duration = Duration::from_secs(5);
/// Time between two looks at whether to stop.
const NAP: Duration = Duration::from_millis(100);
/// How often what was found is written to the file.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How long a transaction may take to get into a block before another is thought of.
const PATIENCE: Duration = Duration::from_mins(2);
/// Gas that a claim takes, about.
const CLAIM_GAS: u128 = 120_000;
/// How many epochs back rewards are looked for.
const LOOK_BACK: u64 = 64;

/// A transaction of a wallet on its way.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    deed: Deed,
    epoch: u64,
    transaction: B256,
    since: Instant,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Prove,
    Claim,
}

/// Works on a thread of its own. Dropping it stops it.
pub struct Contributor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Whose hash work is proven.
struct Miner {
    solutions: Arc<Solutions>,
    epoch_blocks: u64,
}

struct Worker {
    rpc: RpcClient,
    keys: Vec<PrivateKeySigner>,
    miner: Option<Miner>,
    waiting: BTreeMap<Address, Waiting>,
    /// Epochs in which nothing is left to do for a wallet.
    done: BTreeSet<(u64, Address)>,
    /// What was last said to be wrong.
    told: String,
}

impl Contributor {
    /// Begins to look after what `keys` contribute to the chain of the node that `rpc` asks, whose miner's hashes are in `solutions`.
    pub fn start(
        rpc: RpcClient,
        params: &ChainParams,
        keys: Vec<PrivateKeySigner>,
        solutions: Arc<Solutions>,
    ) -> Outcome<Self> {
        Self::start_with(rpc, keys, Some(Miner { solutions, epoch_blocks: params.epoch_blocks }))
    }

    /// Begins to claim what `keys` earn on the chain of the node that `rpc` asks.
    pub fn start_claiming(rpc: RpcClient, keys: Vec<PrivateKeySigner>) -> Outcome<Self> {
        Self::start_with(rpc, keys, None)
    }

    fn start_with(rpc: RpcClient, keys: Vec<PrivateKeySigner>, miner: Option<Miner>) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (waiting, done, told) = (BTreeMap::new(), BTreeSet::new(), String::new());
        let mut worker = Worker { rpc, keys, miner, waiting, done, told };
        let thread = std::thread::Builder::new()
            .name("contribute".into())
            .spawn(move || worker.work(&stopped))
            .map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Contributor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that proves work and claims rewards ended in a panic");
        }
    }
}

impl Worker {
    fn work(&mut self, stopped: &AtomicBool) {
        let pace = if self.miner.is_some() { LOOK_EVERY } else { LOOK_SELDOM };
        let (mut looked, mut saved) = (None::<Instant>, Instant::now());
        while !stopped.load(Ordering::Relaxed) {
            if looked.is_none_or(|looked| looked.elapsed() >= pace) {
                match self.look() {
                    Ok(()) => self.told.clear(),
                    Err(error) => self.tell(&error),
                }
                looked = Some(Instant::now());
            }
            if saved.elapsed() >= SAVE_EVERY {
                self.save();
                saved = Instant::now();
            }
            std::thread::sleep(NAP);
        }
        self.save();
    }

    fn save(&self) {
        if let Some(Err(error)) = self.miner.as_ref().map(|miner| miner.solutions.save()) {
            tracing::warn!(%error, "the found hashes cannot be kept; those since the last time are lost with a crash");
        }
    }

    /// Says what is wrong, once as long as it stays the same.
    fn tell(&mut self, error: &RpcError) {
        let text = error.to_string();
        if self.told != text {
            tracing::warn!(error = %text, "work cannot be proven or claimed now; it is tried again");
            self.told = text;
        }
    }

    /// Does the first thing that is to be done for each wallet.
    fn look(&mut self) -> Result<(), RpcError> {
        let head = self.rpc.block_number()?;
        let present = self.rpc.contract(RESOURCES, &Resources::currentEpochCall {})?;
        let oldest = present.saturating_sub(LOOK_BACK);
        self.done.retain(|(epoch, _)| *epoch >= oldest);
        for key in self.keys.clone() {
            let contributor = key.address();
            if let Some(waiting) = self.waiting.get(&contributor).copied() {
                self.await_block(contributor, waiting)?;
                continue;
            }
            // The newest first: a proof has its time, a claim has not.
            for epoch in (oldest..present).rev() {
                if !self.done.contains(&(epoch, contributor)) && self.tend(&key, epoch, head)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Looks after one epoch of a wallet, and returns whether a transaction was sent.
    fn tend(&mut self, key: &PrivateKeySigner, epoch: u64, head: u64) -> Result<bool, RpcError> {
        let contributor = key.address();
        let found = self.rpc.contract(RESOURCES, &Resources::contributionOfCall { epoch, contributor })?;
        let about = self.rpc.contract(RESOURCES, &Resources::epochOfCall { epoch })?;
        if about.closed {
            if found.power.is_zero() || found.claimed {
                self.done.insert((epoch, contributor));
                return Ok(false);
            }
            return self.claim(key, epoch);
        }
        let Some(miner) = &self.miner else { return Ok(false) };
        let closes = epoch.saturating_add(1).saturating_mul(miner.epoch_blocks);
        let closes = closes.saturating_add(miner.epoch_blocks.div_ceil(4));
        // The next block is the first in which it can be.
        if !found.hashPower.is_zero() || head.saturating_add(1) >= closes {
            return Ok(false);
        }
        let Some((solutions, _)) = miner.solutions.proof(&WorkKey { epoch, seed: about.seed, contributor }) else {
            return Ok(false);
        };
        let proofs = solutions.iter().map(|aux| Bytes::from(alloy_rlp::encode(aux))).collect();
        self.send(key, Deed::Prove, epoch, Resources::proveCall { epoch, proofs }.abi_encode())
    }

    /// Claims the reward of an epoch if it is worth the gas. (What it is worth does not change; the gas does.)
    fn claim(&mut self, key: &PrivateKeySigner, epoch: u64) -> Result<bool, RpcError> {
        let call = Resources::claimCall { epoch, contributor: key.address() };
        let reward = Amount(self.rpc.contract(RESOURCES, &call)?);
        let gas = Amount::from_units(self.rpc.fees()?.max_fee.saturating_mul(CLAIM_GAS));
        if reward <= gas {
            tracing::debug!(epoch, %reward, %gas, "a reward is not worth the gas of its claim now");
            return Ok(false);
        }
        self.send(key, Deed::Claim, epoch, call.abi_encode())
    }

    /// Sends a transaction, unless another one of the wallet waits.
    fn send(&mut self, key: &PrivateKeySigner, deed: Deed, epoch: u64, call: Vec<u8>) -> Result<bool, RpcError> {
        let contributor = key.address();
        let mined: U64 = self.rpc.call("eth_getTransactionCount", (contributor, "latest"))?;
        if self.rpc.nonce(contributor)? != mined.to::<u64>() {
            return Ok(false);
        }
        let sent = self.rpc.send_transaction(key, RESOURCES, Amount::ZERO, call.into())?;
        let transaction = sent.transaction;
        tracing::info!(epoch, %contributor, %transaction, "{}", deed.begins());
        self.waiting.insert(contributor, Waiting { deed, epoch, transaction, since: Instant::now() });
        Ok(true)
    }

    fn await_block(&mut self, contributor: Address, waiting: Waiting) -> Result<(), RpcError> {
        let Waiting { deed, epoch, transaction, since } = waiting;
        let Some(receipt) = self.rpc.receipt(transaction)? else {
            if since.elapsed() >= PATIENCE {
                tracing::warn!(epoch, %transaction, "a transaction did not get into a block in time");
                self.waiting.remove(&contributor);
            }
            return Ok(());
        };
        self.waiting.remove(&contributor);
        if !receipt.succeeded {
            tracing::warn!(epoch, %contributor, %transaction, "a transaction to the resource ledger failed in its block");
        }
        for event in receipt.events::<Resources::Proven>(RESOURCES) {
            tracing::info!(epoch, %contributor, hashes = %event.hashes, micro_units = %event.power, "{}", deed.ended());
        }
        for event in receipt.events::<Resources::Claimed>(RESOURCES) {
            let (reward, referred) = (Amount(event.reward), Amount(event.referred));
            tracing::info!(epoch, %contributor, %reward, %referred, "{}", deed.ended());
        }
        Ok(())
    }
}

impl Deed {
    const fn begins(self) -> &'static str {
        match self {
            Self::Prove => "proving the hash work of an epoch",
            Self::Claim => "claiming the reward of an epoch",
        }
    }

    const fn ended(self) -> &'static str {
        match self {
            Self::Prove => "the hash work of an epoch is proven",
            Self::Claim => "the reward of an epoch is paid",
        }
    }
}

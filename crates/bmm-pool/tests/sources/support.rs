//! A node of BMM in this process, and somebody who works on jobs.

use alloy_primitives::{Address, B256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_api::{ApiConfig, ApiHandle, Miners, Surroundings, serve_in};
use bmm_chain::{Chain, ChainOptions, Solutions, SystemClock, WorkKey};
use bmm_pool::{
    Job, Solution,
    source::{AuxConfig, BMM},
};
use bmm_scrypt::Hasher;
use bmm_types::ChainParams;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Runtime;

/// Hashes that the node keeps for a proof.
pub const PROOF_HASHES: usize = 32;

/// A node whose blocks are mined elsewhere.
pub struct Node {
    pub chain: Arc<Chain>,
    pub miner: Address,
    /// The smallest hashes of the miner's work.
    pub solutions: Arc<Solutions>,
    handle: Option<ApiHandle>,
    runtime: Runtime,
}

impl Node {
    pub fn start() -> Self {
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x21)).expect("a key");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let params = ChainParams::dev(key.address(), now - 1_000);
        let chain = Chain::in_memory(params, Arc::new(SystemClock), ChainOptions::default()).expect("a chain");
        let miner = key.address();
        let mut miners = Miners::default();
        miners.add(miner, Arc::new(move |hash| key.sign_hash_sync(&hash).expect("a local key signs")));
        let solutions = Arc::new(Solutions::in_memory(PROOF_HASHES));
        miners.collect(Arc::clone(&solutions));
        let config = ApiConfig { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..ApiConfig::default() };
        let runtime = Runtime::new().expect("a runtime");
        let surroundings = Surroundings { miners, ..Surroundings::default() };
        let handle = runtime.block_on(serve_in(config, Arc::clone(&chain), surroundings)).expect("a server");
        Self { chain, miner, solutions, handle: Some(handle), runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.handle.as_ref().expect("serves").address())
    }

    /// The miner's work of the first epoch.
    pub fn work(&self) -> WorkKey {
        WorkKey { epoch: 0, seed: self.chain.genesis(), contributor: self.miner }
    }

    /// The chain as a pool has it.
    pub fn aux(&self, maturity: u64) -> AuxConfig {
        AuxConfig {
            name: BMM.into(),
            nodes: vec![self.url().parse().expect("an address")],
            address: self.miner.to_string(),
            maturity,
        }
    }

    pub fn stop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.runtime.block_on(handle.stop());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Works on a job until a header is a block of the chain called `name`. Extra nonces make tries differ.
pub fn solve(job: &Arc<Job>, name: &str, share: u64) -> Solution {
    let target = job.chains.iter().find(|chain| &*chain.name == name).expect("a chain of the job").target;
    let mut hasher = Hasher::new();
    let coinbase = job.coinbase([1, 2, 3, 4], share.to_le_bytes());
    let mut nonce = 0u32;
    loop {
        let headers: Vec<_> = (0..hasher.lanes())
            .map(|_| {
                nonce += 1;
                job.header(&coinbase, job.version, job.time, nonce)
            })
            .collect();
        let mut results = vec![[0; 32]; headers.len()];
        hasher.hash(&headers, &mut results);
        if let Some((header, hash)) = headers.iter().zip(&results).find(|(_, hash)| target.is_met_by(hash)) {
            let (job, account) = (Arc::clone(job), Address::repeat_byte(7));
            let worth = job.worth(hash).expect("a block");
            return Solution { job, coinbase, header: *header, hash: *hash, account, share, worth };
        }
    }
}

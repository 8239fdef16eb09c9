//! A chain in memory that makes a block whenever a transaction waits, its server, and a plain client.

use alloy_consensus::{EthereumTypedTransaction, SignableTransaction as _, TxEip4844};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_api::{ApiConfig, ApiHandle, Miners, Surroundings, serve_in};
use bmm_chain::{Chain, ChainOptions, Producer, ProducerConfig, SystemClock, TemplateRequest};
use bmm_pow::Throttle;
use bmm_types::{ChainParams, Engine, Seal, SealedBlock, Transaction};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Runtime;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// A contract that stores the word it is called with in slot 0, logs it as topic and data, returns it, and reverts without data
/// when it is called with nothing.
pub const ECHO: [u8; 34] = hex!("6018600a5f3960185ff3366007575f5ffd5b5f35805f55805f5260205fa160205ff3");

/// A running node.
pub struct Node {
    pub chain: Arc<Chain>,
    /// Holds the dev chain's coins.
    pub key: PrivateKeySigner,
    pub address: SocketAddr,
    agent: ureq::Agent,
    producer: Option<Producer>,
    handle: Option<ApiHandle>,
    runtime: Runtime,
}

impl Node {
    /// Starts a node with the default configuration on any free port.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// Starts a node with another configuration.
    pub fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let mut node = Self::without_blocks(change);
        node.produce();
        node
    }

    /// Starts a node that makes no blocks, so that transactions stay in the pool.
    pub fn without_blocks(change: impl FnOnce(&mut ApiConfig)) -> Self {
        Self::made(Engine::Dev, Miners::default(), change)
    }

    /// Starts a node whose blocks are mined by others, for these addresses.
    pub fn mined_elsewhere(miners: Miners) -> Self {
        Self::made(Engine::Pow, miners, |_| {})
    }

    fn made(engine: Engine, miners: Miners, change: impl FnOnce(&mut ApiConfig)) -> Self {
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).expect("a key");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut params = ChainParams::dev(key.address(), now - 1_000);
        params.engine = engine;
        // Many blocks in one second, whose times must rise by one each.
        params.max_ahead_secs = 1_000_000;
        let chain = Chain::in_memory(params, Arc::new(SystemClock), ChainOptions::default()).expect("a chain");
        let mut config = ApiConfig { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..ApiConfig::default() };
        change(&mut config);
        let surroundings = Surroundings { miners, ..Surroundings::default() };
        let runtime = Runtime::new().expect("a runtime");
        let handle = runtime.block_on(serve_in(config, Arc::clone(&chain), surroundings)).expect("a server");
        let agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        Self { chain, key, address: handle.address(), agent, producer: None, handle: Some(handle), runtime }
    }

    /// Begins to make blocks.
    pub fn produce(&mut self) {
        // Somebody else than the wallet, whose balance tests look at.
        let key = producer_key();
        let config = ProducerConfig {
            request: TemplateRequest { beneficiary: key.address(), vanity: Bytes::new() },
            throttle: Throttle::NONE,
            refresh_after: Duration::from_secs(1),
        };
        let signer = Arc::new(move |hash| key.sign_hash_sync(&hash).expect("a local key signs"));
        self.producer = Some(Producer::start(Arc::clone(&self.chain), config, signer).expect("a producer"));
    }

    /// Makes and imports one block by hand.
    pub fn grow(&self) -> B256 {
        grow(&self.chain, 0x43)
    }

    /// Another chain with the same beginning, up to the node's head.
    pub fn rival(&self) -> Arc<Chain> {
        let params = self.chain.params().clone();
        let rival = Chain::in_memory(params, Arc::new(SystemClock), ChainOptions::default()).expect("a chain");
        for number in 1..=self.chain.head().number() {
            let id = self.chain.canonical(number).expect("a store").expect("canonical");
            rival.import(&self.chain.block(id).expect("a store").expect("stored")).expect("valid");
        }
        rival
    }

    /// Stops the server, as a node that shuts down does.
    pub fn stop_serving(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.runtime.block_on(handle.stop());
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs a future where the server runs.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Posts a body and returns status and answer.
    pub fn post(&self, body: &str) -> (u16, String) {
        let mut response =
            self.agent.post(self.url()).header("content-type", "application/json").send(body).expect("an HTTP answer");
        let text = response.body_mut().with_config().limit(1 << 30).read_to_string().expect("a body");
        (response.status().as_u16(), text)
    }

    /// Sends one call and returns the whole answer.
    pub fn ask(&self, method: &str, params: &Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let (status, text) = self.post(&body.to_string());
        assert_eq!(status, 200, "{method}: {text}");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)), "{text}");
        answer
    }

    /// Sends one call and returns its result.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the parameters on the spot")]
    pub fn call(&self, method: &str, params: Value) -> Value {
        let mut answer = self.ask(method, &params);
        assert!(answer.get("error").is_none(), "{method} {params}: {answer}");
        answer["result"].take()
    }

    /// Sends one call and returns its error: code, message, data.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the parameters on the spot")]
    pub fn error(&self, method: &str, params: Value) -> (i64, String, Value) {
        let mut answer = self.ask(method, &params);
        assert!(answer.get("result").is_none(), "{method} {params}: {answer}");
        let error = &mut answer["error"];
        let message = error["message"].as_str().expect("a message").to_owned();
        (error["code"].as_i64().expect("a code"), message, error["data"].take())
    }

    /// Signs a transaction with `key`.
    pub fn sign(key: &PrivateKeySigner, tx: impl Into<EthereumTypedTransaction<TxEip4844>>) -> Transaction {
        let tx = tx.into();
        let signature = key.sign_hash_sync(&tx.signature_hash()).expect("a local key signs");
        tx.into_signed(signature).into()
    }

    /// Sends a signed transaction and returns its hash as answered.
    pub fn send(&self, tx: &Transaction) -> Value {
        self.call("eth_sendRawTransaction", json!([Bytes::from(tx.encoded_2718())]))
    }

    /// Sends a signed transaction and waits for its receipt.
    pub fn mine(&self, tx: &Transaction) -> Value {
        let hash = self.send(tx);
        self.receipt(&hash)
    }

    /// Waits for a receipt.
    pub fn receipt(&self, hash: &Value) -> Value {
        let mut head = 0;
        loop {
            let receipt = self.call("eth_getTransactionReceipt", json!([hash]));
            if !receipt.is_null() {
                return receipt;
            }
            let above = self.chain.wait_for_head_above(head, PATIENCE).expect("a block in time");
            head = above.number();
        }
    }

    /// A price that every block takes.
    pub fn price(&self) -> u128 {
        u128::from(self.chain.next_base_fee()) * 2 + 1_000_000_000
    }

    /// The wallet's next nonce.
    pub fn nonce(&self) -> u64 {
        self.chain.pending_nonce(self.key.address()).expect("a nonce")
    }

    pub fn chain_id(&self) -> u64 {
        self.chain.params().chain_id
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop_serving();
        if let Some(producer) = self.producer.take() {
            producer.stop();
        }
    }
}

fn producer_key() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0x43)).expect("a key")
}

/// Who makes the blocks.
pub fn producer() -> Address {
    producer_key().address()
}

/// Makes and imports one block of the producer with the key `seed`.
pub fn grow(chain: &Chain, seed: u8) -> B256 {
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(seed)).expect("a key");
    let request = TemplateRequest { beneficiary: key.address(), vanity: Bytes::new() };
    let sign = |hash: B256| key.sign_hash_sync(&hash).expect("a local key signs");
    let block = chain.template(&request, &sign).expect("a template").block;
    chain.import(&SealedBlock { block, seal: Seal::None }).expect("a valid block").id
}

/// Reads a quantity.
pub fn quantity(value: &Value) -> U256 {
    super::shape::assert_quantity(value);
    serde_json::from_value(value.clone()).expect("a quantity")
}

/// An address of nobody.
pub fn nobody(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

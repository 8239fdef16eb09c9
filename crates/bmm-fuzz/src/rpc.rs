//! JSON-RPC: heads of HTTP requests, and calls with whatever parameters, over a chain in memory.

use crate::{choice, stream::block_on};
use alloy_primitives::{B256, Bytes};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use bmm_api::{ApiConfig, Desk};
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_types::{ChainParams, Engine, Seal, SealedBlock};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// Time of the genesis block, Unix seconds.
const BEGAN: u64 = 1_800_000_000;
/// Longest answer, bytes.
const MAX_ANSWER_BYTES: u32 = 1 << 20;

/// A short chain, and the server over it.
static DESK: LazyLock<Desk> = LazyLock::new(|| {
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42)).expect("a key");
    let mut params = ChainParams::dev(key.address(), BEGAN);
    params.engine = Engine::Dev;
    let clock = Arc::new(ManualClock::new(BEGAN + 60));
    let chain = Chain::in_memory(params, clock, ChainOptions::default()).expect("a chain");
    let request = TemplateRequest { beneficiary: key.address(), vanity: Bytes::new() };
    for _ in 0..3 {
        let sign = |hash: B256| key.sign_hash_sync(&hash).expect("a local key signs");
        let block = chain.template(&request, &sign).expect("a template").block;
        chain.import(&SealedBlock { block, seal: Seal::None }).expect("a valid block");
    }
    let config = ApiConfig {
        max_request_bytes: 1 << 16,
        max_response_bytes: MAX_ANSWER_BYTES,
        max_batch: 16,
        call_gas_limit: 200_000,
        ..ApiConfig::default()
    };
    Desk::new(config, chain).expect("threads")
});

/// Reads the bytes as the head of a request, or as its body.
pub fn run(mut bytes: &[u8]) {
    if choice(&mut bytes).is_multiple_of(4) {
        head(bytes);
    } else {
        body(bytes);
    }
}

fn head(bytes: &[u8]) {
    let Some((head, body)) = DESK.read_head(bytes) else { return };
    assert!(head <= bytes.len() && body <= 1 << 16);
    assert!(bytes[..head].ends_with(b"\n\r\n") || bytes[..head].ends_with(b"\n\n"), "the head ends elsewhere");
    assert_eq!(DESK.read_head(&bytes[..head]), Some((head, body)), "what follows the head is part of it");
    assert_eq!(DESK.read_head(&bytes[..head - 1]), None, "a part of a head is one");
}

fn body(bytes: &[u8]) {
    let answer = block_on(DESK.answer(bytes));
    // Each answer of a batch has its own bound.
    assert!(answer.len() <= 2 * MAX_ANSWER_BYTES as usize, "an answer of {} bytes", answer.len());
    if answer.is_empty() {
        return;
    }
    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    for one in answer.as_array().unwrap_or(&vec![answer.clone()]) {
        assert_eq!(one["jsonrpc"], "2.0");
        assert!(one.get("id").is_some() && one.get("result").is_some() != one.get("error").is_some(), "{one}");
        let broken = one["error"]["code"] == -32_603;
        assert!(!broken, "a fault of the node: {one}");
    }
}

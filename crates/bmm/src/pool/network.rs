//! How fast everybody mines.

use crate::rpc::{RpcClient, RpcError};
use alloy_primitives::{U64, U256};
use serde::Deserialize;
use std::time::Duration;
use tokio::{runtime::Handle, sync::watch};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(30);
/// Blocks that the rate is a mean of.
const BLOCKS: u64 = 60;

#[derive(Deserialize)]
struct Block {
    difficulty: U256,
    timestamp: U64,
}

/// Begins to watch the hash rate of the chain, in hashes a second; until nobody looks any more.
pub fn watch(rpc: RpcClient, runtime: &Handle) -> watch::Receiver<Option<f64>> {
    let (sender, receiver) = watch::channel(None);
    runtime.spawn(async move {
        while !sender.is_closed() {
            let rpc = rpc.clone();
            let looked = tokio::task::spawn_blocking(move || rate(&rpc)).await;
            sender.send_replace(looked.ok().and_then(Result::ok).flatten());
            tokio::time::sleep(EVERY).await;
        }
    });
    receiver
}

/// Work of the last blocks over their time. The difficulty follows the rate, so that the newest one stands for all.
fn rate(rpc: &RpcClient) -> Result<Option<f64>, RpcError> {
    let head = rpc.block_number()?;
    let count = head.min(BLOCKS);
    let block = |number: u64| rpc.call::<Block>("eth_getBlockByNumber", (U64::from(number), false));
    let (newest, oldest) = (block(head)?, block(head - count)?);
    let secs = newest.timestamp.saturating_sub(oldest.timestamp);
    let hashes = newest.difficulty.saturating_mul(U256::from(count));
    let float = |text: String| text.parse::<f64>().unwrap_or(f64::MAX);
    Ok((!secs.is_zero()).then(|| float(hashes.to_string()) / float(secs.to_string())))
}

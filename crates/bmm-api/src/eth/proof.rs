//! `eth_getProof`: an account and slots of it with the trie nodes that prove them against the block's state root (EIP-1186).

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Slots},
};
use alloy_eips::BlockId;
use alloy_primitives::{Address, U256};
use alloy_rpc_types_eth::{EIP1186AccountProofResponse, EIP1186StorageProof};

/// Slots that one call proves at most.
const MAX_SLOTS: usize = 1_024;

/// `eth_getProof`. Keys are repeated in the form in which they came.
pub(crate) fn prove(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let address: Address = args.required()?;
    let Slots(keys) = args.required()?;
    let block: Option<BlockId> = args.optional()?;
    if keys.len() > MAX_SLOTS {
        return Err(RpcError::param(2, "storage keys", format!("got {}, at most {MAX_SLOTS} are allowed", keys.len())));
    }
    let slots: Vec<U256> = keys.iter().map(|key| key.as_b256().into()).collect();
    let proof = context.chain.state(block.unwrap_or_default())?.prove(address, &slots)?;
    let account = proof.account.unwrap_or_default();
    let storage_proof = keys.into_iter().zip(proof.slots);
    json(&EIP1186AccountProofResponse {
        address,
        balance: account.balance,
        code_hash: account.code_hash,
        nonce: account.nonce,
        storage_hash: proof.storage_root,
        account_proof: proof.nodes,
        storage_proof: storage_proof.map(|(key, slot)| EIP1186StorageProof::new(key, slot.value, slot.nodes)).collect(),
    })
}

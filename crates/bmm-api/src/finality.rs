//! `bmm_finality`: what is justified and final, and who bets.

use crate::{
    error::RpcResult,
    methods::{Context, Json, json},
    params::Args,
};
use alloy_primitives::{Address, B256, U64, U256};
use bmm_chain::{ChainError, Checkpoint, SignedBet};
use serde::Serialize;

/// Bets that are told of, the highest targets last.
const MAX_BETS: usize = 128;
/// Checkpoints below the justified one whose bets are told of.
const BETS_BELOW: u64 = 2;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckpointView {
    checkpoint: U64,
    number: U64,
    hash: B256,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BetView {
    footstone: Address,
    source: U64,
    source_hash: B256,
    target: U64,
    target_hash: B256,
    amount: U256,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FinalityView {
    justified: CheckpointView,
    finalised: CheckpointView,
    /// Whether the set has its least weight.
    enabled: bool,
    members: U64,
    weight: U256,
    bets: Vec<BetView>,
}

impl From<SignedBet> for BetView {
    fn from(SignedBet { bet, .. }: SignedBet) -> Self {
        Self {
            footstone: bet.footstone,
            source: U64::from(bet.source),
            source_hash: bet.sourceHash,
            target: U64::from(bet.target),
            target_hash: bet.targetHash,
            amount: bet.amount,
        }
    }
}

/// `bmm_finality`.
pub(crate) fn finality(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let chain = &context.chain;
    let status = chain.finality().ok_or(ChainError::NoFinality)?;
    let view = |checkpoint: Checkpoint| CheckpointView {
        checkpoint: U64::from(checkpoint.number),
        number: U64::from(chain.checkpoint_number(checkpoint)),
        hash: checkpoint.id,
    };
    let first = status.justified.number.saturating_sub(BETS_BELOW);
    let current = &status.rights.current;
    json(&FinalityView {
        justified: view(status.justified),
        finalised: view(status.finalised),
        enabled: status.rights.enabled,
        members: U64::from(current.members.len()),
        weight: current.weight(),
        bets: chain.bets_from(first, MAX_BETS).into_iter().map(BetView::from).collect(),
    })
}

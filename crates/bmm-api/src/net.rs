//! `net_*` and `web3_*`: which network, which program.

use crate::{
    error::RpcResult,
    methods::{Context, Json, json},
    params::Args,
};
use alloy_primitives::{Bytes, U64, keccak256};
use std::env::consts::{ARCH, OS};

/// `net_version`: the chain id in decimal.
pub(crate) fn version(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&context.chain.params().chain_id.to_string())
}

/// `web3_clientVersion`: name, version, platform and compiler, in the order of Ethereum's clients.
pub(crate) fn client_version(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&client_name())
}

/// Name, version, platform and compiler.
pub(crate) fn client_name() -> String {
    format!("bmm/v{}/{OS}-{ARCH}/rust{}", env!("CARGO_PKG_VERSION"), env!("BMM_RUSTC_VERSION"))
}

/// `net_listening`: whether the node takes connections of other nodes.
pub(crate) fn listening(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&context.network.as_ref().is_some_and(|network| !(network.node)().listens.is_empty()))
}

/// `net_peerCount`: connected peers.
pub(crate) fn peer_count(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let count = context.network.as_ref().map_or(0, |network| (network.peers)().len());
    json(&U64::from(count))
}

/// `web3_sha3`: Keccak-256.
pub(crate) fn sha3(_: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    json(&keccak256(args.required::<Bytes>()?))
}

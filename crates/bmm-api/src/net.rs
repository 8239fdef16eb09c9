//! `net_*` and `web3_*`: which network, which program.

use crate::{
    error::RpcResult,
    methods::{Context, Json, json},
    params::Args,
};
use std::env::consts::{ARCH, OS};

/// `net_version`: the chain id in decimal.
pub(crate) fn version(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&context.chain.params().chain_id.to_string())
}

/// `web3_clientVersion`: name, version, platform and compiler, in the order of Ethereum's clients.
pub(crate) fn client_version(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json(&format!("bmm/v{}/{OS}-{ARCH}/rust{}", env!("CARGO_PKG_VERSION"), env!("BMM_RUSTC_VERSION")))
}

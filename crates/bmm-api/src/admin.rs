//! `admin_*` and `rpc_*`: the node as its operator sees it. Nothing here changes it.

use crate::{
    error::RpcResult,
    methods::{self, Context, Json, json},
    net,
    params::Args,
};
use serde_json::json as object;
use std::collections::BTreeMap;

/// `admin_nodeInfo`: program and chain. What says where a node is in a network (`enode`, ports) is left out: it is in none.
pub(crate) fn node_info(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let chain = &context.chain;
    let head = chain.head();
    json(&object!({
        "name": net::client_name(),
        "protocols": { "eth": {
            "network": chain.params().chain_id,
            "difficulty": head.work.get(),
            "genesis": chain.genesis(),
            "head": head.id,
            "config": { "chainId": chain.params().chain_id },
        } },
    }))
}

/// `admin_peers`: none.
pub(crate) fn peers(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    json::<[(); 0]>(&[])
}

/// `rpc_modules`: the namespaces that are served.
pub(crate) fn modules(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let spaces = methods::names().filter_map(|name| name.split_once('_'));
    json(&spaces.map(|(space, _)| (space, "1.0")).collect::<BTreeMap<_, _>>())
}

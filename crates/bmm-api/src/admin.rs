//! `admin_*` and `rpc_*`: the node as its operator sees it. Nothing here changes it.

use crate::{
    error::RpcResult,
    methods::{self, Context, Json, json},
    net,
    network::PeerView,
    params::Args,
};
use serde_json::json as object;
use std::collections::BTreeMap;

/// `admin_nodeInfo`: program, chain, and, of a node that is in a network, its id and addresses (libp2p's, in place of `enode`).
pub(crate) fn node_info(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let chain = &context.chain;
    let head = chain.head();
    let mut info = object!({
        "name": net::client_name(),
        "protocols": { "eth": {
            "network": chain.params().chain_id,
            "difficulty": head.work.get(),
            "genesis": chain.genesis(),
            "head": head.id,
            "config": { "chainId": chain.params().chain_id },
        } },
    });
    if let Some(node) = context.network.as_ref().map(|network| (network.node)()) {
        info["id"] = node.id.into();
        info["listenAddr"] = node.listens.first().cloned().into();
        info["listens"] = node.listens.into();
        info["external"] = node.external.into();
    }
    json(&info)
}

/// `admin_peers`: the connected peers.
pub(crate) fn peers(context: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let peers = context.network.as_ref().map_or_else(Vec::new, |network| (network.peers)());
    json(&peers.iter().map(peer).collect::<Vec<_>>())
}

fn peer(peer: &PeerView) -> serde_json::Value {
    let head = peer.head.map(|(number, head, work)| object!({ "number": number, "head": head, "difficulty": work }));
    object!({
        "id": peer.id,
        "name": peer.name,
        "caps": peer.protocols,
        "network": { "remoteAddress": peer.address, "inbound": peer.incoming },
        "protocols": { "eth": head },
        "connectedSecs": peer.connected.as_secs(),
        "roundTripMicros": peer.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        "score": peer.score,
    })
}

/// `rpc_modules`: the namespaces that are served.
pub(crate) fn modules(_: &Context, _: &mut Args<'_>) -> RpcResult<Json> {
    let spaces = methods::names().filter_map(|name| name.split_once('_'));
    json(&spaces.map(|(space, _)| (space, "1.0")).collect::<BTreeMap<_, _>>())
}

//! How a job reaches providers of the network: joining it, waiting for offers, and what they mean for the quote.

use super::quote::Sellers;
use crate::{
    config::{NetworkConfig, Reach},
    failure::{Failure, Outcome},
    marketplace::{Joining, Membership, Place},
    node::NetOptions,
    rpc::RpcClient,
};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_market::requester::{Explanation, explain_offers};
use bmm_net::market::Speaker;
use bmm_types::{
    Amount,
    market::{JobSpec, Offer, SignatureBytes},
};
use serde::{Deserialize, Serialize};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long offers are waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long further offers are waited for, once there are enough.
const MORE: Duration = Duration::from_millis(1_500);
/// Addresses of the node behind JSON-RPC that are tried.
const MAX_NODE_ADDRESSES: usize = 8;
/// How often the offers are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How a job finds the network; kept with the job, so that it finds it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetChoice {
    /// Nodes to begin with, beside the one that is used for JSON-RPC.
    pub bootstrap: Vec<String>,
    /// Whether nodes of the same local network are looked for.
    pub mdns: bool,
    /// How far the network reaches.
    #[serde(default)]
    pub reach: Reach,
}

impl NetChoice {
    /// Puts what was typed in place of what is configured.
    pub fn new(config: &NetworkConfig, bootstrap: &[String], mdns: bool, reach: Option<Reach>) -> Outcome<Self> {
        addresses(bootstrap)?;
        let bootstrap = if bootstrap.is_empty() { config.bootstrap.clone() } else { bootstrap.to_vec() };
        Ok(Self { bootstrap, mdns: mdns && config.mdns, reach: reach.unwrap_or(config.reach) })
    }
}

/// Returns one side of a session that speaks for `key`.
pub fn speaker(key: &PrivateKeySigner, place: &Place) -> Speaker {
    let signer = key.clone();
    let sign = move |hash| {
        let signature = signer.sign_hash_sync(&hash).expect("a local key signs every hash");
        SignatureBytes::from(signature.as_bytes())
    };
    Speaker {
        chain_id: place.chain_id(),
        genesis: place.genesis(),
        operator: key.address(),
        sign: Arc::new(sign),
        peer: place.network().peer_id().to_bytes(),
    }
}

/// Joins the network as one who looks for providers, with a key of its own for as long as it takes.
pub fn join(config: &NetworkConfig, choice: &NetChoice, rpc: &RpcClient) -> Outcome<Membership> {
    let chain_id = rpc.chain_id()?;
    let NetChoice { bootstrap, mdns, reach } = choice.clone();
    let options = NetworkConfig { bootstrap, mdns, reach, ..config.clone() }.requester(chain_id)?;
    let membership = enter(options, None, rpc, chain_id)?;
    membership.place().seek();
    Ok(membership)
}

/// Joins the market of a chain; begins with the given nodes and with the one that is used for JSON-RPC.
pub fn enter(mut options: NetOptions, folder: Option<PathBuf>, rpc: &RpcClient, chain_id: u64) -> Outcome<Membership> {
    let genesis = rpc.block_hash(0)?.ok_or_else(|| Failure::internal("the node does not know its genesis block"))?;
    options.bootstrap.extend(node_addresses(rpc));
    Place::join(Joining { net: options.config(folder, genesis), chain_id, threads: 2 })
}

/// Returns where the node behind JSON-RPC is in its network; nowhere if it is in none, or does not say.
fn node_addresses(rpc: &RpcClient) -> Vec<bmm_net::Multiaddr> {
    let info: serde_json::Value = rpc.call("admin_nodeInfo", serde_json::json!([])).unwrap_or_default();
    let lists = [&info["external"], &info["listens"]].into_iter().filter_map(serde_json::Value::as_array).flatten();
    let mut found: Vec<bmm_net::Multiaddr> = lists.filter_map(|text| text.as_str()?.parse().ok()).collect();
    found.dedup();
    found.truncate(MAX_NODE_ADDRESSES);
    found
}

/// Reads addresses as people write them.
pub fn addresses(texts: &[String]) -> Outcome<Vec<bmm_net::Multiaddr>> {
    let read = |text: &String| {
        text.parse().map_err(|error| {
            Failure::user(format!("{text:?} is no address: {error}"))
                .hint("for example /ip4/192.0.2.7/tcp/20190/p2p/12D3KooW…")
        })
    };
    texts.iter().map(read).collect()
}

/// Waits until as many providers match as the verification needs, and a little for more; returns all offers that came.
pub fn wait_for_offers(place: &Place, spec: &JobSpec) -> Vec<Offer> {
    let began = Instant::now();
    let mut enough: Option<Instant> = None;
    loop {
        let offers: Vec<Offer> = place.listings().into_iter().map(|signed| signed.listing.offer).collect();
        let found = explain(spec, &offers);
        if found.matching >= found.needed.max(1) {
            let since = *enough.get_or_insert_with(Instant::now);
            if since.elapsed() >= MORE {
                return offers;
            }
        }
        if began.elapsed() >= PATIENCE {
            return offers;
        }
        std::thread::sleep(LOOK);
    }
}

/// Holds offers to a job's conditions.
pub fn explain(spec: &JobSpec, offers: &[Offer]) -> Explanation {
    explain_offers(spec, offers, super::link::now_micros())
}

/// Sums up those offers that match a job: the price is the mean, weighted by how much of the work each will do.
pub fn sellers(spec: &JobSpec, offers: &[Offer]) -> Sellers {
    let matching: Vec<&Offer> =
        offers.iter().filter(|offer| explain(spec, &[(*offer).clone()]).matching == 1).collect();
    let speed = |offer: &Offer| u128::from(offer.rating_fuel_per_second.max(1)).saturating_mul(offer.slots.into());
    let whole: u128 = matching.iter().map(|offer| speed(offer)).sum();
    let part = |offer: &&Offer| offer.price_per_gfuel.mul_div(speed(offer), 1).unwrap_or(Amount::ZERO);
    let sum: Amount = matching.iter().map(part).sum();
    Sellers {
        providers: u16::try_from(matching.len()).unwrap_or(u16::MAX),
        slots: matching.iter().map(|offer| u64::from(offer.slots)).sum(),
        price_per_gfuel: sum.mul_div(1, whole.max(1)).unwrap_or(Amount::ZERO),
        here: false,
    }
}

/// Says that nobody came.
pub fn nobody(place: &Place) -> Failure {
    let peers = place.network().peers().len();
    let failure = Failure::user(format!("no provider of the network offers anything ({peers} peers are connected)"));
    if peers == 0 {
        return failure.hint(
            "name a node to begin with: --bootstrap /ip4/…/tcp/…/p2p/…, or network.bootstrap in the configuration",
        );
    }
    failure.hint("start one with `bmm provide`, or wait: `bmm market offers` shows who offers what")
}

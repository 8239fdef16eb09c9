//! `bmm market …`: what the network offers.

use super::Context;
use crate::{
    config::Reach,
    failure::Outcome,
    jobs::{NetChoice, join_market},
    output,
    rpc::connect,
};
use alloy_primitives::Address;
use bmm_types::{
    Amount,
    market::{Runtime, SignedListing},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{fmt, time::Duration};

/// `bmm market …`
#[derive(Debug, Subcommand)]
pub enum MarketCommand {
    /// List what the providers of the network offer now
    #[command(after_help = "Examples:
  bmm market offers                                        those of this local network
  bmm market offers --bootstrap /ip4/192.0.2.7/tcp/20190/p2p/12D3KooW…
  bmm market offers --wait 10 --json")]
    Offers(Offers),
}

/// `bmm market offers`
#[derive(Debug, Args)]
pub struct Offers {
    /// A node of the network to begin with (repeat for more) [default: network.bootstrap of the configuration]
    #[arg(long, value_name = "ADDRESS")]
    bootstrap: Vec<String>,
    /// Do not look for nodes of the same local network
    #[arg(long)]
    no_mdns: bool,
    /// How far the network reaches [default: network.reach of the configuration]
    #[arg(long, value_name = "HOW_FAR")]
    reach: Option<Reach>,
    /// Seconds to listen
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
}

/// Answers `bmm market`.
pub fn run(context: &Context, command: &MarketCommand) -> Outcome {
    let MarketCommand::Offers(args) = command;
    let rpc = connect(context)?;
    let config = &context.config.network;
    let choice = NetChoice::new(config, &args.bootstrap, !args.no_mdns, args.reach)?;
    let membership = join_market(config, &choice, &rpc)?;
    std::thread::sleep(Duration::from_secs(args.wait));
    let place = membership.place();
    let mut offers: Vec<Row> = place.listings().iter().map(Row::of).collect();
    offers.sort_by_key(|row| (row.price_per_gfuel_bmm, std::cmp::Reverse(row.rating_fuel_per_second)));
    let listed = Listed { peers: place.network().peers().len(), offers };
    output::print(context.global.json, &listed, &listed);
    Ok(())
}

#[derive(Debug, Serialize)]
struct Listed {
    peers: usize,
    offers: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    provider: Address,
    peer: String,
    price_per_gfuel_bmm: Amount,
    price_per_gib_bmm: Amount,
    slots: u16,
    free_slots: u16,
    memory_bytes: u64,
    output_bytes: u64,
    time_millis: u64,
    rating_fuel_per_second: u64,
    price_per_ghash_bmm: Option<Amount>,
    hashes_per_second: Option<u64>,
    runtimes: Vec<Runtime>,
    isa: String,
    expires_at: u64,
}

impl Row {
    fn of(signed: &SignedListing) -> Self {
        let (listing, offer) = (&signed.listing, &signed.listing.offer);
        Self {
            provider: offer.provider,
            peer: bmm_net::PeerId::from_bytes(&listing.peer).map(|peer| peer.to_string()).unwrap_or_default(),
            price_per_gfuel_bmm: offer.price_per_gfuel,
            price_per_gib_bmm: offer.price_per_gib,
            slots: offer.slots,
            free_slots: listing.free_slots,
            memory_bytes: offer.memory_bytes,
            output_bytes: offer.output_bytes,
            time_millis: offer.time_millis,
            rating_fuel_per_second: offer.rating_fuel_per_second,
            price_per_ghash_bmm: offer.hashing.map(|hashing| hashing.price_per_ghash),
            hashes_per_second: offer.hashing.map(|hashing| hashing.hashes_per_second),
            runtimes: offer.runtimes.clone(),
            isa: offer.isa.clone(),
            expires_at: listing.expires_at,
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offers.is_empty() {
            let hint = if self.peers == 0 { "; name a node to begin with by --bootstrap" } else { "" };
            return write!(f, "nobody offers anything ({} peers are connected{hint})", self.peers);
        }
        write!(f, "{:<44} {:>20} {:>9} {:>10} {:>9}", "provider", "a Gfuel", "free", "memory", "Gfuel/s")?;
        for row in &self.offers {
            let free = format!("{} of {}", row.free_slots, row.slots);
            let memory = format!("{} MiB", row.memory_bytes >> 20);
            let speed = row.rating_fuel_per_second / 1_000_000;
            let speed = format!("{}.{:03}", speed / 1_000, speed % 1_000);
            let price = row.price_per_gfuel_bmm.to_string();
            write!(f, "\n{:<44} {price:>20} {free:>9} {memory:>10} {speed:>9}", row.provider.to_string())?;
            if let Some((price, speed)) = row.price_per_ghash_bmm.zip(row.hashes_per_second) {
                write!(f, "\n{:<44} its miner: {price} for 10^9 hashes, {} hashes/s", "", speed)?;
            }
        }
        Ok(())
    }
}

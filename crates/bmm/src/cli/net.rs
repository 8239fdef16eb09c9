//! `bmm net …`: the running node among others.

use super::Context;
use crate::{
    failure::{Failure, Outcome},
    node::{BanReport, ControlRequest, ask_node},
    output,
    rpc::{NodeFile, connect},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// `bmm net …`
#[derive(Debug, Subcommand)]
pub enum NetCommand {
    /// List the connected nodes
    Peers,
    /// Show how the node stands among others
    Status,
    /// Show the node's id and the addresses that others begin with
    Id,
    /// Speak no more to a node, or list those who are not spoken to
    Ban(Ban),
}

/// `bmm net ban`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm net ban                                  list the bans
  bmm net ban 12D3KooW… --secs 86400           speak no more to that node for a day
  bmm net ban 12D3KooW… --lift                 speak to it again")]
pub struct Ban {
    /// The node's id
    #[arg(value_name = "PEER")]
    peer: Option<String>,
    /// How long, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, requires = "peer")]
    secs: u64,
    /// End the ban
    #[arg(long, requires = "peer", conflicts_with = "secs")]
    lift: bool,
}

/// How a node stands among others.
#[derive(Serialize)]
struct Status {
    peers: u64,
    listening: bool,
    syncing: Value,
    block: Value,
    best_peer_block: Option<u64>,
}

/// Answers `bmm net`.
pub fn run(context: &Context, command: &NetCommand) -> Outcome {
    match command {
        NetCommand::Peers => peers(context),
        NetCommand::Status => status(context),
        NetCommand::Id => id(context),
        NetCommand::Ban(args) => ban(context, args),
    }
}

fn call(context: &Context, method: &str) -> Outcome<Value> {
    Ok(connect(context)?.call(method, json!([]))?)
}

fn peers(context: &Context) -> Outcome {
    let peers = call(context, "admin_peers")?;
    let list = peers.as_array().cloned().unwrap_or_default();
    let mut text = String::new();
    for peer in &list {
        let way = if peer["network"]["inbound"] == json!(true) { "in " } else { "out" };
        let head =
            peer["protocols"]["eth"]["number"].as_u64().map_or_else(|| "?".to_owned(), |number| number.to_string());
        let trip =
            peer["roundTripMicros"].as_u64().map_or_else(|| "?".to_owned(), |micros| format!("{} ms", micros / 1_000));
        let _ = writeln!(
            text,
            "{way} {} block {head}, {trip}, score {}, {}",
            word(&peer["id"]),
            peer["score"],
            word(&peer["network"]["remoteAddress"]),
        );
    }
    if list.is_empty() {
        "no peers; `bmm net id` on another node prints an address for --bootstrap".clone_into(&mut text);
    }
    output::print(context.global.json, &peers, text.trim_end());
    Ok(())
}

fn status(context: &Context) -> Outcome {
    let (peers, syncing) = (call(context, "admin_peers")?, call(context, "eth_syncing")?);
    let heads = peers.as_array().into_iter().flatten().filter_map(|peer| peer["protocols"]["eth"]["number"].as_u64());
    let best_peer_block = heads.max();
    let status = Status {
        peers: peers.as_array().map_or(0, |list| list.len().try_into().unwrap_or(u64::MAX)),
        listening: call(context, "net_listening")? == json!(true),
        syncing,
        block: call(context, "eth_blockNumber")?,
        best_peer_block,
    };
    let number = number(&status.block);
    let listening = if status.listening { "listening" } else { "not listening" };
    let state = match (&status.syncing, best_peer_block) {
        (Value::Bool(_), None) => "nobody to compare with".to_owned(),
        (Value::Bool(_), Some(best)) => format!("in step (the best peer is at block {best})"),
        (sync, _) => format!("catching up to block {}", self::number(&sync["highestBlock"])),
    };
    let peers = if status.peers == 1 { "1 peer".to_owned() } else { format!("{} peers", status.peers) };
    output::print(context.global.json, &status, format!("block {number}, {peers}, {listening}, {state}"));
    Ok(())
}

fn id(context: &Context) -> Outcome {
    let info = call(context, "admin_nodeInfo")?;
    let Some(id) = info["id"].as_str() else {
        return Err(Failure::user("the node is in no network")
            .hint("start it with --peer-listen or --bootstrap; the dev chain joins nothing by itself"));
    };
    let mut text = format!("{id}\n");
    for address in [&info["external"], &info["listens"]].into_iter().filter_map(Value::as_array).flatten() {
        // Of a private network both lists are the same.
        if !text.contains(word(address)) {
            let _ = writeln!(text, "{}", word(address));
        }
    }
    let value = json!({ "id": id, "listens": info["listens"], "external": info["external"] });
    output::print(context.global.json, &value, text.trim_end());
    Ok(())
}

fn ban(context: &Context, args: &Ban) -> Outcome {
    // Whoever can call JSON-RPC must not be able to cut the node off: this goes through the data folder.
    let running = NodeFile::read(&context.data.node_file())?.map(|node| node.client()).transpose()?.flatten();
    if running.is_none() {
        return Err(Failure::user(format!("no node runs in the data folder {}", context.data.root().display()))
            .hint("bans are made where the node runs: choose its folder with --data"));
    }
    let request = match &args.peer {
        None => ControlRequest::Bans,
        Some(peer) if args.lift => ControlRequest::LiftBan(peer.clone()),
        Some(peer) => ControlRequest::Ban { peer: peer.clone(), secs: args.secs },
    };
    let bans: Vec<BanReport> = ask_node(&context.data, &request, &mut |_, _| true)?;
    let mut text = String::new();
    for ban in &bans {
        let _ = writeln!(text, "{} for {} s more", ban.peer, ban.secs_left);
    }
    if bans.is_empty() {
        "nobody is banned".clone_into(&mut text);
    }
    output::print(context.global.json, &bans, text.trim_end());
    Ok(())
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(quantity: &Value) -> u64 {
    u64::from_str_radix(word(quantity).trim_start_matches("0x"), 16).unwrap_or(0)
}

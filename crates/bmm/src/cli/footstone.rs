//! `bmm footstone …`: a bond, a seat, and how its node bets.

use super::{Context, Which, wallet::open_store};
use crate::{
    failure::{Failure, Outcome},
    footstone::{BetPolicy, KeeperReport, KeeperState, read_policy, write_policy},
    node::{ControlRequest, ask_node, running_node},
    output,
    rpc::{self, Receipt},
    wallet::Passwords,
};
use alloy_primitives::Address;
use alloy_sol_types::SolCall;
use bmm_types::{
    Amount,
    system::{FOOTSTONES, Footstones, footstone_state},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{fmt::Write as _, path::PathBuf, time::Duration};

/// How long a transaction may take to get into a block.
const PATIENCE: Duration = Duration::from_mins(5);

/// `bmm footstone …`
#[derive(Debug, Subcommand)]
pub enum FootstoneCommand {
    /// Lock a bond and become a candidate
    #[command(after_help = "Examples:
  bmm footstone join 1500 --wallet savings
  bmm node --footstone savings        run the node that bets for it")]
    Join(WithAmount),
    /// Add to the bond
    TopUp(WithAmount),
    /// Give up the candidacy; the bond is free after the unbonding time
    Leave(ByWallet),
    /// Take back a bond that is free
    Withdraw(ByWallet),
    /// Show a footstone, what has become final, and what its node is at
    Status(Status),
    /// Show or set how much the node of this data folder bets: all, more, or a part such as 50%
    BetPolicy(Policy),
    /// Take over bets that the network knows of this key and the node's log does not. Stop any other machine with this key before
    AcceptHistory(AcceptHistory),
}

/// A command that sends coins.
#[derive(Args, Debug)]
pub struct WithAmount {
    /// How much, in BMM
    #[arg(value_name = "AMOUNT")]
    amount: Amount,
    #[command(flatten)]
    by: ByWallet,
}

/// Who sends.
#[derive(Args, Debug)]
pub struct ByWallet {
    /// The footstone's wallet [default: the default wallet]
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
    /// File that holds the wallet's password
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// `bmm footstone status`
#[derive(Args, Debug)]
pub struct Status {
    /// The footstone: an address, or the name of a wallet [default: the default wallet]
    #[arg(value_name = "FOOTSTONE")]
    footstone: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// `bmm footstone bet-policy`
#[derive(Args, Debug)]
pub struct Policy {
    /// all, more (a quarter at first, and more as the checkpoint gets deeper), or a part such as 50%
    #[arg(value_name = "POLICY")]
    policy: Option<BetPolicy>,
    #[command(flatten)]
    which: Which,
}

/// `bmm footstone accept-history`
#[derive(Args, Debug)]
pub struct AcceptHistory {
    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
struct SentView {
    transaction: String,
    block: u64,
    footstone: String,
    state: &'static str,
    bond_bmm: Amount,
}

#[derive(Serialize)]
struct StatusView {
    footstone: String,
    state: &'static str,
    bond_bmm: Amount,
    weight_bmm: Amount,
    /// Unix seconds; 0 unless it is leaving.
    free_at: u64,
    last_target: u64,
    justified: u64,
    finalised: u64,
    enabled: bool,
    /// Absent if no node of this data folder bets.
    node: Option<KeeperReport>,
}

/// Answers `bmm footstone`.
pub fn run(context: &Context, command: &FootstoneCommand) -> Outcome {
    match command {
        FootstoneCommand::Join(args) => send(context, &args.by, args.amount, &Footstones::joinCall {}),
        FootstoneCommand::TopUp(args) => send(context, &args.by, args.amount, &Footstones::topUpCall {}),
        FootstoneCommand::Leave(by) => send(context, by, Amount::ZERO, &Footstones::leaveCall {}),
        FootstoneCommand::Withdraw(by) => {
            let footstone = open_store(context).choose(by.wallet.as_deref())?.address;
            send(context, by, Amount::ZERO, &Footstones::withdrawCall { footstone })
        }
        FootstoneCommand::Status(args) => status(context, args),
        FootstoneCommand::BetPolicy(args) => policy(context, args),
        FootstoneCommand::AcceptHistory(args) => accept_history(context, &args.which),
    }
}

/// Sends a call of the contract, and says how the footstone stands after it.
fn send(context: &Context, by: &ByWallet, value: Amount, call: &impl SolCall) -> Outcome {
    let store = open_store(context);
    let wallet = store.choose(by.wallet.as_deref())?;
    let node = rpc::connect(context)?;
    let signer = store.unlock_wallet(&wallet, &Passwords::choose(by.password_file.as_deref()))?;
    let Receipt { transaction, block, .. } = node.transact(&signer, FOOTSTONES, value, call, PATIENCE)?;
    let found = node.contract(FOOTSTONES, &Footstones::footstoneOfCall { footstone: wallet.address })?;
    let view = SentView {
        transaction: transaction.to_string(),
        block,
        footstone: wallet.address.to_checksum(None),
        state: state_name(found.state),
        bond_bmm: Amount(found.bond),
    };
    let text = format!("{} is {}, bond {} (block {block})", view.footstone, view.state, view.bond_bmm);
    output::print(context.global.json, &view, text);
    Ok(())
}

fn state_name(state: u8) -> &'static str {
    match state {
        footstone_state::NONE => "no footstone",
        footstone_state::CANDIDATE => "a candidate",
        footstone_state::LEAVING => "leaving",
        footstone_state::SLASHED => "slashed",
        _ => "in an unknown state",
    }
}

fn status(context: &Context, args: &Status) -> Outcome {
    let footstone: Address = match args.footstone.as_deref().map(str::parse) {
        Some(Ok(address)) => address,
        _ => open_store(context).choose(args.footstone.as_deref())?.address,
    };
    let node = rpc::connect(context)?;
    let found = node.contract(FOOTSTONES, &Footstones::footstoneOfCall { footstone })?;
    let finality = node.contract(FOOTSTONES, &Footstones::finalityCall {})?;
    let keeper = match running_node(&context.data, args.which.name(context))? {
        Some(_) => ask_node::<KeeperReport>(&context.data, &ControlRequest::Footstone, &mut |_, _| true).ok(),
        None => None,
    };
    let view = StatusView {
        footstone: footstone.to_checksum(None),
        state: state_name(found.state),
        bond_bmm: Amount(found.bond),
        weight_bmm: Amount(found.weight),
        free_at: if found.state == footstone_state::LEAVING { found.freeAt } else { 0 },
        last_target: found.lastTarget,
        justified: finality.justified,
        finalised: finality.finalised,
        enabled: finality.enabled,
        node: keeper,
    };
    output::print(context.global.json, &view, view.text());
    Ok(())
}

impl StatusView {
    fn text(&self) -> String {
        let mut text = format!(
            "footstone  {} ({})\nbond       {}\nweight     {}\nlast bet   checkpoint {}\njustified  checkpoint {}\nfinal      checkpoint {}",
            self.footstone,
            self.state,
            self.bond_bmm,
            self.weight_bmm,
            self.last_target,
            self.justified,
            self.finalised
        );
        if !self.enabled {
            text.push_str("\nthe set is below its least weight: nothing becomes final, and anybody may produce blocks");
        }
        // Writing into a text cannot fail.
        let _ = match &self.node {
            Some(node) => write!(text, "\nnode       {} for {}", words(&node.state), node.footstone.to_checksum(None)),
            None => write!(text, "\nnode       none of this data folder bets"),
        };
        text
    }
}

fn words(state: &KeeperState) -> String {
    match state {
        KeeperState::Listening { until } => format!("listens until block {until} before it bets"),
        KeeperState::NoSeat => "has no seat in the set".to_owned(),
        KeeperState::Betting => "bets".to_owned(),
        KeeperState::Stopped { why } => format!("does not bet: {why}"),
    }
}

fn policy(context: &Context, args: &Policy) -> Outcome {
    let folder = context.data.chain(args.which.name(context));
    context.data.create(&folder)?;
    if let Some(policy) = args.policy {
        write_policy(&folder, policy)?;
    }
    let policy = read_policy(&folder)?;
    output::print(context.global.json, &serde_json::json!({ "policy": policy.to_string() }), policy);
    Ok(())
}

fn accept_history(context: &Context, which: &Which) -> Outcome {
    if running_node(&context.data, which.name(context))?.is_none() {
        return Err(Failure::user("no node of this data folder runs")
            .hint("start it with `bmm node --footstone WALLET`; it hears from the network what was bet"));
    }
    let report: KeeperReport = ask_node(&context.data, &ControlRequest::AcceptHistory, &mut |_, _| true)?;
    let text = format!("taken over; the node {}", words(&report.state));
    output::print(context.global.json, &report, text);
    Ok(())
}

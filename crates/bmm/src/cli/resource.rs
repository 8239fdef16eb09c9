//! `bmm resource`: what a wallet contributes, proofs of hash work, rewards.

use super::{
    Context,
    wallet::{account, open_store},
};
use crate::{
    failure::{Failure, Outcome},
    node::chain_params,
    output,
    rpc::{self, RpcClient},
    wallet::{Passwords, Wallet},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use bmm_chain::{Solutions, WorkKey};
use bmm_types::{
    Amount,
    system::{MICRO, RESOURCES, Resources},
};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{fmt, path::PathBuf, time::Duration};

/// How long a transaction may take to get into a block.
const PATIENCE: Duration = Duration::from_mins(2);
/// How many epochs back rewards are looked for.
const LOOK_BACK: u64 = 64;

/// `bmm resource …`
#[derive(Debug, Subcommand)]
pub enum ResourceCommand {
    /// Show the epochs, and what a wallet contributed in them
    #[command(after_help = "Examples:
  bmm resource status
  bmm resource status savings --epochs 10 --json
  bmm resource status 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266

A node that mines keeps the smallest hashes it finds, proves them and claims rewards by itself; see prove and claim.

--json prints contributor, block, epoch, epochs: [{epoch, seed, closed, pot_bmm, hash_power_units, compute_power_units,
hash_units, compute_units, persistence, power_units, fees_bmm, claimed, kept_hashes}].")]
    Status {
        /// Name of a wallet, or an address [default: the default wallet]
        #[arg(value_name = "NAME|ADDRESS")]
        account: Option<String>,
        /// How many epochs are shown, the present one included
        #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=64))]
        epochs: u64,
    },
    /// Prove hash work, by the hashes that the node of this data folder keeps
    #[command(after_help = "Examples:
  bmm resource prove
  bmm resource prove --epoch 12 --from savings --json

The work of an epoch is proven in the first quarter of the next one, once.

--json prints epoch, contributor, hashes, power_units, transaction, block, fee_bmm.")]
    Prove {
        /// The epoch [default: the last one]
        #[arg(long, value_name = "NUMBER")]
        epoch: Option<u64>,
        #[command(flatten)]
        sending: Sending,
    },
    /// Claim rewards of closed epochs
    #[command(after_help = "Examples:
  bmm resource claim                       everything of the last 64 epochs that is not claimed
  bmm resource claim --epoch 12
  bmm resource claim --for 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 --json

Anybody may send a claim; the reward goes to the contributor.

--json prints contributor, claims: [{epoch, reward_bmm, referred_bmm, transaction, block, fee_bmm}].")]
    Claim {
        /// The epoch [default: all of the last 64]
        #[arg(long, value_name = "NUMBER")]
        epoch: Option<u64>,
        /// The contributor, by address or name of a wallet [default: the wallet that sends]
        #[arg(long = "for", value_name = "NAME|ADDRESS")]
        contributor: Option<String>,
        #[command(flatten)]
        sending: Sending,
    },
}

/// Who sends a transaction.
#[derive(Debug, Args)]
pub struct Sending {
    /// Wallet that sends, by name or address [default: the default wallet]
    #[arg(long, value_name = "WALLET")]
    from: Option<String>,
    /// File whose first line is its password (- is standard input)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A power, in µRU; shown and serialised in resource units.
#[derive(Clone, Copy)]
struct Power(U256);

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micro) = self.0.div_rem(U256::from(MICRO));
        let text = format!("{whole}.{:06}", micro.to::<u64>());
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for Power {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Serialize)]
struct Status {
    contributor: Address,
    block: u64,
    epoch: u64,
    epochs: Vec<EpochView>,
}

#[derive(Serialize)]
struct EpochView {
    epoch: u64,
    seed: B256,
    closed: bool,
    pot_bmm: Amount,
    /// PP of all contributors.
    hash_power_units: Power,
    compute_power_units: Power,
    /// DPP of this one.
    hash_units: Power,
    compute_units: Power,
    persistence: Power,
    power_units: Power,
    fees_bmm: Amount,
    claimed: bool,
    /// Hashes that the node of this data folder keeps.
    kept_hashes: usize,
}

#[derive(Serialize)]
struct Proved {
    epoch: u64,
    contributor: Address,
    hashes: String,
    power_units: Power,
    transaction: B256,
    block: u64,
    fee_bmm: Amount,
}

#[derive(Serialize)]
struct Claims {
    contributor: Address,
    claims: Vec<ClaimView>,
}

#[derive(Serialize)]
struct ClaimView {
    epoch: u64,
    reward_bmm: Amount,
    referred_bmm: Amount,
    transaction: B256,
    block: u64,
    fee_bmm: Amount,
}

/// Answers `bmm resource`.
pub fn run(context: &Context, command: &ResourceCommand) -> Outcome {
    match command {
        ResourceCommand::Status { account, epochs } => status(context, account.as_deref(), *epochs),
        ResourceCommand::Prove { epoch, sending } => prove(context, *epoch, sending),
        ResourceCommand::Claim { epoch, contributor, sending } => {
            claim(context, *epoch, contributor.as_deref(), sending)
        }
    }
}

/// Opens what the miner of this data folder found.
fn solutions(context: &Context) -> Outcome<Solutions> {
    let chain = &context.config.chain;
    let rules = chain_params(&context.data, chain)?.resources;
    let rules = rules.ok_or_else(|| {
        Failure::config(format!("the chain {chain} has no resource ledger")).hint("choose another chain in config.toml")
    })?;
    let file = context.data.solutions(chain);
    Solutions::open(&file, rules.proof_hashes.into()).map_err(|error| {
        Failure::config(format!("{}: {error}", file.display())).hint("the node writes it; is it from another version?")
    })
}

fn status(context: &Context, text: Option<&str>, count: u64) -> Outcome {
    let store = open_store(context);
    let contributor = match text {
        Some(text) => account(&store, text)?,
        None => store.default_wallet()?.address,
    };
    let node = rpc::connect(context)?;
    let kept = solutions(context)?;
    let block = node.block_number()?;
    let epoch = node.contract(RESOURCES, &Resources::currentEpochCall {})?;
    let mut epochs = Vec::new();
    for number in epoch.saturating_sub(count.saturating_sub(1))..=epoch {
        let about = node.contract(RESOURCES, &Resources::epochOfCall { epoch: number })?;
        let own = node.contract(RESOURCES, &Resources::contributionOfCall { epoch: number, contributor })?;
        epochs.push(EpochView {
            epoch: number,
            seed: about.seed,
            closed: about.closed,
            pot_bmm: Amount(about.pot),
            hash_power_units: Power(about.hashPower),
            compute_power_units: Power(about.computePower),
            hash_units: Power(own.hashPower),
            compute_units: Power(own.computePower),
            persistence: Power(own.persistence),
            power_units: Power(own.power),
            fees_bmm: Amount(own.fees),
            claimed: own.claimed,
            kept_hashes: kept.len(&WorkKey { epoch: number, seed: about.seed, contributor }),
        });
    }
    let view = Status { contributor, block, epoch, epochs };
    output::print(context.global.json, &view, view.text());
    Ok(())
}

impl Status {
    fn text(&self) -> String {
        let head = format!("contributor {}\nblock       {}\nepoch       {}", self.contributor, self.block, self.epoch);
        let epochs = self.epochs.iter().map(|epoch| {
            let state = match (epoch.claimed, epoch.closed) {
                (true, _) => "claimed",
                (false, true) => "closed",
                (false, false) if epoch.epoch == self.epoch => "under way",
                (false, false) => "being proven",
            };
            format!(
                "\n\nepoch {} ({state})\n  pot         {}\n  all         {} units by hashing, {} by jobs\n  own         {} units by \
                 hashing, {} by jobs (fees {})\n  persistence {}\n  power       {} units\n  kept hashes {}",
                epoch.epoch,
                epoch.pot_bmm,
                epoch.hash_power_units,
                epoch.compute_power_units,
                epoch.hash_units,
                epoch.compute_units,
                epoch.fees_bmm,
                epoch.persistence,
                epoch.power_units,
                epoch.kept_hashes
            )
        });
        std::iter::once(head).chain(epochs).collect()
    }
}

/// Returns the last epoch that has ended.
fn last_ended(node: &RpcClient) -> Outcome<u64> {
    let present = node.contract(RESOURCES, &Resources::currentEpochCall {})?;
    present.checked_sub(1).ok_or_else(|| {
        Failure::user("no epoch has ended yet").hint("see when with `bmm resource status`, and try again then")
    })
}

fn wallet(context: &Context, sending: &Sending) -> Outcome<Wallet> {
    open_store(context).choose(sending.from.as_deref())
}

fn prove(context: &Context, epoch: Option<u64>, sending: &Sending) -> Outcome {
    let wallet = wallet(context, sending)?;
    let contributor = wallet.address;
    let node = rpc::connect(context)?;
    let epoch = epoch.map_or_else(|| last_ended(&node), Ok)?;
    let seed = node.contract(RESOURCES, &Resources::epochOfCall { epoch })?.seed;
    let key = WorkKey { epoch, seed, contributor };
    let kept = solutions(context)?;
    let (proof, _) = kept.proof(&key).ok_or_else(|| {
        Failure::user(format!(
            "{} hashes of {contributor} in epoch {epoch} are kept in this data folder, too few for a proof",
            kept.len(&key)
        ))
        .hint("hashes are kept by the node that mines for this wallet: bmm node --mine WALLET")
        .hint("name another epoch with --epoch or another wallet with --from")
    })?;
    let proofs = proof.iter().map(|aux| Bytes::from(alloy_rlp::encode(aux))).collect();
    let signer = open_store(context).unlock_wallet(&wallet, &Passwords::choose(sending.password_file.as_deref()))?;
    let call = Resources::proveCall { epoch, proofs };
    let receipt = node.transact(&signer, RESOURCES, Amount::ZERO, &call, PATIENCE)?;
    let proven = receipt.events::<Resources::Proven>(RESOURCES).pop();
    let proven = proven.ok_or_else(|| Failure::internal("the node's receipt lacks the event of the proof"))?;
    let view = Proved {
        epoch,
        contributor,
        hashes: proven.hashes.to_string(),
        power_units: Power(proven.power),
        transaction: receipt.transaction,
        block: receipt.block,
        fee_bmm: receipt.fee(),
    };
    let text = format!(
        "proven      {} hashes of epoch {epoch}, {} units\ntransaction {}\nblock       {}\nfee         {}",
        view.hashes, view.power_units, view.transaction, view.block, view.fee_bmm
    );
    output::print(context.global.json, &view, text);
    Ok(())
}

fn claim(context: &Context, epoch: Option<u64>, contributor: Option<&str>, sending: &Sending) -> Outcome {
    let store = open_store(context);
    let wallet = wallet(context, sending)?;
    let contributor = contributor.map_or(Ok(wallet.address), |text| account(&store, text))?;
    let node = rpc::connect(context)?;
    let epochs = match epoch {
        Some(epoch) => vec![epoch],
        None => unclaimed(&node, contributor)?,
    };
    let mut view = Claims { contributor, claims: Vec::new() };
    if !epochs.is_empty() {
        let signer = store.unlock_wallet(&wallet, &Passwords::choose(sending.password_file.as_deref()))?;
        for epoch in epochs {
            let call = Resources::claimCall { epoch, contributor };
            let receipt = node.transact(&signer, RESOURCES, Amount::ZERO, &call, PATIENCE)?;
            let claimed = receipt.events::<Resources::Claimed>(RESOURCES).pop();
            let claimed =
                claimed.ok_or_else(|| Failure::internal("the node's receipt lacks the event of the claim"))?;
            view.claims.push(ClaimView {
                epoch,
                reward_bmm: Amount(claimed.reward),
                referred_bmm: Amount(claimed.referred),
                transaction: receipt.transaction,
                block: receipt.block,
                fee_bmm: receipt.fee(),
            });
        }
    }
    output::print(context.global.json, &view, view.text());
    Ok(())
}

/// Returns the closed epochs in which something is left to claim.
fn unclaimed(node: &RpcClient, contributor: Address) -> Outcome<Vec<u64>> {
    let present = node.contract(RESOURCES, &Resources::currentEpochCall {})?;
    let mut epochs = Vec::new();
    for epoch in present.saturating_sub(LOOK_BACK)..present {
        let own = node.contract(RESOURCES, &Resources::contributionOfCall { epoch, contributor })?;
        let open = !own.claimed && !own.power.is_zero();
        if open && node.contract(RESOURCES, &Resources::epochOfCall { epoch })?.closed {
            epochs.push(epoch);
        }
    }
    Ok(epochs)
}

impl Claims {
    fn text(&self) -> String {
        if self.claims.is_empty() {
            return format!("nothing to claim for {} in the last {LOOK_BACK} epochs", self.contributor);
        }
        let line = |claim: &ClaimView| {
            let referred = match claim.referred_bmm {
                Amount::ZERO => String::new(),
                referred => format!(", {referred} to the referrer"),
            };
            format!("epoch {}  {}{referred}  (transaction {})", claim.epoch, claim.reward_bmm, claim.transaction)
        };
        self.claims.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_shown_in_units() {
        let shown = |micro: u64| Power(U256::from(micro)).to_string();
        assert_eq!([0, 1, 1_000_000, 1_033_334, 250_000_000].map(shown), ["0", "0.000001", "1", "1.033334", "250"]);
    }
}

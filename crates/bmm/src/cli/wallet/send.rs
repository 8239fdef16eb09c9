//! `bmm wallet send`: a transfer, shown before it is signed.

use super::{Context, account, args::Send};
use crate::{
    failure::{Failure, Outcome},
    output,
    rpc::{self, Draft, Receipt, Sent},
    wallet::{self, Passwords, WalletStore},
};
use alloy_primitives::{Address, B256, Bytes};
use bmm_types::Amount;
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct SendView {
    transaction: B256,
    from: String,
    to: String,
    amount_bmm: Amount,
    max_fee_bmm: Amount,
    nonce: u64,
    chain_id: u64,
    status: &'static str,
    #[serde(flatten)]
    confirmed: Option<ConfirmedView>,
}

#[derive(Serialize)]
struct ConfirmedView {
    block: u64,
    fee_bmm: Amount,
}

/// Answers `bmm wallet send`.
pub fn run(context: &Context, store: &WalletStore, args: &Send) -> Outcome {
    let to = account(store, &args.to)?;
    let wallet = store.choose(args.from.as_deref())?;
    let node = rpc::connect(context)?;
    let draft = node.draft(wallet.address, to, args.amount, Bytes::new())?;
    if !args.yes && wallet::is_interactive() {
        confirm(&describe(&wallet.name, to, args.amount, &draft))?;
    }
    let signer = store.unlock_wallet(&wallet, &Passwords::choose(args.password_file.as_deref()))?;
    let (max_fee_bmm, chain_id) = (draft.max_cost(), draft.transaction.chain_id);
    let Sent { transaction, nonce } = node.send(&signer, draft)?;
    let confirmed = if args.wait {
        output::note(context.global.json, format_args!("sent {transaction}, waiting for a block"));
        let receipt = node.wait_receipt(transaction, Duration::from_secs(args.timeout))?.success()?;
        Some(ConfirmedView::from(&receipt))
    } else {
        None
    };
    let view = SendView {
        transaction,
        from: wallet.address.to_checksum(None),
        to: to.to_checksum(None),
        amount_bmm: args.amount,
        max_fee_bmm,
        nonce,
        chain_id,
        status: if confirmed.is_some() { "confirmed" } else { "sent" },
        confirmed,
    };
    output::print(context.global.json, &view, view.text());
    Ok(())
}

impl From<&Receipt> for ConfirmedView {
    fn from(receipt: &Receipt) -> Self {
        Self { block: receipt.block, fee_bmm: receipt.fee() }
    }
}

impl SendView {
    fn text(&self) -> String {
        let what = format!("{} to {}\ntransaction {}", Amount::to_string(&self.amount_bmm), self.to, self.transaction);
        match &self.confirmed {
            Some(confirmed) => {
                format!("sent {what}\nblock       {}\nfee         {}", confirmed.block, confirmed.fee_bmm)
            }
            None => format!("sent {what}\nnot yet in a block; --wait waits for it"),
        }
    }
}

fn describe(from: &str, to: Address, amount: Amount, draft: &Draft) -> String {
    format!(
        "send      {amount}\nfrom      {from} ({})\nto        {to}\nfee       at most {}\nchain     {}",
        draft.from,
        draft.max_cost(),
        draft.transaction.chain_id
    )
}

/// Shows what would be done and asks the person at the terminal.
fn confirm(description: &str) -> Outcome {
    // Questions go to stderr also under --json: the person sees them, and stdout stays one object.
    output::note(false, format_args!("{description}\nSend it? [y/N]"));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::user(format!("nothing was read from the terminal: {error}")))?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Failure::user("not sent"))
}

//! Pages over this machine's own things: how they look. The binary fills them.

use crate::{Frame, PageError};
use alloy_primitives::{Address, B256, U256};
use askama::Template;
use axum::response::Html;

/// Writes a page.
///
/// # Errors
/// [`PageError::Internal`] if it cannot be written.
pub fn show(page: &impl Template) -> Result<Html<String>, PageError> {
    Ok(Html(page.render()?))
}

/// A job of the list.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// The id, in hexadecimal.
    pub id: String,
    /// Its name, which anybody may have chosen.
    pub name: String,
    /// `opening`, `running`, `cancelling`, `interrupted`, `settled`, `cancelled` or `failed`.
    pub state: &'static str,
    /// Tasks with a result.
    pub done: u64,
    /// Tasks.
    pub tasks: u64,
    /// What it cost, or may cost.
    pub price: U256,
    /// When it was made, Unix seconds.
    pub created: u64,
}

impl JobRow {
    /// Returns the class of the state's tag.
    pub fn class(&self) -> &'static str {
        state_class(self.state)
    }

    /// Returns the first digits of the id.
    pub fn short(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }

    /// Returns the key of the state's text.
    pub fn state_key(&self) -> &'static str {
        match self.state {
            "opening" => "jobs.opening",
            "settled" => "jobs.settled",
            "failed" => "jobs.failed",
            "interrupted" => "jobs.interrupted",
            "cancelled" => "jobs.cancelled",
            "cancelling" => "jobs.cancelling",
            _ => "jobs.is_running",
        }
    }
}

fn state_class(state: &str) -> &'static str {
    match state {
        "settled" => "good",
        "failed" => "bad",
        "interrupted" | "cancelled" | "cancelling" => "warn",
        _ => "",
    }
}

/// The list of jobs.
#[derive(Template)]
#[template(path = "jobs.html")]
pub struct Jobs<'a> {
    /// The frame.
    pub f: Frame<'a>,
    /// Unix seconds.
    pub now: u64,
    /// The jobs, newest first.
    pub jobs: Vec<JobRow>,
}

/// A provider of a job.
#[derive(Clone, Debug)]
pub struct JobProvider {
    /// Who.
    pub address: Address,
    /// Tasks that it has out.
    pub running: u64,
    /// Earned so far.
    pub total: U256,
    /// Why it gets no work, if it does not.
    pub refused: String,
}

/// A file that a job made, or the result of one task.
#[derive(Clone, Debug)]
pub struct JobFile {
    /// The path after the job's.
    pub link: String,
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Whether it is a picture that browsers show.
    pub is_image: bool,
    /// Its beginning, if it is text.
    pub text: String,
}

/// What a process could do for a job that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Further {
    /// Nothing.
    #[default]
    Nothing,
    /// Go on with it.
    Resume,
    /// Take back the rest of its escrow.
    Refund,
}

/// What can be done about a job.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobActs {
    /// What can be done further.
    pub further: Further,
    /// It can be ended.
    pub cancel: bool,
    /// The wallet's password is needed for that.
    pub password: bool,
}

/// One job.
#[derive(Template)]
#[template(path = "job.html")]
pub struct Job<'a> {
    /// The frame.
    pub f: Frame<'a>,
    /// What the list says of it.
    pub row: JobRow,
    /// Unix seconds.
    pub now: u64,
    /// The map of its tasks, drawn; empty for too many.
    pub map: String,
    /// What it does now, a key of the texts, if that is more than to run.
    pub phase: Option<&'static str>,
    /// Runs that are out.
    pub running: u64,
    /// Runs that failed.
    pub failures: u64,
    /// Results a second.
    pub rate: u64,
    /// Seconds left, if that is known.
    pub left: Option<u64>,
    /// What was spent.
    pub spent: U256,
    /// What the escrow holds.
    pub escrow: U256,
    /// What all will cost, if that is known.
    pub projected: Option<U256>,
    /// The providers.
    pub providers: Vec<JobProvider>,
    /// How it ended, for people.
    pub ending: String,
    /// What it made.
    pub files: Vec<JobFile>,
    /// The last lines that its process wrote.
    pub tail: String,
    /// Transactions: what they did, and their hashes.
    pub transactions: Vec<(&'static str, B256)>,
    /// What can be done about it.
    pub acts: JobActs,
}

/// The form of a new job.
#[derive(Template)]
#[template(path = "new_job.html")]
pub struct NewJob<'a> {
    /// The frame.
    pub f: Frame<'a>,
}

/// A quote, and the job file that it is for.
#[derive(Template)]
#[template(path = "quote.html")]
pub struct Quote<'a> {
    /// The frame.
    pub f: Frame<'a>,
    /// The draft's name on this server.
    pub draft: String,
    /// The job file.
    pub file: String,
    /// Who does the work: `here` or `network`.
    pub network: &'static str,
    /// Files beside it.
    pub uploads: Vec<String>,
    /// What is wrong; empty if nothing is.
    pub problem: String,
    /// Names and values of the quote.
    pub quote: Vec<(&'static str, String)>,
    /// Wallets that may pay: name, address, and whether a password is needed.
    pub wallets: Vec<(String, Address, bool)>,
}

/// A wallet of the keystore.
#[derive(Clone, Debug)]
pub struct WalletRow {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Address,
    /// Units.
    pub balance: U256,
    /// Whether commands take it when none is named.
    pub is_default: bool,
    /// Whether a password opens it.
    pub locked: bool,
    /// The QR code, drawn.
    pub qr: String,
}

/// The wallets.
#[derive(Template)]
#[template(path = "wallet.html")]
pub struct Wallet<'a> {
    /// The frame.
    pub f: Frame<'a>,
    /// The wallets.
    pub wallets: Vec<WalletRow>,
    /// The chain's id.
    pub chain_id: u64,
    /// The chain's name.
    pub chain: String,
    /// JSON-RPC for browser wallets.
    pub rpc_url: String,
}

/// A transfer before it is signed.
#[derive(Template)]
#[template(path = "send.html")]
pub struct Send<'a> {
    /// The frame.
    pub f: Frame<'a>,
    /// The wallet's name.
    pub wallet: String,
    /// Whether a password opens it.
    pub locked: bool,
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// The amount as it was typed.
    pub amount: String,
    /// Units.
    pub value: U256,
    /// Highest fee, units.
    pub fee: U256,
    /// Balance after it, units; `None` if it does not suffice.
    pub left: Option<U256>,
    /// Whether the receiver is a contract or was never seen: a reason to look twice.
    pub warning: &'static str,
    /// What is wrong; empty if nothing is.
    pub problem: String,
}

/// A slider of the provider's settings.
#[derive(Clone, Debug)]
pub struct Slider {
    /// The configuration's key.
    pub key: &'static str,
    /// What it is, a key of the texts.
    pub label: &'static str,
    /// Least value.
    pub min: u64,
    /// Highest value.
    pub max: u64,
    /// Step.
    pub step: u64,
    /// Present value.
    pub value: u64,
    /// Unit.
    pub unit: &'static str,
}

/// An operator's earnings.
#[derive(Clone, Debug)]
pub struct Earned {
    /// The job.
    pub job: B256,
    /// When it was taken, Unix seconds.
    pub taken: u64,
    /// Units paid.
    pub paid: U256,
    /// Units promised.
    pub promised: U256,
}

/// What this machine offers.
#[derive(Template)]
#[template(path = "provider.html")]
pub struct Provider<'a> {
    /// The frame.
    pub f: Frame<'a>,
    /// Unix seconds.
    pub now: u64,
    /// Processor, as it says.
    pub hardware: Vec<(String, String)>,
    /// Slots and free slots of the running provider, and why it pauses; `None` if none runs.
    pub running: Option<(u16, u16, String)>,
    /// The operator's address.
    pub operator: Option<Address>,
    /// The settings.
    pub sliders: Vec<Slider>,
    /// Price of 10^9 units of fuel, in BMM.
    pub price: String,
    /// Whether it works only on an idle machine.
    pub idle_only: bool,
    /// The earnings, newest first.
    pub earned: Vec<Earned>,
    /// Earnings of the last 30 days, drawn.
    pub chart: String,
    /// All that was paid.
    pub total: U256,
    /// Whether settings were just written.
    pub saved: bool,
}

/// A table of the pool's page.
#[derive(Clone, Debug, Default)]
pub struct PoolTable {
    /// A key of the texts.
    pub title: &'static str,
    /// Heads of the columns.
    pub heads: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// The pool.
#[derive(Template)]
#[template(path = "pool.html")]
pub struct Pool<'a> {
    /// The frame.
    pub f: Frame<'a>,
    /// Whether one answers.
    pub is_there: bool,
    /// Numbers: a key of the texts, and the value.
    pub tiles: Vec<(&'static str, String)>,
    /// Addresses for miners.
    pub addresses: Vec<String>,
    /// Rates of the workers, drawn.
    pub bars: Vec<(String, String, String)>,
    /// Blocks, payments.
    pub tables: Vec<PoolTable>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Texts, Visit, texts::Language};

    const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";

    #[test]
    fn what_strangers_write_stays_text() {
        let texts = Texts::of(Language::English);
        let visit = Visit { texts, theme: "", path: "/jobs".to_owned(), csrf: None, own: true };
        let row = JobRow {
            id: "00".repeat(32),
            name: HOSTILE.to_owned(),
            state: "running",
            done: 1,
            tasks: 2,
            price: U256::ZERO,
            created: 0,
        };
        let file = JobFile {
            link: "tasks/0".to_owned(),
            name: HOSTILE.to_owned(),
            size: 1,
            is_image: true,
            text: HOSTILE.to_owned(),
        };
        let refused = HOSTILE.to_owned();
        let job = Job {
            f: Frame::new(&visit, HOSTILE),
            row,
            now: 0,
            map: String::new(),
            phase: None,
            running: 0,
            failures: 0,
            rate: 0,
            left: None,
            spent: U256::ZERO,
            escrow: U256::ZERO,
            projected: None,
            providers: vec![JobProvider { address: Address::ZERO, running: 0, total: U256::ZERO, refused }],
            ending: HOSTILE.to_owned(),
            files: vec![file],
            tail: HOSTILE.to_owned(),
            transactions: Vec::new(),
            acts: JobActs { further: Further::Resume, cancel: true, password: true },
        };
        let pool = Pool {
            f: Frame::new(&visit, "pool"),
            is_there: true,
            tiles: vec![("pool.rate", HOSTILE.to_owned())],
            addresses: vec![HOSTILE.to_owned()],
            bars: vec![(HOSTILE.to_owned(), HOSTILE.to_owned(), HOSTILE.to_owned())],
            tables: vec![PoolTable { title: "pool.blocks", heads: Vec::new(), rows: vec![vec![HOSTILE.to_owned()]] }],
        };
        for page in [job.render().expect("a page"), pool.render().expect("a page")] {
            assert!(page.contains("alert(1)"), "the text is there");
            assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "{page}");
        }
    }
}

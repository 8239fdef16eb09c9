//! What can be chosen.

use bmm_types::market::{Audit, Checker, Content, Verify};
use clap::Args;
use serde::Serialize;

use super::manners::Kind;

/// Parts of a million, written as `10%`, `0.05%` or `0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Share(
    /// Parts of a million, at most 1,000,000.
    pub u64,
);

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = text.strip_suffix('%').map_or((text, 1_000_000), |number| (number, 10_000));
        let (units, decimals) = number.split_once('.').unwrap_or((number, ""));
        let wrong = || format!("{text:?} is no share from 0 to 1; write 10% or 0.1");
        let digits = decimals.len() <= 6 && [units, decimals].iter().all(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let units: u64 = units.parse().ok().filter(|units| digits && *units <= 100).ok_or_else(wrong)?;
        let decimals: u64 = format!("{decimals:0<6}").parse().map_err(|_| wrong())?;
        let ppm = units * whole + decimals * whole / 1_000_000;
        if ppm > 1_000_000 { Err(wrong()) } else { Ok(Self(ppm)) }
    }
}

/// Share of all results that is checked where the mode names none.
const FLOOR: &str = "2%";

/// Reads `none`, `replicate:3`, `audit`, `audit:2%`, `checker` and `checker:10%`.
fn mode(text: &str) -> Result<Verify, String> {
    let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
    let floor = || -> Result<u32, String> {
        let share: Share = value.unwrap_or(FLOOR).parse()?;
        u32::try_from(share.0).map_err(|error| error.to_string())
    };
    match name {
        "none" if value.is_none() => Ok(Verify::None),
        "replicate" => {
            let n = value.unwrap_or("2").parse().ok().filter(|n| (2..=15).contains(n));
            n.map(Verify::Replicate).ok_or_else(|| "replicate takes 2 to 15 operators: replicate:3".to_owned())
        }
        "audit" => Ok(Verify::Audit(Audit { floor_ppm: floor()? })),
        "checker" => Ok(Verify::Checker(Checker { app: Content::of(b"verifier"), floor_ppm: floor()?, listing: None })),
        _ => Err(format!("{text:?} is none of none, replicate:N, audit:SHARE, checker:SHARE")),
    }
}

/// Options of a simulated market.
#[derive(Clone, Debug, Args, Serialize)]
pub struct Options {
    /// Providers at the start
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub providers: u32,
    /// Share of the providers that cheat
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    pub cheaters: Share,
    /// How they cheat, in equal parts
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        default_value = "wrong,collude,copy,lazy,sybil,sleeper,silent"
    )]
    pub kinds: Vec<Kind>,
    /// Tasks of each requester's job; 400 a provider if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub tasks: Option<u64>,
    /// Requesters, each with one job, all at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub requesters: u16,
    /// How results are verified: none, replicate:N, audit:FLOOR, checker:FLOOR; a floor is the least share that is checked
    #[arg(long, value_name = "MODE", default_value = "audit", value_parser = mode)]
    pub mode: Verify,
    /// Tasks that each requester's own machine checks at once, at middling speed; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub own_checks: u16,
    /// Stake that each provider locks for a job, in thousandths of a BMM; a task earns about a thousandth
    #[arg(long, value_name = "MILLIBMM", default_value_t = 0)]
    pub stake: u32,
    /// Fuel of a task, in seconds of a provider of middling speed
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub task_seconds: u64,
    /// Share of the providers that leave or crash while the job runs; a new one comes for each that leaves
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub churn: Share,
    /// Share of the messages with which their connection breaks; it comes back after a moment
    #[arg(long, value_name = "SHARE", default_value = "0.05%")]
    pub loss: Share,
    /// How often each requester dies and goes on from its log
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub crashes: u32,
    /// Share of the requesters that vanish for ever in the middle of their job
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    pub vanish: Share,
    /// Seeds to run
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub seeds: u32,
    /// The first of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first_seed: u64,
    /// Sign and check everything for real; costs some 200 µs a batch
    #[arg(long)]
    pub sign: bool,
    /// Threads; as many as there are cores if not given
    #[arg(long, value_name = "N")]
    #[serde(skip)]
    pub threads: Option<usize>,
}

impl Options {
    /// Returns the tasks of one requester's job.
    pub fn tasks(&self) -> u64 {
        self.tasks.unwrap_or(u64::from(self.providers) * 400)
    }
}

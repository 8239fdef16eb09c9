//! Jobs: the requester's side of the market wired to files, the chain and this process's providers.

mod checks;
mod drive;
mod escrow;
mod executor;
mod explain;
mod folder;
pub(crate) mod hosts;
mod link;
mod merge;
mod network;
mod new;
mod outputs;
mod progress;
mod provider;
mod quote;
mod reach;
mod receipt;
mod remote;
mod run;
mod slots;

pub use checks::Checks;
pub use drive::{Desk, Driver, DriverParts, Journal, Pace};
pub use escrow::now_secs;
pub use executor::{Contents, PreparedJob};
pub use folder::{JobFolder, JobRecord, JobStatus};
pub use hosts::open_vm;
pub use link::{DRIVER_INBOX, Inbox, ToDriver, now_micros};
pub use new::{NewJob, RunOptions};
pub use outputs::Outputs;
pub use progress::read_progress;
pub use provider::{Input, Outlet, Prepare, ProviderHandle, ProviderHost, Session};
pub use reach::{NetChoice, addresses, enter as enter_market, join as join_market, speaker};
pub use receipt::{FoundWrong, ProviderPay, Receipt, Verified};
pub use remote::RemoteProvider;
pub use run::{explain, resume};
pub use slots::{ActiveJob, Blobs, Results};

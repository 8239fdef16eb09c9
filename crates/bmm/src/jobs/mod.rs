//! Jobs: the requester's side of the market wired to files, the chain and this process's providers.

mod checks;
mod drive;
mod escrow;
mod executor;
mod explain;
mod folder;
mod hosts;
mod link;
mod merge;
mod network;
mod new;
mod outputs;
mod progress;
mod provider;
mod quote;
mod receipt;
mod run;

pub use checks::Checks;
pub use drive::{Desk, Driver, DriverParts, Journal, Pace};
pub use executor::{Contents, PreparedJob};
pub use folder::{JobFolder, JobRecord, JobStatus};
pub use hosts::open_vm;
pub use link::{DRIVER_INBOX, ToDriver};
pub use new::{NewJob, RunOptions};
pub use outputs::Outputs;
pub use progress::read_progress;
pub use provider::{Blobs, ProviderHandle, ProviderHost};
pub use receipt::{ProviderPay, Receipt};
pub use run::{explain, resume};

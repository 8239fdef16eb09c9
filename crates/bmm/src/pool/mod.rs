//! A mining pool: this node's blocks worked on by others' hardware, and everybody paid for its part.

mod check;
mod config;
mod network;
mod payer;
mod reports;
mod run;
mod setup;

pub use check::check;
pub use config::{ParentChain, PoolConfig};
pub use payer::{PayError, Payer, PayoutRules};
pub use reports::{PaymentsQuery, payments, running, status, workers};
pub use run::{PoolOptions, Running, run};

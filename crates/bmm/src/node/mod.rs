//! The node of a data folder: chain, block producer and JSON-RPC server in this process.

mod contribute;
mod control;
mod dev;
mod handle;
mod net;
mod open;
mod reports;

pub use contribute::Contributor;
pub use control::{Control, ControlRequest, ask_node};
pub use dev::{chain_params, dev_key};
pub use handle::{Mine, Node, NodeOptions};
pub use net::{Joined, NetOptions};
pub use open::{chain_failure, open_chain, running_node};
pub use reports::{BackupReport, BanReport, StatsReport, TableReport};

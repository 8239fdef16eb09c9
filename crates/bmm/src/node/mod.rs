//! The node of a data folder: chain, block producer and JSON-RPC server in this process.

mod dev;
mod handle;
mod open;

pub use dev::{chain_params, dev_key};
pub use handle::{Mine, Node, NodeOptions};
pub use open::{open_chain, running_node};

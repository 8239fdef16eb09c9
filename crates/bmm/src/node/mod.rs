//! The node of a data folder: chain, block producer and JSON-RPC server in this process.

mod dev;
mod handle;

pub use dev::{chain_params, dev_key};
pub use handle::{Mine, Node, NodeOptions};

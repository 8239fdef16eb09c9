//! A small synchronous JSON-RPC client, and how the command line finds the node to talk to.

mod chain;
mod client;
mod error;
mod node_file;
mod revert;
mod source;

pub use chain::{Draft, Fees, Receipt, Sent};
pub use client::RpcClient;
pub use error::RpcError;
pub use node_file::{NodeFile, connect};
pub use source::RpcSource;

//! Benchmarks of the ledger: transactions and reads over JSON-RPC against anvil, and the import of blocks against revm alone.

mod contracts;
mod http;
mod people;
mod server;
mod submit;

pub use submit::{erc20, transfers};

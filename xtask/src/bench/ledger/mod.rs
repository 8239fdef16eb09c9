//! Benchmarks of the ledger: transactions and reads over JSON-RPC against anvil, and the import of blocks against revm alone,
//! and taking a chain with and without a snapshot.

mod contracts;
mod drive;
mod http;
mod import;
mod people;
mod rpc;
mod server;
mod submit;
mod sync;

pub use import::{Side, import, measured};
pub use rpc::rpc;
pub use server::cpu_of;
pub use submit::{erc20, transfers};
pub use sync::sync;

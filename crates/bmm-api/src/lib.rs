//! JSON-RPC: the chain as wallets, libraries and tools of Ethereum know it.
//!
//! The layer above `bmm-chain` and `bmm-ledger`: it reads parameters, asks the chain, and writes answers in the shapes of
//! Ethereum's execution-apis, so that viem, ethers and `cast` work unchanged. It holds no state of its own beyond its limits, no
//! keys (who mines signs by a closure), and knows nothing of the sandbox (`bmm-vm`), of command lines or of environment variables.

mod admin;
mod aux;
mod blocks;
mod config;
mod debug;
mod envelope;
mod error;
mod eth;
mod filters;
mod finality;
mod gate;
mod methods;
mod net;
mod network;
mod news;
mod ots;
mod params;
mod raw;
mod replays;
mod server;
mod sync;
mod trace;
mod txpool;
mod wait;

pub use aux::Miners;
pub use config::ApiConfig;
pub use network::{NetworkView, NodeView, PeerView, SyncView};
pub use server::{ApiError, ApiHandle, Desk, Surroundings, serve, serve_in};

//! The JSON-RPC server as its callers meet it: a real server over a chain in memory, asked over real sockets.

mod anvil;
mod errors;
mod foundry;
mod hardhat;
mod logs;
mod methods;
mod node;
mod ots;
mod overrides;
mod pending;
mod project;
mod scene;
mod shape;
mod simulate;
mod tools;
mod trace;
mod trace_anvil;
mod transactions;
mod transport;

//! The JSON-RPC server as its callers meet it: a real server over a chain in memory, asked over real sockets.

mod anvil;
mod aux;
mod errors;
mod filters;
mod foundry;
mod hardhat;
mod load;
mod logs;
mod methods;
mod node;
mod ots;
mod overrides;
mod parts;
mod pending;
mod project;
mod proof;
mod scene;
mod shape;
mod simulate;
mod sockets;
mod subscriptions;
mod tools;
mod trace;
mod trace_anvil;
mod transactions;
mod transport;

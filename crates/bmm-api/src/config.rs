//! What an operator may set.

use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// Settings of the JSON-RPC server. The defaults suit a node that serves its own machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port for HTTP and WebSocket. Port 0 takes any free one. Default: `127.0.0.1:8545`, this machine alone.
    pub address: SocketAddr,
    /// Names, beside `localhost` and plain IP addresses, that a request's `Host` header may carry; `*` for any. Default: none.
    ///
    /// A page in a browser that points its own name at this machine (DNS rebinding) carries that name here, and is refused.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages, beside those served by this machine, that may use the node from a browser, for example
    /// `https://explorer.example.org`; `*` for any. Default: none.
    pub allowed_origins: Vec<String>,
    /// Connections open at once. Default: 256.
    pub max_connections: u32,
    /// Longest request, a batch or a WebSocket message included, in bytes. Default: 5 MiB.
    pub max_request_bytes: u32,
    /// Longest answer in bytes. Default: 32 MiB.
    pub max_response_bytes: u32,
    /// Calls in one batch. Default: 1,000.
    pub max_batch: u32,
    /// Expensive calls (`eth_call`, `eth_estimateGas`, `eth_getLogs`, `eth_sendRawTransaction`, `eth_feeHistory`) that run at
    /// once; 0 means one for each core. Default: 0.
    pub max_running: usize,
    /// Expensive calls that may wait for their turn; further ones are refused. Default: 1,024.
    pub max_waiting: usize,
    /// Gas that `eth_call` and `eth_estimateGas` may use at most. Default: 60,000,000.
    pub call_gas_limit: u64,
    /// Blocks that one `eth_getLogs` may span. Default: 10,000.
    pub max_log_blocks: u64,
    /// Logs that one `eth_getLogs` may return. Default: 10,000.
    pub max_logs: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8545)),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_connections: 256,
            max_request_bytes: 5 << 20,
            max_response_bytes: 32 << 20,
            max_batch: 1_000,
            max_running: 0,
            max_waiting: 1_024,
            call_gas_limit: 60_000_000,
            max_log_blocks: 10_000,
            max_logs: 10_000,
        }
    }
}

//! What an operator chooses about the server.

use super::noise::AuthorityKey;
use crate::difficulty::{Limits, ShareDifficulty};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// A server of Stratum V1 and V2.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where miners connect over Stratum V1.
    pub listen: Vec<Listen>,
    /// Where miners connect over Stratum V2. There is at least one place of either kind.
    pub listen_v2: Vec<ListenV2>,
    /// By which the pool is known in Stratum V2.
    pub authority: Option<AuthorityKey>,
    /// Certificate and key, for the places with TLS.
    pub tls: Option<TlsFiles>,
    /// How hard shares are.
    pub difficulty: DifficultyConfig,
    /// Bounds.
    pub limits: ServerLimits,
    /// Threads that hash shares.
    pub hash_threads: usize,
    /// How long a share may wait for others to be hashed together with it. A batch that is full does not wait.
    pub gather: Duration,
}

impl ServerConfig {
    /// Listens at these places over Stratum V1, with all else as usual: a thread of hashing for each core.
    pub fn new(listen: Vec<Listen>) -> Self {
        Self {
            listen,
            listen_v2: Vec::new(),
            authority: None,
            tls: None,
            difficulty: DifficultyConfig::default(),
            limits: ServerLimits::default(),
            hash_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            gather: Duration::from_millis(1),
        }
    }
}

/// A place where miners connect. Large hardware gets a port of its own with a high difficulty to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Difficulty to begin with. On a chain whose blocks are easier than that, it begins as hard as a block.
    pub start: ShareDifficulty,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// A place where miners connect over Stratum V2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenV2 {
    /// Address and port.
    pub address: SocketAddr,
    /// Difficulty to begin with, for miners that do not say how fast they are.
    pub start: ShareDifficulty,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How hard shares are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DifficultyConfig {
    /// Between which difficulties.
    pub limits: Limits,
    /// How many shares a minute are wanted of a miner.
    pub shares_per_minute: u32,
}

impl Default for DifficultyConfig {
    fn default() -> Self {
        let least = ShareDifficulty::parts(1 << 10);
        Self { limits: Limits { least, greatest: ShareDifficulty::GREATEST }, shares_per_minute: 17 }
    }
}

/// Bounds of what strangers can make the server hold or do. "An address" is one of IPv4, or 2^64 neighbours of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections.
    pub connections: usize,
    /// Connections of one address.
    pub per_address: u32,
    /// Connections that one address may begin a second, on average.
    pub connects_per_sec: u32,
    /// Connections that it may begin at once, as a farm does when its power returns.
    pub connects_at_once: u32,
    /// Time until a connection must have subscribed and authorised a worker.
    pub handshake: Duration,
    /// Time without a line from the miner until its connection is closed.
    pub idle: Duration,
    /// Time until a miner must have taken something of what was sent to it.
    pub stall: Duration,
    /// Bytes that wait for a slow miner before it is dropped.
    pub out_bytes: usize,
    /// Shares of one connection that are being checked; more are not read.
    pub in_flight: u32,
    /// Shares of all connections that are being checked; more are refused.
    pub queued_shares: usize,
    /// Shares of one connection on one job.
    pub shares_per_job: usize,
    /// Workers of one connection.
    pub workers_per_connection: usize,
    /// Workers that are remembered.
    pub workers: usize,
    /// Points of misbehaviour at which a connection is closed; see [`Fault`](super::guard::Fault).
    pub fault_points: u32,
    /// Connections closed for that, within [`Self::ban`], until their address is not let in.
    pub strikes: u32,
    /// For how long.
    pub ban: Duration,
    /// For how long a miner that lost its connection can go on with the same extra nonce.
    pub resume: Duration,
    /// Time that shares in flight get when the server stops.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: 4_096,
            connects_per_sec: 20,
            connects_at_once: 4_096,
            handshake: Duration::from_secs(30),
            idle: Duration::from_mins(15),
            stall: Duration::from_secs(30),
            out_bytes: 64 << 10,
            in_flight: 64,
            queued_shares: 1 << 16,
            shares_per_job: 1 << 14,
            workers_per_connection: 64,
            workers: 100_000,
            fault_points: 100,
            strikes: 3,
            ban: Duration::from_mins(10),
            resume: Duration::from_mins(5),
            drain: Duration::from_secs(10),
        }
    }
}

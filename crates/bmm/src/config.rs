//! The configuration: `config.toml` in the data folder, every field with a default, overruled by the command line.

mod network;

pub use network::{NetworkConfig, Reach};

use crate::{
    failure::{Failure, IoContext, Outcome},
    mine::Cores,
    paths::DataDir,
    pool::PoolConfig,
    provide::Hours,
};
use bmm_api::ApiConfig;
use bmm_ledger::store::{History, MAX_VIEW_DEPTH, StoreOptions};
use bmm_vm::container::{CDI_FOLDERS, EngineAddress};
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What `config.toml` may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The chain to follow: "dev" (a private chain of this data folder) or "main".
    pub chain: String,
    /// JSON-RPC server and client.
    pub rpc: RpcConfig,
    /// Pages for people.
    pub pages: PagesConfig,
    /// Other nodes.
    pub network: NetworkConfig,
    /// Block production.
    pub mine: MineConfig,
    /// What this machine offers.
    pub provide: ProvideConfig,
    /// The chain's database.
    pub storage: StorageConfig,
    /// The mining pool.
    pub pool: PoolConfig,
}

/// `[rpc]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RpcConfig {
    /// Where `bmm up` and `bmm node` listen for JSON-RPC.
    pub listen: SocketAddr,
    /// A node to use instead of one on this machine, such as "http://127.0.0.1:8545".
    pub url: Option<String>,
    /// Names beside `localhost` and plain addresses by which the node may be called, as in a request's `Host`; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may use the node from a browser, such as `https://wallet.example.org`; `*` for any.
    pub allowed_origins: Vec<String>,
}

/// `[pages]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagesConfig {
    /// Whether `bmm up` and `bmm node` serve pages.
    pub enable: bool,
    /// Where they listen. Jobs, wallets and settings have pages only on a loopback address.
    pub listen: SocketAddr,
    /// Names beside `localhost` and plain addresses by which the pages may be called, as in a request's `Host`; `*` for any.
    pub allowed_hosts: Vec<String>,
    /// The explorer's database, `sqlite://FILE` or `postgres://…`; a file beside the chain's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

/// `[mine]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MineConfig {
    /// Percent of one core that the built-in miner of `bmm up` and `bmm node` may use: 1 to 100.
    pub share_percent: u8,
    /// Pools of `bmm mine`, the preferred first, such as "stratum+tcp://pool.example:3333".
    pub pools: Vec<String>,
    /// The user's name at these pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Threads of `bmm mine`; 0 means one for each core.
    pub threads: u16,
    /// Cores that they stay on, such as "0,2,4-7"; any where empty.
    pub affinity: Cores,
    /// Whether `bmm mine` works only while others use less than 15 % of the machine's cores.
    pub idle_only: bool,
}

/// `[provide]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProvideConfig {
    /// Providers in this process, one core each; 0 means as many as the machine has cores.
    pub providers: u16,
    /// Price of 10^9 units of fuel (wasm instructions), in BMM.
    pub price_per_gfuel: bmm_types::Amount,
    /// Most that a provider locks as a stake in one job; a wrong result loses it. Jobs that ask for more are declined.
    pub max_stake: bmm_types::Amount,
    /// Memory that the tasks of `bmm provide` may use together, in MiB; 0 means half of the machine's.
    pub memory_mib: u64,
    /// Whether `bmm provide` runs the jobs of others in containers: native programs, which are held back by the system's kernel alone.
    /// Takes a container engine, or root and `runc`.
    pub containers: bool,
    /// Socket of the container engine that runs them, such as "unix:///run/podman/podman.sock"; `runc` runs them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineAddress>,
    /// Where images are unpacked and containers live while they run; every folder above it must be open to all users.
    pub containers_dir: PathBuf,
    /// Devices for jobs that need a GPU, by their CDI names, such as "nvidia.com/gpu=0"; containers get these and no other.
    pub gpus: Vec<String>,
    /// What a second of one of these devices counts as, in units of fuel, beside the time on cores; 0 takes nothing for them.
    pub fuel_per_gpu_second: u64,
    /// Where CDI specifications are (`nvidia-ctk cdi generate` writes one).
    pub cdi_dirs: Vec<PathBuf>,
    /// Whether `bmm provide` hashes for who rents it, on the slots that have no task.
    pub miner: bool,
    /// Price of 10^9 hashes that a pool accepted, in BMM; if absent, such that a core earns by them what it earns by tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_ghash: Option<bmm_types::Amount>,
    /// Disk for programs, inputs and results of others' jobs, in MiB.
    pub disk_mib: u64,
    /// When `bmm provide` works, by the local clock, such as "22:00-06:30"; always if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Whether `bmm provide` works only while others use less than 15 % of the machine's cores.
    pub idle_only: bool,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Whether the state of every block from now on can be read, however old. Takes more room.
    pub archive: bool,
    /// Without an archive: how many blocks below the head a change of branch may go, at least 1024.
    pub history_blocks: u64,
    /// Memory for pages of the database, in MiB.
    pub page_cache_mib: u32,
    /// Memory for nodes of the state's trie, in MiB. With ten million accounts all of them take some 800.
    pub trie_cache_mib: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chain: "dev".into(),
            rpc: RpcConfig::default(),
            pages: PagesConfig::default(),
            network: NetworkConfig::default(),
            mine: MineConfig::default(),
            provide: ProvideConfig::default(),
            storage: StorageConfig::default(),
            pool: PoolConfig::default(),
        }
    }
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8545)),
            url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

impl Default for PagesConfig {
    fn default() -> Self {
        Self { enable: true, listen: SocketAddr::from(([127, 0, 0, 1], 8580)), allowed_hosts: Vec::new(), index: None }
    }
}

impl Default for MineConfig {
    fn default() -> Self {
        Self {
            share_percent: 2,
            pools: Vec::new(),
            user: None,
            threads: 0,
            affinity: Cores::default(),
            idle_only: false,
        }
    }
}

impl Default for ProvideConfig {
    fn default() -> Self {
        // 0.001 BMM for 10^9 instructions: about a second of one core.
        Self {
            providers: 0,
            price_per_gfuel: bmm_types::Amount::from_units(1_000_000_000_000_000),
            max_stake: bmm_types::Amount::ZERO,
            memory_mib: 0,
            containers: false,
            engine: None,
            gpus: Vec::new(),
            fuel_per_gpu_second: 0,
            cdi_dirs: CDI_FOLDERS.map(PathBuf::from).to_vec(),
            containers_dir: PathBuf::from("/var/lib/bmm/containers"),
            miner: false,
            price_per_ghash: None,
            disk_mib: 10_240,
            hours: None,
            idle_only: false,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { archive: false, history_blocks: History::DEFAULT_BLOCKS, page_cache_mib: 512, trie_cache_mib: 512 }
    }
}

impl RpcConfig {
    /// Returns the settings of the server.
    pub fn server(&self) -> ApiConfig {
        ApiConfig {
            address: self.listen,
            allowed_hosts: self.allowed_hosts.clone(),
            allowed_origins: self.allowed_origins.clone(),
            ..ApiConfig::default()
        }
    }
}

impl StorageConfig {
    /// Returns the options for opening the database.
    pub fn options(&self) -> StoreOptions {
        let bytes = |mib: u32| usize::try_from(u64::from(mib) << 20).unwrap_or(usize::MAX);
        StoreOptions {
            history: if self.archive { History::Archive } else { History::Last(self.history_blocks) },
            page_cache_bytes: bytes(self.page_cache_mib),
            trie_cache_bytes: bytes(self.trie_cache_mib),
        }
    }
}

impl Config {
    /// Reads the chosen file, or `config.toml` of the data folder, or takes the defaults.
    pub fn load(data: &DataDir, chosen: Option<&Path>) -> Outcome<Self> {
        let default_file = data.config_file();
        let path = chosen.unwrap_or(&default_file);
        if chosen.is_none() && !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).doing("read", path)?;
        let config: Self = toml::from_str(&text).map_err(|error| {
            Failure::config(format!("{}: {error}", path.display()))
                .hint("`bmm config show` prints every key with the value in force; take it as a pattern")
        })?;
        config
            .check()
            .map_err(|failure| Failure { message: format!("{}: {}", path.display(), failure.message), ..failure })
    }

    fn check(self) -> Outcome<Self> {
        if !(1..=100).contains(&self.mine.share_percent) {
            return Err(Failure::config("mine.share_percent must be from 1 to 100").hint("2 is the default"));
        }
        if self.storage.history_blocks < MAX_VIEW_DEPTH {
            let what = format!("storage.history_blocks must be at least {MAX_VIEW_DEPTH}");
            return Err(Failure::config(what).hint(format!("{} is the default", History::DEFAULT_BLOCKS)));
        }
        for (name, mib) in
            [("page_cache_mib", self.storage.page_cache_mib), ("trie_cache_mib", self.storage.trie_cache_mib)]
        {
            if mib < 16 {
                return Err(Failure::config(format!("storage.{name} must be at least 16")).hint("512 is the default"));
            }
        }
        if !["dev", "main"].contains(&self.chain.as_str()) {
            return Err(
                Failure::config(format!("chain = {:?} is not known", self.chain)).hint("use \"dev\" or \"main\"")
            );
        }
        self.pool.check()?;
        Ok(self)
    }

    /// Returns the number of providers to start.
    pub fn providers(&self) -> u16 {
        match self.provide.providers {
            0 => std::thread::available_parallelism().map_or(1, |n| u16::try_from(n.get()).unwrap_or(u16::MAX)),
            n => n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read() {
        let config = Config::default();
        let text = toml::to_string(&config).expect("plain values");
        assert_eq!(toml::from_str::<Config>(&text), Ok(config));
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = toml::from_str::<Config>("[mine]\nshare = 3").expect_err("no such key");
        assert!(error.to_string().contains("share"), "{error}");
    }
}

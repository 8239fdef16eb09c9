//! The two sides as processes of their own: our node with its database on the disk, and anvil in memory.

use super::http::Client;
use crate::bench::Outcome;
use alloy_primitives::Address;
use bmm_types::{Amount, ChainParams, Engine, params::Allocation};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// Gas of a block on both sides: room for all transactions of a second, so that the limit is not what is measured.
pub const BLOCK_GAS: u64 = 2_000_000_000;
/// Longest time until a server answers.
const START: Duration = Duration::from_secs(20);
/// Balance of every account, in BMM or in ether.
const BALANCE: u64 = 1_000_000;
/// Gets what the chain gives its own wallet; nobody.
const MINER: Address = Address::repeat_byte(0xbb);

/// How a side makes blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our node, by proof of work every second: the development chain as it comes.
    Ours,
    /// Our node with the engine `dev`: a block at once when a transaction waits.
    OursAtOnce,
    /// anvil, a block every second.
    AnvilEverySecond,
    /// anvil, a block at once when a transaction waits.
    AnvilAtOnce,
    /// anvil, a block when asked for.
    AnvilOnDemand,
}

/// A running server. Dropping it ends the process and removes its files.
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
}

impl Kind {
    /// Starts a fresh server of this kind on which `funded` accounts have coins.
    pub fn start(self, binary: &Path, chain_id: u64, funded: &[Address]) -> Outcome<Server> {
        match self {
            Self::Ours | Self::OursAtOnce => Server::ours(binary, self == Self::OursAtOnce, chain_id, funded),
            Self::AnvilEverySecond => Server::anvil(&["--block-time", "1"], chain_id, funded),
            Self::AnvilAtOnce => Server::anvil(&[], chain_id, funded),
            Self::AnvilOnDemand => Server::anvil(&["--no-mining", "--order", "fifo"], chain_id, funded),
        }
    }
}

impl Server {
    /// Starts `bmm up` on a development chain of its own.
    ///
    /// What differs from the chain that `bmm up` makes: the accounts, the gas of a block, the chain id; and with `at_once` the engine.
    fn ours(binary: &Path, at_once: bool, chain_id: u64, funded: &[Address]) -> Outcome<Self> {
        let folder = folder()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut params = ChainParams::dev(MINER, now);
        params.chain_id = chain_id;
        params.gas_limit = BLOCK_GAS;
        if at_once {
            params.engine = Engine::Dev;
            // Many blocks in one second, whose times must rise by one each.
            params.max_ahead_secs = 1_000_000;
        }
        let balance = Amount::from_bmm(BALANCE);
        params.alloc.extend(funded.iter().map(|&address| Allocation { address, balance }));
        let chain = folder.path().join("chains/dev");
        std::fs::create_dir_all(&chain)?;
        std::fs::write(chain.join("genesis.toml"), toml::to_string(&params)?)?;
        Self::on(binary, folder)
    }

    /// Starts `bmm up` on a data folder.
    pub fn on(binary: &Path, folder: TempDir) -> Outcome<Self> {
        let mut command = Command::new(binary);
        command.args(["up", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(folder.path());
        command.env_remove("BMM_RPC").env_remove("BMM_CONFIG").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let output = process.stdout.take().ok_or("the node has no standard output")?;
        let mut object = String::new();
        for line in BufReader::new(output).lines() {
            let line = line?;
            object.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let listening: Value =
            serde_json::from_str(&object).map_err(|error| format!("`bmm up` said {object:?}: {error}"))?;
        let url =
            listening["rpc"].as_str().and_then(|url| url.strip_prefix("http://")).ok_or("`bmm up` names no address")?;
        Ok(Self { process, address: url.parse()?, folder })
    }

    /// Starts anvil without its log.
    fn anvil(options: &[&str], chain_id: u64, funded: &[Address]) -> Outcome<Self> {
        let folder = folder()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(find_anvil()?);
        command.args(["--silent", "--hardfork", "osaka", "--accounts", "1", "--port", &address.port().to_string()]);
        command.args(["--chain-id", &chain_id.to_string(), "--gas-limit", &BLOCK_GAS.to_string()]).args(options);
        let process = command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut server = Self { process, address, folder };
        let mut client = server.wait()?;
        let balance = format!("{:#x}", Amount::from_bmm(BALANCE).units());
        let calls: Vec<_> = funded.iter().map(|who| ("anvil_setBalance", json!([who, balance]))).collect();
        client.calls(&calls)?;
        Ok(server)
    }

    /// Waits until the server listens.
    fn wait(&mut self) -> Outcome<Client> {
        let began = Instant::now();
        loop {
            match Client::new(self.address) {
                Ok(client) => return Ok(client),
                Err(error) if began.elapsed() > START => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the server ended before it listened: {status}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Connects a client.
    pub fn client(&self) -> Outcome<Client> {
        Client::new(self.address)
    }

    /// Returns the processor time that the server has used.
    pub fn cpu(&self) -> Outcome<Duration> {
        cpu_of(self.process.id())
    }

    /// Returns the most memory that the server has had at once, in bytes.
    pub fn memory_peak_bytes(&self) -> Outcome<u64> {
        memory_peak_of(self.process.id())
    }

    /// Returns the disk space of the server's folder, in bytes.
    pub fn disk_bytes(&self) -> Outcome<u64> {
        disk_bytes(self.folder.path())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a folder beside the program, which is on a disk where the system's temporary folder may be in memory.
pub fn folder() -> Outcome<TempDir> {
    let program = std::env::current_exe()?;
    Ok(tempfile::tempdir_in(program.parent().ok_or("the program has no folder")?)?)
}

/// Finds anvil among the packages of the JSON-RPC tests.
fn find_anvil() -> Outcome<PathBuf> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/bmm-api/tests/js");
    let modules = std::env::var_os("BMM_TEST_NODE_MODULES").map_or_else(|| scripts.join("node_modules"), PathBuf::from);
    let path = modules.join("@foundry-rs/anvil-linux-amd64/bin/anvil");
    if path.is_file() {
        return Ok(path);
    }
    let remedy = "run `npm ci --prefix crates/bmm-api/tests/js` (Linux on x86-64 only)";
    Err(format!("the peer anvil is missing at {}; {remedy}", path.display()).into())
}

/// Returns the processor time of a process, in user and kernel mode (`/proc/PID/stat`, in hundredths of a second).
pub fn cpu_of(process: u32) -> Outcome<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field, the name in parentheses, may hold anything; utime and stime are the 14th and 15th.
    let (_, rest) = text.rsplit_once(')').ok_or("/proc/PID/stat has no name")?;
    let ticks: Vec<u64> = rest.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}

/// Returns the most memory that a process has had at once, in bytes (`VmHWM`).
pub fn memory_peak_of(process: u32) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("/proc/PID/status has no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1_024)
}

/// Returns the disk space of the files below `folder`, in bytes; holes do not count.
pub fn disk_bytes(folder: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() { disk_bytes(&entry.path())? } else { data.blocks() * 512 };
    }
    Ok(bytes)
}

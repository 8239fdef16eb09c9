//! The measured process.

use super::super::Outcome;
use alloy_primitives::{B256, U256};
use bmm_pool::{
    ChainWork, Job, Server, ShareLog,
    difficulty::{Limits, ShareDifficulty},
    server::{Listen, ServerConfig},
};
use bmm_pow::Difficulty;
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, watch};

/// About so many hashes make a share.
const HASHES: u64 = 2;

/// A job of the size that a Litecoin block with a thousand transactions has, whose blocks nobody finds.
fn job() -> Outcome<Arc<Job>> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let target = Difficulty::new(U256::from(1) << 200).ok_or("a difficulty")?.target();
    Ok(Arc::new(Job {
        number: 1,
        coinbase_head: vec![1; 100],
        coinbase_tail: vec![2; 150],
        branch: (0..10).map(B256::repeat_byte).collect(),
        version: 0x2000_0000,
        previous: B256::repeat_byte(3),
        bits: 0x1a0f_fff0,
        time: u32::try_from(time)?,
        clean: true,
        chains: vec![ChainWork { name: "bmm".into(), height: 1, target }],
        effort: None,
    }))
}

/// Serves until its input ends: what `cargo xtask pool-server` does.
pub fn serve(folder: &Path) -> Outcome<()> {
    let start = ShareDifficulty::parts(HASHES);
    let listen = Listen { address: SocketAddr::from(([127, 0, 0, 1], 0)), start, tls: false };
    let mut config = ServerConfig::new(vec![listen]);
    config.difficulty.limits = Limits { least: start, greatest: start };
    config.limits.per_address = u32::MAX;
    config.limits.connects_at_once = u32::MAX;
    let mut log = ShareLog::open(folder)?;
    let (_jobs, watched) = watch::channel(job()?);
    let (blocks, _none) = mpsc::channel(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::start(config, watched, move |shares: &[bmm_pool::Share]| log.append(shares), blocks)?;
        println!("{}", server.addresses()[0]);
        tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await?;
        server.drain().await;
        Ok(())
    })
}

/// The process, seen from outside.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Process {
    /// Starts it with its log below `place`.
    pub fn start(place: &Path) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(place)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("pool-server").arg("--folder").arg(folder.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("the output is taken")?).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| "the server did not start")?;
        Ok(Self { child, address, _folder: folder })
    }

    /// Processor time so far, in user and kernel mode.
    pub fn processor_time(&self) -> Outcome<Duration> {
        super::super::ledger::cpu_of(self.child.id())
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> Outcome<u64> {
        super::super::million::resident_of(&self.child.id().to_string())
    }

    pub fn stop(mut self) -> Outcome<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the server ended with {status}").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A small network of processes on loopback: a node, providers of one slot each, and a requester, as users start them. And what tasks that do
//! nothing cost there.

use super::{
    Outcome, Report, build, number,
    report::{BarIs, Figure},
};
use bmm::jobs::Receipt;
use serde_json::Value;
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a process may take to start.
const PATIENCE: Duration = Duration::from_mins(2);
const NO_OP: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// The processes; they end with it.
pub struct Town {
    binary: PathBuf,
    dir: PathBuf,
    processes: Vec<Child>,
    bootstrap: String,
}

impl Drop for Town {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Town {
    /// Starts a node and `providers` providers in folders under `dir`.
    pub fn start(binary: &Path, dir: &Path, providers: u16) -> Outcome<Self> {
        let (binary, dir) = (binary.to_owned(), dir.to_owned());
        let mut town = Self { binary, dir, processes: Vec::new(), bootstrap: String::new() };
        let node = town.spawn("requester", "up", &["up", "--listen", "127.0.0.1:0"])?;
        let rpc = node["rpc"].as_str().ok_or("the node tells no address")?.to_owned();
        for provider in 0..providers {
            let name = format!("provider-{provider}");
            let bootstrap = town.bootstrap.clone();
            let mut args = vec!["provide", "--rpc", &rpc, "--slots", "1", "--no-mdns"];
            args.extend(["--listen", "/ip4/127.0.0.1/tcp/0"]);
            if !bootstrap.is_empty() {
                args.extend(["--bootstrap", &bootstrap]);
            }
            let told = town.spawn(&name, &name, &args)?;
            let address = told["addresses"][0].as_str().ok_or("the provider tells no address")?;
            address.clone_into(&mut town.bootstrap);
        }
        Ok(town)
    }

    fn command(&self, data: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--json").arg("--data").arg(self.dir.join(data)).args(args).stdin(Stdio::null());
        command.env_remove("BMM_RPC").env_remove("BMM_CONFIG").env_remove("BMM_DATA");
        command
    }

    /// Starts a process and waits until it has said what it does.
    fn spawn(&mut self, data: &str, name: &str, args: &[&str]) -> Outcome<Value> {
        let path = self.dir.join(format!("{name}.out"));
        let mut command = self.command(data, args);
        command.stdout(File::create(&path)?).stderr(File::create(self.dir.join(format!("{name}.err")))?);
        self.processes.push(command.spawn()?);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Ok(told) = serde_json::from_str(&std::fs::read_to_string(&path)?) {
                return Ok(told);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{name} says nothing").into())
    }

    /// Runs a job as a user does, on providers that it finds on the network.
    pub fn run(&self, job: &Path, out: &str) -> Outcome<Receipt> {
        let mut command = self.command("requester", &["run", "--bootstrap", &self.bootstrap]);
        command.arg(job).arg("--out").arg(self.dir.join(out)).stderr(Stdio::inherit());
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("bmm run failed: {}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// Runs a job of `tasks` tasks that do nothing on `providers` processes of one slot each.
pub fn run(tasks: u64, providers: u16) -> Outcome {
    let binary = build()?;
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("no-op.wasm"), wat::parse_str(NO_OP)?)?;
    let job = dir.path().join("job.toml");
    let range = format!("n = {{ range = \"0..{tasks}\" }}");
    std::fs::write(&job, format!("app = \"./no-op.wasm\"\n[split]\n{range}\n[verify]\nmode = \"none\"\n"))?;
    let town = Town::start(&binary, dir.path(), providers)?;
    let receipt = town.run(&job, "out")?;
    if receipt.done != tasks {
        return Err(format!("{} of {tasks} tasks were done: {}", receipt.done, receipt.ending).into());
    }
    let seconds = |millis: u64| number(millis) / 1_000.0;
    let running = seconds(receipt.running_ms);
    let figures = vec![
        Figure::new("tasks", number(tasks), ""),
        Figure::new("provider processes of one slot", f64::from(providers), ""),
        Figure::new("providers that were paid", number(u64::try_from(receipt.providers.len())?), ""),
        Figure::new("first lease to last results", running, "s"),
        Figure::new("tasks per second", number(tasks) / running, "1/s").held_against(BarIs::AtLeast, 20_000.0),
        Figure::new("escrow to settlement", seconds(receipt.wall_ms), "s"),
    ];
    let notes = [
        "Processes and data folders of their own: a node with its miner, the providers, `bmm run`; libp2p over TCP on loopback.",
        "Included: lease, sandbox, encoded and signed messages, encryption, checked signatures, vouchers on disk, log and outputs.",
    ];
    Ok(Report::new("network-tasks", figures, None, &notes))
}

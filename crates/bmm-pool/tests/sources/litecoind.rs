//! Two real Litecoin nodes on this machine, on a chain of their own.

use serde_json::{Value, json};
use std::{
    io::Write as _,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Says that a test is skipped, and why. In CI the program is installed.
pub fn is_missing() -> bool {
    let found = Command::new("litecoind").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = !found.is_ok_and(|status| status.success());
    if missing {
        assert!(std::env::var_os("CI").is_none(), "CI must install litecoind");
        // Not by `eprintln`, which the test harness would keep to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: litecoind is missing; on Debian: apt-get install litecoind");
    }
    missing
}

struct Process {
    child: Child,
    folder: PathBuf,
    rpc: u16,
}

/// The nodes. A block template is given only by one that has a peer.
pub struct Litecoin {
    first: Process,
    second: Process,
    agent: ureq::Agent,
    _folder: TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

impl Litecoin {
    /// Starts both, with a wallet in the first.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let (port, other) = (free_port(), free_port());
        let begin = |name: &str, port: u16, more: &[String]| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            let rpc = free_port();
            let child = Command::new("litecoind")
                .arg("-regtest")
                .arg(format!("-datadir={}", folder.display()))
                .args([format!("-port={port}"), format!("-rpcport={rpc}"), format!("-bind=127.0.0.1:{port}")])
                .args([
                    "-listen=1",
                    "-server=1",
                    "-listenonion=0",
                    "-dnsseed=0",
                    "-fallbackfee=0.001",
                    "-printtoconsole=0",
                    "-rpcworkqueue=256",
                ])
                .args(more)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("litecoind starts");
            Process { child, folder: folder.join("regtest"), rpc }
        };
        let first = begin("first", port, &[]);
        let second = begin("second", other, &[format!("-connect=127.0.0.1:{port}")]);
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .build()
            .into();
        let nodes = Self { first, second, agent, _folder: folder };
        nodes.until("both nodes answer", || {
            let both = [&nodes.first, &nodes.second].map(|node| nodes.try_call(node, "getblockcount", &json!([])));
            both.iter().all(Result::is_ok)
        });
        nodes.until("they are connected", || nodes.call("getconnectioncount", json!([])) != json!(0));
        nodes.call("createwallet", json!(["w"]));
        nodes
    }

    /// Address of the first node's RPC, and its cookie file.
    pub fn rpc(&self) -> (String, PathBuf) {
        (format!("http://127.0.0.1:{}", self.first.rpc), self.first.folder.join(".cookie"))
    }

    /// As [`Self::rpc`], of the second.
    pub fn second_rpc(&self) -> (String, PathBuf) {
        (format!("http://127.0.0.1:{}", self.second.rpc), self.second.folder.join(".cookie"))
    }

    fn try_call(&self, node: &Process, method: &str, params: &Value) -> Result<Value, String> {
        let cookie = std::fs::read_to_string(node.folder.join(".cookie")).map_err(|error| error.to_string())?;
        let login = format!("Basic {}", data_encoding::BASE64.encode(cookie.trim().as_bytes()));
        let body = json!({ "id": 1, "method": method, "params": params });
        let request = self.agent.post(format!("http://127.0.0.1:{}", node.rpc)).header("authorization", login);
        let mut response = request.send_json(&body).map_err(|error| error.to_string())?;
        let mut answer: Value = response.body_mut().read_json().map_err(|error| error.to_string())?;
        if answer["error"].is_null() { Ok(answer["result"].take()) } else { Err(answer["error"].to_string()) }
    }

    /// Asks the first node.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the parameters on the spot")]
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(&self.first, method, &params).unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// Height of the second node, which has every block from the first.
    pub fn height_of_second(&self) -> Value {
        self.try_call(&self.second, "getblockcount", &json!([])).expect("a height")
    }

    /// Makes blocks without the pool.
    pub fn generate(&self, count: u32, address: &str) {
        self.call("generatetoaddress", json!([count, address]));
    }

    /// A new address of the wallet: `bech32`, `legacy` or `mweb`.
    pub fn address(&self, kind: &str) -> String {
        self.call("getnewaddress", json!(["", kind])).as_str().expect("an address").to_owned()
    }

    /// Ends the first node.
    pub fn stop_first(&mut self) {
        let _ = self.first.child.kill();
        let _ = self.first.child.wait();
    }

    /// Waits until something is so.
    #[expect(clippy::unused_self, reason = "reads as what is waited for")]
    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "in time: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Litecoin {
    fn drop(&mut self) {
        for child in [&mut self.first.child, &mut self.second.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

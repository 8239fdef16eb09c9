//! A server to talk to, and a miner that mines.

use alloy_primitives::{B256, U256, hex};
use bmm_pool::{
    ChainWork, Job, LogReader, Server, Share, ShareLog, Solution,
    difficulty::{Limits, ShareDifficulty},
    server::{Listen, ServerConfig},
};
use bmm_pow::{Target, auxpow::merkle::sha256d, difficulty::Difficulty};
use bmm_scrypt::Hasher;
use serde_json::{Value, json};
use std::{net::SocketAddr, ops::Range, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    net::{TcpSocket, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};

/// Somebody who is paid.
pub const ADDRESS: &str = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
/// Long enough on a busy machine; nothing waits so long unless it fails.
pub const LONG: Duration = Duration::from_mins(1);
/// About 16 hashes a share.
pub const EASY: u64 = 16;

/// A job of a chain whose blocks take `hashes` on average.
pub fn job(number: u64, hashes: u64, clean: bool) -> Arc<Job> {
    let target = Difficulty::new(U256::from(hashes)).unwrap().target();
    Arc::new(Job {
        number,
        coinbase_head: [&[1; 40][..], &number.to_le_bytes()].concat(),
        coinbase_tail: vec![2; 60],
        branch: vec![B256::repeat_byte(3), B256::repeat_byte(4)],
        version: 0x2000_0000,
        previous: B256::new(std::array::from_fn(|place| u8::try_from(place).unwrap())),
        bits: 0x1e0f_fff0,
        time: 1_700_000_000,
        clean,
        chains: vec![ChainWork { name: "bmm".into(), height: 7, target }],
        effort: None,
    })
}

/// A server, its log, and what goes in and comes out.
pub struct Pool {
    pub server: Server,
    pub address: SocketAddr,
    pub jobs: watch::Sender<Arc<Job>>,
    pub solutions: mpsc::Receiver<Solution>,
    pub reader: LogReader,
    pub _folder: TempDir,
}

/// Listens on this machine only.
pub fn listen(start: u64, tls: bool) -> Listen {
    Listen { address: "127.0.0.1:0".parse().unwrap(), start: ShareDifficulty::parts(start), tls }
}

/// Shares of about 16 hashes, whatever the miner's speed.
pub fn config() -> ServerConfig {
    let mut config = ServerConfig::new(vec![listen(EASY, false)]);
    config.difficulty.limits = Limits { least: ShareDifficulty::parts(EASY), greatest: ShareDifficulty::parts(EASY) };
    config
}

impl Pool {
    /// Blocks are out of reach.
    pub fn start() -> Self {
        Self::with(config(), job(1, 1 << 50, true))
    }

    pub fn with(config: ServerConfig, first: Arc<Job>) -> Self {
        Self::with_log(config, first, |log, shares| log.append(shares).map_err(|error| error.to_string()))
    }

    /// With something between the server and its log.
    pub fn with_log(
        config: ServerConfig,
        first: Arc<Job>,
        mut append: impl FnMut(&mut ShareLog, &[Share]) -> Result<Range<u64>, String> + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut log = ShareLog::open(folder.path()).unwrap();
        let reader = log.reader();
        let (jobs, watched) = watch::channel(first);
        let (sender, solutions) = mpsc::channel(64);
        let server = Server::start(config, watched, move |shares: &[Share]| append(&mut log, shares), sender).unwrap();
        Self { address: server.addresses()[0], server, jobs, solutions, reader, _folder: folder }
    }

    pub async fn connect(&self) -> Miner {
        Miner::over(TcpStream::connect(self.address).await.unwrap())
    }

    /// Connects from another address of this machine: 127.0.0.`last`.
    pub async fn connect_from(&self, last: u8) -> Miner {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        Miner::over(socket.connect(self.address).await.unwrap())
    }

    /// A miner that has its first job.
    pub async fn miner(&self, worker: &str) -> Miner {
        let mut miner = self.connect().await;
        miner.subscribe(json!(["test/1"])).await;
        miner.authorise(worker).await;
        miner
    }

    /// Shares in the log.
    pub fn logged(&self) -> u64 {
        self.reader.next()
    }
}

/// A job as it was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub params: Vec<Value>,
    pub difficulty: f64,
}

pub type Stream = Box<dyn ReadWrite>;
pub trait ReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ReadWrite for T {}

/// A miner: it reads the wire as cpuminer does, and knows nothing of the server's types.
pub struct Miner {
    pub read: BufReader<ReadHalf<Stream>>,
    pub write: WriteHalf<Stream>,
    pub session: String,
    pub extranonce1: String,
    pub user: String,
    pub job: Told,
    pub notices: Vec<Value>,
    next_id: u64,
    difficulty: f64,
    /// Where it goes on: a miner that returns does not begin anew.
    pub nonce: u32,
}

/// A share as it is sent.
#[derive(Clone, Debug)]
pub struct Found {
    pub params: Vec<Value>,
}

impl Miner {
    pub fn over(stream: impl ReadWrite + 'static) -> Self {
        let (read, write) = tokio::io::split(Box::new(stream) as Stream);
        Self {
            read: BufReader::new(read),
            write,
            session: String::new(),
            extranonce1: String::new(),
            user: String::new(),
            job: Told::default(),
            notices: Vec::new(),
            next_id: 1,
            difficulty: 1.0,
            nonce: 0,
        }
    }

    /// Waits for the end of the connection, whatever is said before it.
    pub async fn ended(&mut self) {
        while let Some(line) = self.line().await {
            self.notice(line);
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
        self.write.flush().await.unwrap();
    }

    /// The next line; `None` at the end of the connection, however it ends.
    pub async fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match timeout(LONG, self.read.read_line(&mut line)).await.expect("the server says something") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).expect("a line is JSON")),
        }
    }

    fn notice(&mut self, notice: Value) {
        let params = notice["params"].as_array().cloned().unwrap_or_default();
        match notice["method"].as_str() {
            Some("mining.set_difficulty") => self.difficulty = params[0].as_f64().unwrap(),
            Some("mining.notify") => self.job = Told { params, difficulty: self.difficulty },
            Some("mining.set_extranonce") => self.extranonce1 = params[0].as_str().unwrap().into(),
            _ => {}
        }
        self.notices.push(notice);
    }

    /// Sends a request without waiting for its answer, and returns its id.
    pub async fn post(&mut self, method: &str, params: impl Into<Value>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let line = json!({ "id": id, "method": method, "params": params.into() });
        self.send(&format!("{line}\n")).await;
        id
    }

    /// The answer to a request; notices that come before it are taken.
    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            let line = self.line().await.expect("the server answers");
            if line["id"] == id {
                return line;
            }
            self.notice(line);
        }
    }

    pub async fn call(&mut self, method: &str, params: impl Into<Value>) -> Value {
        let id = self.post(method, params).await;
        self.answer(id).await
    }

    pub async fn subscribe(&mut self, params: Value) {
        let result = self.call("mining.subscribe", params).await["result"].clone();
        self.session = result[0][1][1].as_str().unwrap().into();
        self.extranonce1 = result[1].as_str().unwrap().into();
        assert_eq!((self.extranonce1.len(), &result[2]), (8, &json!(8)));
    }

    /// Authorises a worker, and takes the first job.
    pub async fn authorise(&mut self, worker: &str) {
        self.user = format!("{ADDRESS}.{worker}");
        let answer = self.call("mining.authorize", json!([self.user, "x"])).await;
        assert_eq!(answer["result"], true, "{answer}");
        if self.job.params.is_empty() {
            self.next("mining.notify").await;
        }
    }

    /// Waits for a notice.
    pub async fn next(&mut self, method: &str) -> Value {
        loop {
            let line = self.line().await.expect("the server goes on");
            let is = line["method"] == method;
            self.notice(line.clone());
            if is {
                return line;
            }
        }
    }

    /// The header as miners put it together (cpuminer's way), with numbers of 32 bits turned round where the wire has them so.
    fn header(&self, told: &Told, extranonce2: &str, time: u32, version: u32, nonce: u32) -> [u8; 80] {
        let text = |place: usize| told.params[place].as_str().unwrap();
        let coinbase = hex::decode([text(2), &self.extranonce1, extranonce2, text(3)].concat()).unwrap();
        let mut root = sha256d(&coinbase);
        for node in told.params[4].as_array().unwrap() {
            root = sha256d(&[root.as_slice(), &hex::decode(node.as_str().unwrap()).unwrap()].concat());
        }
        let mut previous = hex::decode(text(1)).unwrap();
        previous.chunks_exact_mut(4).for_each(<[u8]>::reverse);
        let bits = u32::from_str_radix(text(6), 16).unwrap();
        let numbers = [&time.to_le_bytes(), &bits.to_le_bytes(), &nonce.to_le_bytes()].map(|number| number.to_vec());
        let header = [version.to_le_bytes().to_vec(), previous, root.to_vec(), numbers.concat()].concat();
        header.try_into().unwrap()
    }

    /// Mines a share of the last job. `rolled` are bits of the version to set.
    pub fn mine(&mut self, rolled: Option<u32>) -> Found {
        self.mine_where(rolled, |hash, target| hash <= target)
    }

    /// Mines something whose hash and target are as `wanted`.
    pub fn mine_where(&mut self, rolled: Option<u32>, wanted: impl Fn(U256, U256) -> bool) -> Found {
        let told = self.job.clone();
        // target = 0xffff · 2^224 / d: difficulties of tests are multiples of 2^-16.
        let parts = U256::from(told.difficulty * 65_536.0);
        let target = (U256::from(0xffff) << 240) / parts;
        let extranonce2 = "00000000000000a1";
        let time = u32::from_str_radix(told.params[7].as_str().unwrap(), 16).unwrap();
        let version = u32::from_str_radix(told.params[5].as_str().unwrap(), 16).unwrap() | rolled.unwrap_or(0);
        let mut kernel = Hasher::new();
        let lanes = u32::try_from(kernel.lanes()).unwrap();
        loop {
            let nonces: Vec<u32> = (self.nonce..self.nonce + lanes).collect();
            let headers: Vec<_> =
                nonces.iter().map(|nonce| self.header(&told, extranonce2, time, version, *nonce)).collect();
            let mut hashes = vec![[0; 32]; headers.len()];
            kernel.hash(&headers, &mut hashes);
            let found = nonces.iter().zip(&hashes).find(|(_, hash)| wanted(U256::from_le_bytes(**hash), target));
            if let Some((nonce, _)) = found {
                self.nonce = nonce + 1;
                let mut params = vec![
                    json!(self.user),
                    told.params[0].clone(),
                    json!(extranonce2),
                    json!(format!("{time:08x}")),
                    json!(format!("{nonce:08x}")),
                ];
                params.extend(rolled.map(|bits| json!(format!("{bits:08x}"))));
                return Found { params };
            }
            self.nonce += lanes;
        }
    }

    pub async fn submit(&mut self, found: &Found) -> Value {
        self.call("mining.submit", found.params.clone()).await
    }

    /// Mines a share and sends it; it must be accepted.
    pub async fn work(&mut self) {
        let found = self.mine(None);
        let answer = self.submit(&found).await;
        assert_eq!(answer["result"], true, "{answer}");
    }
}

/// The code of a refusal.
pub fn code(answer: &Value) -> u64 {
    assert!(answer["result"].is_null(), "{answer}");
    answer["error"][0].as_u64().unwrap_or_else(|| panic!("a refusal: {answer}"))
}

/// Whether a hash is a block of a job's first chain.
pub fn is_block(job: &Job, hash: &[u8; 32]) -> bool {
    Target::is_met_by(job.chains[0].target, hash)
}

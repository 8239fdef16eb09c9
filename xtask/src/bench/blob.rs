//! One large file over loopback: plain TCP with nothing around it, content exchange as jobs use it, encrypted, verified and stored, and, in
//! between, as many bytes over a stream of the network alone: what encryption and streams leave of a plain copy's speed.

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use bmm_net::{
    Multiaddr, NetConfig, Network, Stream,
    content::{CONTENT_PROTOCOL, ContentStore, Source, fetch_from, serve},
};
use bmm_types::{ContentHash, market::Content};
use cpu_time::ProcessTime;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

/// Share of a plain copy's speed that is wanted.
const BAR: f64 = 0.5;

/// Where the nodes listen.
const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
/// Bytes that are read and written at once.
const BUFFER: usize = 256 << 10;

/// Speeds and costs of one way, a figure a round.
#[derive(Default)]
struct Way {
    mb_per_sec: Vec<f64>,
    /// Processor time of both sides, nanoseconds a byte.
    cost: Vec<f64>,
}

impl Way {
    fn add(&mut self, mib: u32, copy: impl FnOnce() -> Outcome<Duration>) -> Outcome<()> {
        let cpu = ProcessTime::now();
        let took = copy()?;
        let bytes = f64::from(mib) * 1_048_576.0;
        self.mb_per_sec.push(bytes / 1e6 / took.as_secs_f64());
        self.cost.push(cpu.elapsed().as_secs_f64() * 1e9 / bytes);
        Ok(())
    }

    /// The median over the rounds of this way's speed as a share of another's.
    fn share_of(&self, other: &Self) -> f64 {
        median(self.mb_per_sec.iter().zip(&other.mb_per_sec).map(|(ours, other)| ours / other).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Copies `mib` MiB each way, in turns.
pub fn run(mib: u32, rounds: u32) -> Outcome {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("source");
    let content = write_source(&source, u64::from(mib) << 20)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut plain, mut tcp, mut quic, mut stream) = (Way::default(), Way::default(), Way::default(), Way::default());
    for round in 0..rounds {
        let at = dir.path().join(format!("round-{round}"));
        std::fs::create_dir(&at)?;
        plain.add(mib, || copy_plainly(&source, &at.join("plain")))?;
        stream.add(mib, || runtime.block_on(pass(TCP, content.size)))?;
        tcp.add(mib, || runtime.block_on(exchange(TCP, &source, content, &at.join("tcp"))))?;
        quic.add(mib, || runtime.block_on(exchange(QUIC, &source, content, &at.join("quic"))))?;
        std::fs::remove_dir_all(&at)?;
    }
    let cost = |name: &str, way: &Way| Figure::new(name, median(way.cost.clone()), "ns/B");
    let costs = [
        cost("processor time: plain TCP", &plain),
        cost("processor time: Noise and Yamux alone", &stream),
        cost("processor time: content exchange over TCP", &tcp),
        cost("processor time: content exchange over QUIC", &quic),
    ];
    let mut figures = vec![
        Figure::new("size", number(u64::from(mib)), "MiB"),
        Figure::new("Noise and Yamux alone, of a plain copy (median of the rounds)", stream.share_of(&plain), "x"),
        Figure::new("content over TCP, of Noise and Yamux alone (median of the rounds)", tcp.share_of(&stream), "x"),
        Figure::new("over TCP, of a plain copy (median of the rounds)", tcp.share_of(&plain), "x")
            .held_against(BarIs::AtLeast, BAR),
        Figure::new("over QUIC, of a plain copy (median of the rounds)", quic.share_of(&plain), "x"),
        Figure::most("Noise and Yamux alone, from memory to memory", stream.mb_per_sec, "MB/s"),
        Figure::most("content exchange over TCP, Noise and Yamux", tcp.mb_per_sec, "MB/s"),
        Figure::most("content exchange over QUIC", quic.mb_per_sec, "MB/s"),
    ];
    figures.extend(costs);
    let reference = vec![Figure::most("plain TCP, file to file", plain.mb_per_sec, "MB/s")];
    let notes = [
        "Both read a file that is in the page cache and write one, without waiting for the disk.",
        "Ours: encrypted, each chunk of 256 KiB held against BLAKE3 and the whole against SHA-256 while it comes, taken into the store.",
        "The list of the chunks' hashes is made within the time.",
        "Sender and receiver share this machine's cores: what costs more than twice a plain copy's processor time cannot reach half its speed.",
    ];
    Ok(Report::new("blob", figures, Some(reference), &notes))
}

/// Writes bytes that do not repeat, and reads them once so that they are in memory.
fn write_source(path: &Path, size: u64) -> Outcome<Content> {
    let mut file = File::create(path)?;
    let (mut state, mut left) = (0x9e37_79b9_7f4a_7c15_u64, size);
    let mut block = vec![0u8; 1 << 20];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&state.to_le_bytes());
        }
        let part = &block[..usize::try_from(left.min(1 << 20))?];
        file.write_all(part)?;
        left -= u64::try_from(part.len())?;
    }
    Ok(Content { hash: ContentHash::of(&std::fs::read(path)?), size })
}

/// Sends a file over TCP and writes it to another.
fn copy_plainly(source: &Path, to: &Path) -> Outcome<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let began = Instant::now();
    let source = source.to_owned();
    let sending = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut file, mut stream) = (File::open(source)?, listener.accept()?.0);
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => stream.write_all(&buffer[..read])?,
            }
        }
    });
    let (mut stream, mut file) = (TcpStream::connect(address)?, File::create(to)?);
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            read => file.write_all(&buffer[..read])?,
        }
    }
    sending.join().map_err(|_| "the sender died")??;
    Ok(began.elapsed())
}

/// Two nodes, and a stream that one of them has begun to the other.
struct Pair {
    server: Network,
    client: Network,
}

impl Pair {
    async fn start(listen: &str) -> Outcome<Self> {
        let genesis = alloy_primitives::B256::repeat_byte(1);
        let config = || NetConfig { private: true, ..NetConfig::new(genesis) };
        let server = Network::start(NetConfig { listen: vec![listen.parse()?], ..config() }).await?;
        Ok(Self { server, client: Network::start(config()).await? })
    }

    async fn open(&self, name: &str) -> Outcome<Stream> {
        let address = loop {
            if let Some(address) = self.server.listen_addrs().pop() {
                break address;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let address: Result<Multiaddr, _> = address.with_p2p(self.server.peer_id());
        let peer = self.client.dial(address.map_err(|address| format!("{address} has a peer"))?).await?;
        Ok(self.client.open_stream(peer, name).await?)
    }

    async fn stop(self) {
        self.client.shutdown().await;
        self.server.shutdown().await;
    }
}

/// Sends bytes from memory to memory over a stream, over a connection that exists already.
async fn pass(listen: &str, size: u64) -> Outcome<Duration> {
    let pair = Pair::start(listen).await?;
    let name = pair.server.protocol("bench/1");
    let mut asked = pair.server.accept(&name, 4, 4)?;
    let serving = tokio::spawn(async move {
        while let Some((_, mut stream)) = asked.next().await {
            let (mut begin, bytes) = ([0], vec![7; BUFFER]);
            stream.read_exact(&mut begin).await?;
            let mut left = size;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
                stream.write_all(&bytes[..part]).await?;
                left -= number_of(part);
            }
            stream.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    });
    let mut stream = pair.open(&name).await?;
    let began = Instant::now();
    stream.write_all(&[1]).await?;
    stream.flush().await?;
    let (mut buffer, mut left) = (vec![0; BUFFER], size);
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => return Err("the stream ended too early".into()),
            read => left = left.saturating_sub(number_of(read)),
        }
    }
    let took = began.elapsed();
    pair.stop().await;
    serving.abort();
    Ok(took)
}

fn number_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Fetches a file from one node by another, over a connection that exists already.
async fn exchange(listen: &str, source: &Path, content: Content, to: &Path) -> Outcome<Duration> {
    let pair = Pair::start(listen).await?;
    let name = pair.server.protocol(CONTENT_PROTOCOL);
    let mut asked = pair.server.accept(&name, 4, 4)?;
    let path = source.to_owned();
    let source = Source::new(move |hash| (hash == content.hash).then(|| path.clone()));
    let serving = tokio::spawn(async move {
        while let Some((_, stream)) = asked.next().await {
            let _ = serve(stream, &source).await;
        }
    });
    let store = ContentStore::open(to, u64::MAX)?;
    let mut stream = pair.open(&name).await?;
    let began = Instant::now();
    fetch_from(&mut stream, content, &store).await?;
    let took = began.elapsed();
    pair.stop().await;
    serving.abort();
    Ok(took)
}

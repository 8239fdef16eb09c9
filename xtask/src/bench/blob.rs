//! One large file over loopback: plain TCP with nothing around it, and content exchange as jobs use it, encrypted, verified and stored.

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use bmm_net::{
    Multiaddr, NetConfig, Network, PeerId,
    content::{CONTENT_PROTOCOL, ContentStore, Source, fetch_from, serve},
};
use bmm_types::{ContentHash, market::Content};
use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

/// Share of a plain copy's speed that is wanted.
const BAR: f64 = 0.5;

/// Copies `mib` MiB each way, in turns.
pub fn run(mib: u32, rounds: u32) -> Outcome {
    let dir = tempfile::tempdir()?;
    let source = dir.path().join("source");
    let content = write_source(&source, u64::from(mib) << 20)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut plain, mut tcp, mut quic) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let at = dir.path().join(format!("round-{round}"));
        std::fs::create_dir(&at)?;
        let rate = |time: Duration| f64::from(mib) * 1.048_576 / time.as_secs_f64();
        plain.push(rate(copy_plainly(&source, &at.join("plain"))?));
        tcp.push(rate(runtime.block_on(exchange("/ip4/127.0.0.1/tcp/0", &source, content, &at.join("tcp")))?));
        quic.push(rate(runtime.block_on(exchange(
            "/ip4/127.0.0.1/udp/0/quic-v1",
            &source,
            content,
            &at.join("quic"),
        ))?));
        std::fs::remove_dir_all(&at)?;
    }
    let ratio = |ours: &[f64]| {
        let each = ours.iter().zip(&plain).map(|(ours, plain)| ours / plain);
        let mut each: Vec<f64> = each.collect();
        each.sort_by(f64::total_cmp);
        each[each.len() / 2]
    };
    let (over_tcp, over_quic) = (ratio(&tcp), ratio(&quic));
    let figures = vec![
        Figure::new("size", number(u64::from(mib)), "MiB"),
        Figure::most("content exchange over TCP, Noise and Yamux", tcp, "MB/s"),
        Figure::most("content exchange over QUIC", quic, "MB/s"),
        Figure::new("over TCP, of a plain copy (median of the rounds)", over_tcp, "x")
            .held_against(BarIs::AtLeast, BAR),
        Figure::new("over QUIC, of a plain copy (median of the rounds)", over_quic, "x"),
    ];
    let reference = vec![Figure::most("plain TCP, file to file", plain, "MB/s")];
    let notes = [
        "Both read a file that is in the page cache and write one, without waiting for the disk.",
        "Ours: encrypted, each chunk of 256 KiB and the whole held against SHA-256 while it comes, taken into the store.",
        "Sender and receiver share this machine's cores.",
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
    const BUFFER: usize = 256 << 10;
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

/// Fetches a file from one node by another, over a connection that exists already.
async fn exchange(listen: &str, source: &Path, content: Content, to: &Path) -> Outcome<Duration> {
    let genesis = alloy_primitives::B256::repeat_byte(1);
    let config = || NetConfig { private: true, ..NetConfig::new(genesis) };
    let server = Network::start(NetConfig { listen: vec![listen.parse()?], ..config() }).await?;
    let client = Network::start(config()).await?;
    let name = server.protocol(CONTENT_PROTOCOL);
    let mut asked = server.accept(&name, 4, 4)?;
    let path = source.to_owned();
    let source = Source::new(move |hash| (hash == content.hash).then(|| path.clone()));
    let serving = tokio::spawn(async move {
        while let Some((_, stream)) = asked.next().await {
            let _ = serve(stream, &source).await;
        }
    });
    let peer = connect(&client, &server).await?;
    // The list of chunks is made once, and served to everybody.
    let store = ContentStore::open(to, u64::MAX)?;
    let mut stream = client.open_stream(peer, &name).await?;
    let began = Instant::now();
    fetch_from(&mut stream, content, &store).await?;
    let took = began.elapsed();
    client.shutdown().await;
    server.shutdown().await;
    serving.abort();
    Ok(took)
}

async fn connect(client: &Network, server: &Network) -> Outcome<PeerId> {
    let address = loop {
        if let Some(address) = server.listen_addrs().pop() {
            break address;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let address: Multiaddr = address.with_p2p(server.peer_id()).map_err(|address| format!("{address} has a peer"))?;
    Ok(client.dial(address).await?)
}

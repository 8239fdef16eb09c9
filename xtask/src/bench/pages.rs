//! The explorer's index and the pages over it: a chain of blocks with transfers, indexed from nothing, then the first page asked for.

use super::{
    Outcome, Report, number,
    report::{BarIs, Figure},
};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use bmm_chain::{Chain, ChainOptions, ManualClock, TemplateRequest};
use bmm_index::{Follower, Index, catch_up};
use bmm_types::{ChainParams, Engine, Seal, SealedBlock, Transaction};
use bmm_web::{Server, Site, SiteConfig};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// Blocks a second that are wanted of the index.
const BLOCKS_PER_SEC: f64 = 5_000.0;
/// Longest time of the first page at the 99th percentile, milliseconds.
const PAGE_MS: f64 = 50.0;
/// Times that the index is made.
const ROUNDS: usize = 3;
/// Times that each page is asked for.
const ASKED: usize = 1_000;
const NOTES: [&str; 3] = [
    "The chain is in memory and has no seals; its transfers go to accounts that come again.",
    "The index reads blocks, receipts and senders from the chain, and ends with its last commit in the file.",
    "Pages are asked for one after another, each on a connection of its own, with the time of connecting.",
];
const GENESIS_TIME: u64 = 1_900_000_000;

/// Grows a chain without seals, with so many transfers in each block.
fn grow(blocks: u64, transfers: u64) -> Outcome<Arc<Chain>> {
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x42))?;
    let mut params = ChainParams::dev(key.address(), GENESIS_TIME);
    params.engine = Engine::Dev;
    let clock = Arc::new(ManualClock::new(GENESIS_TIME + 1));
    let chain = Chain::in_memory(params, clock.clone(), ChainOptions::default())?;
    let sign = |hash: B256| key.sign_hash_sync(&hash).expect("a local key signs");
    let producers: Vec<_> =
        (1..=9).map(|n| PrivateKeySigner::from_bytes(&B256::repeat_byte(n))).collect::<Result<_, _>>()?;
    for number in 0..blocks {
        clock.advance(1);
        for transfer in 0..transfers {
            let nonce = number * transfers + transfer;
            let transaction = TxEip1559 {
                chain_id: chain.params().chain_id,
                nonce,
                gas_limit: 21_000,
                max_fee_per_gas: 10_000_000_000,
                max_priority_fee_per_gas: 1,
                // Accounts that come again, as those of people do.
                to: TxKind::Call(Address::left_padding_from(&(0x1_0000 + nonce % 5_000).to_be_bytes())),
                value: U256::from(1),
                ..TxEip1559::default()
            };
            let signature = sign(transaction.signature_hash());
            chain.submit(Transaction::from(transaction.into_signed(signature)))?;
        }
        let producer = &producers[usize::try_from(number)? % producers.len()];
        let request = TemplateRequest { beneficiary: producer.address(), ..TemplateRequest::default() };
        let seal = |hash: B256| producer.sign_hash_sync(&hash).expect("a local key signs");
        let block = chain.template(&request, &seal)?.block;
        chain.import(&SealedBlock { block, seal: Seal::None })?;
    }
    Ok(chain)
}

/// Indexes a chain from nothing and returns the seconds that it took.
async fn index(chain: &Arc<Chain>, path: &Path) -> Outcome<(Index, f64)> {
    let index = Index::open_file(path, chain.genesis()).await?;
    let begun = Instant::now();
    catch_up(chain, &index, &AtomicBool::new(false)).await?;
    Ok((index, begun.elapsed().as_secs_f64()))
}

/// Asks for a page on a connection of its own each time; returns the sorted times in milliseconds, and the answer's bytes.
fn ask(address: SocketAddr, path: &str) -> Outcome<(Vec<f64>, usize)> {
    let (mut times, mut bytes) = (Vec::with_capacity(ASKED), 0);
    for _ in 0..ASKED {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(format!("{path}: {}", String::from_utf8_lossy(&answer)).into());
        }
        bytes = answer.len();
    }
    times.sort_by(f64::total_cmp);
    Ok((times, bytes))
}

/// Measures the index over a chain of `blocks` blocks with `transfers` in each, and pages over it.
pub fn run(blocks: u64, transfers: u64) -> Outcome {
    let chain = grow(blocks, transfers)?;
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let path = dir.path().join("index.sqlite");
    let (index, first) = runtime.block_on(index(&chain, &path))?;
    let mut rates = vec![number(blocks) / first];
    for round in 1..ROUNDS {
        let (again, secs) = runtime.block_on(self::index(&chain, &dir.path().join(format!("{round}.sqlite"))))?;
        runtime.block_on(again.close());
        rates.push(number(blocks) / secs);
    }
    let transactions = rates.iter().map(|rate| rate * number(transfers)).collect();
    let on_disk = std::fs::metadata(&path)?.len();
    let follower = Follower::start(chain.clone(), index.clone(), runtime.handle().clone())?;
    let asks: (_, _) = (Box::new(bmm_web::Compute::default) as _, Box::new(|| None) as _);
    let site = Site::new(chain.clone(), index, follower, SiteConfig::default(), asks);
    let router = bmm_web::guard(bmm_web::router(site.clone()), site.clone());
    let server = runtime.block_on(Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), router))?;
    // The first summary is made when the follower has looked.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut figures = vec![
        Figure::most("index from nothing", rates, "blocks/s").held_against(BarIs::AtLeast, BLOCKS_PER_SEC),
        Figure::most("transactions of it", transactions, "a second"),
        Figure::new("index on the disk", number(on_disk) / 1e6, "MB"),
    ];
    let account = format!("/address/{}", Address::left_padding_from(&0x1_0001_u64.to_be_bytes()));
    for (name, path) in [("first page", "/"), ("blocks", "/blocks"), ("an account", &account)] {
        let (times, bytes) = ask(server.address(), path)?;
        let p99 = times[times.len() * 99 / 100];
        figures.push(Figure::new(format!("{name}: p99"), p99, "ms").held_against(BarIs::AtMost, PAGE_MS));
        figures.push(Figure::new(format!("{name}: size"), number(u64::try_from(bytes)?) / 1e3, "kB"));
    }
    drop((server, site));
    Ok(Report::new("pages", figures, None, &NOTES))
}

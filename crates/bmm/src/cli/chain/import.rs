//! `bmm chain import`: every block is checked as one from a stranger.

use super::{Begin, Which, mgas};
use crate::{
    cli::{
        Context, interrupts,
        meter::{Meter, Unit, rate},
    },
    failure::{Failure, IoContext, Outcome},
    node::open_chain,
    output,
};
use alloy_primitives::B256;
use bmm_chain::{Chain, ChainReader, ImportAllError, ImportError};
use clap::Args;
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
};

/// `bmm chain import`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm chain import chain.bmm
  bmm chain import part1.bmm part2.bmm
  zstd -dc chain.bmm.zst | bmm chain import -
  bmm --data copy chain import --genesis ~/.local/share/bmm/chains/dev/genesis.toml chain.bmm

Blocks that are known are skipped, so that an interrupted import goes on when it is run again. It stops at the first invalid block;
those before it stay.")]
pub struct Import {
    /// The files, in order; - is the standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    begin: Begin,
    #[command(flatten)]
    which: Which,
}

/// What came of it.
#[derive(Default, Serialize)]
struct Done {
    imported: u64,
    known: u64,
    gas: u64,
    head: u64,
    head_id: B256,
    seconds: f64,
    blocks_per_second: f64,
    mgas_per_second: f64,
}

/// Answers `bmm chain import`.
pub fn run(context: &Context, args: &Import) -> Outcome {
    let name = args.which.name(context);
    args.begin.apply(context, name)?;
    let chain = open_chain(&context.data, name, &context.config.storage)?;
    let stop = Mutex::new(interrupts()?);
    let mut done = Done::default();
    let whole = args.files.iter().map(|file| std::fs::metadata(file).ok().map(|found| found.len())).sum();
    let mut meter = Meter::new(context.global.json, "importing", Unit::Bytes, whole);
    let mut before = 0;
    for file in &args.files {
        let input: Box<dyn Read + Send> = if file == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(file).doing("open", file)?)
        };
        before += import_file(&chain, file, input, &stop, &mut done, (&mut meter, before))?;
    }
    let head = chain.head();
    (done.head, done.head_id) = (head.number(), head.id);
    done.seconds = meter.elapsed().as_secs_f64();
    done.blocks_per_second = rate(done.imported, meter.elapsed());
    done.mgas_per_second = mgas(done.gas) / done.seconds.max(1e-3);
    drop(meter);
    let told = format!(
        "{} blocks imported ({:.0} blocks/s, {:.1} Mgas/s), {} known before; the head is block {} {}",
        done.imported, done.blocks_per_second, done.mgas_per_second, done.known, done.head, done.head_id
    );
    output::print(context.global.json, &done, told);
    Ok(())
}

/// Takes the blocks of one file; returns its length.
fn import_file(
    chain: &Chain,
    path: &Path,
    input: impl Read + Send,
    stop: &Mutex<Receiver<()>>,
    done: &mut Done,
    (meter, before): (&mut Meter, u64),
) -> Outcome<u64> {
    let bad = |error| Failure::user(format!("{} {error}", shown(path)));
    let mut reader = ChainReader::new(BufReader::with_capacity(1 << 20, input)).map_err(bad)?;
    if reader.genesis() != chain.genesis() {
        return Err(Failure::user(format!(
            "{} holds blocks of another chain: it begins with genesis {}, this one with {}",
            shown(path),
            reader.genesis(),
            chain.genesis()
        ))
        .hint("for a private chain, begin a new data folder with its parameters: --data DIR and --genesis FILE"));
    }
    let (at, mut fault) = (AtomicU64::new(before), None);
    let blocks = std::iter::from_fn(|| {
        if stop.lock().try_recv().is_ok() {
            fault = Some(
                Failure::user("interrupted").hint("nothing is lost; run the command again and it goes on where it was"),
            );
            return None;
        }
        let block = reader.next()?;
        at.store(before + reader.position(), Ordering::Relaxed);
        block.map_err(|error| fault = Some(bad(error))).ok()
    });
    let taken = chain.import_all(blocks, |head| {
        done.imported += 1;
        done.gas = done.gas.saturating_add(head.header.gas_used);
        let rate = rate(done.imported, meter.elapsed());
        meter.show(at.load(Ordering::Relaxed), || format!("block {}, {rate:.0} blocks/s", head.number()));
    });
    let taken = taken.map_err(|refused| refusal(chain, path, &refused))?;
    done.known += taken.known;
    match fault {
        Some(failure) => Err(failure),
        None => Ok(reader.position()),
    }
}

/// Tells why a block was not taken.
fn refusal(chain: &Chain, path: &Path, refused: &ImportAllError) -> Failure {
    let ImportAllError { number, id, error, .. } = refused;
    let head = chain.head().number();
    if error.is_internal() {
        return Failure::internal(format!("at block {number}: {error}"));
    }
    if matches!(error, ImportError::UnknownParent(_)) {
        return Failure::user(format!("{}: block {number} {id}: {error}", shown(path)))
            .hint(format!("the head is block {head}; import the file with the blocks in between first"));
    }
    Failure::user(format!("{}: block {number} {id} is not valid: {error}", shown(path)))
        .hint(format!("the blocks before it are kept; the head is block {head}"))
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "the standard input".to_owned() } else { path.display().to_string() }
}

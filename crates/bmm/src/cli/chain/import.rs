//! `bmm chain import`: every block is checked as one from a stranger.

use super::{Begin, Which};
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
use bmm_chain::{Chain, ChainReader, ImportError};
use bmm_types::SealedBlock;
use clap::Args;
use serde::Serialize;
use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
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
    transactions: u64,
    gas: u64,
    head: u64,
    head_id: B256,
    seconds: f64,
    blocks_per_second: f64,
}

/// Answers `bmm chain import`.
pub fn run(context: &Context, args: &Import) -> Outcome {
    let name = args.which.name(context);
    args.begin.apply(context, name)?;
    let chain = open_chain(&context.data, name, &context.config.storage)?;
    let stop = interrupts()?;
    let mut done = Done::default();
    let whole = args.files.iter().map(|file| std::fs::metadata(file).ok().map(|found| found.len())).sum();
    let mut meter = Meter::new(context.global.json, "importing", Unit::Bytes, whole);
    let mut before = 0;
    for file in &args.files {
        let input: Box<dyn Read> = if file == Path::new("-") {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(File::open(file).doing("open", file)?)
        };
        before += import_file(&chain, file, input, &stop, &mut done, (&mut meter, before))?;
    }
    let head = chain.head();
    (done.head, done.head_id) = (head.number(), head.id);
    done.seconds = meter.elapsed().as_secs_f64();
    done.blocks_per_second = rate(done.imported, meter.elapsed());
    drop(meter);
    let told = format!(
        "{} blocks imported ({} transactions, {:.0} blocks/s), {} known before; the head is block {} {}",
        done.imported, done.transactions, done.blocks_per_second, done.known, done.head, done.head_id
    );
    output::print(context.global.json, &done, told);
    Ok(())
}

/// Takes the blocks of one file; returns its length.
fn import_file(
    chain: &Chain,
    path: &Path,
    input: impl Read,
    stop: &Receiver<()>,
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
    while let Some(block) = reader.next() {
        take(chain, path, &block.map_err(bad)?, done)?;
        let rate = rate(done.imported + done.known, meter.elapsed());
        meter.show(before + reader.position(), || format!("block {}, {rate:.0} blocks/s", chain.head().number()));
        if stop.try_recv().is_ok() {
            return Err(Failure::user(format!("interrupted at block {}", chain.head().number()))
                .hint("nothing is lost; run the command again and it goes on from there"));
        }
    }
    Ok(reader.position())
}

fn take(chain: &Chain, path: &Path, block: &SealedBlock, done: &mut Done) -> Outcome {
    let (number, body) = (block.block.header.number, &block.block.body);
    match chain.import(block) {
        Ok(_) => {
            done.imported += 1;
            done.transactions += u64::try_from(body.transactions.len()).unwrap_or(u64::MAX);
            done.gas = done.gas.saturating_add(block.block.header.gas_used);
            Ok(())
        }
        Err(ImportError::Known(_)) => {
            done.known += 1;
            Ok(())
        }
        Err(error) if error.is_internal() => Err(Failure::internal(format!("at block {number}: {error}"))),
        Err(error @ ImportError::UnknownParent(_)) => {
            Err(Failure::user(format!("{}: block {number} {}: {error}", shown(path), block.id())).hint(format!(
                "the head is block {}; import the file with the blocks in between first",
                chain.head().number()
            )))
        }
        Err(error) => {
            Err(Failure::user(format!("{}: block {number} {} is not valid: {error}", shown(path), block.id()))
                .hint(format!("the blocks before it are kept; the head is block {}", chain.head().number())))
        }
    }
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "the standard input".to_owned() } else { path.display().to_string() }
}

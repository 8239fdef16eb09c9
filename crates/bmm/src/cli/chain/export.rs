//! `bmm chain export`: from the database, or from a running node through its JSON-RPC.

use super::Which;
use crate::{
    cli::{
        Context,
        meter::{Meter, Unit, rate},
    },
    failure::{Failure, IoContext, Outcome},
    node::{open_chain, running_node},
    output,
    rpc::RpcClient,
};
use alloy_primitives::{B256, Bytes, U64};
use bmm_chain::{Chain, ChainWriter};
use bmm_types::SealedBlock;
use clap::Args;
use serde::Serialize;
use std::{
    collections::VecDeque,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Blocks that a node is asked for at once.
const PAGE: u64 = 128;

/// `bmm chain export`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm chain export chain.bmm                         every block after genesis
  bmm chain export --from 1000 --to 1999 part.bmm
  bmm chain export - | zstd > chain.bmm.zst          to the standard output
  bmm --rpc http://10.0.0.7:8545 chain export chain.bmm

While a node runs on the data folder, the blocks come from it through JSON-RPC; else they are read from the database.")]
pub struct Export {
    /// The file to write; - is the standard output
    file: PathBuf,
    /// First block
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Last block [default: the head]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    which: Which,
}

/// What was written.
#[derive(Serialize)]
struct Exported {
    file: PathBuf,
    genesis: B256,
    from: u64,
    to: u64,
    blocks: u64,
    seconds: f64,
}

/// Where blocks come from.
enum Origin {
    Database(Arc<Chain>),
    Node { rpc: RpcClient, page: VecDeque<SealedBlock> },
}

/// Answers `bmm chain export`.
pub fn run(context: &Context, args: &Export) -> Outcome {
    let json = context.global.json;
    let mut origin = Origin::choose(context, args.which.name(context))?;
    let head = origin.head()?;
    let to = args.to.unwrap_or(head);
    if to > head {
        return Err(Failure::user(format!("--to {to} is above the head, which is block {head}")));
    }
    if args.from > to.saturating_add(1) {
        return Err(Failure::user(format!("--from {} is above the last block, {to}", args.from)));
    }
    let (from, genesis) = (args.from, origin.genesis()?);
    let blocks = to.saturating_add(1).saturating_sub(from);
    let mut meter = Meter::new(json, "exporting", Unit::Count, Some(blocks));
    let mut write = |out: &mut dyn Write| {
        let out = BufWriter::with_capacity(1 << 20, out);
        let mut writer = ChainWriter::new(out, genesis).doing("write", &args.file)?;
        for (done, number) in (1..).zip(from..=to) {
            writer.append(&origin.block(number, to)?).doing("write", &args.file)?;
            let rate = rate(done, meter.elapsed());
            meter.show(done, || format!("{rate:.0} blocks/s"));
        }
        writer.finish().map(drop).doing("write", &args.file)
    };
    if args.file == Path::new("-") {
        write(&mut std::io::stdout().lock())?;
        drop(meter);
        output::note(json, format!("{blocks} blocks written"));
        return Ok(());
    }
    into_file(&args.file, args.force, write)?;
    let seconds = meter.elapsed().as_secs_f64();
    drop(meter);
    let exported = Exported { file: args.file.clone(), genesis, from, to, blocks, seconds };
    output::print(json, &exported, format!("{blocks} blocks ({from} to {to}) in {}", args.file.display()));
    Ok(())
}

/// Writes a file whole or not at all.
fn into_file(path: &Path, force: bool, write: impl FnOnce(&mut dyn Write) -> Outcome) -> Outcome {
    if path.exists() && !force {
        return Err(Failure::user(format!("{} exists already", path.display()))
            .hint("choose another name, or replace it with --force"));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).doing("write into", dir)?;
    write(&mut file)?;
    file.as_file().sync_all().doing("write", path)?;
    if force {
        file.persist(path).map_err(|error| error.error).doing("replace", path)?;
    } else {
        file.persist_noclobber(path).map_err(|error| error.error).doing("create", path)?;
    }
    Ok(())
}

impl Origin {
    /// Takes the node that is named, else the one that runs on the data folder, else the database.
    fn choose(context: &Context, chain: &str) -> Outcome<Self> {
        let url = match &context.config.rpc.url {
            Some(url) => Some(url.clone()),
            None => running_node(&context.data, chain)?.map(|node| node.rpc),
        };
        Ok(match url {
            Some(url) => Self::Node { rpc: RpcClient::new(&url)?, page: VecDeque::new() },
            None => Self::Database(open_chain(&context.data, chain, &context.config.storage)?),
        })
    }

    fn head(&self) -> Outcome<u64> {
        match self {
            Self::Database(chain) => Ok(chain.head().number()),
            Self::Node { rpc, .. } => Ok(rpc.block_number()?),
        }
    }

    fn genesis(&self) -> Outcome<B256> {
        match self {
            Self::Database(chain) => Ok(chain.genesis()),
            Self::Node { rpc, .. } => {
                rpc.block_hash(0)?.ok_or_else(|| Failure::config("the node has no genesis block; is it a BMM node?"))
            }
        }
    }

    /// Returns a block; `last` is the last that will be asked for.
    fn block(&mut self, number: u64, last: u64) -> Outcome<SealedBlock> {
        let missing = || {
            Failure::user(format!("block {number} is not stored here"))
                .hint("a chain that was begun from a snapshot has no blocks before it; export from a full node")
        };
        match self {
            Self::Database(chain) => chain.sealed_block(number).map_err(Failure::internal)?.ok_or_else(missing),
            Self::Node { rpc, page } => {
                if page.is_empty() {
                    let count = last.saturating_sub(number).saturating_add(1).min(PAGE);
                    let answer: Vec<Bytes> = rpc.call("bmm_getBlocks", (U64::from(number), U64::from(count)))?;
                    let blocks = answer.iter().map(alloy_rlp::decode_exact);
                    *page = blocks.collect::<Result<_, _>>().map_err(|error| {
                        Failure::internal(format!("the node's block {number} cannot be read: {error}"))
                    })?;
                }
                let block = page.pop_front().ok_or_else(missing)?;
                if block.block.header.number == number {
                    Ok(block)
                } else {
                    Err(Failure::internal(format!("the node answers with another block than {number}")))
                }
            }
        }
    }
}

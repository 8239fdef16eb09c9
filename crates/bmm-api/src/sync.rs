//! What another node is given so that it can follow the chain: headers and blocks with their seals, and the state in ranges with
//! proofs, as RLP. Every answer is bounded in number and bytes; who asks for more gets less, and asks again from there.

use crate::{
    error::{RpcError, RpcResult},
    methods::{Context, Json, json},
    params::{Args, Count, Param, by_serde},
};
use alloy_primitives::{B256, Bytes};
use bmm_chain::{CODES_AT_ONCE, NODES_AT_ONCE, OWNERS_AT_ONCE};
use bmm_ledger::trie::{KEY_NIBBLES, Nibbles};

/// Headers that one call returns at most.
const MAX_HEADERS: u64 = 512;

/// Blocks that one call returns at most.
const MAX_BLOCKS: u64 = 256;

/// Bytes of RLP after which an answer ends; a single longer block is returned nevertheless.
const ENOUGH_BYTES: usize = 4 << 20;

/// `bmm_getHeaders`: canonical headers from a number on, each as RLP of [header, seal].
pub(crate) fn headers(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    page(args, MAX_HEADERS, |number| Ok(context.chain.sealed_header(number)?.map(alloy_rlp::encode)))
}

/// `bmm_getBlocks`: canonical blocks from a number on, each as RLP of [[header, transactions, ommers], seal].
pub(crate) fn blocks(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    page(args, MAX_BLOCKS, |number| Ok(context.chain.sealed_block(number)?.map(alloy_rlp::encode)))
}

/// Collects what stands under consecutive numbers until there is nothing more or enough of it.
fn page(
    args: &mut Args<'_>,
    max_count: u64,
    mut read: impl FnMut(u64) -> RpcResult<Option<Vec<u8>>>,
) -> RpcResult<Json> {
    let Count(first) = args.required()?;
    let Count(count) = args.required()?;
    if count == 0 {
        return Err(RpcError::param(2, "count", "expected at least 1, got 0"));
    }
    let (mut found, mut bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
    for number in first..first.saturating_add(count.min(max_count)) {
        let Some(rlp) = read(number)? else { break };
        bytes = bytes.saturating_add(rlp.len());
        if bytes > ENOUGH_BYTES && !found.is_empty() {
            break;
        }
        found.push(rlp.into());
    }
    json(&found)
}

/// `bmm_getAccountRange`: accounts of the state after a block from a hashed address on, as RLP of [[[key, nonce, balance, storage root,
/// code hash], …], [node, …]]; `null` if that state is not at hand.
pub(crate) fn account_range(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (block, from, Count(max_bytes)) = (args.required()?, args.required()?, args.required()?);
    let range = context.chain.account_range(block, from, max_bytes)?;
    json(&range.map(|range| Bytes::from(alloy_rlp::encode(range))))
}

/// `bmm_getSlotRanges`: slots of accounts, for each as RLP of [[[key, value], …], [node, …]]; `null` likewise.
pub(crate) fn slot_ranges(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (block, Hashes(owners)) = (args.required()?, args.required()?);
    at_most(2, "accounts", owners.len(), OWNERS_AT_ONCE)?;
    let (from, Count(max_bytes)) = (args.required()?, args.required()?);
    let ranges = context.chain.slot_ranges(block, &owners, from, max_bytes)?;
    json(&ranges.map(|ranges| ranges.iter().map(|range| alloy_rlp::encode(range).into()).collect::<Vec<Bytes>>()))
}

/// `bmm_getStateNodes`: nodes of the account trie or of an account's storage trie by their paths, each as RLP; `null` likewise.
pub(crate) fn state_nodes(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let (block, owner, Paths(paths)) = (args.required()?, args.optional()?, args.required()?);
    at_most(3, "paths", paths.len(), NODES_AT_ONCE)?;
    json(&context.chain.state_nodes(block, owner, &paths)?)
}

/// `bmm_getCodes`: codes by their hashes; unknown ones are left out.
pub(crate) fn codes(context: &Context, args: &mut Args<'_>) -> RpcResult<Json> {
    let Hashes(hashes) = args.required()?;
    at_most(1, "hashes", hashes.len(), CODES_AT_ONCE)?;
    json(&context.chain.codes(&hashes)?)
}

fn at_most(position: usize, name: &'static str, len: usize, limit: usize) -> RpcResult<()> {
    if len <= limit {
        return Ok(());
    }
    Err(RpcError::param(position, name, format!("expected at most {limit}, got {len}")))
}

/// A list of hashes.
struct Hashes(Vec<B256>);

impl Param for Hashes {
    const EXPECTED: &'static str = "a list of hashes, each 0x and 64 hex digits";

    fn read(json: &str) -> Result<Self, Option<String>> {
        by_serde(json).map(Self)
    }
}

/// Places in a trie.
struct Paths(Vec<Nibbles>);

impl Param for Paths {
    const EXPECTED: &'static str =
        "a list of paths, each 0x and two hex digits for each of at most 64 nibbles, 00 to 0f";

    fn read(json: &str) -> Result<Self, Option<String>> {
        let paths: Vec<Bytes> = by_serde(json)?;
        let nibbles = paths.iter().map(|path| {
            let sound = path.len() <= KEY_NIBBLES && path.iter().all(|nibble| *nibble < 16);
            sound.then(|| Nibbles::from_nibbles(path)).ok_or_else(|| Some(format!("path {path}")))
        });
        nibbles.collect::<Result<_, _>>().map(Self)
    }
}

//! Taking a chain from others: what is asked, what is answered, and what is made of it.
//!
//! How questions travel is no business of this room: a [`Source`] answers them, be it another chain of this process ([`ChainSource`])
//! or a node behind JSON-RPC. Nothing that a source says is believed: headers and blocks pass the rules of any import, ranges of the
//! state are proven against the state root of a header that did.

mod full;
mod snapshot;
mod source;

pub use full::{Followed, Following, Progress};
pub use snapshot::{
    Checkpoint, PIVOT_DEPTH, SnapshotOptions, SnapshotProgress, SnapshotStep, TellSnapshot, making, take_snapshot,
};
pub use source::ChainSource;

#[cfg(doc)]
use crate::Chain;
use crate::{
    error::{ChainError, ImportError},
    ranges::{AccountRange, SlotRange},
    serve::SealedHeader,
};
use alloy_primitives::{B256, Bytes};
pub use bmm_ledger::trie::Nibbles;
use bmm_types::SealedBlock;
use std::path::PathBuf;

/// Headers that are asked for at once.
pub const HEADERS_AT_ONCE: u64 = 512;

/// Blocks that are asked for at once.
pub const BLOCKS_AT_ONCE: u64 = 128;

/// A question to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The number of its head.
    Head,
    /// Canonical headers with their seals from a number on; fewer than `count` may come.
    Headers {
        /// Number of the first.
        first: u64,
        /// How many at most.
        count: u64,
    },
    /// Canonical blocks with their seals from a number on; fewer than `count` may come.
    Blocks {
        /// Number of the first.
        first: u64,
        /// How many at most.
        count: u64,
    },
    /// Accounts of the state after a canonical block. See [`Chain::account_range`].
    Accounts {
        /// The block's id.
        block: B256,
        /// keccak(address) from which on they are wanted.
        from: B256,
        /// About how many bytes of them.
        max_bytes: u64,
    },
    /// Slots of accounts, likewise. See [`Chain::slot_ranges`].
    Slots {
        /// The block's id.
        block: B256,
        /// keccak(address) of each, ascending, at most [`crate::OWNERS_AT_ONCE`].
        owners: Vec<B256>,
        /// keccak(slot) from which on those of the first are wanted.
        from: B256,
        /// About how many bytes of all.
        max_bytes: u64,
    },
    /// Nodes of the state's tries. See [`Chain::state_nodes`].
    Nodes {
        /// The block's id.
        block: B256,
        /// keccak(address) of the account whose storage trie it is; `None`: the account trie.
        owner: Option<B256>,
        /// Where the nodes stand, ascending, at most [`crate::NODES_AT_ONCE`].
        paths: Vec<Nibbles>,
    },
    /// Codes by their hashes, at most [`crate::CODES_AT_ONCE`]; fewer may come. See [`Chain::codes`].
    Codes {
        /// The hashes.
        hashes: Vec<B256>,
    },
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Head`].
    Head(u64),
    /// To [`Request::Headers`].
    Headers(Vec<SealedHeader>),
    /// To [`Request::Blocks`].
    Blocks(Vec<SealedBlock>),
    /// To [`Request::Accounts`]; `None`: the state of that block is not at hand (any more).
    Accounts(Option<AccountRange>),
    /// To [`Request::Slots`], likewise.
    Slots(Option<Vec<SlotRange>>),
    /// To [`Request::Nodes`], likewise.
    Nodes(Option<Vec<Bytes>>),
    /// To [`Request::Codes`].
    Codes(Vec<Bytes>),
}

/// Who can be asked.
pub trait Source: Sync {
    /// Says who it is, for messages.
    fn name(&self) -> String;

    /// Answers a question.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    fn ask(&self, request: &Request) -> Result<Answer, String>;
}

/// Why a chain could not be taken from a source.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// No answer came, or one that cannot be used.
    #[error("{source_name}: {what}")]
    Source {
        /// The source.
        source_name: String,
        /// What is wrong.
        what: String,
    },
    /// The source follows another chain.
    #[error(
        "{source_name} follows another chain: it begins with genesis {theirs}, this one with {ours}; for a private chain, begin a new data folder with its parameters"
    )]
    OtherChain {
        /// The source.
        source_name: String,
        /// Its genesis block.
        theirs: B256,
        /// Ours.
        ours: B256,
    },
    /// A block or header breaks a rule.
    #[error("{source_name}: block {number} {id} is not valid: {error}")]
    Invalid {
        /// The source.
        source_name: String,
        /// The block's number.
        number: u64,
        /// Its id.
        id: B256,
        /// The rule that it breaks.
        error: Box<ImportError>,
    },
    /// The chain does not contain the checkpoint.
    #[error("{source_name}: its block {number} is {found}, and the checkpoint says {wanted}")]
    Checkpoint {
        /// The source.
        source_name: String,
        /// The checkpoint's number.
        number: u64,
        /// The checkpoint's id.
        wanted: B256,
        /// The id in the source's chain.
        found: B256,
    },
    /// A snapshot is for a chain that is not begun yet.
    #[error(
        "{} holds the chain up to block {head} already, which a snapshot would throw away; remove that folder to begin with one",
        .folder.display()
    )]
    NotNew {
        /// Its folder.
        folder: PathBuf,
        /// Its head.
        head: u64,
    },
    /// Nobody can be asked.
    #[error("there is nobody to take the chain from")]
    NoSource,
    /// This node failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Somebody asked to stop.
    #[error("interrupted; what came is kept")]
    Interrupted,
}

impl SyncError {
    /// Makes the error of a source's answer.
    pub(crate) fn source(source: &dyn Source, what: impl Into<String>) -> Self {
        Self::Source { source_name: source.name(), what: what.into() }
    }

    /// Whether the source is at fault, so that another may do better.
    pub fn is_of_source(&self) -> bool {
        match self {
            Self::Source { .. } | Self::OtherChain { .. } | Self::Checkpoint { .. } => true,
            Self::Invalid { error, .. } => !error.is_internal(),
            Self::NotNew { .. } | Self::NoSource | Self::Chain(_) | Self::Interrupted => false,
        }
    }
}

/// Asks for the head.
fn ask_head(source: &dyn Source) -> Result<u64, SyncError> {
    match source.ask(&Request::Head) {
        Ok(Answer::Head(number)) => Ok(number),
        other => Err(unfit(source, &Request::Head, other)),
    }
}

/// Asks for headers and holds that they are no more than asked for, of the right numbers.
fn ask_headers(source: &dyn Source, first: u64, count: u64) -> Result<Vec<SealedHeader>, SyncError> {
    let request = Request::Headers { first, count };
    match source.ask(&request) {
        Ok(Answer::Headers(headers)) if fits(first, count, headers.iter().map(|sealed| sealed.header.number)) => {
            Ok(headers)
        }
        other => Err(unfit(source, &request, other)),
    }
}

/// Asks for blocks, likewise.
fn ask_blocks(source: &dyn Source, first: u64, count: u64) -> Result<Vec<SealedBlock>, SyncError> {
    let request = Request::Blocks { first, count };
    match source.ask(&request) {
        Ok(Answer::Blocks(blocks)) if fits(first, count, blocks.iter().map(|sealed| sealed.block.header.number)) => {
            Ok(blocks)
        }
        other => Err(unfit(source, &request, other)),
    }
}

/// Finds the highest block that a source with that head has and we have, whose head and canonical blocks are given.
fn find_common(
    source: &dyn Source,
    genesis: B256,
    (head, own_head): (u64, u64),
    own: impl Fn(u64) -> Result<Option<B256>, SyncError>,
) -> Result<u64, SyncError> {
    let same = |number: u64| -> Result<bool, SyncError> {
        let theirs = ask_headers(source, number, 1)?.first().map(|sealed| sealed.header.hash_slow());
        Ok(theirs.is_some() && theirs == own(number)?)
    };
    let theirs = ask_headers(source, 0, 1)?;
    let theirs = theirs.first().ok_or_else(|| SyncError::source(source, "has no genesis block"))?.header.hash_slow();
    if theirs != genesis {
        return Err(SyncError::OtherChain { source_name: source.name(), theirs, ours: genesis });
    }
    let (mut low, mut high) = (0, head.min(own_head));
    if same(high)? {
        return Ok(high);
    }
    // Blocks up to `low` are common, `high` is not.
    while high.saturating_sub(low) > 1 {
        let middle = low.midpoint(high);
        if same(middle)? { low = middle } else { high = middle }
    }
    Ok(low)
}

fn fits(first: u64, count: u64, mut numbers: impl Iterator<Item = u64>) -> bool {
    let mut expected = first..first.saturating_add(count);
    numbers.all(|number| expected.next() == Some(number))
}

fn unfit(source: &dyn Source, request: &Request, answer: Result<Answer, String>) -> SyncError {
    SyncError::source(source, answer.err().unwrap_or_else(|| format!("answers something else than {request:?}")))
}

//! Headers of others, before anything else of their blocks is asked for or kept.

use crate::{
    chain::Chain,
    engine,
    error::{ChainError, ImportError},
    serve::SealedHeader,
};
use alloy_primitives::{B256, U256};
use bmm_ledger::{exec::header::check_body, store::StoreError};
use bmm_pow::Work;
use bmm_types::{Block, Engine, Header, Seal};

/// How far below the head a block of a lighter branch may begin to be kept for its own sake.
pub const MAX_SIDE_DEPTH: u64 = 64;

/// A line of headers that continues a stored block, each checked: difficulty, timestamp, signature, proof of work.
#[derive(Clone, Debug)]
pub struct HeaderLine {
    id: B256,
    header: Header,
    seals: Vec<Seal>,
    work: Work,
    promised: bool,
}

impl HeaderLine {
    /// Returns the id of the last header.
    pub const fn id(&self) -> B256 {
        self.id
    }

    /// Returns the number of the last header.
    pub const fn number(&self) -> u64 {
        self.header.number
    }

    /// Returns the work of the last header's block and all its ancestors.
    pub const fn work(&self) -> U256 {
        self.work.get()
    }

    /// Whether it holds a checkpoint that bets promise to be justified above this node's own; see `finality::choice`.
    pub const fn is_promised(&self) -> bool {
        self.promised
    }
}

/// Where a block stands that is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It would be the head.
    Head,
    /// It belongs to a lighter branch that leaves the canonical one near the head.
    Side,
    /// It belongs to a lighter branch that leaves the canonical one far below the head.
    Far,
}

impl Chain {
    /// Begins a line after a stored block.
    pub fn line_after(&self, id: B256) -> Result<Option<HeaderLine>, ChainError> {
        let (Some(header), Some(work)) = (self.store.header(id)?, self.store.work(id)?) else { return Ok(None) };
        let seals = match self.params.engine {
            Engine::NoSeal => Vec::new(),
            _ => self.seals_of(id).map_err(|error| match error {
                ImportError::Store(error) => ChainError::Store(error),
                other => ChainError::Import(Box::new(other)),
            })?,
        };
        Ok(Some(HeaderLine { id, header, seals, work: Work::from_stored(work), promised: false }))
    }

    /// Hashes the parent headers of seals that are going to be checked, many at once: a tenth of the time that each takes alone. It
    /// decides nothing.
    pub fn hash_ahead<'a>(&self, seals: impl IntoIterator<Item = &'a Seal>) {
        engine::hash_ahead(&self.params, seals);
    }

    /// Checks a header and its seal as the next of a line. Returns its block's id.
    ///
    /// # Errors
    /// The rule that the header or its seal breaks.
    pub fn extend_line(&self, line: &mut HeaderLine, next: &SealedHeader) -> Result<B256, ImportError> {
        let SealedHeader { header, seal } = next;
        if header.parent_hash != line.id {
            return Err(ImportError::UnknownParent(header.parent_hash));
        }
        let id = header.hash_slow();
        let rules = self.header_rules();
        rules.check((&line.header, &line.seals), id, header, seal)?;
        let work = engine::total_work(&self.params, line.work, header);
        let promised = line.promised || self.is_promised(header.number, id);
        *line = HeaderLine { id, header: header.clone(), seals: vec![seal.clone()], work, promised };
        Ok(id)
    }

    /// Checks a header and its seal whose parent is stored, and says where its block would stand.
    ///
    /// Rule of this node, not of consensus: a block of a lighter branch is worth keeping if its parent is at most
    /// [`MAX_SIDE_DEPTH`] blocks below the head. Work was easy long ago, so that anybody could fill disks with branches that begin
    /// there; such a branch is taken when a line of its headers shows more work than the head has, or bets show that it is justified.
    ///
    /// # Errors
    /// [`ImportError::UnknownParent`], and the rule that the header or its seal breaks.
    pub fn standing(&self, sealed: &SealedHeader) -> Result<Standing, ImportError> {
        let parent = sealed.header.parent_hash;
        let line = self.line_after(parent).map_err(|error| match error {
            ChainError::Store(error) => ImportError::Store(error),
            other => ImportError::State(other.to_string()),
        })?;
        let mut line = line.ok_or(ImportError::UnknownParent(parent))?;
        let parent_number = line.number();
        self.check_above_final(parent)?;
        self.extend_line(&mut line, sealed)?;
        let head = self.head();
        Ok(if line.work > head.work || line.promised {
            Standing::Head
        } else if parent_number.saturating_add(MAX_SIDE_DEPTH) >= head.number() {
            Standing::Side
        } else {
            Standing::Far
        })
    }

    /// Checks that a body is the one that the header commits to.
    ///
    /// # Errors
    /// [`ImportError::Block`].
    pub fn check_body(&self, block: &Block) -> Result<(), ImportError> {
        Ok(check_body(&self.params, block)?)
    }

    /// Returns the least number from which on all bodies of the canonical chain are stored.
    pub fn lowest_body(&self) -> Result<u64, ChainError> {
        let has = |number: u64| -> Result<bool, StoreError> {
            let Some(id) = self.store.canonical(number)? else { return Ok(false) };
            Ok(self.store.body(id)?.is_some())
        };
        if has(1)? || self.head().number() == 0 {
            return Ok(1);
        }
        // Bodies up to `low` are missing, from `high` on they are there.
        let (mut low, mut high) = (1, self.head().number());
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if has(middle)? { high = middle } else { low = middle }
        }
        Ok(high)
    }
}

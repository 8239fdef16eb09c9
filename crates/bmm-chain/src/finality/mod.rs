//! What has become final, by the node's own count of bets.
//!
//! The state of the head says what the bets in its blocks have justified; the book of bets knows those that are in no block yet, or in
//! blocks of other branches. From both the node counts its justified and its final checkpoint, and keeps them in a note. Fork choice
//! (see `choice`) never goes below the final one.

mod bet;
mod book;
mod choice;
mod count;

pub use bet::{BET_SIGNATURE_BYTES, SignedBet};
pub(crate) use book::BetBook;
pub use book::{Heard, MAX_BETS_OF_ONE};

use crate::{
    chain::Chain,
    error::{ChainError, ImportError},
    events::Reorg,
    import::Importing,
};
use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
pub use bmm_ledger::rights::{Checkpoint, Members, Rights};
use bmm_ledger::rights::{bets_in, is_slashed, rights};
use bmm_types::{BlockBody, Transaction};
use book::Origin;
use choice::Forks;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, mpsc::Receiver},
};

/// Name of the note that keeps the justified and the final checkpoint.
const NOTE: &str = "chain/finality";
/// Blocks whose bets are read again at the start.
const READ_AGAIN: u64 = 1_024;

/// What the node knows of finality.
#[derive(Default)]
pub(crate) struct Finality {
    pub book: BetBook,
    /// Rights by the state of the head; `None` on chains without footstones.
    rights: Option<Arc<Rights>>,
    justified: Checkpoint,
    finalised: Checkpoint,
    /// Checkpoints off the canonical chain and above the justified one that bets promise to be justified, the highest first.
    promised: Vec<Checkpoint>,
    /// Checkpoints that turned out not to be justified, and the amount bet on them then.
    unproven: HashMap<B256, U256>,
    forks: Forks,
    /// Version of the book, and head, when it was counted last.
    counted: (u64, B256),
}

/// What counting bets has given.
struct Counted {
    rights: Rights,
    justified: Checkpoint,
    finalised: Checkpoint,
    promised: Vec<Checkpoint>,
    /// Version of the book, and head.
    at: (u64, B256),
    /// The head's checkpoint.
    checkpoint: u64,
}

/// Where the chain stands with finality.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalityStatus {
    /// The highest justified checkpoint of the head's branch; genesis while there is none.
    pub justified: Checkpoint,
    /// The last final checkpoint, likewise.
    pub finalised: Checkpoint,
    /// Rights as the state of the head has them.
    pub rights: Arc<Rights>,
}

impl FinalityStatus {
    /// Returns the justified checkpoint to bet from: that of the head's state, which all nodes on the branch share. What a node counts itself may be
    /// ahead of it, but not everywhere, and bets from different sources do not add up.
    pub fn bet_source(&self) -> Checkpoint {
        self.rights.justified
    }
}

/// The checkpoints as they are noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
struct Noted {
    justified: u64,
    justified_id: B256,
    finalised: u64,
    finalised_id: B256,
}

impl Chain {
    /// Returns how many blocks lie between checkpoints; `None` on a chain without footstones.
    pub fn checkpoint_blocks(&self) -> Option<u64> {
        self.params.footstones.map(|rules| rules.checkpoint_blocks.max(1))
    }

    /// Returns the number of a checkpoint's block.
    pub fn checkpoint_number(&self, checkpoint: Checkpoint) -> u64 {
        checkpoint.number.saturating_mul(self.checkpoint_blocks().unwrap_or(1))
    }

    /// Returns where the chain stands with finality; `None` on a chain without footstones.
    pub fn finality(&self) -> Option<FinalityStatus> {
        let finality = self.finality.lock();
        let rights = finality.rights.clone()?;
        Some(FinalityStatus { justified: finality.justified, finalised: finality.finalised, rights })
    }

    /// Returns up to `most` known bets with targets from checkpoint `number` on, lower targets first.
    pub fn bets_from(&self, number: u64, most: usize) -> Vec<SignedBet> {
        self.finality.lock().book.bets_from(number, most)
    }

    /// Returns the known bets of one footstone, lower targets first.
    pub fn bets_of(&self, footstone: Address) -> Vec<SignedBet> {
        self.finality.lock().book.bets_of(footstone)
    }

    /// Returns the source of the link to a checkpoint on which most is bet.
    pub fn link_to(&self, target: Checkpoint) -> Option<Checkpoint> {
        self.finality.lock().book.link_to(target)
    }

    /// Returns pairs of bets that contradict each other, one for each footstone that is known to have done so.
    pub fn offences(&self) -> Vec<(SignedBet, SignedBet)> {
        self.finality.lock().book.evidence()
    }

    /// Opens a queue of bets that are new to this node, but for those that came in blocks; what does not fit is lost.
    pub fn subscribe_bets(&self, capacity: usize) -> Receiver<SignedBet> {
        self.events.subscribe_bets(capacity)
    }

    /// Takes bets of the network or of this node itself, and changes the branch if they say so. Returns what each is worth.
    pub fn hear_bets(&self, bets: &[SignedBet]) -> Vec<Heard> {
        let heard: Vec<Heard> = bets.iter().map(|bet| self.note_bet(bet, Origin::Network)).collect();
        let is_new = |heard: &Heard| matches!(heard, Heard::New | Heard::Offence);
        if heard.iter().any(is_new) {
            for (bet, _) in bets.iter().zip(&heard).filter(|(_, heard)| is_new(heard)) {
                self.events.new_bet(bet);
            }
            self.reconsider();
        }
        heard
    }

    /// Counts bets anew and looks whether another branch is to be taken: also for time that went by without a block.
    pub fn reconsider(&self) {
        if self.params.footstones.is_none() {
            return;
        }
        let mut importing = self.importing.lock();
        self.settle_finality(&mut importing);
    }

    /// Puts one bet into the book. The signature is looked at without any lock.
    fn note_bet(&self, bet: &SignedBet, origin: Origin) -> Heard {
        if let Some(heard) = self.finality.lock().book.weigh(bet, origin) {
            return heard;
        }
        if !bet.is_signed(self.params.chain_id) {
            return Heard::Rubbish;
        }
        self.finality.lock().book.take(bet.clone(), origin)
    }

    /// Puts the bets of a transaction into the book.
    pub(crate) fn note_bets_in(&self, transaction: &Transaction) {
        if self.params.footstones.is_none() {
            return;
        }
        for (bet, signature) in bets_in(transaction.to(), transaction.input()) {
            if let Some(signed) = SignedBet::new(bet, &signature) {
                self.note_bet(&signed, Origin::Chain);
            }
        }
    }

    /// Puts the bets of a block into the book.
    pub(crate) fn note_bets_of(&self, body: &BlockBody) {
        body.transactions.iter().for_each(|transaction| self.note_bets_in(transaction));
    }

    /// Counts bets after the head has changed by one block, where that can change anything.
    pub(crate) fn count_after(&self, body: &BlockBody) -> Result<(), ImportError> {
        let Some(interval) = self.checkpoint_blocks() else { return Ok(()) };
        self.note_bets_of(body);
        let due = {
            let finality = self.finality.lock();
            finality.counted.0 != finality.book.version() || finality.rights.is_none()
        };
        let checkpoint = self.head().number().checked_rem(interval) == Some(0);
        if due || checkpoint { self.count_bets() } else { Ok(()) }
    }

    /// Counts bets by the state of the head. Who calls it holds `importing`.
    pub(crate) fn count_bets(&self) -> Result<(), ImportError> {
        self.admit_members()?;
        self.counted()?.map_or(Ok(()), |counted| self.keep_counted(counted))
    }

    /// Has the book take the bets of the head's members beside those that it takes already, and count none of who was slashed: the
    /// contract takes no more bets of theirs.
    fn admit_members(&self) -> Result<(), ImportError> {
        let Some(rights) = self.rights_at_head()? else { return Ok(()) };
        let state = self.store.view()?;
        let mut slashed = HashSet::new();
        for footstone in members_of(&rights) {
            if is_slashed(&state, footstone).map_err(state_error)? {
                slashed.insert(footstone);
            }
        }
        let book = &mut self.finality.lock().book;
        book.admit(members_of(&rights));
        book.leave_out(slashed);
        Ok(())
    }

    fn rights_at_head(&self) -> Result<Option<Rights>, ImportError> {
        if self.params.footstones.is_none() {
            return Ok(None);
        }
        let mut rights = rights(&self.params, &self.store.view()?).map_err(state_error)?;
        if let Some(rights) = &mut rights {
            // The state of genesis does not know its id.
            for checkpoint in [&mut rights.justified, &mut rights.finalised] {
                if checkpoint.number == 0 {
                    checkpoint.id = self.genesis;
                }
            }
        }
        Ok(rights)
    }

    /// Counts bets by the state of the head, and keeps nothing of it.
    fn counted(&self) -> Result<Option<Counted>, ImportError> {
        let (Some(interval), Some(rights)) = (self.checkpoint_blocks(), self.rights_at_head()?) else {
            return Ok(None);
        };
        let head = self.head();
        let on_branch = |number: u64| match number.checked_mul(interval) {
            Some(number) if number <= head.number() => self.store.canonical(number),
            _ => Ok(None),
        };
        let finality = self.finality.lock();
        // What was counted before stays: bets that were in no block are forgotten by a restart, and old ones do not count by a new set.
        let before = (finality.justified, finality.finalised);
        let (justified, finalised) = count::count(&finality.book, &rights, interval, before, on_branch)?;
        let mut promised = Vec::new();
        for checkpoint in count::promised(&finality.book, &rights, justified.number) {
            if on_branch(checkpoint.number)? != Some(checkpoint.id) {
                promised.push(checkpoint);
            }
        }
        let at = (finality.book.version(), head.id);
        Ok(Some(Counted {
            rights,
            justified,
            finalised,
            promised,
            at,
            checkpoint: head.number().checked_div(interval).unwrap_or(0),
        }))
    }

    /// Keeps what was counted, and notes it if it has changed.
    fn keep_counted(&self, counted: Counted) -> Result<(), ImportError> {
        let Counted { rights, justified, finalised, promised, at, checkpoint } = counted;
        let mut finality = self.finality.lock();
        let before = (finality.justified, finality.finalised);
        finality.book.keep(members_of(&rights), finalised.number, checkpoint);
        (finality.justified, finality.finalised) = (justified, finalised);
        (finality.promised, finality.counted) = (promised, at);
        finality.rights = Some(Arc::new(rights));
        drop(finality);
        self.note_finality(before, (justified, finalised))
    }

    /// Writes down what has changed.
    fn note_finality(
        &self,
        before: (Checkpoint, Checkpoint),
        (justified, finalised): (Checkpoint, Checkpoint),
    ) -> Result<(), ImportError> {
        if before == (justified, finalised) {
            return Ok(());
        }
        let noted = Noted {
            justified: justified.number,
            justified_id: justified.id,
            finalised: finalised.number,
            finalised_id: finalised.id,
        };
        self.store.put_note(NOTE, &alloy_rlp::encode(noted))?;
        if finalised != before.1 {
            tracing::info!(checkpoint = finalised.number, id = %finalised.id, "final");
        }
        Ok(())
    }

    /// Reads what was known of finality when the node was stopped, and the bets of the last blocks.
    pub(crate) fn load_finality(&self) -> Result<(), ChainError> {
        let Some(interval) = self.checkpoint_blocks() else { return Ok(()) };
        let genesis = Checkpoint { number: 0, id: self.genesis };
        let noted = self.store.note(NOTE)?.and_then(|bytes| alloy_rlp::decode_exact::<Noted>(&bytes).ok());
        {
            let mut finality = self.finality.lock();
            (finality.justified, finality.finalised) = noted.map_or((genesis, genesis), |noted| {
                let justified = Checkpoint { number: noted.justified, id: noted.justified_id };
                (justified, Checkpoint { number: noted.finalised, id: noted.finalised_id })
            });
        }
        let refused = |error| ChainError::Import(Box::new(error));
        self.count_bets().map_err(refused)?;
        let (head, finalised) = (self.head().number(), self.finality.lock().finalised.number.saturating_mul(interval));
        for number in finalised.max(head.saturating_sub(READ_AGAIN))..=head {
            let id = self.store.canonical(number)?;
            let body = id.map_or(Ok(None), |id| self.store.body(id))?;
            if let Some(body) = body {
                self.note_bets_of(&body);
            }
        }
        self.count_bets().map_err(refused)
    }

    /// Counts bets if there are new ones, and changes the branch if they say so. A failure of this node is told, and tried again later.
    pub(crate) fn settle_finality(&self, importing: &mut Importing) -> Option<Arc<Reorg>> {
        self.checkpoint_blocks()?;
        let new = {
            let finality = self.finality.lock();
            finality.counted.0 != finality.book.version()
        };
        let result = if new { self.count_bets() } else { Ok(()) };
        result.and_then(|()| self.take_justified(importing)).unwrap_or_else(|error| {
            tracing::error!(%error, "bets cannot be counted");
            None
        })
    }
}

/// Whose bets count by some rights.
fn members_of(rights: &Rights) -> impl Iterator<Item = Address> {
    rights.current.members.iter().chain(&rights.previous.members).map(|(footstone, _)| *footstone)
}

/// A state that cannot be read.
pub(crate) fn state_error(error: impl std::fmt::Display) -> ImportError {
    ImportError::State(error.to_string())
}

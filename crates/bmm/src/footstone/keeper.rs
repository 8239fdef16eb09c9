//! The task of a footstone's node: it looks at every new head, bets when a checkpoint is deep enough, and stops when somebody else bets with
//! its key.

use super::{BetLog, BetLogError, BetPolicy, duties::Duties, policy::read_policy};
use crate::{
    failure::{Failure, Outcome},
    rpc::RpcClient,
};
use alloy_primitives::{Address, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolStruct as _;
use bmm_chain::{Chain, Checkpoint, FinalityStatus, SignedBet};
use bmm_types::{
    params::FootstoneRules,
    system::{Bet, footstones_domain},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Name of the bet log in the folder of the chain.
const LOG_FILE: &str = "bets.log";
/// Longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Longest a node that has just started listens before it bets, in intervals between checkpoints: if no blocks come, time counts.
const LISTEN_INTERVALS: u64 = 2;

/// What a footstone's node is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeeperState {
    /// It has just started and listens for bets that another machine may sign with its key, until that block.
    Listening {
        /// Number of the block.
        until: u64,
    },
    /// It has no seat in the set.
    NoSeat,
    /// It bets.
    Betting,
    /// It does not bet until the operator has looked.
    Stopped {
        /// Why.
        why: String,
    },
}

/// What a footstone's node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperReport {
    /// Whose bets it signs.
    pub footstone: Address,
    /// What it is at.
    pub state: KeeperState,
    /// Checkpoint of the last bet in the log; 0 for none.
    pub last_target: u64,
    /// Bets in the log.
    pub bets: u64,
}

/// A running task. Dropping it stops it.
pub struct Keeper {
    bettor: Arc<Mutex<Bettor>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Begins to bet for `key` on `chain`, whose folder holds log and policy. Transactions go through `rpc`.
    pub fn start(chain: Arc<Chain>, folder: &Path, key: PrivateKeySigner, rpc: RpcClient) -> Outcome<Self> {
        let duties = Duties::new(chain.clone(), rpc, key.clone());
        let bettor = Arc::new(Mutex::new(Bettor::open(chain.clone(), folder, key)?));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, also) = (stop.clone(), bettor.clone());
        let thread = std::thread::Builder::new()
            .name("footstone".into())
            .spawn(move || keep(&chain, &also, duties, &stopped))
            .map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
        Ok(Self { bettor, stop, thread: Some(thread) })
    }

    /// Returns a handle for those who ask how it is.
    pub fn bettor(&self) -> Arc<Mutex<Bettor>> {
        self.bettor.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that bets ended in a panic");
        }
    }
}

fn keep(chain: &Chain, bettor: &Mutex<Bettor>, mut duties: Duties, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        let state = {
            let mut bettor = bettor.lock();
            bettor.heard(duties.last_target());
            bettor.look()
        };
        duties.tend(&state);
        chain.wait_for_head_above(chain.head().number(), LOOK_EVERY);
    }
}

/// The part that signs.
pub struct Bettor {
    chain: Arc<Chain>,
    rules: FootstoneRules,
    key: PrivateKeySigner,
    folder: PathBuf,
    log: BetLog,
    /// Head's number and the time when it began.
    begun: (u64, u64),
    /// The highest target of its bets that the chain's state knows.
    on_chain: u64,
    state: KeeperState,
}

impl Bettor {
    /// Opens the log.
    pub fn open(chain: Arc<Chain>, folder: &Path, key: PrivateKeySigner) -> Outcome<Self> {
        let rules = chain.params().footstones.ok_or_else(|| Failure::user("this chain has no footstones"))?;
        let log = BetLog::open(&folder.join(LOG_FILE)).map_err(|error| {
            Failure::config(&error)
                .hint("never begin an empty log for a key that has bet: its next bet may cost the whole bond")
        })?;
        let begun = (chain.head().number(), chain.now_secs());
        let state = KeeperState::Listening { until: begun.0 + rules.checkpoint_blocks };
        Ok(Self { chain, rules, key, folder: folder.to_owned(), log, begun, on_chain: 0, state })
    }

    /// Says what it is at.
    pub fn report(&self) -> KeeperReport {
        let footstone = self.key.address();
        KeeperReport {
            footstone,
            state: self.state.clone(),
            last_target: self.log.highest(footstone),
            bets: self.log.bets_of(footstone).count() as u64,
        }
    }

    /// Takes note of the highest target that the chain's state knows of its bets.
    pub fn heard(&mut self, target: u64) {
        self.on_chain = self.on_chain.max(target);
    }

    /// Takes over the bets that the network knows of its key and the log does not, so that none will contradict them.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn accept_history(&mut self) -> Result<KeeperReport, BetLogError> {
        let footstone = self.key.address();
        for signed in self.chain.bets_of(footstone) {
            self.log.import(&signed.bet)?;
        }
        self.log.import_floor(footstone, self.on_chain)?;
        self.begun = (self.chain.head().number(), self.chain.now_secs());
        self.state = KeeperState::Listening { until: self.begun.0 + self.rules.checkpoint_blocks };
        Ok(self.report())
    }

    /// Bets if it is time to. Returns what it is at.
    pub fn look(&mut self) -> KeeperState {
        let state = self.judge();
        if state != self.state {
            match &state {
                KeeperState::Stopped { why } => tracing::error!(footstone = %self.key.address(), why, "not betting"),
                state => tracing::info!(footstone = %self.key.address(), ?state, "footstone"),
            }
            self.state = state.clone();
        }
        state
    }

    fn judge(&mut self) -> KeeperState {
        let footstone = self.key.address();
        if let Some(unknown) = self.chain.bets_of(footstone).iter().find(|signed| !self.log.knows(&signed.bet)) {
            return KeeperState::Stopped { why: self.foreign(unknown.bet.target) };
        }
        if self.on_chain > self.log.highest(footstone) {
            return KeeperState::Stopped { why: self.foreign(self.on_chain) };
        }
        let until = self.begun.0 + self.rules.checkpoint_blocks;
        let waited = self.chain.now_secs().saturating_sub(self.begun.1);
        let patience = LISTEN_INTERVALS * self.rules.checkpoint_blocks * self.chain.params().block_secs;
        if self.chain.head().number() < until && waited < patience {
            return KeeperState::Listening { until };
        }
        let Some(finality) = self.chain.finality() else { return KeeperState::NoSeat };
        let weight = [&finality.rights.current, &finality.rights.previous]
            .map(|set| set.weight_of(footstone))
            .into_iter()
            .flatten()
            .max();
        let Some(weight) = weight else { return KeeperState::NoSeat };
        match self.bet(&finality, weight) {
            Ok(()) => KeeperState::Betting,
            Err(why) => KeeperState::Stopped { why },
        }
    }

    fn foreign(&self, target: u64) -> String {
        format!(
            "a bet of {} on checkpoint {target} is known that the log {} does not hold: the log is an old copy, or another machine bets with \
             this key; stop the other machine, then run `bmm footstone accept-history`",
            self.key.address(),
            self.folder.join(LOG_FILE).display()
        )
    }

    /// Bets on the last checkpoint that is deep enough, and more on it if the policy says so.
    fn bet(&mut self, finality: &FinalityStatus, weight: U256) -> Result<(), String> {
        let policy = read_policy(&self.folder).map_err(|failure| failure.message)?;
        let Some(bet) = self.next_bet(finality, weight, policy).map_err(|error| error.to_string())? else {
            return Ok(());
        };
        if !self.log.knows(&bet) {
            match self.log.enter(&bet) {
                Ok(()) => {}
                // The branch has changed since the last bet. There will be another checkpoint.
                Err(error @ (BetLogError::Offence { .. } | BetLogError::OtherLink(_) | BetLogError::BelowFloor(_))) => {
                    tracing::debug!(%error, "no bet on this checkpoint");
                    return Ok(());
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        let hash = bet.eip712_signing_hash(&footstones_domain(self.chain.params().chain_id));
        let signature = self.key.sign_hash_sync(&hash).map_err(|error| error.to_string())?;
        if let Some(signed) = SignedBet::new(bet, &signature.as_bytes()) {
            tracing::info!(target = signed.bet.target, source = signed.bet.source, amount = %signed.bet.amount, "bet");
            self.chain.hear_bets(&[signed]);
        }
        Ok(())
    }

    /// Returns the bet that is due and that the network does not know yet.
    fn next_bet(
        &self,
        finality: &FinalityStatus,
        weight: U256,
        policy: BetPolicy,
    ) -> Result<Option<Bet>, bmm_chain::ChainError> {
        let (interval, footstone) = (self.rules.checkpoint_blocks, self.key.address());
        let head = self.chain.head().number();
        let Some(number) =
            head.checked_sub(self.rules.bet_depth).map(|number| number / interval).filter(|number| *number > 0)
        else {
            return Ok(None);
        };
        if !finality.rights.enabled || number * interval < finality.rights.current.since {
            return Ok(None);
        }
        let Some(id) = self.chain.canonical(number * interval)? else { return Ok(None) };
        let target = Checkpoint { number, id };
        let before = self.log.bets_of(footstone).rev().find(|bet| bet.target == number && bet.targetHash == id);
        let source = match before {
            Some(bet) => Checkpoint { number: bet.source, id: bet.sourceHash },
            None if finality.bet_source().number < number => finality.bet_source(),
            // Others were faster: the same link has a part in what it pays.
            None => match self.chain.link_to(target) {
                Some(source) => source,
                None => return Ok(None),
            },
        };
        let amount = policy.amount(weight, head - number * interval, self.rules.bet_depth);
        // Never less than before, which would be another bet.
        let amount = before.map_or(amount, |bet| amount.max(bet.amount));
        let bet =
            Bet { footstone, source: source.number, sourceHash: source.id, target: number, targetHash: id, amount };
        let said = self.chain.bets_of(footstone).iter().any(|known| known.bet == bet);
        Ok((!said && !amount.is_zero()).then_some(bet))
    }
}

//! A thread that produces blocks.

use crate::{
    chain::Chain,
    error::{ChainError, ImportError},
    events::Seen,
    solutions::{Solutions, WorkKey},
    template::{Template, TemplateRequest},
};
use alloy_primitives::{B256, Signature, U256};
use bmm_pow::{AuxTree, MiningJob, Throttle, mine_noting};
use bmm_types::{AuxPow, Engine, Seal, SealedBlock, system::RESOURCE_AUX_CHAIN_ID};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Longest time between two looks at the clock while nothing happens.
const IDLE: Duration = Duration::from_secs(1);
/// Pause after a failure, and while the next block's time lies ahead of the clock.
const PAUSE: Duration = Duration::from_millis(50);
/// A template is replaced after this time in any case, so that its timestamp stays near the truth.
const TEMPLATE_MAX_AGE: Duration = Duration::from_secs(10);
/// A template that took long to build is kept so many times as long, so that building takes a fifth of a core at most.
const BUILD_SHARE: u32 = 4;

/// Signs the hash of a block with the beneficiary's key.
pub type BlockSigner = Arc<dyn Fn(B256) -> Signature + Send + Sync>;

/// How blocks are produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerConfig {
    /// Beneficiary and free bytes.
    pub request: TemplateRequest,
    /// Share of a core that the miner may use (engine `pow`).
    pub throttle: Throttle,
    /// How old a template may be before new transactions replace it (engine `pow`). One that took long to build is kept longer.
    pub refresh_after: Duration,
}

/// Produces blocks on its own thread until it is stopped or dropped: by mining (engine `pow`), or one at once when a transaction
/// waits (engine `dev`).
pub struct Producer {
    chain: Arc<Chain>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Producer {
    /// Begins to produce blocks of `chain`.
    ///
    /// # Errors
    /// [`ChainError::NoProducer`] on a chain whose engine makes no blocks; [`ChainError::Thread`].
    pub fn start(chain: Arc<Chain>, config: ProducerConfig, signer: BlockSigner) -> Result<Self, ChainError> {
        Self::start_noting(chain, config, signer, None)
    }

    /// As [`Producer::start`]. Mining notes the smallest hashes in `solutions`, as the beneficiary's work.
    ///
    /// # Errors
    /// As there.
    pub fn start_noting(
        chain: Arc<Chain>,
        config: ProducerConfig,
        signer: BlockSigner,
        solutions: Option<Arc<Solutions>>,
    ) -> Result<Self, ChainError> {
        let produce = match chain.params.engine {
            Engine::Pow => Worker::mine_for_ever,
            Engine::Dev => Worker::produce_on_demand,
            Engine::NoSeal => return Err(ChainError::NoProducer),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            chain: chain.clone(),
            config,
            signer,
            solutions,
            stop: stop.clone(),
            told_of_clock: AtomicBool::default(),
            told_of_right: AtomicBool::default(),
        };
        let thread = thread::Builder::new()
            .name("producer".into())
            .spawn(move || produce(&worker))
            .map_err(|error| ChainError::Thread(error.to_string()))?;
        Ok(Self { chain, stop, thread: Some(thread) })
    }

    /// Stops and waits until the thread has ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.chain.events.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the producer of blocks ended in a panic");
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the producer's thread works with.
struct Worker {
    chain: Arc<Chain>,
    config: ProducerConfig,
    signer: BlockSigner,
    solutions: Option<Arc<Solutions>>,
    stop: Arc<AtomicBool>,
    /// Whether it has been said that the clock is behind the head.
    told_of_clock: AtomicBool,
    /// Whether it has been said that the beneficiary may not produce.
    told_of_right: AtomicBool,
}

impl Worker {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Engine `pow`: a template, the search for its proof, the next template.
    fn mine_for_ever(&self) {
        let mut extra_nonce = 0u64;
        while !self.stopped() {
            let seen = self.chain.events.seen();
            let begun = Instant::now();
            let Some(template) = self.template(seen) else { continue };
            let refresh_after = self.config.refresh_after.max(begun.elapsed().saturating_mul(BUILD_SHARE));
            let stale = AtomicBool::new(false);
            let proof = thread::scope(|scope| {
                scope.spawn(|| self.watch(seen, refresh_after, &stale));
                let job = MiningJob {
                    block_id: template.id,
                    target: template.target,
                    // A label only; the year 2106 is its end.
                    time: u32::try_from(template.block.header.timestamp).unwrap_or(u32::MAX),
                    extra_nonce,
                };
                let proof = self.mine(&job, &template, &stale);
                stale.store(true, Ordering::Relaxed);
                self.chain.events.wake();
                proof
            });
            extra_nonce = extra_nonce.wrapping_add(1);
            if let Some(proof) = proof {
                self.import(&SealedBlock { block: template.block, seal: Seal::AuxPow(Box::new(proof)) });
            }
        }
    }

    /// Searches for the template's proof. The same hashes are the beneficiary's work of the epoch.
    fn mine(&self, job: &MiningJob, template: &Template, stale: &AtomicBool) -> Option<AuxPow> {
        let work = self.solutions.as_ref().and_then(|solutions| Some((solutions, self.work_of(template)?)));
        let mut leaves = vec![(self.chain.params.aux_chain_id, job.block_id)];
        leaves.extend(work.as_ref().map(|(_, work)| (RESOURCE_AUX_CHAIN_ID, work.leaf())));
        let tree = AuxTree::new(&leaves)?;
        let nonces = 0..=u32::MAX;
        mine_noting(job, &tree, &nonces, stale, self.config.throttle, &mut |parent, nonce, hash| {
            if let Some((solutions, work)) = &work {
                solutions.note(work, U256::from_le_bytes(*hash), || {
                    parent.assemble_leaf(1, nonce).expect("the tree has two leaves")
                });
            }
        })
    }

    /// Returns whose work of which epoch the search for a template's proof is.
    fn work_of(&self, template: &Template) -> Option<WorkKey> {
        let header = &template.block.header;
        let (epoch, seed) = self.chain.epoch_after(header.parent_hash, header.number.checked_sub(1)?).ok()??;
        Some(WorkKey { epoch, seed, contributor: header.beneficiary })
    }

    /// Sets `stale` when the template of `seen` should be replaced: for a new head at once, for new transactions after a delay,
    /// for age, or because the producer stops. Ends when somebody has set it.
    fn watch(&self, seen: Seen, refresh_after: Duration, stale: &AtomicBool) {
        let built = Instant::now();
        let mut now = seen;
        while !stale.load(Ordering::Relaxed) {
            let age = built.elapsed();
            let refreshed = now.pool != seen.pool && age >= refresh_after;
            if self.stopped() || now.heads != seen.heads || refreshed || age >= TEMPLATE_MAX_AGE {
                stale.store(true, Ordering::Relaxed);
                return;
            }
            now = if now.pool == seen.pool {
                self.chain.events.wait(now, TEMPLATE_MAX_AGE.saturating_sub(age).min(IDLE))
            } else {
                // There is something new already; more of it changes nothing.
                self.chain.events.wait_for_head(now, refresh_after.saturating_sub(age).min(IDLE))
            };
        }
    }

    /// Engine `dev`: a block whenever a transaction could be in it.
    fn produce_on_demand(&self) {
        while !self.stopped() {
            let seen = self.chain.events.seen();
            if !self.chain.pool.lock().has_ready() {
                self.chain.events.wait(seen, IDLE);
                continue;
            }
            match self.template(seen) {
                Some(template) if template.block.body.transactions.is_empty() => {
                    self.chain.events.wait(seen, IDLE);
                }
                Some(template) => self.import(&SealedBlock { block: template.block, seal: Seal::None }),
                None => {}
            }
        }
    }

    /// Builds a template whose time is not ahead of what others take; `None` after a pause if that fails.
    fn template(&self, seen: Seen) -> Option<Template> {
        let ahead = match self.chain.params.engine {
            // A miner waits for its time: blocks dated ahead would make the schedule believe that work is slow.
            Engine::Pow => 0,
            Engine::Dev | Engine::NoSeal => self.chain.params.max_ahead_secs,
        };
        let (now, earliest) = (self.chain.now_secs(), self.chain.head().header.timestamp.saturating_add(1));
        let behind = earliest.saturating_sub(now) > self.chain.params.max_ahead_secs.saturating_add(1);
        if !behind {
            self.told_of_clock.store(false, Ordering::Relaxed);
        } else if !self.told_of_clock.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                head_time = earliest.saturating_sub(1),
                now,
                "the head's time is ahead of this node's clock; no block is made before it is reached; check the clock"
            );
        }
        if earliest > now.saturating_add(ahead) {
            self.chain.events.wait(seen, PAUSE);
            return None;
        }
        match self.chain.template(&self.config.request, &*self.signer) {
            Ok(template) => {
                if self.told_of_right.swap(false, Ordering::Relaxed) {
                    tracing::info!("this node may produce blocks again");
                }
                Some(template)
            }
            Err(error @ ChainError::NoRight(_)) => {
                if !self.told_of_right.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "not mining");
                }
                // A right comes with a block, or with time.
                self.chain.events.wait_for_head(seen, IDLE);
                None
            }
            Err(error) => {
                tracing::error!(%error, "no block can be built");
                self.chain.events.wait(self.chain.events.seen(), IDLE);
                None
            }
        }
    }

    fn import(&self, block: &SealedBlock) {
        match self.chain.import(block) {
            Ok(imported) => tracing::debug!(id = %imported.id, head = imported.became_head, "produced a block"),
            // Another block came first and changed what this one was built on.
            Err(ImportError::Known(_) | ImportError::UnknownParent(_)) => {}
            Err(error) => {
                tracing::error!(%error, "a block of our own was refused");
                self.chain.events.wait(self.chain.events.seen(), PAUSE);
            }
        }
    }
}

//! Stakes: what a provider locks for one job and loses by a wrong result, and how that is disputed.
//!
//! A stake is taken by what the provider itself signed (two results of one task), by its silence after a quorum of other staked
//! operators testified against it, or by the jury's verdict. Never by the requester's word; and by a majority only if the
//! provider does not deny. What is taken goes to the resource pot. Only what rests on no operator whom the requester could own (a
//! contradiction, a verdict) compensates the requester first, with no more than it had paid the provider for this job.
//!
//! Slot 2: stakes by job and provider: amount (128 bits), state (8), end of the dispute (64) | bond (128), locked until (64) |
//! number of accusers (8), task (64) | up to 8 accusers. The job's terms are the sixth of its slots: stake (128), quorum (8).

use super::{
    Rules,
    frame::{Frame, Stop, ensure},
    gas,
    jobs::{Job, field, paid, split_signature},
    slots::Mapping,
};
use alloy_primitives::{Address, B256, U256, aliases::U160};
use alloy_sol_types::SolStruct;
use bmm_types::{
    market::{MAX_PROOF, Receipt, merkle_verify, result_leaf},
    system::{
        FOOTSTONES,
        Jobs::{
            Accused, AlreadyStaked, BadTerms, BadTestimony, Cleared, NoContradiction, NoStakeAsked, NotJury, Objected,
            QuorumMissing, StakeLocked, StakeTaken, StakeTooSmall, Staked, TooEarly, TooLate, UnknownJob, Unstaked,
            WrongBond, WrongStakeState, accuseCall, contradictCall, ruleCall, stakeOfReturn, termsOfReturn,
        },
        MAX_TESTIMONIES, RESOURCES, Testimony, job_state, stake_state,
    },
};

const STAKES: Mapping = Mapping::at(2);
/// An objection's bond is this part of the stake, rounded up.
const BOND_PART: u128 = 4;
/// Fewest and most operators that a job may ask for before one is accused.
const QUORUMS: std::ops::RangeInclusive<u8> = 2..=8;

/// What a job asks of its providers.
struct Terms {
    stake: u128,
    quorum: u8,
}

/// Returns the job's terms; a stake of zero if it asks for none.
fn terms(frame: &mut Frame<'_>, job: &Job) -> Result<Terms, Stop> {
    let word = frame.load(field(job.slot, 5))?;
    Ok(Terms { stake: word.wrapping_to(), quorum: word.wrapping_shr(128).byte(0) })
}

/// A job may ask its providers for a stake above zero, and for a quorum of 2 to 8.
pub(super) fn set_terms(frame: &mut Frame<'_>, slot: U256, stake: U256, quorum: u8) -> Result<(), Stop> {
    let fits = !stake.is_zero() && u128::try_from(stake).is_ok() && QUORUMS.contains(&quorum);
    ensure(fits, BadTerms { stake, quorum })?;
    frame.store(field(slot, 5), stake | U256::from(quorum).wrapping_shl(128))
}

/// One provider's stake in one job.
struct Stake {
    provider: Address,
    /// First of its slots.
    slot: U256,
    state: u8,
    amount: u128,
    /// When the present dispute ends.
    until: u64,
    bond: u128,
    /// Whoever testifies stays locked until the dispute can be over.
    locked: u64,
}

impl Stake {
    fn load(frame: &mut Frame<'_>, job: B256, provider: Address) -> Result<Self, Stop> {
        let slot = STAKES.inner(frame, job)?.slot(frame, provider)?;
        let (first, second) = (frame.load(slot)?, frame.load(field(slot, 1))?);
        Ok(Self {
            provider,
            slot,
            amount: first.wrapping_to(),
            state: first.wrapping_shr(128).byte(0),
            until: first.wrapping_shr(136).wrapping_to(),
            bond: second.wrapping_to(),
            locked: second.wrapping_shr(128).wrapping_to(),
        })
    }

    fn store(&self, frame: &mut Frame<'_>) -> Result<(), Stop> {
        let state = U256::from(self.state).wrapping_shl(128) | U256::from(self.until).wrapping_shl(136);
        frame.store(self.slot, U256::from(self.amount) | state)?;
        frame.store(field(self.slot, 1), U256::from(self.bond) | U256::from(self.locked).wrapping_shl(128))
    }

    /// The stake must be in one of these states.
    fn must_be(&self, states: &[u8]) -> Result<(), Stop> {
        ensure(states.contains(&self.state), WrongStakeState { provider: self.provider, state: self.state })
    }

    /// An objection costs a quarter of the stake, rounded up.
    fn bond_due(&self) -> u128 {
        self.amount.div_ceil(BOND_PART)
    }
}

/// Stakes are free once the challenge time after the end of the job's lock is over, so that a settlement which comes last leaves
/// time to accuse.
fn free_at(frame: &mut Frame<'_>, rules: &Rules, job: &Job) -> Result<u64, Stop> {
    Ok(job.release_at(frame, rules)?.saturating_add(rules.jobs.challenge_secs))
}

/// Reads a job that was opened, whatever became of it.
fn known(frame: &mut Frame<'_>, id: B256) -> Result<Job, Stop> {
    let job = Job::load(frame, id)?;
    ensure(job.state != job_state::UNKNOWN, UnknownJob { job: id })?;
    Ok(job)
}

/// A provider stakes once, while the job is open and its deadline ahead, at least what the job asks for.
pub(super) fn stake(frame: &mut Frame<'_>, id: B256) -> Result<(), Stop> {
    let job = known(frame, id)?;
    let least = terms(frame, &job)?.stake;
    let takes = least > 0 && job.state == job_state::OPEN && frame.now() < job.deadline;
    ensure(takes, NoStakeAsked { job: id })?;
    let (provider, sent) = (frame.caller(), frame.value());
    let mut stake = Stake::load(frame, id, provider)?;
    ensure(stake.state == stake_state::NONE, AlreadyStaked { job: id, provider })?;
    let amount = u128::try_from(sent).map_err(|_| Stop::reason("Jobs: a stake of 2^128 units or more"))?;
    ensure(amount >= least, StakeTooSmall { stake: sent, least: U256::from(least) })?;
    (stake.state, stake.amount) = (stake_state::HELD, amount);
    stake.store(frame)?;
    frame.emit(&Staked { job: id, provider, amount: sent })
}

/// A stake that nobody disputes goes back to its provider once it is free, whoever asks for it.
pub(super) fn unstake(frame: &mut Frame<'_>, rules: &Rules, id: B256, provider: Address) -> Result<U256, Stop> {
    let job = known(frame, id)?;
    let mut stake = Stake::load(frame, id, provider)?;
    stake.must_be(&[stake_state::HELD, stake_state::CLEARED])?;
    let until = free_at(frame, rules, &job)?.max(stake.locked);
    ensure(frame.now() >= until, StakeLocked { until })?;
    let amount = U256::from(std::mem::take(&mut stake.amount));
    stake.state = stake_state::GONE;
    stake.store(frame)?;
    frame.pay(provider, amount)?;
    frame.emit(&Unstaked { job: id, provider, amount })?;
    Ok(amount)
}

/// A testimony is what its provider signed about a task (EIP-712 `Receipt`), with a result, and the way from the task's leaf to the
/// receipt's root, of at most 16 steps. Returns fuel and output: what must be equal of two honest runs.
fn testify(frame: &mut Frame<'_>, rules: &Rules, job: B256, task: u64, of: &Testimony) -> Result<(u64, B256), Stop> {
    let bad = || Stop::error(&BadTestimony { provider: of.provider });
    if of.proof.len() > MAX_PROOF || of.output.is_zero() || of.provider.is_zero() {
        return Err(bad());
    }
    // The leaf, the steps, and the receipt: a type hash and seven words.
    frame.charge(gas::KECCAK.saturating_add(gas::words(69, gas::KECCAK_WORD)))?;
    for _ in &of.proof {
        frame.charge(gas::KECCAK.saturating_add(gas::words(64, gas::KECCAK_WORD)))?;
    }
    frame.charge(gas::KECCAK.saturating_add(gas::words(8 * 32, gas::KECCAK_WORD)))?;
    let leaf = result_leaf(of.provider, task, of.fuel, of.output);
    if !merkle_verify(&of.proof, of.root, leaf) {
        return Err(bad());
    }
    let receipt = Receipt {
        job,
        provider: of.provider,
        lease: of.lease,
        batch: of.batch,
        tasks: of.tasks,
        fuel: of.batchFuel,
        results: of.root,
    };
    let (r, s, v) = split_signature(&of.signature).ok_or_else(bad)?;
    let signer = frame.signer(rules.market_separator(), receipt.eip712_hash_struct(), v, r, s)?;
    if signer != Some(of.provider) {
        return Err(bad());
    }
    Ok((of.fuel, of.output))
}

/// A quorum of staked, undisputed operators found the same for a task, and another staked one something else: it is accused, and
/// may object for the claim time. Those who testify stay locked until the dispute can be over.
pub(super) fn accuse(frame: &mut Frame<'_>, rules: &Rules, call: &accuseCall) -> Result<(), Stop> {
    let accuseCall { job: id, task, accused, others } = call;
    let job = known(frame, *id)?;
    let quorum = terms(frame, &job)?.quorum;
    ensure(quorum > 0, NoStakeAsked { job: *id })?;
    let enough = others.len() >= usize::from(quorum) && others.len() <= MAX_TESTIMONIES;
    let testimonies = U256::try_from(others.len()).unwrap_or(U256::MAX);
    ensure(enough, QuorumMissing { testimonies, quorum })?;
    let ascending = others.windows(2).all(|pair| pair[0].provider < pair[1].provider);
    let alone = others.iter().all(|other| other.provider != accused.provider);
    ensure(ascending && alone, BadTestimony { provider: accused.provider })?;
    let (now, end) = (frame.now(), free_at(frame, rules, &job)?);
    ensure(now < end, TooLate { end })?;

    let mut stake = Stake::load(frame, *id, accused.provider)?;
    stake.must_be(&[stake_state::HELD])?;
    let found = testify(frame, rules, *id, *task, accused)?;
    let time = rules.jobs.claim_secs;
    let over = now.saturating_add(time).saturating_add(time);
    let mut agreed = None;
    for (number, other) in (3u64..).zip(others) {
        let said = testify(frame, rules, *id, *task, other)?;
        ensure(said != found && *agreed.get_or_insert(said) == said, NoContradiction {})?;
        let mut witness = Stake::load(frame, *id, other.provider)?;
        witness.must_be(&[stake_state::HELD])?;
        witness.locked = witness.locked.max(over);
        witness.store(frame)?;
        frame.store(field(stake.slot, number), U256::from_be_bytes(other.provider.into_word().0))?;
    }
    frame.store(field(stake.slot, 2), testimonies | U256::from(*task).wrapping_shl(8))?;
    (stake.state, stake.until) = (stake_state::ACCUSED, now.saturating_add(time));
    stake.store(frame)?;
    frame.emit(&Accused { job: *id, provider: accused.provider, task: *task, until: stake.until })
}

/// Two results of one task under the same provider's signature: its stake is taken, whatever else is in dispute.
pub(super) fn contradict(frame: &mut Frame<'_>, rules: &Rules, call: &contradictCall) -> Result<(), Stop> {
    let contradictCall { job: id, task, first, second } = call;
    let job = known(frame, *id)?;
    let provider = first.provider;
    ensure(provider == second.provider, NoContradiction {})?;
    let stake = Stake::load(frame, *id, provider)?;
    stake.must_be(&[stake_state::HELD, stake_state::ACCUSED, stake_state::OBJECTED, stake_state::CLEARED])?;
    let said = testify(frame, rules, *id, *task, first)?;
    ensure(testify(frame, rules, *id, *task, second)? != said, NoContradiction {})?;
    take(frame, &job, stake, true)
}

/// The accused denies within its time and pays the bond: the jury has the claim time to rule.
pub(super) fn object(frame: &mut Frame<'_>, rules: &Rules, id: B256) -> Result<(), Stop> {
    let (provider, sent, now) = (frame.caller(), frame.value(), frame.now());
    let mut stake = Stake::load(frame, id, provider)?;
    stake.must_be(&[stake_state::ACCUSED])?;
    ensure(now < stake.until, TooLate { end: stake.until })?;
    let bond = stake.bond_due();
    ensure(sent == U256::from(bond), WrongBond { sent, bond: U256::from(bond) })?;
    (stake.state, stake.bond) = (stake_state::OBJECTED, bond);
    stake.until = now.saturating_add(rules.jobs.claim_secs);
    stake.store(frame)?;
    let task = frame.load(field(stake.slot, 2))?.wrapping_shr(8).wrapping_to();
    frame.emit(&Objected { job: id, provider, task, bond: sent, until: stake.until })
}

/// The jury's verdict, in its time. Who was wrong loses stake and bond; who was not gets the bond back and keeps the stake, and those
/// who testified against it lose theirs.
pub(super) fn rule(frame: &mut Frame<'_>, call: &ruleCall) -> Result<(), Stop> {
    let &ruleCall { job: id, provider, wrong } = call;
    let caller = frame.caller();
    ensure(caller == FOOTSTONES, NotJury { caller })?;
    let job = known(frame, id)?;
    let stake = Stake::load(frame, id, provider)?;
    stake.must_be(&[stake_state::OBJECTED])?;
    ensure(frame.now() < stake.until, TooLate { end: stake.until })?;
    if wrong {
        return take(frame, &job, stake, true);
    }
    let accusers: u8 = frame.load(field(stake.slot, 2))?.byte(0);
    for number in (3u64..).take(accusers.into()) {
        let accuser = Address::from(frame.load(field(stake.slot, number))?.wrapping_to::<U160>());
        let accuser = Stake::load(frame, id, accuser)?;
        if matches!(accuser.state, stake_state::HELD | stake_state::CLEARED) {
            take(frame, &job, accuser, false)?;
        }
    }
    clear(frame, id, stake)
}

/// A dispute whose time is over ends, whoever asks for it: a silent accused loses its stake; without a verdict nobody loses.
pub(super) fn resolve(frame: &mut Frame<'_>, id: B256, provider: Address) -> Result<(), Stop> {
    let job = known(frame, id)?;
    let stake = Stake::load(frame, id, provider)?;
    stake.must_be(&[stake_state::ACCUSED, stake_state::OBJECTED])?;
    ensure(frame.now() >= stake.until, TooEarly { release: stake.until })?;
    if stake.state == stake_state::ACCUSED { take(frame, &job, stake, false) } else { clear(frame, id, stake) }
}

/// Ends a dispute in the provider's favour: the bond goes back, and only a contradiction can take the stake from now on.
fn clear(frame: &mut Frame<'_>, id: B256, mut stake: Stake) -> Result<(), Stop> {
    let bond = U256::from(std::mem::take(&mut stake.bond));
    stake.state = stake_state::CLEARED;
    stake.store(frame)?;
    frame.pay(stake.provider, bond)?;
    frame.emit(&Cleared { job: id, provider: stake.provider })
}

/// Takes stake and bond. `compensates`: the requester gets back at most what it had paid the provider for this job, out of the stake;
/// all else goes to the resource pot.
fn take(frame: &mut Frame<'_>, job: &Job, mut stake: Stake, compensates: bool) -> Result<(), Stop> {
    let (amount, bond) = (U256::from(stake.amount), U256::from(stake.bond));
    let was_paid = paid(frame, job.id, stake.provider)?.1;
    let compensation = if compensates { was_paid.min(amount) } else { U256::ZERO };
    (stake.state, stake.amount, stake.bond) = (stake_state::GONE, 0, 0);
    stake.store(frame)?;
    let all = amount.saturating_add(bond);
    frame.pay(job.requester, compensation)?;
    frame.pay(RESOURCES, all.saturating_sub(compensation))?;
    frame.emit(&StakeTaken { job: job.id, provider: stake.provider, amount: all, compensation })
}

pub(super) fn terms_of(frame: &mut Frame<'_>, id: B256) -> Result<termsOfReturn, Stop> {
    let job = Job::load(frame, id)?;
    let terms = terms(frame, &job)?;
    Ok(termsOfReturn { stake: U256::from(terms.stake), quorum: terms.quorum })
}

pub(super) fn stake_of(
    frame: &mut Frame<'_>,
    rules: &Rules,
    id: B256,
    provider: Address,
) -> Result<stakeOfReturn, Stop> {
    let job = Job::load(frame, id)?;
    let stake = Stake::load(frame, id, provider)?;
    let until = match stake.state {
        stake_state::HELD | stake_state::CLEARED => free_at(frame, rules, &job)?.max(stake.locked),
        stake_state::ACCUSED | stake_state::OBJECTED => stake.until,
        _ => 0,
    };
    let bond = if stake.state == stake_state::OBJECTED { stake.bond } else { stake.bond_due() };
    Ok(stakeOfReturn { state: stake.state, amount: U256::from(stake.amount), until, bond: U256::from(bond) })
}

//! Jobs: escrow, cumulative vouchers, settlement, refund.
//!
//! Every unit that a function takes in or pays out is accounted to one job, so that the contract's balance is the sum of what
//! is left of all jobs' budgets, of all stakes and of all bonds. Coins that are forced upon the address (as beneficiary of a block, or of a contract that
//! destroys itself) belong to no job: they lie there for ever and change nothing for anybody.
//!
//! Slot 0: jobs by id, each six slots: requester (160 bits), state (8), deadline (64) | budget (128), spent (128) | spec |
//! root | release time | what it asks of providers. Slot 1: what was paid, by job and provider. Slot 2: see `stakes`.

use super::{
    Rules,
    frame::{Frame, Stop, ensure, is_sink},
    gas, resources,
    slots::Mapping,
    stakes,
};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U160};
use alloy_sol_types::{SolCall, SolInterface, SolStruct};
use bmm_types::system::{
    Jobs::{
        BadDeadline, BadProvider, BadTotals, BadVoucher, JobAlreadySettled, JobClosed, JobExists, JobsCalls, NoBudget,
        NotRequester, NothingToClaim, Opened, OverBudget, Paid, Refunded, Settled, TooEarly, TooLate, TotalBelowPaid,
        UnknownJob, claimCall, jobIdCall, jobOfCall, jobOfReturn, openCall, openStakedCall, paidToCall, refundCall,
        settleCall, stakeOfCall, termsOfCall, unstakeCall,
    },
    MAX_SETTLED_PROVIDERS, RESOURCES, Voucher, job_id, job_state,
};

const JOBS: Mapping = Mapping::at(0);
const PAID: Mapping = Mapping::at(1);

/// Answers one call.
pub(super) fn run(frame: &mut Frame<'_>, rules: &Rules, data: &[u8]) -> Result<Vec<u8>, Stop> {
    let call = JobsCalls::abi_decode_validate(data).map_err(|_| Stop::not_of_the_abi())?;
    match call {
        JobsCalls::open(_) | JobsCalls::openStaked(_) | JobsCalls::stake(_) | JobsCalls::object(_) => frame.pays()?,
        JobsCalls::claim(_)
        | JobsCalls::settle(_)
        | JobsCalls::refund(_)
        | JobsCalls::unstake(_)
        | JobsCalls::accuse(_)
        | JobsCalls::contradict(_)
        | JobsCalls::rule(_)
        | JobsCalls::resolve(_) => frame.writes()?,
        JobsCalls::jobOf(_)
        | JobsCalls::paidTo(_)
        | JobsCalls::jobId(_)
        | JobsCalls::termsOf(_)
        | JobsCalls::stakeOf(_) => frame.reads()?,
    }
    Ok(match call {
        JobsCalls::open(c) => openCall::abi_encode_returns(&open(frame, rules, &c)?),
        JobsCalls::claim(c) => claimCall::abi_encode_returns(&claim(frame, rules, &c)?),
        JobsCalls::settle(c) => {
            settle(frame, rules, &c)?;
            Vec::new()
        }
        JobsCalls::refund(c) => refundCall::abi_encode_returns(&refund(frame, rules, c.job)?),
        JobsCalls::jobOf(c) => jobOfCall::abi_encode_returns(&job_of(frame, rules, c.job)?),
        JobsCalls::paidTo(c) => paidToCall::abi_encode_returns(&paid(frame, c.job, c.provider)?.1),
        JobsCalls::jobId(c) => {
            hash_job_id(frame)?;
            jobIdCall::abi_encode_returns(&job_id(rules.chain_id, c.requester, c.salt))
        }
        other => return answer_about_stakes(frame, rules, other),
    })
}

/// Answers a call that is about stakes.
fn answer_about_stakes(frame: &mut Frame<'_>, rules: &Rules, call: JobsCalls) -> Result<Vec<u8>, Stop> {
    match call {
        JobsCalls::openStaked(c) => {
            let openStakedCall { salt, spec, deadline, stake, quorum } = c;
            let job = open(frame, rules, &openCall { salt, spec, deadline })?;
            let slot = JOBS.slot(frame, job)?;
            stakes::set_terms(frame, slot, stake, quorum)?;
            return Ok(openStakedCall::abi_encode_returns(&job));
        }
        JobsCalls::stake(c) => stakes::stake(frame, c.job)?,
        JobsCalls::unstake(c) => {
            return Ok(unstakeCall::abi_encode_returns(&stakes::unstake(frame, rules, c.job, c.provider)?));
        }
        JobsCalls::accuse(c) => stakes::accuse(frame, rules, &c)?,
        JobsCalls::contradict(c) => stakes::contradict(frame, rules, &c)?,
        JobsCalls::object(c) => stakes::object(frame, rules, c.job)?,
        JobsCalls::rule(c) => stakes::rule(frame, &c)?,
        JobsCalls::resolve(c) => stakes::resolve(frame, c.job, c.provider)?,
        JobsCalls::termsOf(c) => return Ok(termsOfCall::abi_encode_returns(&stakes::terms_of(frame, c.job)?)),
        JobsCalls::stakeOf(c) => {
            return Ok(stakeOfCall::abi_encode_returns(&stakes::stake_of(frame, rules, c.job, c.provider)?));
        }
        _ => return Err(Stop::not_of_the_abi()),
    }
    Ok(Vec::new())
}

/// A job as the first two of its slots hold it.
pub(super) struct Job {
    pub(super) id: B256,
    /// First of its slots.
    pub(super) slot: U256,
    pub(super) state: u8,
    pub(super) requester: Address,
    pub(super) deadline: u64,
    budget: u128,
    spent: u128,
}

impl Job {
    /// Reads the job `id`; state 0 if it was never opened.
    pub(super) fn load(frame: &mut Frame<'_>, id: B256) -> Result<Self, Stop> {
        let slot = JOBS.slot(frame, id)?;
        let who = frame.load(slot)?;
        let sums = frame.load(field(slot, 1))?;
        Ok(Self {
            id,
            slot,
            state: who.wrapping_shr(160).byte(0),
            requester: Address::from(who.wrapping_to::<U160>()),
            deadline: who.wrapping_shr(168).wrapping_to(),
            budget: sums.wrapping_to(),
            spent: sums.wrapping_shr(128).wrapping_to(),
        })
    }

    /// Reads the job `id`, which must be open or settled.
    fn load_live(frame: &mut Frame<'_>, id: B256) -> Result<Self, Stop> {
        let job = Self::load(frame, id)?;
        ensure(job.state != job_state::UNKNOWN, UnknownJob { job: id })?;
        ensure(job.state != job_state::CLOSED, JobClosed { job: id })?;
        Ok(job)
    }

    /// Writes requester, state and deadline.
    fn store_who(&self, frame: &mut Frame<'_>) -> Result<(), Stop> {
        let requester = U256::from_be_bytes(self.requester.into_word().0);
        let state = U256::from(self.state).wrapping_shl(160);
        frame.store(self.slot, requester | state | U256::from(self.deadline).wrapping_shl(168))
    }

    /// Writes budget and spent.
    fn store_sums(&self, frame: &mut Frame<'_>) -> Result<(), Stop> {
        frame.store(field(self.slot, 1), U256::from(self.budget) | U256::from(self.spent).wrapping_shl(128))
    }

    /// Units that are neither spent nor returned.
    fn left(&self) -> u128 {
        // `spend` keeps it so that nothing saturates.
        self.budget.saturating_sub(self.spent)
    }

    /// When the lock ends: after the time for claims that follows the deadline; when settled, at the time then fixed.
    pub(super) fn release_at(&self, frame: &mut Frame<'_>, rules: &Rules) -> Result<u64, Stop> {
        let fixed: u64 = frame.load(field(self.slot, 4))?.saturating_to();
        Ok(if fixed == 0 { self.deadline.saturating_add(rules.jobs.claim_secs) } else { fixed })
    }
}

/// Returns the `index`th slot of what begins at `slot`.
pub(super) fn field(slot: U256, index: u64) -> U256 {
    slot.wrapping_add(U256::from(index))
}

/// Returns slot and value of what `provider` was paid for `job`.
pub(super) fn paid(frame: &mut Frame<'_>, job: B256, provider: Address) -> Result<(U256, U256), Stop> {
    let slot = PAID.inner(frame, job)?.slot(frame, provider)?;
    Ok((slot, frame.load(slot)?))
}

/// A job id is keccak over four words.
fn hash_job_id(frame: &mut Frame<'_>) -> Result<(), Stop> {
    frame.charge(gas::KECCAK.saturating_add(gas::words(4 * 32, gas::KECCAK_WORD)))
}

/// Opening locks the coins sent, until a deadline that lies ahead by at most the chain's longest duration. The id must be new.
fn open(frame: &mut Frame<'_>, rules: &Rules, call: &openCall) -> Result<B256, Stop> {
    let (requester, value, now) = (frame.caller(), frame.value(), frame.now());
    ensure(!value.is_zero(), NoBudget {})?;
    // More than 2^128 units do not exist where these contracts do.
    let budget = u128::try_from(value).map_err(|_| Stop::reason("Jobs: a budget of 2^128 units or more"))?;
    let (earliest, latest) = (now.saturating_add(1), now.saturating_add(rules.jobs.max_duration_secs));
    let deadline = call.deadline;
    ensure((earliest..=latest).contains(&deadline), BadDeadline { deadline, earliest, latest })?;
    hash_job_id(frame)?;
    let id = job_id(rules.chain_id, requester, call.salt);
    let old = Job::load(frame, id)?;
    ensure(old.state == job_state::UNKNOWN, JobExists { job: id })?;
    let job = Job { state: job_state::OPEN, requester, deadline, budget, spent: 0, ..old };
    job.store_who(frame)?;
    job.store_sums(frame)?;
    frame.store(field(job.slot, 2), call.spec.into())?;
    frame.emit(&Opened { job: id, requester, budget: value, deadline, spec: call.spec })?;
    Ok(id)
}

/// A voucher is good while the lock lasts. It pays what its total is above what the provider was paid, as far as the budget
/// reaches.
fn claim(frame: &mut Frame<'_>, rules: &Rules, call: &claimCall) -> Result<U256, Stop> {
    let &claimCall { job: id, provider, total, .. } = call;
    let mut job = Job::load_live(frame, id)?;
    let end = job.release_at(frame, rules)?;
    ensure(frame.now() < end, TooLate { end })?;
    ensure(!is_sink(provider), BadProvider { provider })?;
    voucher_is_signed(frame, rules, &job, call)?;
    let (slot, paid) = paid(frame, id, provider)?;
    let due = total.saturating_sub(paid);
    ensure(!due.is_zero(), NothingToClaim { total, paid })?;
    let left = U256::from(job.left());
    ensure(!left.is_zero(), OverBudget { needed: due, left })?;
    let amount = due.min(left);
    let fee = spend(frame, rules, &mut job, Payment { provider, slot, paid, amount })?;
    job.store_sums(frame)?;
    frame.pay(RESOURCES, fee)?;
    Ok(amount)
}

/// A voucher is signed by the job's requester (EIP-712, 65 bytes r ‖ s ‖ v).
fn voucher_is_signed(frame: &mut Frame<'_>, rules: &Rules, job: &Job, call: &claimCall) -> Result<(), Stop> {
    // Type hash and three words.
    frame.charge(gas::KECCAK.saturating_add(gas::words(4 * 32, gas::KECCAK_WORD)))?;
    let hash = Voucher { job: call.job, provider: call.provider, total: call.total }.eip712_hash_struct();
    let signer = match split_signature(&call.signature) {
        Some((r, s, v)) => frame.signer(rules.jobs_separator(), hash, v, r, s)?.unwrap_or_default(),
        None => Address::ZERO,
    };
    ensure(signer == job.requester, BadVoucher { signer, requester: job.requester })
}

pub(super) fn split_signature(signature: &Bytes) -> Option<(B256, B256, u8)> {
    let (r, rest) = signature.split_first_chunk::<32>()?;
    let (s, rest) = rest.split_first_chunk::<32>()?;
    match rest {
        [v] => Some((B256::from(r), B256::from(s), *v)),
        _ => None,
    }
}

/// A payment out of a job's budget.
#[derive(Clone, Copy)]
struct Payment {
    provider: Address,
    /// Where what the provider was paid is kept.
    slot: U256,
    paid: U256,
    /// Not above what is left of the budget.
    amount: U256,
}

/// Pays a provider: the fee's basis points, rounded down, are kept back for the resource pot and returned; the rest goes to
/// the provider, whom the fee counts as computing work.
fn spend(frame: &mut Frame<'_>, rules: &Rules, job: &mut Job, payment: Payment) -> Result<U256, Stop> {
    let Payment { provider, slot, paid, amount } = payment;
    let over = |left| Stop::error(&OverBudget { needed: amount, left });
    let spent = u128::try_from(amount).ok().and_then(|amount| job.spent.checked_add(amount));
    job.spent = spent.filter(|spent| *spent <= job.budget).ok_or_else(|| over(U256::from(job.left())))?;
    // Both stay below 2^128 + 2^128: what was paid never passes the budget.
    frame.store(slot, paid.saturating_add(amount))?;
    let bps = U256::from(rules.jobs.fee_bps.min(10_000));
    let fee = amount.saturating_mul(bps).wrapping_div(U256::from(10_000));
    frame.pay(provider, amount.saturating_sub(fee))?;
    frame.emit(&Paid { job: job.id, provider, amount, fee })?;
    resources::credit(frame, rules, provider, fee)?;
    Ok(fee)
}

/// Settlement, by the requester, once: pays every provider up to its total, keeps the receipts' root, and shortens the lock to
/// the time for challenges.
fn settle(frame: &mut Frame<'_>, rules: &Rules, call: &settleCall) -> Result<(), Stop> {
    let id = call.job;
    let mut job = Job::load_live(frame, id)?;
    let caller = frame.caller();
    ensure(caller == job.requester, NotRequester { caller, requester: job.requester })?;
    ensure(job.state == job_state::OPEN, JobAlreadySettled { job: id })?;
    let providers = &call.providers;
    ensure(providers.len() == call.totals.len() && providers.len() <= MAX_SETTLED_PROVIDERS, BadTotals {})?;
    ensure(providers.windows(2).all(|pair| pair[0] < pair[1]), BadTotals {})?;

    let left = U256::from(job.left());
    let (mut needed, mut fees) = (U256::ZERO, U256::ZERO);
    for (&provider, &total) in providers.iter().zip(&call.totals) {
        ensure(!is_sink(provider), BadProvider { provider })?;
        let (slot, paid) = paid(frame, id, provider)?;
        let amount = total.checked_sub(paid);
        let amount = amount.ok_or_else(|| Stop::error(&TotalBelowPaid { provider, total, paid }))?;
        needed = needed.saturating_add(amount);
        ensure(needed <= left, OverBudget { needed, left })?;
        if !amount.is_zero() {
            let fee = spend(frame, rules, &mut job, Payment { provider, slot, paid, amount })?;
            fees = fees.saturating_add(fee);
        }
    }
    frame.pay(RESOURCES, fees)?;

    let locked_until = job.deadline.saturating_add(rules.jobs.claim_secs);
    let release_at = locked_until.min(frame.now().saturating_add(rules.jobs.challenge_secs));
    job.state = job_state::SETTLED;
    job.store_who(frame)?;
    job.store_sums(frame)?;
    frame.store(field(job.slot, 3), call.root.into())?;
    frame.store(field(job.slot, 4), U256::from(release_at))?;
    frame.emit(&Settled { job: id, root: call.root, spent: U256::from(job.spent), releaseAt: release_at })
}

/// When the lock has ended, anybody may send what is left back to the requester; the job is closed then.
fn refund(frame: &mut Frame<'_>, rules: &Rules, id: B256) -> Result<U256, Stop> {
    let mut job = Job::load_live(frame, id)?;
    let release = job.release_at(frame, rules)?;
    ensure(frame.now() >= release, TooEarly { release })?;
    let amount = U256::from(job.left());
    job.state = job_state::CLOSED;
    job.store_who(frame)?;
    frame.pay(job.requester, amount)?;
    frame.emit(&Refunded { job: id, requester: job.requester, amount })?;
    Ok(amount)
}

fn job_of(frame: &mut Frame<'_>, rules: &Rules, id: B256) -> Result<jobOfReturn, Stop> {
    let job = Job::load(frame, id)?;
    let release_at = if job.state == job_state::UNKNOWN { 0 } else { job.release_at(frame, rules)? };
    Ok(jobOfReturn {
        state: job.state,
        requester: job.requester,
        budget: U256::from(job.budget),
        spent: U256::from(job.spent),
        deadline: job.deadline,
        releaseAt: release_at,
        spec: frame.load(field(job.slot, 2))?.into(),
        root: frame.load(field(job.slot, 3))?.into(),
    })
}

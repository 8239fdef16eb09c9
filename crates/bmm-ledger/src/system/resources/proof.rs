//! The hash class: proofs by the smallest hashes of an epoch.

use super::{
    super::{
        frame::{Frame, Stop, ensure},
        gas,
    },
    Book,
    ledger::{Contribution, Epoch, enter_hash_power},
};
use alloy_primitives::{Bytes, U256, aliases::U512};
use alloy_rlp::decode_exact;
use bmm_pow::{
    AuxPowError,
    resource::{ProofError, check_proof, estimate},
};
use bmm_types::{
    AuxPow,
    seal::MAX_BRANCH,
    system::{
        MAX_PROOF_HASHES, MICRO,
        Resources::{AlreadyProven, BadProof, ProofTime, Proven, proveCall},
        resource_leaf,
    },
};

/// Rule: in the first quarter of the next epoch, once, a contributor proves its hash work by the k smallest hashes, each of which commits to
/// its address and the epoch's seed. Returns the DPP, in µRU.
pub(super) fn prove(frame: &mut Frame<'_>, book: &Book, call: &proveCall) -> Result<U256, Stop> {
    let (number, contributor, height) = (call.epoch, frame.caller(), frame.height());
    let (from, until) = book.calendar.proof_time(number);
    ensure((from..until).contains(&height), ProofTime { epoch: number, from, until })?;
    let contribution = Contribution::load(frame, number, contributor)?;
    ensure(contribution.hash_power == 0, AlreadyProven { epoch: number, contributor })?;
    let epoch = Epoch::load(frame, number)?;
    ensure(!epoch.seed.is_zero(), bad(0, "the epoch has no seed"))?;
    // keccak over address and seed.
    frame.charge(gas::KECCAK.saturating_add(gas::words(52, gas::KECCAK_WORD)))?;
    let leaf = resource_leaf(contributor, epoch.seed);

    let count = usize::from(book.rules.proof_hashes.min(MAX_PROOF_HASHES));
    ensure(
        call.proofs.len() == count,
        bad(call.proofs.len(), "a proof has exactly as many hashes as the chain asks for"),
    )?;
    let solutions = solutions(frame, &call.proofs)?;
    let largest = check_proof(&solutions, leaf).map_err(|error| Stop::error(&reason(error)))?;
    let hashes = estimate(count, largest);
    let power = power(hashes, book.rules.sols_per_unit);
    ensure(power > 0, bad(count.saturating_sub(1), "less work than a millionth of a resource unit"))?;
    enter_hash_power(frame, book, number, contributor, power)?;
    let power = U256::from(power);
    frame.emit(&Proven { epoch: number, contributor, hashes, power })?;
    Ok(power)
}

/// Rule: `sols_per_unit` hashes are one resource unit. Returns the DPP in µRU, rounded down.
fn power(hashes: U256, sols_per_unit: u64) -> u128 {
    let micro = U512::from(hashes).saturating_mul(U512::from(MICRO));
    let power = micro.checked_div(U512::from(sols_per_unit)).unwrap_or_default();
    // What a contribution's slot holds; more cannot be hashed.
    U512::from((1u128 << 96) - 1).min(power).saturating_to()
}

fn bad(index: usize, reason: &str) -> BadProof {
    BadProof { index: U256::try_from(index).unwrap_or(U256::MAX), reason: reason.to_owned() }
}

/// Reads the solutions and charges for what checking them takes, before it is done.
fn solutions(frame: &mut Frame<'_>, proofs: &[Bytes]) -> Result<Vec<AuxPow>, Stop> {
    let mut solutions = Vec::with_capacity(proofs.len());
    for (index, bytes) in proofs.iter().enumerate() {
        frame.charge(gas::SCRYPT)?;
        frame.charge(gas::words(bytes.len(), gas::SOLUTION_WORD))?;
        let aux = decode_exact::<AuxPow>(bytes).ok();
        let aux = aux.filter(|aux| aux.coinbase_branch.len().max(aux.chain_branch.len()) <= MAX_BRANCH);
        solutions.push(aux.ok_or_else(|| Stop::error(&bad(index, "not the RLP of an AuxPoW")))?);
    }
    Ok(solutions)
}

/// Revert data is consensus: these texts are fixed here, whatever other texts say.
fn reason(error: ProofError) -> BadProof {
    let (index, error) = match error {
        ProofError::NotAscending(index) => return bad(index, "its hash is not above the one before"),
        ProofError::Solution { index, error } => (index, error),
    };
    let reason = match error {
        AuxPowError::ParentIsOurs(_) => "the parent's chain id is that of resource proofs",
        AuxPowError::BranchTooLong => "a Merkle branch is too long",
        AuxPowError::CoinbaseSize(_) => "a coinbase of this size is not allowed",
        AuxPowError::CoinbaseNotInParent => "the coinbase is not in the parent",
        AuxPowError::CoinbaseMalformed => "the coinbase is not a transaction with an input",
        AuxPowError::RootMissing => "the coinbase does not commit to this sender and this epoch's seed",
        AuxPowError::MagicMissing => "the coinbase has no magic before its root of merge-mined chains",
        AuxPowError::MagicRepeated => "the coinbase has the magic more than once",
        AuxPowError::MagicNotBeforeRoot | AuxPowError::RootTooLate => "the magic is not before the root",
        AuxPowError::SizeMissing | AuxPowError::SizeMismatch { .. } => {
            "the tree of merge-mined chains has another size"
        }
        AuxPowError::WrongSlot { .. } => "the leaf is in another slot of the tree of merge-mined chains",
        AuxPowError::NotEnoughWork(_) => "not enough work",
    };
    bad(index, reason)
}

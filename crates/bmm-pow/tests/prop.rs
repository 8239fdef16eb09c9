//! Properties: targets and difficulties, the schedule of ASERT, and every way in which a merged-mining proof can be wrong.

use alloy_primitives::{B256, FixedBytes, U256};
use bmm_pow::{
    Asert, AuxPowError, Difficulty, MiningJob, SyntheticParent, Target, Throttle,
    auxpow::{
        MAGIC, coinbase, expected_slot,
        merkle::{fold, reversed, sha256d},
        verify,
    },
    mine,
};
use bmm_types::AuxPow;
use proptest::{collection::vec, prelude::*};
use std::sync::atomic::AtomicBool;

const OURS: u32 = 0x0BB3;

fn any_u256() -> impl Strategy<Value = U256> {
    // A uniform bit length, so that small and large numbers both occur.
    (any::<[u8; 32]>(), 0usize..256).prop_map(|(bytes, shift)| U256::from_le_bytes(bytes) >> shift)
}

fn schedule(half_life_secs: u64, min_difficulty: u64) -> Asert {
    Asert::new(1_000_000, 6, half_life_secs, Difficulty::new(U256::from(min_difficulty)).expect("not zero"))
}

/// A proof with real branches: `slot` of a tree of 2^height chains, and a coinbase branch.
fn proof(
    block_id: B256,
    chain_branch: Vec<B256>,
    coinbase_branch: Vec<B256>,
    script: impl Fn(B256, u32) -> Vec<u8>,
) -> AuxPow {
    let height = chain_branch.len();
    let chain_index = expected_slot(7, OURS, height).expect("height at most 30");
    let root = reversed(fold(reversed(block_id), &chain_branch, chain_index));
    let script = script(root, 1 << height);
    let mut transaction = vec![1, 0, 0, 0, 1];
    transaction.extend([0; 32]);
    transaction.extend([0xff; 4]);
    transaction.push(u8::try_from(script.len()).expect("short"));
    transaction.extend(script);
    transaction.extend([0xff; 4]);
    transaction.extend([0; 5]);
    let mut header = [0; 80];
    header[..4].copy_from_slice(&0x2000_0000u32.to_le_bytes());
    header[36..68].copy_from_slice(fold(sha256d(&transaction), &coinbase_branch, 0).as_slice());
    AuxPow {
        coinbase: transaction.into(),
        coinbase_branch,
        chain_branch,
        chain_index,
        parent_header: FixedBytes(header),
    }
}

fn usual_script(root: B256, size: u32) -> Vec<u8> {
    [&[3, 1, 2, 3][..], &MAGIC, root.as_slice(), &size.to_le_bytes(), &7u32.to_le_bytes(), b"/pool/"].concat()
}

fn check(aux: &AuxPow, block_id: B256) -> Result<(), AuxPowError> {
    verify(aux, block_id, OURS, Difficulty::ONE)
}

proptest! {
    #[test]
    fn target_is_the_quotient(n in any_u256()) {
        prop_assume!(n > U256::ONE);
        let target = Difficulty::new(n).expect("not zero").target().get();
        // q = floor(2^256 / n) means q·n ≤ 2^256 < (q + 1)·n, that is 2^256 - q·n in [0, n).
        let rest = U256::ZERO.wrapping_sub(target.wrapping_mul(n));
        prop_assert!(rest < n);
        prop_assert!(target >= U256::ONE);
    }

    #[test]
    fn harder_means_a_smaller_target(a in any_u256(), b in any_u256()) {
        prop_assume!(!a.is_zero() && a < b);
        let target = |n| Difficulty::new(n).expect("not zero").target();
        prop_assert!(target(a) >= target(b));
    }

    #[test]
    fn small_difficulties_survive_the_target(n in 1u64..) {
        let difficulty = Difficulty::new(U256::from(n)).expect("not zero");
        prop_assert_eq!(difficulty.target().difficulty(), difficulty);
    }

    #[test]
    fn asert_is_monotone_in_time(height in 0u64..1 << 40, time: u64, later in 0u64..1 << 40, half_life in 1u64..1 << 30) {
        let asert = schedule(half_life, 16);
        prop_assert!(asert.next_target(height, time) <= asert.next_target(height, time.saturating_add(later)));
        prop_assert!(asert.next_target(height.saturating_add(later), time) <= asert.next_target(height, time));
    }

    #[test]
    fn asert_is_steady_at_the_schedule(height in 0u64..1 << 40, half_life in 1u64..1 << 30, anchor in 1u64..) {
        let asert = schedule(half_life, anchor);
        let time = asert.genesis_time + height * asert.block_secs;
        prop_assert_eq!(asert.next_target(height, time), asert.anchor);
        prop_assert_eq!(asert.next_difficulty(height, time).get(), U256::from(anchor));
    }

    #[test]
    fn asert_doubles_at_the_half_life(halvings in 1u64..60, half_life in (1u64..1 << 20).prop_map(|n| n * 6)) {
        let asert = schedule(half_life, 1 << 20);
        // `halvings` half-lives early: exactly that power of two, the fraction being zero.
        let height = halvings * half_life / asert.block_secs;
        let early = asert.next_difficulty(height, asert.genesis_time);
        prop_assert_eq!(early.get(), U256::from(1u128 << (20 + halvings)));
        // On time again: back at the anchor. Late: never easier than the limit.
        let late = asert.next_target(0, asert.genesis_time + halvings * half_life);
        prop_assert_eq!(late, asert.limit);
    }

    #[test]
    fn asert_is_near_the_exponential(early in 0u64..1_000_000) {
        let asert = schedule(36_000, 1 << 20);
        let difficulty: f64 = asert.next_difficulty(early, asert.genesis_time).get().to_string().parse().expect("a number");
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let exact = f64::from(1 << 20) * ((early * 6) as f64 / 36_000.0).exp2();
        prop_assert!((difficulty / exact - 1.0).abs() < 2e-4, "{} against {}", difficulty, exact);
    }

    #[test]
    fn proofs_of_every_shape_verify(
        block_id: [u8; 32],
        chain_branch in vec(any::<[u8; 32]>().prop_map(B256::from), 0..=30),
        coinbase_branch in vec(any::<[u8; 32]>().prop_map(B256::from), 0..=30),
    ) {
        let block_id = B256::from(block_id);
        let aux = proof(block_id, chain_branch, coinbase_branch, usual_script);
        prop_assert_eq!(check(&aux, block_id), Ok(()));
        prop_assert_eq!(check(&aux, sha256d(block_id.as_slice())), Err(AuxPowError::RootMissing));
    }

    #[test]
    fn no_coinbase_makes_the_parser_panic(bytes in vec(any::<u8>(), 0..120)) {
        if let Ok(script) = coinbase::script_sig(&bytes) {
            prop_assert!(script.len() <= bytes.len());
        }
    }
}

#[test]
fn each_rule_has_its_error() {
    let id = B256::repeat_byte(0xa5);
    let good = proof(id, vec![B256::ZERO; 3], vec![B256::repeat_byte(1)], usual_script);
    assert_eq!(check(&good, id), Ok(()));

    let mut bad = good.clone();
    bad.parent_header[2..4].copy_from_slice(&[0xb3, 0x0b]);
    assert_eq!(check(&bad, id), Err(AuxPowError::ParentIsOurs(OURS)));

    let mut bad = good.clone();
    bad.chain_branch = vec![B256::ZERO; 31];
    assert_eq!(check(&bad, id), Err(AuxPowError::BranchTooLong));
    let mut bad = good.clone();
    bad.coinbase_branch = vec![B256::ZERO; 31];
    assert_eq!(check(&bad, id), Err(AuxPowError::BranchTooLong));

    for len in [64, 65_537] {
        let mut bad = good.clone();
        bad.coinbase = vec![0; len].into();
        assert_eq!(check(&bad, id), Err(AuxPowError::CoinbaseSize(len)));
    }

    let mut bad = good.clone();
    bad.coinbase_branch[0] = B256::ZERO;
    assert_eq!(check(&bad, id), Err(AuxPowError::CoinbaseNotInParent));
    let mut bad = good.clone();
    bad.coinbase_branch.clear();
    bad.coinbase = vec![1, 0, 0, 0, 0].into();
    bad.parent_header[36..68].copy_from_slice(sha256d(&bad.coinbase).as_slice());
    assert_eq!(check(&bad, id), Err(AuxPowError::CoinbaseMalformed));

    let mut bad = good.clone();
    bad.chain_index ^= 1;
    assert_eq!(check(&bad, id), Err(AuxPowError::RootMissing), "another slot folds to another root");

    let hard = Difficulty::new(U256::MAX).expect("not zero");
    assert_eq!(verify(&good, id, OURS, hard), Err(AuxPowError::NotEnoughWork(hard)));
    assert!(
        matches!(verify(&good, id, OURS + 1, Difficulty::ONE), Err(AuxPowError::WrongSlot { .. })),
        "not our chain's slot"
    );
}

#[test]
fn each_rule_of_the_script_has_its_error() {
    let id = B256::repeat_byte(0xa5);
    let with = |script: fn(B256, u32) -> Vec<u8>| check(&proof(id, vec![B256::ZERO; 2], vec![], script), id);

    assert_eq!(
        with(|_, size| [&MAGIC[..], &[0; 32], &size.to_le_bytes(), &[0; 4]].concat()),
        Err(AuxPowError::RootMissing)
    );
    assert_eq!(with(|root, size| [usual_script(root, size), MAGIC.to_vec()].concat()), Err(AuxPowError::MagicRepeated));
    assert_eq!(
        with(|root, _| [&MAGIC[..], &[0], root.as_slice(), &[4, 0, 0, 0, 7, 0, 0, 0]].concat()),
        Err(AuxPowError::MagicNotBeforeRoot)
    );
    assert_eq!(with(|root, size| [&[0; 20][..], root.as_slice(), &size.to_le_bytes(), &[7, 0, 0, 0]].concat()), Ok(()));
    assert_eq!(
        with(|root, size| [&[0; 21][..], root.as_slice(), &size.to_le_bytes(), &[7, 0, 0, 0]].concat()),
        Err(AuxPowError::RootTooLate)
    );
    assert_eq!(
        with(|root, _| [&MAGIC[..], root.as_slice(), &[4, 0, 0, 0, 7, 0, 0]].concat()),
        Err(AuxPowError::SizeMissing)
    );
    assert_eq!(
        with(|root, _| [&MAGIC[..], root.as_slice(), &[8, 0, 0, 0, 7, 0, 0, 0]].concat()),
        Err(AuxPowError::SizeMismatch { stated: 8, branch: 4 })
    );
    // The tree's nonce moves our slot: of a few nonces, some put us elsewhere.
    let slots: Vec<_> = (0..4).map(|nonce| expected_slot(nonce, OURS, 2)).collect();
    assert!(slots.iter().any(|slot| *slot != slots[0]), "{slots:?}");
    let moved = with(|root, size| [&MAGIC[..], root.as_slice(), &size.to_le_bytes(), &[8, 0, 0, 0]].concat());
    assert!(matches!(moved, Err(AuxPowError::WrongSlot { .. })), "{moved:?}");
}

#[test]
fn a_miner_finds_what_the_verifier_takes() {
    let difficulty = Difficulty::new(U256::from(40)).expect("not zero");
    let block_id = B256::repeat_byte(9);
    let job = MiningJob { block_id, target: difficulty.target(), time: 1_800_000_000, extra_nonce: 3 };
    let stop = AtomicBool::new(false);
    // Eight nonces for each extra nonce, so that extra nonces are gone through.
    let aux = mine(&job, &(0..=7), &stop, Throttle::percent_of_core(90)).expect("not stopped");
    assert_eq!(verify(&aux, block_id, OURS, difficulty), Ok(()));
    assert_ne!(aux.coinbase, SyntheticParent::new(block_id, 2, job.time).assemble(0).coinbase);

    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let impossible = MiningJob { target: Target::new(U256::ONE).expect("not zero"), ..job };
    assert_eq!(mine(&impossible, &(0..=u32::MAX), &stop, Throttle::NONE), None);
}

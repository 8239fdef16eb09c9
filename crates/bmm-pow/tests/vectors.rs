//! Facts that others published: Litecoin's and Dogecoin's blocks, Bitcoin Cash's difficulty vectors.

use alloy_primitives::{B256, U256, b256, hex};
use bmm_pow::{
    Asert, Difficulty, Target,
    auxpow::{
        expected_slot,
        merkle::{fold, reversed, sha256d},
    },
    scrypt_hash,
};

fn header(hex: &str) -> [u8; 80] {
    hex::decode(hex).expect("hex").try_into().expect("80 bytes")
}

/// Dogecoin's genesis header, as libdogecoin's tests hold it: its nonce was found under 0x1e0ffff0.
#[test]
fn dogecoin_genesis_proves_its_work() {
    let header = header(
        "010000000000000000000000000000000000000000000000000000000000000000000000696ad20e2dd4365c7459b4a4a5af743d5e92\
         c6da3229e6532cd605f6533f2a5b24a6a152f0ff0f1e67860100",
    );
    let id = b256!("1a91e3dace36e2be3bf030a65679fe821aa1d6ef92e7c9902eb318182c355691");
    assert_eq!(reversed(sha256d(&header)), id);
    let target = Target::from_compact(0x1e0f_fff0).expect("not zero");
    assert!(target.is_met_by(&scrypt_hash(&header)));
    let mut other = header;
    other[76] ^= 1;
    assert!(!target.is_met_by(&scrypt_hash(&other)), "the nonce before it does not");
}

/// Litecoin's genesis header, built from its public fields; its id shows that they are right.
#[test]
fn litecoin_genesis_proves_its_work() {
    let mut header = [0; 80];
    header[..4].copy_from_slice(&1u32.to_le_bytes());
    let root = reversed(b256!("97ddfbbae6be97fd6cdf3e7ca13232a3afff2353e29badfab7f73011edd4ced9"));
    header[36..68].copy_from_slice(root.as_slice());
    header[68..72].copy_from_slice(&1_317_972_665u32.to_le_bytes());
    header[72..76].copy_from_slice(&0x1e0f_fff0_u32.to_le_bytes());
    header[76..].copy_from_slice(&2_084_524_493u32.to_le_bytes());
    let id = b256!("12a765e31ffd4059bada1e25190f6e98c99d9714d334efa41a195a7e7e04bfe2");
    assert_eq!(reversed(sha256d(&header)), id);
    let target = Target::from_compact(0x1e0f_fff0).expect("not zero");
    assert!(target.is_met_by(&scrypt_hash(&header)));
    let shown = b256!("0000050c34a64b415b6b15b37f2216634b5b1669cb9a2e38d76f7213b0671e00");
    assert_eq!(reversed(B256::new(scrypt_hash(&header))), shown);
}

/// Dogecoin's block 403,931: the coinbase's branch and the branch in the tree of merge-mined chains, slot 56 of 64, all
/// as explorers show hashes.
#[test]
fn dogecoin_branches_fold_to_their_roots() {
    let coinbase_branch = [
        b256!("be079078869399faccaa764c10e9df6e9981701759ad18e13724d9ca58831348"),
        b256!("5f5bfb2c79541778499cab956a103887147f2ab5d4a717f32f9eeebd29e1f894"),
        b256!("d8c6fe42ca25076159cd121a5e20c48c1bc53ab90730083e44a334566ea6bbcb"),
    ];
    let coinbase = reversed(b256!("089b911f5e471c0e1800f3384281ebec5b372fbb6f358790a92747ade271ccdf"));
    let root = b256!("f29cd14243ed542d9a0b495efcb9feca1b208bb5b717dc5ac04f068d2fef595a");
    assert_eq!(reversed(fold(coinbase, &coinbase_branch.map(reversed), 0)), root);

    let chain_branch = [
        b256!("47a0228b06c9368f96c5f04eb109f82cef36dae7c1bf254c1a3f78615eb0be83"),
        b256!("ee67de31757658ddd7403e1a35d9c06a5a13e66898443b458cd6a71b6627416c"),
        b256!("ab9ef9bda02cad2790ef9bb7c9a07fe1791a9d5ae04309c0e9064819194c2831"),
        b256!("ff51610180f64d33a8c1ba1dd9a9d0404888c96eafd1570364358bbe998f2dfe"),
        b256!("9ee418367c3bce065e7c0161296eaa0d5496f90f8b7b24ebf72cc4baa5609a1f"),
        b256!("0b35f37310e1de3fa4e1377c02126220e164fa59ecfedcf4714e61ad74cc4b08"),
    ];
    let block = reversed(b256!("0c836b86991631d34a8a68054e2f62db919b39d1ee43c27ab3344d6aa82fa609"));
    let root = b256!("ce3040fdb7e37484f6a1ca4f8f5da81e6b7e404ec91102315a233e03a0c39c95");
    assert_eq!(reversed(fold(block, &chain_branch.map(reversed), 56)), root);
    assert_eq!(expected_slot(0, 0x62, 6), Some(56), "Dogecoin's chain id, with the tree nonce 0 that pools use");
}

/// Height, time and compact target of the blocks of a run of Bitcoin Cash's `aserti3-2d` vectors.
fn check_run(anchor_height: u64, anchor_parent_time: u64, anchor_bits: u32, rows: &[(u64, u64, u32)]) {
    // The reference counts from the anchor's parent, one interval before the anchor; we count from genesis itself.
    let asert = Asert {
        genesis_time: anchor_parent_time + 600,
        block_secs: 600,
        half_life_secs: 2 * 24 * 3600,
        anchor: Target::from_compact(anchor_bits).expect("not zero"),
        limit: Target::from_compact(0x1d00_ffff).expect("not zero"),
    };
    for &(height, time, bits) in rows {
        let target = asert.next_target(height - anchor_height, time);
        assert_eq!(target.to_compact(), bits, "height {height}");
    }
}

#[test]
fn asert_run_1_steady_at_the_limit() {
    check_run(1, 0, 0x1d00_ffff, &[(2, 1200, 0x1d00_ffff), (6, 3600, 0x1d00_ffff), (11, 6600, 0x1d00_ffff)]);
}

#[test]
fn asert_run_2_steady_anywhere() {
    check_run(1, 0, 0x1a2b_3c4d, &[(2, 1200, 0x1a2b_3c4d), (6, 3600, 0x1a2b_3c4d), (11, 6600, 0x1a2b_3c4d)]);
}

#[test]
fn asert_run_5_halvings_down_to_one() {
    let rows = [
        (2, 0, 0x1d00_fec5),
        (290, 0, 0x1c7f_62c0),
        (578, 0, 0x1c3f_b160),
        (2594, 0, 0x1b7f_62c0),
        (32_258, 0, 0x0f00_fec5),
        (60_194, 0, 0x027f_6200),
        (62_498, 0, 0x017f_0000),
        (63_938, 0, 0x0103_0000),
        (64_226, 0, 0x0101_0000),
        (64_514, 0, 0x0101_0000),
    ];
    check_run(1, 0, 0x1d00_ffff, &rows);
}

#[test]
fn asert_run_6_random_solve_times() {
    let rows = [
        (2, 1200, 0x1802_aee8),
        (3, 1310, 0x1802_ad91),
        (4, 1327, 0x1802_abf8),
        (9, 7099, 0x1802_b39c),
        (10, 7099, 0x1802_b1f2),
        (22, 18_902, 0x1802_bed6),
        (99, 61_973, 0x1802_b60b),
        (250, 158_683, 0x1802_c74e),
        (500, 299_790, 0x1802_ae55),
        (575, 358_636, 0x1802_d597),
    ];
    check_run(1, 0, 0x1802_aee8, &rows);
}

#[test]
fn asert_run_9_across_31_bit_heights() {
    let rows = [
        (2_147_483_643, 1_234_568_190, 0x1802_ae16),
        (2_147_483_644, 1_234_568_490, 0x1802_ad44),
        (2_147_483_647, 1_234_569_390, 0x1802_aacd),
        (2_147_483_648, 1_234_569_690, 0x1802_a9fa),
        (2_147_483_652, 1_234_570_890, 0x1802_a6b7),
    ];
    check_run(2_147_483_642, 1_234_567_290, 0x1802_aee8, &rows);
}

#[test]
fn difficulty_one_takes_every_hash() {
    assert_eq!(Difficulty::ONE.target(), Target::MAX);
    assert!(Target::MAX.is_met_by(&[0xff; 32]));
    let two = Difficulty::new(U256::from(2)).expect("not zero");
    assert_eq!(two.target().get(), U256::ONE << 255);
    assert_eq!(Difficulty::new(U256::ZERO), None);
    // Little-endian: the last byte weighs most.
    let mut hash = [0; 32];
    hash[31] = 0x80;
    assert!(two.target().is_met_by(&hash));
    hash[0] = 1;
    assert!(!two.target().is_met_by(&hash));
}

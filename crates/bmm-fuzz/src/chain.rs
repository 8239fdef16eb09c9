//! Blocks, seals, transactions, and what nodes say to each other of the chain and its state.

use crate::{choice, take};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{Decodable, Encodable};
use bmm_chain::{
    AccountRange, ChainReader, SealedHeader, SignedBet,
    sync::{Answer, Request as Question},
};
use bmm_net::wire::{
    self, Announcement, MAX_BETS_ANSWER, MAX_BLOCK_TRANSACTIONS, MAX_BODIES, MAX_BODIES_TRANSACTIONS, MAX_HEADERS,
    MAX_POOL, MAX_TRANSACTIONS, Request, Status,
};
use bmm_pow::{
    Difficulty,
    auxpow::{
        commitment_root,
        merkle::{fold, sha256d},
    },
};
use bmm_types::{AuxPow, Block, BlockBody, Seal, SealedBlock, Transaction, seal};

/// Our chain id in trees of merge-mined chains.
const AUX_CHAIN_ID: u32 = 0x0BB3;
/// Stands in a coinbase where the root of the merge-mined chains is to be put.
const ROOT_HERE: [u8; 32] = [0xaa; 32];

/// Reads the bytes as what the first one says.
pub fn run(mut bytes: &[u8]) {
    match choice(&mut bytes) % 17 {
        0 => request(bytes),
        1 => drop(same::<Status>(bytes)),
        2 => announcement(bytes),
        3 => all_same::<SealedHeader>(bytes, wire::headers(bytes), MAX_HEADERS),
        4 => bodies(bytes),
        5 => transactions(bytes),
        6 => all_same::<B256>(bytes, wire::exact_list(bytes, MAX_POOL), MAX_POOL),
        7 => question(bytes),
        kind @ 8..=11 => answer(kind - 8, bytes),
        12 => sealed_block(bytes),
        13 => sealed(bytes),
        14 => file(bytes),
        15 => transaction(bytes),
        _ => all_same::<SignedBet>(bytes, wire::bets(bytes, MAX_BETS_ANSWER), MAX_BETS_ANSWER),
    }
}

/// Reads one value that is all of the bytes. There is one way to write it down.
fn same<T: Decodable + Encodable>(bytes: &[u8]) -> Option<T> {
    let value = wire::exact::<T>(bytes).ok()?;
    assert_eq!(alloy_rlp::encode(&value), bytes, "a second encoding of one value");
    Some(value)
}

/// The same for a list, which has a longest length.
fn all_same<T: Encodable>(bytes: &[u8], read: alloy_rlp::Result<Vec<T>>, most: usize) {
    let Ok(list) = read else { return };
    assert!(list.len() <= most, "{} in a list of at most {most}", list.len());
    assert_eq!(alloy_rlp::encode(&list), bytes, "a second encoding of one list");
}

fn request(bytes: &[u8]) {
    let Ok(request) = Request::decode(bytes) else { return };
    assert_eq!(request.encode(), bytes);
    assert!(request.cost() > 0 && request.cost() <= 4_096);
}

fn announcement(bytes: &[u8]) {
    let Ok(announcement) = Announcement::decode(bytes) else { return };
    assert!(announcement.hashes.len() <= MAX_BLOCK_TRANSACTIONS);
    assert_eq!(announcement.encode(), bytes);
}

fn bodies(bytes: &[u8]) {
    let read = wire::bodies(bytes);
    let count = read.iter().flatten().map(|body| body.transactions.len()).sum::<usize>();
    assert!(count <= MAX_BODIES_TRANSACTIONS);
    all_same::<BlockBody>(bytes, read, MAX_BODIES);
}

fn transactions(bytes: &[u8]) {
    let read = wire::transactions(bytes);
    for encoded in read.iter().flatten() {
        transaction(encoded);
    }
    all_same::<Bytes>(bytes, read, MAX_TRANSACTIONS);
}

fn transaction(bytes: &[u8]) {
    let mut rest = bytes;
    let Ok(transaction) = Transaction::decode_2718(&mut rest) else { return };
    let read = &bytes[..bytes.len() - rest.len()];
    assert_eq!(transaction.encoded_2718(), read, "a second encoding of one transaction");
    assert_eq!(transaction.encode_2718_len(), read.len());
    assert_eq!(*transaction.tx_hash(), alloy_primitives::keccak256(read));
}

fn question(bytes: &[u8]) {
    let Ok(question) = wire::decode_state_question(bytes) else { return };
    assert_eq!(wire::encode_state_question(&question).as_deref(), Some(bytes));
}

fn answer(kind: u8, bytes: &[u8]) {
    let (block, from, max_bytes) = (B256::ZERO, B256::ZERO, 1 << 20);
    let question = match kind {
        0 => Question::Accounts { block, from, max_bytes },
        1 => Question::Slots { block, owners: vec![B256::ZERO; 3], from, max_bytes },
        2 => Question::Nodes { block, owner: None, paths: vec![bmm_chain::sync::Nibbles::new(); 3] },
        _ => Question::Codes { hashes: vec![B256::ZERO; 3] },
    };
    let Ok(answer) = wire::decode_state_answer(&question, bytes) else { return };
    assert_eq!(wire::encode_state_answer(&answer), bytes);
    match answer {
        Answer::Accounts(Some(AccountRange { accounts, .. })) => {
            for account in accounts {
                assert_eq!(account.leaf().key, account.key);
                assert!(!account.leaf().value.is_empty());
            }
        }
        Answer::Slots(Some(ranges)) => {
            assert!(ranges.len() <= 3, "more ranges than were asked for");
            for slot in ranges.iter().flat_map(|range| &range.slots) {
                assert_eq!(slot.leaf().value.is_empty(), slot.value.is_zero());
            }
        }
        Answer::Nodes(Some(nodes)) => assert!(nodes.len() <= 3, "more nodes than were asked for"),
        Answer::Codes(codes) => assert!(codes.len() <= 3, "more codes than were asked for"),
        _ => {}
    }
}

fn sealed_block(bytes: &[u8]) {
    let Some(sealed) = same::<SealedBlock>(bytes) else { return };
    assert_eq!(sealed.id(), alloy_primitives::keccak256(alloy_rlp::encode(&sealed.block.header)));
    drop(same::<Block>(&alloy_rlp::encode(&sealed.block)));
}

/// A seal is verified as it came, and again with its hashes mended, which no stranger needs luck for.
fn sealed(mut bytes: &[u8]) {
    let block_id = B256::from(take::<32>(&mut bytes));
    let Some(seal) = same::<Seal>(bytes) else { return };
    seal.randomness(block_id);
    let Some(aux) = seal.as_aux_pow() else { return };
    assert!(aux.coinbase.len() <= seal::MAX_COINBASE_LEN);
    assert!(aux.coinbase_branch.len().max(aux.chain_branch.len()) <= seal::MAX_BRANCH);
    let verify = |aux: &AuxPow| bmm_pow::verify(aux, block_id, AUX_CHAIN_ID, Difficulty::ONE);
    let _ = verify(aux);
    let mut mended = aux.clone();
    let mut coinbase = mended.coinbase.to_vec();
    if let Some(at) = coinbase.windows(32).position(|window| window == ROOT_HERE) {
        coinbase[at..at + 32].copy_from_slice(commitment_root(aux, block_id).as_slice());
    }
    mended.coinbase = coinbase.into();
    let root = fold(sha256d(&mended.coinbase), &mended.coinbase_branch, 0);
    mended.parent_header[36..68].copy_from_slice(root.as_slice());
    if verify(&mended).is_ok() {
        // Work for one block is worth nothing for another, nor on a chain with another id.
        let other = bmm_pow::verify(&mended, !block_id, AUX_CHAIN_ID, Difficulty::ONE);
        assert!(other.is_err(), "one proof for two blocks");
        mended.parent_header[36] ^= 1;
        assert!(verify(&mended).is_err(), "a proof whose coinbase is not the parent's");
    }
}

/// A file of blocks, which somebody may have been given by anybody.
fn file(bytes: &[u8]) {
    let Ok(mut reader) = ChainReader::new(bytes) else { return };
    let mut records = 0;
    while let Some(Ok(_)) = reader.next() {
        records += 1;
        assert!(reader.position() <= bytes.len().try_into().unwrap_or(u64::MAX));
    }
    assert!(records <= bytes.len() && reader.next().is_none());
}

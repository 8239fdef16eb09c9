//! The log of a job: what must survive a crash so that nothing is done or paid twice.
//!
//! An entry is its length (u32, little-endian), the first four bytes of its SHA-256, and its postcard encoding. Reading
//! stops at the first entry that is torn or damaged: a crash can only have cut the end.

use alloy_primitives::{Address, B256};
use bmm_types::market::Content;
use bmm_types::{Amount, ContentHash};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::api::Ending;

/// A result that is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PaidTask {
    pub task: u64,
    pub content: Content,
    pub fuel: u64,
}

/// One thing that must not be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    /// The log belongs to this description; written once, first.
    Job { spec: ContentHash },
    /// A process began or took up the work; numbers of leases do not repeat.
    Run,
    /// The escrow was seen on chain.
    Opened { job: B256, escrow: Amount },
    /// Work of one provider was accepted: these results, this pay. `tasks` is empty where a failure of the program is paid.
    Accepted { provider: Address, tasks: Vec<PaidTask>, fuel: u64, amount: Amount },
    /// The end was decided.
    Ending(Ending),
    /// The results are put together.
    Merged,
    /// The settlement is on chain.
    Settled { transaction: B256 },
    /// As `Accepted`, but nobody else has looked at these results.
    Unchecked { provider: Address, tasks: Vec<PaidTask>, fuel: u64, amount: Amount },
    /// A provider was found wrong in this task: it gets no more work, and what of it nobody has checked is done again.
    Caught { provider: Address, task: u64 },
    /// The ABI-encoded call of `Jobs.accuse` that is to be sent.
    Accusation { call: Vec<u8> },
    /// The ABI-encoded call of `Jobs.contradict` that is to be sent.
    Contradiction { call: Vec<u8> },
}

/// Encodes an entry.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let header = vec![0u8; 8];
    let mut bytes =
        postcard::to_extend(entry, header).expect("a Vec grows, and entries hold nothing postcard cannot encode");
    let length = u32::try_from(bytes.len() - 8).expect("an entry holds one batch of at most 65536 results");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    let check = Sha256::digest(&bytes[8..]);
    bytes[4..8].copy_from_slice(&check[..4]);
    bytes
}

/// Decodes one entry and what follows it; `None` at the end and where the log is torn.
fn decode(log: &[u8]) -> Option<(Entry, &[u8])> {
    let (length, rest) = log.split_first_chunk::<4>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    if Sha256::digest(body)[..4] != check[..] {
        return None;
    }
    Some((postcard::from_bytes(body).ok()?, rest))
}

/// Reads a log up to its end or its first damage; the second value is the length of the sound part.
pub(super) fn read(log: &[u8]) -> (Vec<Entry>, usize) {
    let (mut entries, mut rest) = (Vec::new(), log);
    while let Some((entry, after)) = decode(rest) {
        entries.push(entry);
        rest = after;
    }
    (entries, log.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_torn_log_keeps_its_beginning(count in 0usize..6, cut in 0usize..200, junk: Vec<u8>) {
            let entry = |n: usize| Entry::Opened { job: B256::with_last_byte(1), escrow: Amount::from_bmm(n as u64) };
            let entries: Vec<Entry> = (0..count).map(entry).collect();
            let bytes: Vec<u8> = entries.iter().flat_map(encode).collect();
            let kept = &bytes[..bytes.len().saturating_sub(cut)];
            let (read_back, sound) = read(kept);
            prop_assert!(entries.starts_with(&read_back) && sound <= kept.len());
            prop_assert_eq!(read(&bytes), (entries, bytes.len()));
            let _ = read(&junk);
        }

        #[test]
        fn damaged_entries_end_the_log_and_never_panic(flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4), body in prop::collection::vec(any::<u8>(), 0..80)) {
            let paid = |task| PaidTask { task, content: Content::of(b"x"), fuel: 5 };
            let entries = [
                Entry::Job { spec: ContentHash::of(b"spec") },
                Entry::Run,
                Entry::Accepted { provider: Address::ZERO, tasks: vec![paid(1), paid(2)], fuel: 10, amount: Amount::ONE_BMM },
                Entry::Ending(Ending::Cancelled("by its user".into())),
                Entry::Unchecked { provider: Address::ZERO, tasks: vec![paid(3)], fuel: 5, amount: Amount::ONE_BMM },
                Entry::Caught { provider: Address::ZERO, task: 3 },
                Entry::Accusation { call: vec![1, 2, 3] },
                Entry::Contradiction { call: vec![4, 5, 6] },
                Entry::Merged,
                Entry::Settled { transaction: B256::ZERO },
            ];
            let mut bytes: Vec<u8> = entries.iter().flat_map(encode).collect();
            for (at, byte) in flips {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let (found, sound) = read(&bytes);
            prop_assert!(entries.starts_with(&found) && sound <= bytes.len());
            // A right checksum over any body: only the encoding itself is left to refuse it.
            let mut entry = vec![0; 8];
            entry.extend_from_slice(&body);
            entry[..4].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
            entry[4..8].copy_from_slice(&Sha256::digest(&body)[..4]);
            let (found, sound) = read(&entry);
            prop_assert!(found.len() <= 1 && (sound == 0) == found.is_empty());
        }
    }
}

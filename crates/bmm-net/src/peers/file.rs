//! The book on disk, so that a node that starts again knows where to begin and whom to leave alone.

use super::book::{Book, Record};
use crate::{error::NetError, identity::write_private};
use libp2p::PeerId;
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path, time::Instant};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Goes up with the format.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Kept {
    peer: Vec<u8>,
    addresses: Vec<String>,
    seen_secs: u64,
    score: i32,
    banned_until_secs: u64,
    bans: u32,
}

impl Book {
    /// Writes down what is worth keeping: peers that were connected once, and bans.
    pub fn encode(&self) -> Vec<u8> {
        let worth = |record: &Record| record.seen_secs > 0 || record.banned_until_secs > 0;
        let kept: Vec<Kept> = self.records.iter().filter(|(_, record)| worth(record)).map(keep).collect();
        let mut bytes = vec![VERSION];
        bytes.extend(postcard::to_allocvec(&kept).expect("plain values encode"));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what was kept. A file that cannot be understood is no reason not to start: what it held is learnt anew.
    pub fn load(&mut self, path: &Path, now: Instant, now_secs: u64) -> Result<(), NetError> {
        let failed = |error| NetError::File { path: path.to_owned(), error };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
            Ok(there) if there.len() > MAX_BYTES => {}
            Ok(_) => {
                let bytes = fs::read(path).map_err(failed)?;
                if let Some(kept) = decode(&bytes) {
                    for kept in &kept {
                        self.restore(kept, now, now_secs);
                    }
                    return Ok(());
                }
            }
        }
        tracing::warn!(path = %path.display(), "the file of known peers is damaged; beginning without it");
        Ok(())
    }

    fn restore(&mut self, kept: &Kept, now: Instant, now_secs: u64) {
        let Ok(peer) = PeerId::from_bytes(&kept.peer) else { return };
        for address in kept.addresses.iter().rev().filter_map(|address| address.parse().ok()) {
            self.add_address(peer, address, now, now_secs);
        }
        if let Some(record) = self.record(peer, now, now_secs) {
            (record.seen_secs, record.score) = (kept.seen_secs, kept.score);
            (record.banned_until_secs, record.bans) = (kept.banned_until_secs, kept.bans);
        }
    }
}

/// Writes what [`Book::encode`] gave.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<(), NetError> {
    write_private(path, bytes).map_err(|error| NetError::File { path: path.to_owned(), error })
}

fn keep((peer, record): (&PeerId, &Record)) -> Kept {
    Kept {
        peer: peer.to_bytes(),
        addresses: record.addresses.iter().map(ToString::to_string).collect(),
        seen_secs: record.seen_secs,
        score: record.score,
        banned_until_secs: record.banned_until_secs,
        bans: record.bans,
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<Kept>> {
    let (rest, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (version, rest) = rest.split_first()?;
    (*version == VERSION).then(|| postcard::from_bytes(rest).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Offence;
    use proptest::prelude::*;

    #[test]
    fn what_is_kept_comes_back_and_damage_is_no_failure() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("peers.bin");
        let (mut book, peer, now) = (Book::new(100), PeerId::random(), Instant::now());
        book.add_address(peer, "/ip4/127.0.0.1/tcp/7".parse().expect("an address"), now, 0);
        assert!(book.offended(peer, Offence::Invalid, now, 50));
        save(&path, &book.encode()).expect("saved");
        let mut again = Book::new(100);
        again.load(&path, now, 60).expect("loaded");
        assert!(again.is_banned(&peer, 60));
        assert_eq!(again.addresses(&peer), book.addresses(&peer));
        let mut bytes = fs::read(&path).expect("there");
        *bytes.last_mut().expect("bytes") ^= 1;
        fs::write(&path, bytes).expect("written");
        let mut empty = Book::new(100);
        empty.load(&path, now, 60).expect("damage is told of, and passed over");
        assert!(empty.records.is_empty());
    }

    proptest! {
        #[test]
        fn rubbish_is_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
            bytes.insert(0, VERSION);
            bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
            if let Some(kept) = decode(&bytes) {
                let mut book = Book::new(100);
                for kept in &kept {
                    book.restore(kept, Instant::now(), 0);
                }
            }
        }
    }
}

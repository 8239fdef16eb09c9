//! Results of a job's tasks by their hash, in one append-only file: a million small results are one file, not a million.
//!
//! A record is the SHA-256 (32 bytes), the length (8 bytes, little-endian) and the bytes. When the file is opened again, a record that a
//! crash cut short is cut off, and one whose bytes did not reach the disk is left out.

use crate::failure::{Failure, IoContext, Outcome};
use bmm_types::{ContentHash, market::Content};
use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const HEADER: usize = 40;

/// Where a result's bytes are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u64,
    len: u64,
}

/// The file and where each result is in it.
#[derive(Debug)]
pub struct Outputs {
    path: PathBuf,
    file: File,
    end: u64,
    places: HashMap<ContentHash, Place>,
}

impl Outputs {
    /// Opens the file, creating it if missing, and finds the records.
    pub fn open(path: &Path) -> Outcome<Self> {
        let file =
            File::options().create(true).truncate(false).read(true).write(true).open(path).doing("open", path)?;
        let size = file.metadata().doing("read", path)?.len();
        let mut outputs = Self { path: path.to_owned(), file, end: 0, places: HashMap::new() };
        outputs.scan(size).doing("read", path)?;
        outputs.file.set_len(outputs.end).doing("cut", path)?;
        Ok(outputs)
    }

    fn scan(&mut self, size: u64) -> std::io::Result<()> {
        let mut reader = BufReader::new(&self.file);
        let (mut header, mut bytes) = ([0u8; HEADER], Vec::new());
        while self.end.saturating_add(HEADER as u64) <= size {
            reader.read_exact(&mut header)?;
            let (hash, len) = header.split_at(32);
            let len = u64::from_le_bytes(len.try_into().expect("the rest of 40 bytes is 8"));
            let offset = self.end.saturating_add(HEADER as u64);
            let Some(end) = offset.checked_add(len).filter(|end| *end <= size) else { break };
            let hash = ContentHash(alloy_primitives::B256::from_slice(hash));
            bytes.resize(usize::try_from(len).map_err(std::io::Error::other)?, 0);
            reader.read_exact(&mut bytes)?;
            if ContentHash::of(&bytes) == hash {
                self.places.insert(hash, Place { offset, len });
            }
            self.end = end;
        }
        Ok(())
    }

    /// Whether the bytes called `hash` are here. Empty results always are.
    pub fn contains(&self, hash: ContentHash) -> bool {
        self.places.contains_key(&hash) || hash == ContentHash::of(&[])
    }

    /// Whether this very content is here, of this very length.
    pub fn has(&self, content: Content) -> bool {
        content == Content::of(&[]) || self.places.get(&content.hash).is_some_and(|place| place.len == content.size)
    }

    /// Appends results, those that are not here yet.
    pub fn put<'a>(&mut self, results: impl IntoIterator<Item = (ContentHash, &'a [u8])>) -> Outcome {
        let mut bytes = Vec::new();
        for (hash, result) in results {
            if self.contains(hash) {
                continue;
            }
            bytes.extend_from_slice(hash.0.as_slice());
            bytes.extend_from_slice(&(result.len() as u64).to_le_bytes());
            let offset = self.end.saturating_add(bytes.len() as u64);
            bytes.extend_from_slice(result);
            self.places.insert(hash, Place { offset, len: result.len() as u64 });
        }
        self.file.seek(SeekFrom::Start(self.end)).doing("write", &self.path)?;
        self.file.write_all(&bytes).doing("write", &self.path)?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Reads the bytes called `hash` and checks them.
    pub fn get(&mut self, hash: ContentHash) -> Outcome<Vec<u8>> {
        let Some(place) = self.places.get(&hash) else {
            return if self.contains(hash) { Ok(Vec::new()) } else { Err(self.damaged(hash, "is missing from")) };
        };
        let mut bytes = vec![0; usize::try_from(place.len).map_err(Failure::internal)?];
        self.file.seek(SeekFrom::Start(place.offset)).doing("read", &self.path)?;
        self.file.read_exact(&mut bytes).doing("read", &self.path)?;
        if ContentHash::of(&bytes) == hash { Ok(bytes) } else { Err(self.damaged(hash, "is damaged in")) }
    }

    /// Waits until everything is on disk.
    pub fn sync(&self) -> Outcome {
        self.file.sync_data().doing("sync", &self.path)
    }

    fn damaged(&self, hash: ContentHash, what: &str) -> Failure {
        Failure::internal(format!("the result {hash} {what} {}", self.path.display()))
            .hint("run the job again; check the disk if this was no power failure")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whole_records_survive_any_cut(results in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..12), cut in 0u64..700) {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let path = dir.path().join("outputs");
            let named: Vec<_> = results.iter().map(|bytes| (ContentHash::of(bytes), bytes.as_slice())).collect();
            let mut outputs = Outputs::open(&path).expect("opens");
            for pair in &named {
                outputs.put([*pair]).expect("writes");
            }
            let kept: Vec<_> = named
                .iter()
                .filter(|(hash, _)| outputs.places.get(hash).is_none_or(|place| place.offset + place.len <= cut))
                .copied()
                .collect();
            drop(outputs);
            File::options().write(true).open(&path).expect("opens").set_len(cut.min(path.metadata().expect("there").len())).expect("cuts");
            let mut outputs = Outputs::open(&path).expect("opens again");
            for (hash, bytes) in kept {
                prop_assert_eq!(outputs.get(hash).expect("kept"), bytes);
            }
            outputs.put(named.iter().copied()).expect("writes");
            for (hash, bytes) in named {
                prop_assert_eq!(outputs.get(hash).expect("there"), bytes);
            }
        }
    }
}

//! The journal's file: eight bytes that say what it is, then records.
//!
//! A record is the length of a transaction's EIP-2718 encoding (u32, little-endian), the CRC-32 of the encoding (the same), and the
//! encoding. A record whose checksum is wrong is passed over. A length that cannot be, and a file that ends within a record, end
//! the journal: that is what a write that was cut short looks like.

use alloy_primitives::{B256, keccak256};
use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

const MAGIC: [u8; 8] = *b"BMMPOOL\x01";

/// Bytes of a record before the transaction.
pub const FRAME_BYTES: usize = 8;

/// Hashes that are looked up at once when a journal is written anew.
const BATCH: usize = 256;

/// Reads the transactions of a journal, in order.
pub struct Reader {
    file: io::Take<BufReader<File>>,
    max_len: usize,
    /// Records whose checksum was wrong.
    pub damaged: usize,
}

impl Reader {
    /// Opens a journal; `None` if there is none. Transactions have at most `max_len` bytes, all records `max_bytes`.
    pub fn open(path: &Path, max_len: usize, max_bytes: u64) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut file = BufReader::new(file).take(max_bytes);
        let mut magic = [0; MAGIC.len()];
        let is_one = file.read_exact(&mut magic).is_ok() && magic == MAGIC;
        Ok(is_one.then_some(Self { file, max_len, damaged: 0 }))
    }

    /// Reads the next transaction; `None` at the end, whatever follows.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let (len, checksum) = (self.word()?, self.word()?);
            let len = usize::try_from(len).ok().filter(|len| (1..=self.max_len).contains(len))?;
            let mut bytes = vec![0; len];
            self.file.read_exact(&mut bytes).ok()?;
            if crc32fast::hash(&bytes) == checksum {
                return Some(bytes);
            }
            self.damaged = self.damaged.saturating_add(1);
        }
    }

    fn word(&mut self) -> Option<u32> {
        let mut word = [0; 4];
        self.file.read_exact(&mut word).ok()?;
        Some(u32::from_le_bytes(word))
    }
}

/// Appends transactions to a journal.
pub struct Writer {
    file: BufWriter<File>,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// Transactions in it.
    pub records: usize,
}

impl Writer {
    /// Makes a new file, or empties one.
    fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        let mut this = Self { file: BufWriter::with_capacity(1 << 18, file), bytes: 0, records: 0 };
        this.put(&MAGIC)?;
        Ok(this)
    }

    /// Appends a transaction.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.put(&len.to_le_bytes())?;
        self.put(&crc32fast::hash(bytes).to_le_bytes())?;
        self.put(bytes)?;
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Hands what was appended to the operating system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a journal anew, with each transaction once for whose hash `keep` says so, and opens it for more. The old file is there
/// until the new one is whole.
pub fn rewrite(
    path: &Path,
    max_len: usize,
    max_bytes: u64,
    mut keep: impl FnMut(&[B256]) -> Vec<bool>,
) -> io::Result<Writer> {
    let beside: PathBuf = path.with_extension("journal.new");
    let mut writer = Writer::create(&beside)?;
    let mut seen = HashSet::new();
    if let Some(mut reader) = Reader::open(path, max_len, max_bytes)? {
        loop {
            let some: Vec<Vec<u8>> = std::iter::from_fn(|| reader.next()).take(BATCH).collect();
            if some.is_empty() {
                break;
            }
            let hashes: Vec<B256> = some.iter().map(keccak256).collect();
            for ((bytes, hash), kept) in some.iter().zip(&hashes).zip(keep(&hashes)) {
                if kept && seen.insert(*hash) {
                    writer.append(bytes)?;
                }
            }
        }
    }
    writer.flush()?;
    writer.file.get_ref().sync_data()?;
    std::fs::rename(&beside, path)?;
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(path: &Path) -> Vec<Vec<u8>> {
        let reader = Reader::open(path, 64, 1 << 20).expect("readable");
        reader.map(|mut reader| std::iter::from_fn(|| reader.next()).collect()).unwrap_or_default()
    }

    fn write(path: &Path, records: &[Vec<u8>]) {
        let mut writer = Writer::create(path).expect("a file");
        for record in records {
            writer.append(record).expect("room");
        }
        writer.flush().expect("room");
        assert_eq!(writer.bytes, std::fs::metadata(path).expect("a file").len());
    }

    fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..64), 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        /// Wherever a write is cut short, all whole records before are there.
        #[test]
        fn a_torn_tail_is_dropped(records in records(), cut in 0usize..200) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("pool.journal");
            write(&path, &records);
            let bytes = std::fs::read(&path).expect("a file");
            let left = bytes.len().saturating_sub(cut);
            std::fs::write(&path, &bytes[..left]).expect("room");
            let mut end = MAGIC.len();
            let whole = records.iter().take_while(|record| {
                end += FRAME_BYTES + record.len();
                end <= left
            });
            prop_assert_eq!(read(&path), whole.cloned().collect::<Vec<_>>());
        }

        /// A changed byte costs one record, or what follows a length that became nonsense; nothing false is read.
        #[test]
        fn a_changed_byte_makes_nothing_up(records in records(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("pool.journal");
            write(&path, &records);
            let mut bytes = std::fs::read(&path).expect("a file");
            let at = at.index(bytes.len());
            bytes[at] = to;
            std::fs::write(&path, &bytes).expect("room");
            let found = read(&path);
            prop_assert!(found.iter().all(|record| records.contains(record)));
        }

        #[test]
        fn rubbish_is_no_journal(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), begins in any::<bool>()) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("pool.journal");
            if begins {
                bytes.splice(0..0, MAGIC);
            }
            std::fs::write(&path, &bytes).expect("room");
            read(&path);
            rewrite(&path, 64, 1 << 20, |hashes| vec![true; hashes.len()]).expect("room");
        }

        #[test]
        fn what_is_kept_is_kept_once(records in records(), kept in any::<u64>()) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("pool.journal");
            write(&path, &[&records[..], &records[..]].concat());
            let keep = |hash: &B256| kept & (1 << (hash[0] % 64)) != 0;
            let mut writer = rewrite(&path, 64, 1 << 20, |hashes| hashes.iter().map(keep).collect()).expect("room");
            let mut left: Vec<Vec<u8>> = Vec::new();
            for record in &records {
                if keep(&keccak256(record)) && !left.contains(record) {
                    left.push(record.clone());
                }
            }
            prop_assert_eq!(writer.records, left.len());
            prop_assert_eq!(read(&path), left.clone());
            writer.append(b"one more").expect("room");
            writer.flush().expect("room");
            left.push(b"one more".to_vec());
            prop_assert_eq!(read(&path), left);
        }
    }
}

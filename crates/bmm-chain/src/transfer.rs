//! A chain as a file: sealed blocks one after another, each with a checksum, between a head that names the chain and an end that
//! counts them. Numbers are big-endian.
//!
//! ```text
//! head    "BMMCHAIN" ‖ version (2 bytes, 1) ‖ id of the chain's genesis block (32) ‖ CRC-32 of these 42 bytes (4)
//! record  length of the block (4) ‖ block: RLP of [[header, transactions, ommers], seal] ‖ CRC-32 of both (4)
//! end     0 (4) ‖ number of records (8) ‖ CRC-32 of both (4)
//! ```
//!
//! The checksums find damage on the way, nothing else: a file from a stranger is as good as its blocks, and those are checked on import.

use alloy_primitives::B256;
use bmm_ledger::exec::header::MAX_BLOCK_BYTES;
use bmm_types::SealedBlock;
use std::io::{self, ErrorKind, Read, Write};

/// What a file begins with.
const MAGIC: &[u8; 8] = b"BMMCHAIN";

/// Version of the layout.
const VERSION: u16 = 1;

/// Longest record, in bytes: the longest block, and room for the longest seal.
pub const MAX_RECORD_BYTES: usize = MAX_BLOCK_BYTES + (256 << 10);

/// What is wrong with a file of blocks.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Blocks without their seals, as geth, reth and others export them.
    #[error(
        "holds plain RLP, as Ethereum's clients export blocks: it names no chain and has no proof of work; export it with `bmm chain export`"
    )]
    PlainRlp,
    /// A compressed file.
    #[error("is compressed with gzip; unpack it first, for example: zcat FILE | bmm chain import -")]
    Compressed,
    /// Something else.
    #[error("is no file of blocks: it does not begin with BMMCHAIN; make one with `bmm chain export`")]
    Magic,
    /// A layout that this program does not know.
    #[error("has version {0} of the layout, this program knows version {VERSION}; use the newer bmm that wrote it")]
    Version(u16),
    /// The head is damaged.
    #[error("is damaged in its head: the checksum is wrong; copy it again")]
    Head,
    /// A record is damaged.
    #[error("is damaged: record {record} at byte {at}: {what}; copy it again")]
    Record {
        /// Counted from one.
        record: u64,
        /// Where the record begins.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The file stops before its end.
    #[error("ends too early, after {records} whole blocks (byte {at}); copy it again")]
    Cut {
        /// Whole records before.
        records: u64,
        /// Bytes there are.
        at: u64,
    },
}

/// Writes a file of blocks.
#[derive(Debug)]
pub struct ChainWriter<W> {
    out: W,
    records: u64,
}

impl<W: Write> ChainWriter<W> {
    /// Begins a file of the chain with that genesis.
    pub fn new(mut out: W, genesis: B256) -> io::Result<Self> {
        let head = [&MAGIC[..], &VERSION.to_be_bytes(), genesis.as_slice()].concat();
        out.write_all(&head)?;
        out.write_all(&crc32fast::hash(&head).to_be_bytes())?;
        Ok(Self { out, records: 0 })
    }

    /// Appends a block.
    ///
    /// # Errors
    /// Those of the output, and [`ErrorKind::InvalidInput`] for a block that no reader would take.
    pub fn append(&mut self, block: &SealedBlock) -> io::Result<()> {
        let bytes = alloy_rlp::encode(block);
        let fits = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_RECORD_BYTES);
        let length =
            fits.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "a block longer than a record may be"))?;
        self.put(length, &bytes)?;
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    /// Ends the file and returns the output, flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(0, &self.records.to_be_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, length: u32, bytes: &[u8]) -> io::Result<()> {
        let length = length.to_be_bytes();
        self.out.write_all(&length)?;
        self.out.write_all(bytes)?;
        self.out.write_all(&checksum(length, bytes).to_be_bytes())
    }
}

/// Reads a file of blocks, one block at a time: an iterator that ends after the file's end or its first fault.
#[derive(Debug)]
pub struct ChainReader<R> {
    input: R,
    genesis: B256,
    records: u64,
    at: u64,
    over: bool,
}

impl<R: Read> ChainReader<R> {
    /// Reads the head of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(mut input: R) -> Result<Self, TransferError> {
        let mut head = [0; MAGIC.len() + 2 + 32];
        let (magic, rest) = head.split_at_mut(MAGIC.len());
        let read = fill(&mut input, magic)?;
        match &magic[..read] {
            [0x1f, 0x8b, ..] => return Err(TransferError::Compressed),
            // A list that is longer than 55 bytes: a block.
            [0xf8..=0xfb, ..] => return Err(TransferError::PlainRlp),
            found if found != MAGIC => return Err(TransferError::Magic),
            _ => {}
        }
        let mut sum = [0; 4];
        let read = fill(&mut input, rest)?;
        if read < rest.len() || fill(&mut input, &mut sum)? < sum.len() {
            return Err(TransferError::Head);
        }
        let (version, genesis) = rest.split_at(2);
        let (version, genesis) = (u16::from_be_bytes([version[0], version[1]]), B256::from_slice(genesis));
        if crc32fast::hash(&head) != u32::from_be_bytes(sum) {
            return Err(TransferError::Head);
        }
        if version != VERSION {
            return Err(TransferError::Version(version));
        }
        Ok(Self { input, genesis, records: 0, at: 46, over: false })
    }

    /// Returns the id of the genesis block of the chain that the file is of.
    pub const fn genesis(&self) -> B256 {
        self.genesis
    }

    /// Returns how many bytes were read so far.
    pub const fn position(&self) -> u64 {
        self.at
    }

    fn read_next(&mut self) -> Result<Option<SealedBlock>, TransferError> {
        let (record, at) = (self.records.saturating_add(1), self.at);
        let damaged = |what: &str| TransferError::Record { record, at, what: what.to_owned() };
        let length = self.exactly::<4>()?;
        let bytes = match u32::from_be_bytes(length) {
            0 => 8,
            length => usize::try_from(length).unwrap_or(usize::MAX),
        };
        if bytes > MAX_RECORD_BYTES {
            return Err(damaged("longer than any block"));
        }
        let mut payload = vec![0; bytes];
        let read = fill(&mut self.input, &mut payload)?;
        if read < bytes {
            return Err(self.cut(read));
        }
        self.forward(read);
        let sum = self.exactly::<4>()?;
        if checksum(length, &payload) != u32::from_be_bytes(sum) {
            return Err(damaged("the checksum is wrong"));
        }
        if length == [0; 4] {
            let told = payload.try_into().map_or(0, u64::from_be_bytes);
            if told != self.records {
                return Err(damaged(&format!("the end says {told} blocks, {} came", self.records)));
            }
            return Ok(None);
        }
        let block = alloy_rlp::decode_exact(&payload).map_err(|error| damaged(&format!("no block: {error}")))?;
        self.records = record;
        Ok(Some(block))
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N], TransferError> {
        let mut bytes = [0; N];
        let read = fill(&mut self.input, &mut bytes)?;
        if read < N {
            return Err(self.cut(read));
        }
        self.forward(N);
        Ok(bytes)
    }

    fn forward(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn cut(&mut self, read: usize) -> TransferError {
        self.forward(read);
        TransferError::Cut { records: self.records, at: self.at }
    }
}

impl<R: Read> Iterator for ChainReader<R> {
    type Item = Result<SealedBlock, TransferError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.read_next();
        self.over = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads until the buffer is full or the input ends; returns how many bytes came.
fn fill(input: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let whole = buffer.len();
    while !buffer.is_empty() {
        match input.read(buffer) {
            Ok(0) => break,
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(whole.saturating_sub(buffer.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmm_types::{Block, Header, Seal};
    use proptest::prelude::*;

    fn block(number: u64) -> SealedBlock {
        let header = Header { number, extra_data: vec![7; 20].into(), ..Header::default() };
        SealedBlock { block: Block { header, ..Block::default() }, seal: Seal::None }
    }

    fn file(blocks: u64) -> Vec<u8> {
        let mut writer = ChainWriter::new(Vec::new(), B256::repeat_byte(3)).expect("memory");
        (1..=blocks).for_each(|number| writer.append(&block(number)).expect("memory"));
        writer.finish().expect("memory")
    }

    fn read(bytes: &[u8]) -> Result<Vec<SealedBlock>, TransferError> {
        ChainReader::new(bytes)?.collect()
    }

    #[test]
    fn blocks_come_back() {
        let bytes = file(3);
        let mut reader = ChainReader::new(&bytes[..]).expect("a file");
        assert_eq!(reader.genesis(), B256::repeat_byte(3));
        for number in 1..=3 {
            assert_eq!(reader.next().expect("a block").expect("whole"), block(number));
        }
        assert!(reader.next().is_none());
        assert_eq!(reader.position(), u64::try_from(bytes.len()).expect("small"));
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = file(2);
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn foreign_files_are_told_apart() {
        let rlp = alloy_rlp::encode(&block(1).block);
        assert!(matches!(read(&rlp), Err(TransferError::PlainRlp)));
        assert!(matches!(read(&[0x1f, 0x8b, 8, 0]), Err(TransferError::Compressed)));
        assert!(matches!(read(b"PK\x03\x04 and more of it"), Err(TransferError::Magic)));
        assert!(matches!(read(b""), Err(TransferError::Magic)));
        let mut newer = file(0);
        newer[9] = 2;
        let sum = crc32fast::hash(&newer[..42]).to_be_bytes();
        newer[42..46].copy_from_slice(&sum);
        assert!(matches!(read(&newer), Err(TransferError::Version(2))));
    }

    #[test]
    fn a_promised_length_is_not_believed() {
        let mut bytes = file(0)[..46].to_vec();
        bytes.extend(u32::MAX.to_be_bytes());
        assert!(matches!(read(&bytes), Err(TransferError::Record { record: 1, at: 46, .. })));
    }

    proptest! {
        #[test]
        fn every_damaged_byte_is_noticed(at: proptest::sample::Index, flip in 1u8..=255) {
            let mut bytes = file(2);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(read(&bytes).is_err());
        }

        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[&file(0)[..46], &bytes].concat());
        }
    }
}

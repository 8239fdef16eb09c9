//! The bet log: every bet that was ever signed here, written down before it was signed.
//!
//! A file begins with eight bytes that say what it is. A record is its length (4 bytes, big-endian), a kind, the bet or mark in RLP, and
//! the CRC-32 of all that. It is only ever appended to, synced before the signature is made, and held with an exclusive lock. A record
//! that was cut off at the end was never signed and is dropped; any other damage is an error.

use alloy_primitives::{Address, B256, U256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};
use bmm_types::{
    finality::{Offence, offence},
    system::Bet,
};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// What a file begins with: a name and a version.
const MAGIC: &[u8; 8] = b"bmmbets\x01";
/// Longest record, in bytes; a bet takes 140.
const MAX_RECORD_BYTES: usize = 256;
/// Kinds of records.
const BET: u8 = 1;
const FLOOR: u8 = 2;

/// Why a bet is not signed.
#[derive(Debug, thiserror::Error)]
pub enum BetLogError {
    /// The file cannot be read or written.
    #[error("the bet log {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the bet log {} is in use by another process, which bets with the same key", .0.display())]
    InUse(PathBuf),
    /// It is none, or of another version.
    #[error("{} is no bet log", .0.display())]
    NoLog(PathBuf),
    /// Records are damaged that were whole once.
    #[error("the bet log {} is damaged at byte {at}: bets may be missing in it", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
    },
    /// The bet contradicts one that was signed.
    #[error(
        "a bet on checkpoint {target} would contradict the one on checkpoint {other} that was signed before ({offence:?})"
    )]
    Offence {
        /// Target of the new one.
        target: u64,
        /// Target of the old one.
        other: u64,
        /// How.
        offence: Offence,
    },
    /// A bet on the same target from another source, or with less.
    #[error("there is another bet on checkpoint {0} already")]
    OtherLink(u64),
    /// Bets were signed elsewhere that are not all known.
    #[error("bets up to checkpoint {0} were signed elsewhere; a bet must lie above it")]
    BelowFloor(u64),
}

#[derive(RlpEncodable, RlpDecodable)]
struct BetFields {
    footstone: Address,
    source: u64,
    source_hash: B256,
    target: u64,
    target_hash: B256,
    amount: U256,
}

impl From<&Bet> for BetFields {
    fn from(bet: &Bet) -> Self {
        Self {
            footstone: bet.footstone,
            source: bet.source,
            source_hash: bet.sourceHash,
            target: bet.target,
            target_hash: bet.targetHash,
            amount: bet.amount,
        }
    }
}

impl From<BetFields> for Bet {
    fn from(fields: BetFields) -> Self {
        Self {
            footstone: fields.footstone,
            source: fields.source,
            sourceHash: fields.source_hash,
            target: fields.target,
            targetHash: fields.target_hash,
            amount: fields.amount,
        }
    }
}

/// Bets of a footstone that nobody here knows lie at or below this target.
#[derive(Clone, Copy, Debug, RlpEncodable, RlpDecodable)]
struct Floor {
    footstone: Address,
    target: u64,
}

/// The open log. Dropping it gives up the lock.
#[derive(Debug)]
pub struct BetLog {
    path: PathBuf,
    file: File,
    bets: Vec<Bet>,
    floors: Vec<Floor>,
}

impl BetLog {
    /// Opens the log, or begins it, and locks it.
    ///
    /// # Errors
    /// See [`BetLogError`].
    pub fn open(path: &Path) -> Result<Self, BetLogError> {
        let io = |source| BetLogError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BetLogError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let mut log = Self { path: path.to_owned(), file, bets: Vec::new(), floors: Vec::new() };
        // Cut off in the midst of its first bytes: nothing was ever signed by it.
        if MAGIC.starts_with(&bytes) && bytes.len() < MAGIC.len() || bytes.is_empty() {
            log.rewrite(0, MAGIC).map_err(io)?;
            if let Some(folder) = path.parent() {
                File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
            }
            return Ok(log);
        }
        let records = bytes.strip_prefix(MAGIC).ok_or_else(|| BetLogError::NoLog(path.to_owned()))?;
        let whole = log.read(records)?;
        if whole < records.len() {
            log.rewrite(MAGIC.len() + whole, &[]).map_err(io)?;
        }
        Ok(log)
    }

    /// Reads records. Returns the length of the whole ones; what follows was cut off.
    fn read(&mut self, records: &[u8]) -> Result<usize, BetLogError> {
        let mut at = 0;
        while at < records.len() {
            let damaged = || BetLogError::Damaged { path: self.path.clone(), at: (MAGIC.len() + at) as u64 };
            let rest = &records[at..];
            let Some((length, body)) = rest.split_first_chunk::<4>() else { return Ok(at) };
            let length = u32::from_be_bytes(*length) as usize;
            // A length is written at once with the rest: if it is none, more than the end is missing. Zeros may be a file that grew and
            // was not written.
            if !(1..=MAX_RECORD_BYTES).contains(&length) {
                return if rest.iter().all(|byte| *byte == 0) { Ok(at) } else { Err(damaged()) };
            }
            let Some((record, sum)) = body.split_at_checked(length) else { return Ok(at) };
            let Some((sum, after)) = sum.split_first_chunk::<4>() else { return Ok(at) };
            if crc32fast::hash(&rest[..4 + length]) != u32::from_be_bytes(*sum) {
                // The last one may not have been written whole.
                return if after.iter().all(|byte| *byte == 0) { Ok(at) } else { Err(damaged()) };
            }
            let (kind, mut fields) = record.split_first().ok_or_else(damaged)?;
            let fields = &mut fields;
            match *kind {
                BET => self.bets.push(BetFields::decode(fields).map_err(|_| damaged())?.into()),
                FLOOR => self.floors.push(Floor::decode(fields).map_err(|_| damaged())?),
                _ => return Err(damaged()),
            }
            at += 4 + length + 4;
        }
        Ok(at)
    }

    /// Cuts the file off at a length, writes there, and syncs.
    fn rewrite(&mut self, at: usize, bytes: &[u8]) -> std::io::Result<()> {
        self.file.set_len(at as u64)?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(bytes)?;
        self.file.sync_all()
    }

    /// Appends a record, and syncs. After a failure the next one takes its place.
    fn append(&mut self, kind: u8, fields: &dyn Encodable) -> Result<(), BetLogError> {
        let mut record = vec![0; 4];
        record.push(kind);
        fields.encode(&mut record);
        let length = u32::try_from(record.len() - 4).unwrap_or(u32::MAX);
        record[..4].copy_from_slice(&length.to_be_bytes());
        record.extend(crc32fast::hash(&record).to_be_bytes());
        let io = |source| BetLogError::Io { path: self.path.clone(), source };
        let end = self.file.metadata().map_err(io)?.len();
        let written = self.file.seek(SeekFrom::End(0)).and_then(|_| self.file.write_all(&record));
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            let _ = self.file.set_len(end);
            return Err(BetLogError::Io { path: self.path.clone(), source: error });
        }
        Ok(())
    }

    /// Rule: a bet is signed only if it contradicts none that was, is the only link to its target, and no smaller than before. Writes it
    /// down; only then may it be signed.
    ///
    /// # Errors
    /// See [`BetLogError`].
    pub fn enter(&mut self, bet: &Bet) -> Result<(), BetLogError> {
        let target = bet.target;
        for other in self.bets_of(bet.footstone) {
            if let Some(offence) = offence(other, bet) {
                return Err(BetLogError::Offence { target, other: other.target, offence });
            }
            let same_link = (other.source, other.sourceHash) == (bet.source, bet.sourceHash);
            if other.target == target && (!same_link || other.amount > bet.amount) {
                return Err(BetLogError::OtherLink(target));
            }
        }
        // An unknown bet's target is the floor at most, and its source lies below that.
        let below = |floor: &&Floor| {
            floor.footstone == bet.footstone && (target <= floor.target || bet.source + 1 < floor.target)
        };
        if let Some(floor) = self.floors.iter().find(below) {
            return Err(BetLogError::BelowFloor(floor.target));
        }
        self.append(BET, &BetFields::from(bet))?;
        self.bets.push(bet.clone());
        Ok(())
    }

    /// Takes a bet that was signed elsewhere, whatever it contradicts.
    ///
    /// # Errors
    /// [`BetLogError::Io`].
    pub fn import(&mut self, bet: &Bet) -> Result<(), BetLogError> {
        if self.knows(bet) {
            return Ok(());
        }
        self.append(BET, &BetFields::from(bet))?;
        self.bets.push(bet.clone());
        Ok(())
    }

    /// Notes that bets were signed elsewhere up to a target, which are not all known.
    ///
    /// # Errors
    /// [`BetLogError::Io`].
    pub fn import_floor(&mut self, footstone: Address, target: u64) -> Result<(), BetLogError> {
        if self.highest(footstone) >= target {
            return Ok(());
        }
        let floor = Floor { footstone, target };
        self.append(FLOOR, &floor)?;
        self.floors.push(floor);
        Ok(())
    }

    /// Whether a bet, with this or a larger amount, is written down.
    pub fn knows(&self, bet: &Bet) -> bool {
        self.bets_of(bet.footstone)
            .any(|known| Bet { amount: bet.amount, ..known.clone() } == *bet && known.amount >= bet.amount)
    }

    /// Returns the highest target of a footstone's bets; 0 if there is none.
    pub fn highest(&self, footstone: Address) -> u64 {
        let floors = self.floors.iter().filter(|floor| floor.footstone == footstone).map(|floor| floor.target);
        self.bets_of(footstone).map(|bet| bet.target).chain(floors).max().unwrap_or(0)
    }

    /// Returns the bets of a footstone in the order in which they were written.
    pub fn bets_of(&self, footstone: Address) -> impl DoubleEndedIterator<Item = &Bet> {
        self.bets.iter().filter(move |bet| bet.footstone == footstone)
    }
}

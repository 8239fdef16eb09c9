//! Compiled code kept: recently used programs in memory, and machine code on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::error::VmError;

/// Begins every file of compiled code; changes with the layout of the file.
const MAGIC: &[u8; 8] = b"bmmvm\0\0\x01";
/// Magic number and digest before the code.
const HEADER_BYTES: usize = MAGIC.len() + 32;
/// How the names of the cache's files end.
const EXTENSION: &str = "code";

/// Keeps the last used values, up to a fixed number and a fixed total of bytes.
pub(crate) struct Recent<K, V> {
    /// The most recently used is last; the last field is the size of the value.
    entries: Vec<(K, V, usize)>,
    capacity: usize,
    max_bytes: usize,
}

impl<K: PartialEq, V> Recent<K, V> {
    /// Returns an empty cache for `capacity` values of `max_bytes` together.
    pub fn new(capacity: usize, max_bytes: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), capacity, max_bytes }
    }

    /// Finds a value and makes it the most recently used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let at = self.entries.iter().rposition(|(known, ..)| known == key)?;
        let last = self.entries.len() - 1;
        if at != last {
            let entry = self.entries.remove(at);
            self.entries.push(entry);
        }
        self.entries.last().map(|(_, value, _)| value)
    }

    /// Adds a value of `bytes`, in the place of the least recently used ones if there is no room. The newest always stays.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.entries.retain(|(known, ..)| *known != key);
        let mut total = self.entries.iter().fold(bytes, |total, (.., bytes)| total.saturating_add(*bytes));
        while !self.entries.is_empty() && (self.entries.len() >= self.capacity || total > self.max_bytes) {
            let (.., gone) = self.entries.remove(0);
            total = total.saturating_sub(gone);
        }
        self.entries.push((key, value, bytes));
    }
}

/// Is machine code that can be written down and read again.
pub(crate) trait Code: Sized {
    /// Writes the code down.
    fn to_bytes(&self) -> wasmtime::Result<Vec<u8>>;

    /// Makes code of bytes that [`Self::to_bytes`] gave in this program or another run of it, and that nobody changed since.
    #[expect(unsafe_code, reason = "machine code can only be loaded by trusting it")]
    unsafe fn from_bytes(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self>;
}

#[expect(unsafe_code, reason = "machine code can only be loaded by trusting it")]
impl Code for Module {
    fn to_bytes(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    unsafe fn from_bytes(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: the caller knows who wrote the bytes.
        unsafe { Self::deserialize(engine, code) }
    }
}

#[expect(unsafe_code, reason = "machine code can only be loaded by trusting it")]
impl Code for Component {
    fn to_bytes(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    unsafe fn from_bytes(engine: &Engine, code: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: the caller knows who wrote the bytes.
        unsafe { Self::deserialize(engine, code) }
    }
}

/// Keeps machine code in a directory that only this user can write to.
///
/// Loading machine code is trusting it, so a file is used only if its digest over engine, module and code is right.
/// That catches truncated and damaged files; files made by others are kept out by the directory's owner and mode, which
/// are checked once, and the checked bytes themselves are loaded, not the file again.
pub(crate) struct DiskCache {
    dir: PathBuf,
    max_bytes: u64,
}

impl DiskCache {
    /// Opens a directory, creating it for this user alone if it is missing.
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Self, VmError> {
        let fail = |reason| VmError::CacheDir { path: dir.to_owned(), reason };
        create_private(dir).map_err(fail)?;
        check_private(dir).map_err(fail)?;
        Ok(Self { dir: dir.to_owned(), max_bytes })
    }

    /// Loads the code of a program, if it is there and sound.
    pub fn load<C: Code>(&self, engine: &Engine, engine_key: u64, wasm_hash: &[u8; 32]) -> Option<C> {
        let path = self.path(engine_key, wasm_hash);
        let file = fs::read(&path).ok()?;
        let checked = check_file(&file, engine_key, wasm_hash);
        let code = checked.and_then(|code| deserialize(engine, code));
        if code.is_none() {
            tracing::warn!(path = %path.display(), "compiled code is damaged or of another engine; compiling again");
            let _ = fs::remove_file(&path);
        }
        code
    }

    /// Stores the code of a program; a failure costs a later compilation, so it is only logged.
    pub fn store(&self, code: &impl Code, engine_key: u64, wasm_hash: &[u8; 32]) {
        let path = self.path(engine_key, wasm_hash);
        if let Err(error) = self.try_store(code, engine_key, wasm_hash, &path) {
            tracing::warn!(path = %path.display(), %error, "compiled code could not be stored");
        }
    }

    fn try_store(&self, code: &impl Code, engine_key: u64, wasm_hash: &[u8; 32], path: &Path) -> io::Result<()> {
        let code = code.to_bytes().map_err(|error| io::Error::other(format!("{error:#}")))?;
        let mut file = Vec::with_capacity(HEADER_BYTES + code.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&digest(engine_key, wasm_hash, &code));
        file.extend_from_slice(&code);
        self.make_room(file.len() as u64)?;
        // Written aside and renamed, so that a reader and a crash see the whole file or none.
        let aside = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&aside, &file)?;
        fs::rename(&aside, path)
    }

    /// Deletes the oldest files until `needed` more bytes fit.
    fn make_room(&self, needed: u64) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let (meta, path) = (entry.metadata()?, entry.path());
            if meta.is_file() && path.extension().is_some_and(|end| end == EXTENSION || end == "tmp") {
                files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), path));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total.saturating_add(needed) <= self.max_bytes {
                break;
            }
            fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }

    fn path(&self, engine_key: u64, wasm_hash: &[u8; 32]) -> PathBuf {
        let (high, low) = wasm_hash.split_at(16);
        let number = |half: &[u8]| half.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        self.dir.join(format!("{:032x}{:032x}-{engine_key:016x}.{EXTENSION}", number(high), number(low)))
    }
}

/// Returns the digest that a file of compiled code carries.
fn digest(engine_key: u64, wasm_hash: &[u8; 32], code: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(MAGIC)
        .chain_update(engine_key.to_le_bytes())
        .chain_update(wasm_hash)
        .chain_update(code)
        .finalize()
        .into()
}

/// Returns the code within a file if the file is what this cache stored for this engine and module.
fn check_file<'a>(file: &'a [u8], engine_key: u64, wasm_hash: &[u8; 32]) -> Option<&'a [u8]> {
    let (magic, rest) = file.split_at_checked(MAGIC.len())?;
    let (recorded, code) = rest.split_at_checked(32)?;
    (magic == MAGIC && recorded == digest(engine_key, wasm_hash, code)).then_some(code)
}

/// Makes a program's code of its file.
#[expect(unsafe_code, reason = "machine code can only be loaded by trusting it; the caller has checked who made it")]
fn deserialize<C: Code>(engine: &Engine, code: &[u8]) -> Option<C> {
    // SAFETY: the bytes were produced by `Code::to_bytes` in this program: `check_file` has compared their digest with
    // the one recorded beside them, in a directory that `check_private` found writable by this user alone. The engine
    // itself refuses code of another version or configuration. They are in our memory and cannot change any more.
    unsafe { C::from_bytes(engine, code) }.ok()
}

#[cfg(unix)]
fn create_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn create_private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// Refuses a directory that belongs to another user or that others may write to.
#[cfg(unix)]
fn check_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let probe = dir.join(format!("probe.{}.tmp", std::process::id()));
    fs::write(&probe, [])?;
    let ours = fs::metadata(&probe)?.uid();
    fs::remove_file(&probe)?;
    let meta = fs::metadata(dir)?;
    if meta.uid() != ours || meta.mode() & 0o022 != 0 {
        let text = "it holds machine code, so it must belong to this user and be writable by nobody else (chmod 700)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// Relies on the user's profile being private, as it is by default on systems without Unix modes.
#[cfg(not(unix))]
fn check_private(_dir: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut recent = Recent::new(2, 100);
        recent.insert(1, 'a', 10);
        recent.insert(2, 'b', 10);
        assert_eq!(recent.get(&1), Some(&'a'));
        recent.insert(3, 'c', 10);
        let found = [1, 2, 3].map(|key| recent.get(&key).copied());
        assert_eq!(found, [Some('a'), None, Some('c')]);
    }

    #[test]
    fn large_values_push_out_as_many_as_they_need_room_for() {
        let mut recent = Recent::new(8, 100);
        (0..4).for_each(|key| recent.insert(key, key, 25));
        recent.insert(4, 4, 50);
        assert_eq!([0, 1, 2, 3, 4].map(|key| recent.get(&key).is_some()), [false, false, true, true, true]);
        recent.insert(5, 5, 1_000);
        assert_eq!([2, 3, 4, 5].map(|key| recent.get(&key).is_some()), [false, false, false, true]);
    }

    #[test]
    fn a_changed_file_is_refused() {
        let hash = [7; 32];
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&digest(1, &hash, b"code"));
        file.extend_from_slice(b"code");
        assert_eq!(check_file(&file, 1, &hash), Some(&b"code"[..]));
        assert_eq!(check_file(&file, 2, &hash), None);
        assert_eq!(check_file(&file, 1, &[8; 32]), None);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(check_file(&changed, 1, &hash), None, "byte {at}");
            assert_eq!(check_file(&file[..at], 1, &hash), None, "cut at {at}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        assert!(DiskCache::open(&dir.path().join("new/deep"), 1).is_ok());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(DiskCache::open(dir.path(), 1), Err(VmError::CacheDir { .. })));
    }
}

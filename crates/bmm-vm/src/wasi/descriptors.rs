//! The table of open descriptors.

use super::errno::{Call, Errno};
use super::path::Side;
use crate::input::Blob;

/// Most descriptors open at once.
const MAX_DESCRIPTORS: usize = 256;

/// Flag of a descriptor whose writes go to the end of the file.
pub(super) const FLAG_APPEND: u16 = 1;
/// Flags that exist.
pub(super) const FLAGS_ALL: u16 = 0x1f;

/// Bits of rights, those that matter here.
pub(super) mod rights {
    pub const DATASYNC: u64 = 1;
    pub const READ: u64 = 1 << 1;
    pub const SEEK: u64 = 1 << 2;
    pub const TELL: u64 = 1 << 5;
    pub const WRITE: u64 = 1 << 6;
    pub const ALLOCATE: u64 = 1 << 8;
    pub const READDIR: u64 = 1 << 14;
    pub const SET_SIZE: u64 = 1 << 22;
    /// Rights that ask for reading.
    pub const READING: u64 = READ | READDIR;
    /// Rights that ask for writing.
    pub const WRITING: u64 = WRITE | ALLOCATE | SET_SIZE;
    /// All rights that exist.
    pub const ALL: u64 = (1 << 30) - 1;
}

/// Is what a descriptor leads to.
pub(super) enum Handle {
    Stdin {
        at: u64,
    },
    Stdout,
    Stderr,
    Dir {
        side: Side,
        path: String,
        /// Whether the program finds it open at its start.
        preopened: bool,
        /// Number of the entry that comes next in a listing under way, and the key from which it is found.
        cursor: Option<(u64, String)>,
    },
    InFile {
        blob: Blob,
        inode: u64,
        at: u64,
    },
    OutFile {
        id: usize,
        at: u64,
    },
}

/// Holds an open descriptor.
pub(super) struct Descriptor {
    pub handle: Handle,
    pub flags: u16,
    pub read: bool,
    pub write: bool,
}

impl Descriptor {
    /// Returns the rights that the program is told it has.
    pub fn rights(&self) -> u64 {
        let mut bits = rights::ALL;
        if !self.read {
            bits &= !rights::READING;
        }
        if !self.write {
            bits &= !(rights::WRITING | rights::DATASYNC);
        }
        if matches!(self.handle, Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr) {
            bits &= !(rights::SEEK | rights::TELL);
        }
        bits
    }
}

/// Holds the table; a new descriptor takes the lowest free number.
pub(super) struct Descriptors(Vec<Option<Descriptor>>);

impl Descriptors {
    /// Returns the table of a new task: the three standard streams, `/in` as 3 and `/out` as 4, and `/` as 5 if files lie
    /// outside of both.
    pub fn new(with_root: bool) -> Self {
        let dir = |side| Handle::Dir { side, path: String::new(), preopened: true, cursor: None };
        let open = |handle, read, write| Some(Descriptor { handle, flags: 0, read, write });
        let mut table = Vec::with_capacity(8);
        table.push(open(Handle::Stdin { at: 0 }, true, false));
        table.push(open(Handle::Stdout, false, true));
        table.push(open(Handle::Stderr, false, true));
        table.push(open(dir(Side::In), true, true));
        table.push(open(dir(Side::Out), true, true));
        if with_root {
            table.push(open(dir(Side::Root), true, true));
        }
        Self(table)
    }

    /// Finds a descriptor.
    pub fn get(&self, fd: u32) -> Call<&Descriptor> {
        self.0.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf.into())
    }

    /// Finds a descriptor to change.
    pub fn get_mut(&mut self, fd: u32) -> Call<&mut Descriptor> {
        self.0.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf.into())
    }

    /// Finds an open directory: its side and its path.
    pub fn dir(&self, fd: u32) -> Call<(Side, &str)> {
        match &self.get(fd)?.handle {
            Handle::Dir { side, path, .. } => Ok((*side, path)),
            _ => Err(Errno::Notdir.into()),
        }
    }

    /// Returns the number that the next descriptor will have.
    pub fn next(&self) -> Call<u32> {
        let at = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if at >= MAX_DESCRIPTORS {
            return Err(Errno::Mfile.into());
        }
        u32::try_from(at).map_err(|_| Errno::Mfile.into())
    }

    /// Opens a descriptor under its number, which [`Self::next`] gave.
    pub fn put(&mut self, fd: u32, descriptor: Descriptor) {
        let at = fd as usize;
        if at == self.0.len() {
            self.0.push(Some(descriptor));
        } else {
            self.0[at] = Some(descriptor);
        }
    }

    /// Takes a descriptor out of the table.
    pub fn take(&mut self, fd: u32) -> Call<Descriptor> {
        self.0.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf.into())
    }
}

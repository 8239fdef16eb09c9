//! What files and directories are.

use super::Wasi;
use super::descriptors::Handle;
use super::errno::Call;
use super::guest::Guest;
use super::path::{Node, Place, inode};

/// Kinds of files, as numbered by WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    /// A stream; not a character device, which programs take for a terminal.
    Unknown = 0,
    Directory = 3,
    Regular = 4,
}

/// Tells what a file or directory is.
#[derive(Clone, Copy)]
pub(super) struct Stat {
    pub kind: FileType,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
}

/// Writes the answer of a `filestat` call: no device, no times, one link.
pub(super) fn put_filestat(guest: &mut Guest<'_>, at: u32, stat: Stat) -> Call {
    let mut bytes = [0; 64];
    bytes[8..16].copy_from_slice(&stat.inode.to_le_bytes());
    bytes[16] = stat.kind as u8;
    bytes[24] = 1;
    bytes[32..40].copy_from_slice(&stat.size.to_le_bytes());
    guest.write(at, &bytes)
}

/// Numbers a file of `/out`: by the order in which files were made.
pub(super) fn out_inode(id: usize) -> u64 {
    id as u64 + 1
}

impl Wasi {
    pub(super) fn fd_filestat_get(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Call {
        put_filestat(guest, out, self.stat(fd)?)
    }

    /// Tells what a descriptor leads to.
    pub(super) fn stat(&self, fd: u32) -> Call<Stat> {
        Ok(match &self.descriptors.get(fd)?.handle {
            Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr => {
                Stat { kind: FileType::Unknown, inode: 0, size: 0 }
            }
            Handle::Dir { side, path, .. } => Stat { kind: FileType::Directory, inode: inode(*side, path), size: 0 },
            Handle::InFile { blob, inode, .. } => {
                Stat { kind: FileType::Regular, inode: *inode, size: blob.len() as u64 }
            }
            Handle::OutFile { id, .. } => self.stat_out(*id),
        })
    }

    /// Tells what a file of `/out` is.
    pub(super) fn stat_out(&self, id: usize) -> Stat {
        Stat { kind: FileType::Regular, inode: out_inode(id), size: self.out.data(id).len() as u64 }
    }

    /// Tells what lies at a place.
    pub(super) fn stat_at(&self, place: &Place) -> Call<Stat> {
        Ok(match self.node_at(place)? {
            Node::Dir => Stat { kind: FileType::Directory, inode: inode(place.side, &place.path), size: 0 },
            Node::InFile(blob) => {
                Stat { kind: FileType::Regular, inode: inode(place.side, &place.path), size: blob.len() as u64 }
            }
            Node::OutFile(id) => self.stat_out(id),
        })
    }
}

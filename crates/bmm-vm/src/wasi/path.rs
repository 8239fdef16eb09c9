//! Paths that a program names, brought into normal form without leaving the directory that they start from.

use std::collections::BTreeMap;

use super::Wasi;
use super::errno::{Call, Errno};
use super::out::Entry;
use super::tree;
use crate::input::{Blob, MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES};

/// Fuel for looking a directory up, besides the length of its path.
const LOOKUP_FUEL: u64 = 64;

/// Names one of the three file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `/in`, read-only.
    In,
    /// `/out`.
    Out,
    /// Inputs with absolute paths, read-only.
    Root,
}

impl Side {
    /// Returns the absolute path of the root.
    pub fn root(self) -> &'static str {
        match self {
            Self::In => "/in",
            Self::Out => "/out",
            Self::Root => "/",
        }
    }
}

/// Holds a place within a file system: normal, without `..`, the root being empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub side: Side,
    pub path: String,
    /// Whether the program wrote a slash at the end, so that only a directory will do.
    pub only_dir: bool,
}

/// Holds what lies at a place.
pub(super) enum Node<'a> {
    Dir,
    InFile(&'a Blob),
    OutFile(usize),
}

impl Wasi {
    /// Returns the files of a side that can only be read.
    pub(super) fn files(&self, side: Side) -> &BTreeMap<String, Blob> {
        if side == Side::Root { self.inputs.root() } else { self.inputs.mounted() }
    }

    /// Finds what lies at a path of a side.
    pub(super) fn node(&self, side: Side, path: &str) -> Option<Node<'_>> {
        if path.is_empty() {
            return Some(Node::Dir);
        }
        match side {
            Side::In | Side::Root => {
                let files = self.files(side);
                match files.get(path) {
                    Some(blob) => Some(Node::InFile(blob)),
                    None => tree::has_children(files, path).then_some(Node::Dir),
                }
            }
            Side::Out => self.out.entry(path).map(|entry| match entry {
                Entry::Dir => Node::Dir,
                Entry::File(id) => Node::OutFile(id),
            }),
        }
    }

    /// Finds what lies at a place, holding a slash at its end to its word.
    pub(super) fn node_at(&self, place: &Place) -> Call<Node<'_>> {
        match self.node(place.side, &place.path) {
            None => Err(Errno::Noent.into()),
            Some(Node::Dir) => Ok(Node::Dir),
            Some(_) if place.only_dir => Err(Errno::Notdir.into()),
            Some(file) => Ok(file),
        }
    }

    /// Resolves a path against a directory. There are no symbolic links, so names are all there is to it.
    pub(super) fn resolve(&mut self, side: Side, dir: &str, raw: &[u8]) -> Call<Place> {
        if raw.len() > MAX_PATH_BYTES {
            return Err(Errno::Nametoolong.into());
        }
        let text = std::str::from_utf8(raw).map_err(|_| Errno::Ilseq)?;
        if text.is_empty() {
            return Err(Errno::Noent.into());
        }
        if text.contains('\0') {
            return Err(Errno::Inval.into());
        }
        if text.starts_with('/') {
            return Err(Errno::Notcapable.into());
        }
        let mut path = dir.to_owned();
        let mut depth = 0_usize;
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    // Each step back looks a directory up, which compares paths of this length.
                    self.owed_fuel += LOOKUP_FUEL + path.len() as u64;
                    self.require_dir(side, &path)?;
                    depth = depth.checked_sub(1).ok_or(Errno::Notcapable)?;
                    path.truncate(path.rfind('/').unwrap_or(0));
                }
                name if name.len() > MAX_NAME_BYTES => return Err(Errno::Nametoolong.into()),
                name => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(name);
                    depth += 1;
                }
            }
        }
        if path.len() > MAX_PATH_BYTES || path.split('/').count() > MAX_DEPTH {
            return Err(Errno::Nametoolong.into());
        }
        self.owed_fuel += path.len() as u64;
        let last = text.rsplit('/').next().unwrap_or("");
        Ok(Place { side, path, only_dir: matches!(last, "" | "." | "..") })
    }

    /// Fails unless a directory lies at a path.
    pub(super) fn require_dir(&self, side: Side, path: &str) -> Call {
        match self.node(side, path) {
            Some(Node::Dir) => Ok(()),
            Some(_) => Err(Errno::Notdir.into()),
            None => Err(Errno::Noent.into()),
        }
    }

    /// Fails unless a new name may be made at a place: its parent is a directory of `/out`.
    pub(super) fn require_parent(&self, place: &Place) -> Call {
        if place.side != Side::Out {
            return Err(Errno::Rofs.into());
        }
        self.require_dir(place.side, parent(&place.path))
    }
}

/// Returns the directory that a path lies in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Returns a number that stands for a path, as inodes do: FNV-1a, never zero, the same on every host.
pub(super) fn inode(side: Side, path: &str) -> u64 {
    let bytes = side.root().bytes().chain([b'/']).chain(path.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1
}

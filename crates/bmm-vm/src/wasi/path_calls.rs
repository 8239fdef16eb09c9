//! System calls on paths.

use super::Wasi;
use super::descriptors::{Descriptor, FLAGS_ALL, Handle, rights};
use super::errno::{Call, Errno};
use super::guest::Guest;
use super::path::{Node, Place, Side, inode};
use super::stat::put_filestat;
use crate::input::MAX_PATH_BYTES;

const OPEN_CREATE: u32 = 1;
const OPEN_DIRECTORY: u32 = 2;
const OPEN_EXCLUSIVE: u32 = 4;
const OPEN_TRUNCATE: u32 = 8;

/// Fuel for each name that moves when its directory is renamed, besides the lengths of the old and the new path.
const MOVE_FUEL: u64 = 256;

/// Holds how a program wants to open a path.
#[derive(Clone, Copy)]
pub(super) struct OpenHow {
    pub oflags: u32,
    pub rights: u64,
    pub fdflags: u32,
}

impl OpenHow {
    fn has(self, flag: u32) -> bool {
        self.oflags & flag != 0
    }

    fn writes(self) -> bool {
        self.rights & rights::WRITING != 0
    }
}

impl Wasi {
    /// Reads a path from the program's memory and resolves it against an open directory.
    fn place(&mut self, guest: &Guest<'_>, fd: u32, at: u32, len: u32) -> Call<Place> {
        if len as usize > MAX_PATH_BYTES {
            return Err(Errno::Nametoolong.into());
        }
        self.descriptors.dir(fd)?;
        self.place_of(fd, guest.read(at, len)?)
    }

    /// Resolves a path against an open directory.
    pub(super) fn place_of(&mut self, fd: u32, raw: &[u8]) -> Call<Place> {
        let (side, dir) = self.descriptors.dir(fd)?;
        let dir = dir.to_owned();
        self.owed_fuel += raw.len() as u64 + dir.len() as u64;
        self.resolve(side, &dir, raw)
    }

    pub(super) fn path_open(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        path: (u32, u32),
        how: OpenHow,
        out: u32,
    ) -> Call {
        guest.range(out, 4)?;
        let flags = u16::try_from(how.fdflags).ok().filter(|flags| flags & !FLAGS_ALL == 0).ok_or(Errno::Inval)?;
        let place = self.place(guest, fd, path.0, path.1)?;
        let opened = self.open(place, how, flags)?;
        guest.put_u32(out, opened)
    }

    /// Opens what lies at a place, or a new file; returns the descriptor's number.
    pub(super) fn open(&mut self, place: Place, how: OpenHow, flags: u16) -> Call<u32> {
        let opened = self.descriptors.next()?;
        let handle = match self.node(place.side, &place.path) {
            Some(Node::Dir) => open_dir(&place, how)?,
            Some(Node::InFile(blob)) => {
                let handle = Handle::InFile { blob: blob.clone(), inode: inode(place.side, &place.path), at: 0 };
                check_file(&place, how)?;
                if how.writes() || how.has(OPEN_TRUNCATE) {
                    return Err(Errno::Rofs.into());
                }
                handle
            }
            Some(Node::OutFile(id)) => {
                check_file(&place, how)?;
                if how.has(OPEN_TRUNCATE) {
                    self.out.set_len(id, 0)?;
                }
                self.out.open(id);
                Handle::OutFile { id, at: 0 }
            }
            None => {
                let id = self.create(place, how)?;
                self.out.open(id);
                Handle::OutFile { id, at: 0 }
            }
        };
        let descriptor = Descriptor { handle, flags, read: how.rights & rights::READING != 0, write: how.writes() };
        self.descriptors.put(opened, descriptor);
        Ok(opened)
    }

    /// Makes the file that `path_open` did not find.
    fn create(&mut self, place: Place, how: OpenHow) -> Call<usize> {
        if !how.has(OPEN_CREATE) {
            self.require_dir(place.side, super::path::parent(&place.path))?;
            return Err(Errno::Noent.into());
        }
        self.require_parent(&place)?;
        if how.has(OPEN_DIRECTORY) {
            return Err(Errno::Inval.into());
        }
        if place.only_dir {
            return Err(Errno::Isdir.into());
        }
        self.out.make_file(place.path)
    }

    pub(super) fn path_filestat_get(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32), out: u32) -> Call {
        let place = self.place(guest, fd, path.0, path.1)?;
        put_filestat(guest, out, self.stat_at(&place)?)
    }

    /// Accepts times for files that may be changed; times are not kept.
    pub(super) fn path_filestat_set_times(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Call {
        let place = self.place(guest, fd, path.0, path.1)?;
        self.set_times(&place)
    }

    /// Accepts times for what lies at a place of `/out`.
    pub(super) fn set_times(&self, place: &Place) -> Call {
        self.node_at(place)?;
        if place.side == Side::Out { Ok(()) } else { Err(Errno::Rofs.into()) }
    }

    pub(super) fn path_create_directory(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Call {
        let place = self.place(guest, fd, path.0, path.1)?;
        self.make_dir(place)
    }

    /// Makes a directory.
    pub(super) fn make_dir(&mut self, place: Place) -> Call {
        if self.node(place.side, &place.path).is_some() {
            return Err(Errno::Exist.into());
        }
        self.require_parent(&place)?;
        self.out.make_dir(place.path)
    }

    /// Fails unless the name of a place may be taken away: it lies in `/out`.
    fn require_removable(&self, place: &Place) -> Call {
        self.node_at(place)?;
        if place.side != Side::Out {
            return Err(Errno::Rofs.into());
        }
        if place.path.is_empty() {
            return Err(Errno::Busy.into());
        }
        Ok(())
    }

    pub(super) fn path_remove_directory(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Call {
        let place = self.place(guest, fd, path.0, path.1)?;
        self.remove_dir(&place)
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&mut self, place: &Place) -> Call {
        self.require_removable(place)?;
        self.out.remove_dir(&place.path)
    }

    pub(super) fn path_unlink_file(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Call {
        let place = self.place(guest, fd, path.0, path.1)?;
        self.unlink(&place)
    }

    /// Takes a file's name away.
    pub(super) fn unlink(&mut self, place: &Place) -> Call {
        self.require_removable(place)?;
        self.out.unlink(&place.path)
    }

    pub(super) fn path_rename(&mut self, guest: &mut Guest<'_>, from: (u32, u32, u32), to: (u32, u32, u32)) -> Call {
        let from = self.place(guest, from.0, from.1, from.2)?;
        self.require_removable(&from)?;
        let to = self.place(guest, to.0, to.1, to.2)?;
        self.rename(&from, &to)
    }

    /// Moves what lies at a place to another.
    pub(super) fn rename(&mut self, from: &Place, to: &Place) -> Call {
        self.require_removable(from)?;
        self.require_parent(to)?;
        if to.path.is_empty() {
            return Err(Errno::Busy.into());
        }
        if to.only_dir && !matches!(self.node_at(from)?, Node::Dir) {
            return Err(Errno::Notdir.into());
        }
        let moved = self.out.rename(&from.path, &to.path)?;
        self.owed_fuel += moved * (MOVE_FUEL + from.path.len() as u64 + to.path.len() as u64);
        Ok(())
    }

    /// Answers that a path is no symbolic link, as none is.
    pub(super) fn path_readlink(&mut self, guest: &mut Guest<'_>, fd: u32, path: (u32, u32)) -> Call {
        let place = self.place(guest, fd, path.0, path.1)?;
        self.node_at(&place)?;
        Err(Errno::Inval.into())
    }

    /// Refuses to make a link of either kind: there are none, so that a name can only lead where it says.
    pub(super) fn path_make_link(&mut self, fd: u32) -> Call {
        self.descriptors.dir(fd)?;
        Err(Errno::Notsup.into())
    }
}

/// Checks that a directory may be opened in this way.
fn open_dir(place: &Place, how: OpenHow) -> Call<Handle> {
    if how.has(OPEN_CREATE) && how.has(OPEN_EXCLUSIVE) {
        return Err(Errno::Exist.into());
    }
    // Some programs ask for all rights when they open a directory as such.
    if (how.writes() && !how.has(OPEN_DIRECTORY)) || how.has(OPEN_TRUNCATE) {
        return Err(Errno::Isdir.into());
    }
    Ok(Handle::Dir { side: place.side, path: place.path.clone(), preopened: false, cursor: None })
}

/// Checks that an existing file may be opened in this way.
fn check_file(place: &Place, how: OpenHow) -> Call {
    if how.has(OPEN_CREATE) && how.has(OPEN_EXCLUSIVE) {
        return Err(Errno::Exist.into());
    }
    if place.only_dir || how.has(OPEN_DIRECTORY) {
        return Err(Errno::Notdir.into());
    }
    Ok(())
}

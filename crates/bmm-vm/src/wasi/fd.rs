//! System calls on descriptors.

use super::Wasi;
use super::descriptors::{Descriptor, FLAG_APPEND, FLAGS_ALL, Handle, rights};
use super::errno::{Call, Errno};
use super::guest::{Guest, Range};
use super::path::{Node, Side, inode};
use super::stat::{FileType, out_inode};
use super::tree;

/// Fuel for one entry of a directory's listing, besides the length of its directory's path.
pub(super) const ENTRY_FUEL: u64 = 64;
/// Bytes of an entry's head in a listing.
const DIRENT_BYTES: usize = 24;

/// Copies from a source at a position into the program's buffers; returns how many bytes.
fn fill(guest: &mut Guest<'_>, buffers: &[Range], source: &[u8], at: u64) -> u64 {
    let mut rest = usize::try_from(at).ok().and_then(|at| source.get(at..)).unwrap_or(&[]);
    let mut copied = 0;
    for buffer in buffers {
        let len = buffer.len().min(rest.len());
        let (now, later) = rest.split_at(len);
        guest.get_mut(*buffer)[..len].copy_from_slice(now);
        rest = later;
        copied += len as u64;
    }
    copied
}

/// Writes a count of bytes; a call moves at most 64 MiB.
fn put_count(guest: &mut Guest<'_>, at: u32, count: u64) -> Call {
    guest.put_u32(at, u32::try_from(count).map_err(|_| Errno::Inval)?)
}

impl Wasi {
    pub(super) fn fd_close(&mut self, fd: u32) -> Call {
        if let Handle::OutFile { id, .. } = self.descriptors.take(fd)?.handle {
            self.out.close(id);
        }
        Ok(())
    }

    pub(super) fn fd_renumber(&mut self, from: u32, to: u32) -> Call {
        self.descriptors.get(to)?;
        self.descriptors.get(from)?;
        if from != to {
            self.fd_close(to)?;
            let moved = self.descriptors.take(from)?;
            self.descriptors.put(to, moved);
        }
        Ok(())
    }

    /// Serves the calls that have nothing to do here, on descriptors that exist: advise, sync, datasync, times.
    pub(super) fn fd_noop(&mut self, fd: u32) -> Call {
        self.descriptors.get(fd).map(|_| ())
    }

    pub(super) fn fd_read(&mut self, guest: &mut Guest<'_>, fd: u32, iovs: u32, count: u32, out: u32) -> Call {
        guest.range(out, 4)?;
        let buffers = guest.buffers(iovs, count)?;
        let descriptor = self.descriptors.get_mut(fd)?;
        if !descriptor.read {
            return Err(Errno::Badf.into());
        }
        let (source, at) = match &mut descriptor.handle {
            Handle::Stdin { at } => (self.stdin.as_slice(), at),
            Handle::InFile { blob, at, .. } => (blob.as_slice(), at),
            Handle::OutFile { id, at } => (self.out.data(*id), at),
            Handle::Dir { .. } => return Err(Errno::Isdir.into()),
            Handle::Stdout | Handle::Stderr => return Err(Errno::Badf.into()),
        };
        let copied = fill(guest, &buffers, source, *at);
        *at += copied;
        self.owed_fuel += copied;
        put_count(guest, out, copied)
    }

    pub(super) fn fd_pread(&mut self, guest: &mut Guest<'_>, fd: u32, list: (u32, u32), at: u64, out: u32) -> Call {
        guest.range(out, 4)?;
        let buffers = guest.buffers(list.0, list.1)?;
        let descriptor = self.descriptors.get(fd)?;
        if !descriptor.read {
            return Err(Errno::Badf.into());
        }
        let source = match &descriptor.handle {
            Handle::InFile { blob, .. } => blob.as_slice(),
            Handle::OutFile { id, .. } => self.out.data(*id),
            Handle::Dir { .. } => return Err(Errno::Isdir.into()),
            Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr => return Err(Errno::Spipe.into()),
        };
        let copied = fill(guest, &buffers, source, at);
        self.owed_fuel += copied;
        put_count(guest, out, copied)
    }

    pub(super) fn fd_write(&mut self, guest: &mut Guest<'_>, fd: u32, iovs: u32, count: u32, out: u32) -> Call {
        guest.range(out, 4)?;
        let buffers = guest.buffers(iovs, count)?;
        let total = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        let descriptor = self.descriptors.get(fd)?;
        if !descriptor.write {
            return Err(Errno::Badf.into());
        }
        self.owed_fuel += total;
        match descriptor.handle {
            Handle::Stdout => {
                self.out.charge(total)?;
                for buffer in &buffers {
                    self.stdout.extend_from_slice(guest.get(*buffer));
                }
            }
            Handle::Stderr => {
                for buffer in &buffers {
                    self.push_stderr(guest.get(*buffer));
                }
            }
            Handle::OutFile { id, at } => {
                let append = descriptor.flags & FLAG_APPEND != 0;
                let start = if append { self.out.data(id).len() as u64 } else { at };
                let end = self.write_out(guest, id, start, &buffers)?;
                self.descriptors.get_mut(fd)?.handle = Handle::OutFile { id, at: end };
            }
            Handle::Dir { .. } => return Err(Errno::Isdir.into()),
            Handle::Stdin { .. } | Handle::InFile { .. } => return Err(Errno::Badf.into()),
        }
        put_count(guest, out, total)
    }

    pub(super) fn fd_pwrite(&mut self, guest: &mut Guest<'_>, fd: u32, list: (u32, u32), at: u64, out: u32) -> Call {
        guest.range(out, 4)?;
        let buffers = guest.buffers(list.0, list.1)?;
        let descriptor = self.descriptors.get(fd)?;
        if !descriptor.write {
            return Err(Errno::Badf.into());
        }
        let id = match descriptor.handle {
            Handle::OutFile { id, .. } => id,
            Handle::Dir { .. } => return Err(Errno::Isdir.into()),
            Handle::InFile { .. } => return Err(Errno::Badf.into()),
            Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr => return Err(Errno::Spipe.into()),
        };
        let end = self.write_out(guest, id, at, &buffers)?;
        put_count(guest, out, end - at)
    }

    /// Writes buffers into a file one behind the other; returns the position after the last.
    fn write_out(&mut self, guest: &Guest<'_>, id: usize, mut at: u64, buffers: &[Range]) -> Call<u64> {
        for buffer in buffers {
            let bytes = guest.get(*buffer);
            self.owed_fuel += self.out.write_at(id, at, bytes)?;
            at += bytes.len() as u64;
        }
        Ok(at)
    }

    pub(super) fn fd_seek(&mut self, guest: &mut Guest<'_>, fd: u32, by: i64, whence: u32, out: u32) -> Call {
        guest.range(out, 8)?;
        let (at, len) = match &mut self.descriptors.get_mut(fd)?.handle {
            Handle::InFile { blob, at, .. } => (at, blob.len() as u64),
            Handle::OutFile { id, at } => (at, self.out.data(*id).len() as u64),
            Handle::Dir { .. } => return Err(Errno::Isdir.into()),
            Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr => return Err(Errno::Spipe.into()),
        };
        let base = match whence {
            0 => 0,
            1 => *at,
            2 => len,
            _ => return Err(Errno::Inval.into()),
        };
        // Positions stay below 2^63, so that a program may hold them in a signed number.
        let target = base.checked_add_signed(by).filter(|target| i64::try_from(*target).is_ok()).ok_or(Errno::Inval)?;
        *at = target;
        guest.put_u64(out, target)
    }

    pub(super) fn fd_tell(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Call {
        self.fd_seek(guest, fd, 0, 1, out)
    }

    pub(super) fn fd_fdstat_get(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Call {
        let descriptor = self.descriptors.get(fd)?;
        let kind = match descriptor.handle {
            Handle::Dir { .. } => FileType::Directory,
            Handle::InFile { .. } | Handle::OutFile { .. } => FileType::Regular,
            Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr => FileType::Unknown,
        };
        let mut stat = [0; 24];
        stat[0] = kind as u8;
        stat[2..4].copy_from_slice(&descriptor.flags.to_le_bytes());
        stat[8..16].copy_from_slice(&descriptor.rights().to_le_bytes());
        stat[16..24].copy_from_slice(&rights::ALL.to_le_bytes());
        guest.write(out, &stat)
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Call {
        let flags = u16::try_from(flags).ok().filter(|flags| flags & !FLAGS_ALL == 0).ok_or(Errno::Inval)?;
        self.descriptors.get_mut(fd)?.flags = flags;
        Ok(())
    }

    pub(super) fn fd_fdstat_set_rights(&mut self, fd: u32, base: u64) -> Call {
        let descriptor = self.descriptors.get_mut(fd)?;
        if base & !descriptor.rights() != 0 {
            return Err(Errno::Notcapable.into());
        }
        descriptor.read &= base & rights::READING != 0;
        descriptor.write &= base & rights::WRITING != 0;
        Ok(())
    }

    /// Returns the file of `/out` behind a descriptor that may write.
    pub(super) fn writable(&self, fd: u32) -> Call<usize> {
        match self.descriptors.get(fd)? {
            Descriptor { handle: Handle::OutFile { id, .. }, write: true, .. } => Ok(*id),
            Descriptor { handle: Handle::Dir { .. }, .. } => Err(Errno::Isdir.into()),
            Descriptor { handle: Handle::InFile { .. } | Handle::OutFile { .. }, .. } => Err(Errno::Badf.into()),
            _ => Err(Errno::Inval.into()),
        }
    }

    pub(super) fn fd_filestat_set_size(&mut self, fd: u32, len: u64) -> Call {
        let id = self.writable(fd)?;
        self.owed_fuel += self.out.set_len(id, len)?;
        Ok(())
    }

    pub(super) fn fd_allocate(&mut self, fd: u32, at: u64, len: u64) -> Call {
        let id = self.writable(fd)?;
        let end = at.checked_add(len).ok_or(Errno::Inval)?;
        if end > self.out.data(id).len() as u64 {
            self.owed_fuel += self.out.set_len(id, end)?;
        }
        Ok(())
    }

    /// Finds the name of a directory that is open at the start.
    fn preopened(&self, fd: u32) -> Call<&'static str> {
        match self.descriptors.get(fd)?.handle {
            Handle::Dir { side, preopened: true, .. } => Ok(side.root()),
            _ => Err(Errno::Badf.into()),
        }
    }

    pub(super) fn fd_prestat_get(&mut self, guest: &mut Guest<'_>, fd: u32, out: u32) -> Call {
        let name = self.preopened(fd)?;
        let mut stat = [0; 8];
        stat[4..].copy_from_slice(&u32::try_from(name.len()).map_err(|_| Errno::Inval)?.to_le_bytes());
        guest.write(out, &stat)
    }

    pub(super) fn fd_prestat_dir_name(&mut self, guest: &mut Guest<'_>, fd: u32, at: u32, len: u32) -> Call {
        let name = self.preopened(fd)?;
        if (len as usize) < name.len() {
            return Err(Errno::Nametoolong.into());
        }
        guest.write(at, name.as_bytes())
    }

    /// Lists a directory: `.`, `..`, then its children; an entry's cookie is the number of the entry after it.
    pub(super) fn fd_readdir(
        &mut self,
        guest: &mut Guest<'_>,
        fd: u32,
        list: (u32, u32),
        cookie: u64,
        out: u32,
    ) -> Call {
        guest.range(out, 4)?;
        let buffer = guest.range(list.0, list.1)?;
        // No listing gives such a cookie, and counting on from it must not overflow.
        if i64::try_from(cookie).is_err() {
            return Err(Errno::Inval.into());
        }
        let (side, dir) = self.descriptors.dir(fd)?;
        let (prefix, dir) = (tree::prefix(dir), dir.to_owned());
        // Finding an entry compares paths that begin with the directory's.
        let entry_fuel = ENTRY_FUEL + prefix.len() as u64;
        let mut listing = Listing { buffer: guest.get_mut(buffer), used: 0 };
        let mut number = cookie;
        while number < 2 && !listing.is_full() {
            let name = if number == 0 { "." } else { ".." };
            listing.put(number + 1, inode(side, &dir), FileType::Directory, name);
            number += 1;
        }
        let mut from = match &self.descriptors.get(fd)?.handle {
            Handle::Dir { cursor: Some((known, from)), .. } if *known == number => from.clone(),
            _ => {
                let (from, skipped) = self.skip(side, &prefix, number.saturating_sub(2));
                self.owed_fuel += skipped * entry_fuel;
                from
            }
        };
        let mut steps = 0;
        while !listing.is_full() {
            let Some((name, kind, inode, next)) = self.child(side, &prefix, &from) else { break };
            steps += 1;
            if !listing.put(number + 1, inode, kind, &name) {
                break;
            }
            number += 1;
            from = next;
        }
        let used = listing.used;
        self.owed_fuel += (steps + 1) * entry_fuel;
        if let Handle::Dir { cursor, .. } = &mut self.descriptors.get_mut(fd)?.handle {
            *cursor = Some((number, from));
        }
        put_count(guest, out, used as u64)
    }

    /// Passes over children; returns where the next one is found and how many were passed.
    fn skip(&self, side: Side, prefix: &str, count: u64) -> (String, u64) {
        let mut from = prefix.to_owned();
        for passed in 0..count {
            let Some((_, _, _, next)) = self.child(side, prefix, &from) else { return (from, passed) };
            from = next;
        }
        (from, count)
    }

    /// Returns the next child of a directory: name, kind, inode, and where the one after it is found.
    pub(super) fn child(&self, side: Side, prefix: &str, from: &str) -> Option<(String, FileType, u64, String)> {
        let (name, next) = match side {
            Side::In | Side::Root => {
                tree::next_child(self.files(side), prefix, from, true).map(|c| (c.name.to_owned(), c.next))
            }
            Side::Out => tree::next_child(self.out.entries(), prefix, from, false).map(|c| (c.name.to_owned(), c.next)),
        }?;
        let path = format!("{prefix}{name}");
        let (kind, inode) = match self.node(side, &path)? {
            Node::Dir => (FileType::Directory, inode(side, &path)),
            Node::InFile(_) => (FileType::Regular, inode(side, &path)),
            Node::OutFile(id) => (FileType::Regular, out_inode(id)),
        };
        Some((name, kind, inode, next))
    }
}

/// Writes directory entries into a buffer until it is full; the last one may be cut.
struct Listing<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl Listing<'_> {
    fn is_full(&self) -> bool {
        self.used == self.buffer.len()
    }

    /// Writes an entry; tells whether all of it found room.
    fn put(&mut self, cookie: u64, inode: u64, kind: FileType, name: &str) -> bool {
        let mut head = [0; DIRENT_BYTES];
        head[..8].copy_from_slice(&cookie.to_le_bytes());
        head[8..16].copy_from_slice(&inode.to_le_bytes());
        head[16..20].copy_from_slice(&u32::try_from(name.len()).unwrap_or(0).to_le_bytes());
        head[20] = kind as u8;
        self.push(&head) & self.push(name.as_bytes())
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = &mut self.buffer[self.used..];
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.used += len;
        len == bytes.len()
    }
}

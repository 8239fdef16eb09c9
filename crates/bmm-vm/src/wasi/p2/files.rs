//! `wasi:filesystem`: descriptors of `/in`, `/out` and the files at absolute paths.

use wasmtime::component::{Linker, Resource, ResourceType};

use super::held::{Sink, Source, Thing};
use super::io::{bytes_at, drop_held};
use super::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, InputStream, IoError, MetadataHash, NewTimestamp, OpenFlags, OutputStream, PathFlags,
};
use super::{Instance, Task, call, interface, sure};
use crate::state::TaskState;
use crate::wasi::Wasi;
use crate::wasi::descriptors::{Descriptor as Open, Handle, rights};
use crate::wasi::errno::{Call, Errno};
use crate::wasi::fd::ENTRY_FUEL;
use crate::wasi::path::Side;
use crate::wasi::path_calls::OpenHow;
use crate::wasi::stat::Stat;
use crate::wasi::tree;

type Fd = Resource<Descriptor>;

/// Runs the body of a function that can fail.
fn file<R>(task: Task<'_>, body: impl FnOnce(&mut Wasi) -> Call<R>) -> wasmtime::Result<(Result<R, ErrorCode>,)> {
    Ok((call(task, body)?.map_err(ErrorCode::from),))
}

/// Defines the package.
pub(super) fn link(linker: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    let mut l = interface(linker, "wasi:filesystem/preopens")?;
    l.func_wrap("get-directories", |t: Task<'_>, (): ()| sure(t, Wasi::directories))?;
    let mut l = interface(linker, "wasi:filesystem/types")?;
    l.resource("descriptor", ResourceType::host::<Descriptor>(), |t: Task<'_>, fd| {
        sure(t, |w| w.fd_close(fd)).map(|_| ())
    })?;
    l.resource("directory-entry-stream", ResourceType::host::<DirectoryEntryStream>(), drop_held)?;
    l.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |t: Task<'_>, (it,): (Resource<DirectoryEntryStream>,)| file(t, |w| w.next_entry(it.rep())),
    )?;
    l.func_wrap("filesystem-error-code", |t: Task<'_>, (_,): (Resource<IoError>,)| sure(t, |_| Ok(None::<ErrorCode>)))?;
    link_streams(&mut l)?;
    link_descriptor(&mut l)?;
    link_state(&mut l)?;
    link_paths(&mut l)
}

/// Names a method of descriptors.
fn method(name: &str) -> String {
    format!("[method]descriptor.{name}")
}

fn link_streams(l: &mut Instance<'_>) -> wasmtime::Result<()> {
    l.func_wrap(&method("read-via-stream"), |t: Task<'_>, (fd, at): (Fd, u64)| {
        file(t, |w| w.source(fd.rep(), at).map(Resource::<InputStream>::new_own))
    })?;
    l.func_wrap(&method("write-via-stream"), |t: Task<'_>, (fd, at): (Fd, u64)| {
        file(t, |w| w.sink(fd.rep(), Some(at)).map(Resource::<OutputStream>::new_own))
    })?;
    l.func_wrap(&method("append-via-stream"), |t: Task<'_>, (fd,): (Fd,)| {
        file(t, |w| w.sink(fd.rep(), None).map(Resource::<OutputStream>::new_own))
    })?;
    l.func_wrap(&method("read-directory"), |t: Task<'_>, (fd,): (Fd,)| {
        file(t, |w| w.listing(fd.rep()).map(Resource::<DirectoryEntryStream>::new_own))
    })
}

fn link_descriptor(l: &mut Instance<'_>) -> wasmtime::Result<()> {
    l.func_wrap(&method("read"), |t: Task<'_>, (fd, len, at): (Fd, u64, u64)| {
        file(t, |w| w.read_file(fd.rep(), len, at))
    })?;
    l.func_wrap(&method("write"), |t: Task<'_>, (fd, bytes, at): (Fd, Vec<u8>, u64)| {
        file(t, |w| w.write_file(fd.rep(), &bytes, at))
    })?;
    l.func_wrap(&method("set-size"), |t: Task<'_>, (fd, size): (Fd, u64)| {
        file(t, |w| w.fd_filestat_set_size(fd.rep(), size))
    })?;
    l.func_wrap(&method("advise"), |t: Task<'_>, (fd, _, _, _): (Fd, u64, u64, Advice)| {
        file(t, |w| w.fd_noop(fd.rep()))
    })?;
    for name in ["sync", "sync-data"] {
        l.func_wrap(&method(name), |t: Task<'_>, (fd,): (Fd,)| file(t, |w| w.fd_noop(fd.rep())))?;
    }
    Ok(())
}

fn link_state(l: &mut Instance<'_>) -> wasmtime::Result<()> {
    l.func_wrap(&method("get-flags"), |t: Task<'_>, (fd,): (Fd,)| file(t, |w| w.flags(fd.rep())))?;
    l.func_wrap(&method("get-type"), |t: Task<'_>, (fd,): (Fd,)| {
        file(t, |w| Ok(DescriptorType::from(w.stat(fd.rep())?.kind)))
    })?;
    l.func_wrap(&method("stat"), |t: Task<'_>, (fd,): (Fd,)| file(t, |w| w.stat(fd.rep()).map(DescriptorStat::from)))?;
    l.func_wrap(&method("stat-at"), |t: Task<'_>, (fd, _, path): (Fd, PathFlags, String)| {
        file(t, |w| w.stat_path(fd.rep(), &path).map(DescriptorStat::from))
    })?;
    l.func_wrap(&method("metadata-hash"), |t: Task<'_>, (fd,): (Fd,)| file(t, |w| w.stat(fd.rep()).map(hash)))?;
    l.func_wrap(&method("metadata-hash-at"), |t: Task<'_>, (fd, _, path): (Fd, PathFlags, String)| {
        file(t, |w| w.stat_path(fd.rep(), &path).map(hash))
    })?;
    l.func_wrap(&method("is-same-object"), |t: Task<'_>, (one, other): (Fd, Fd)| {
        sure(t, |w| {
            let (one, other) = (w.stat(one.rep())?, w.stat(other.rep())?);
            Ok((one.kind, one.inode) == (other.kind, other.inode))
        })
    })?;
    l.func_wrap(&method("set-times"), |t: Task<'_>, (fd, _, _): (Fd, NewTimestamp, NewTimestamp)| {
        file(t, |w| w.fd_noop(fd.rep()))
    })?;
    l.func_wrap(
        &method("set-times-at"),
        |t: Task<'_>, (fd, _, path, _, _): (Fd, PathFlags, String, NewTimestamp, NewTimestamp)| {
            file(t, |w| {
                let place = w.place_of(fd.rep(), path.as_bytes())?;
                w.set_times(&place)
            })
        },
    )
}

/// Tells two things apart as inodes do.
fn hash(stat: Stat) -> MetadataHash {
    MetadataHash { lower: stat.inode, upper: stat.kind as u64 }
}

fn link_paths(l: &mut Instance<'_>) -> wasmtime::Result<()> {
    l.func_wrap(
        &method("open-at"),
        |t: Task<'_>, (fd, _, path, open, flags): (Fd, PathFlags, String, OpenFlags, DescriptorFlags)| {
            file(t, |w| w.open_path(fd.rep(), &path, open, flags).map(Fd::new_own))
        },
    )?;
    l.func_wrap(&method("create-directory-at"), |t: Task<'_>, (fd, path): (Fd, String)| {
        file(t, |w| {
            let place = w.place_of(fd.rep(), path.as_bytes())?;
            w.make_dir(place)
        })
    })?;
    l.func_wrap(&method("remove-directory-at"), |t: Task<'_>, (fd, path): (Fd, String)| {
        file(t, |w| {
            let place = w.place_of(fd.rep(), path.as_bytes())?;
            w.remove_dir(&place)
        })
    })?;
    l.func_wrap(&method("unlink-file-at"), |t: Task<'_>, (fd, path): (Fd, String)| {
        file(t, |w| {
            let place = w.place_of(fd.rep(), path.as_bytes())?;
            w.unlink(&place)
        })
    })?;
    l.func_wrap(&method("rename-at"), |t: Task<'_>, (fd, path, to_fd, to): (Fd, String, Fd, String)| {
        file(t, |w| {
            let from = w.place_of(fd.rep(), path.as_bytes())?;
            let to = w.place_of(to_fd.rep(), to.as_bytes())?;
            w.rename(&from, &to)
        })
    })?;
    l.func_wrap(&method("readlink-at"), |t: Task<'_>, (fd, path): (Fd, String)| {
        // Nothing is a symbolic link.
        file(t, |w| w.stat_path(fd.rep(), &path).and_then(|_| Err::<String, _>(Errno::Inval.into())))
    })?;
    l.func_wrap(&method("link-at"), |t: Task<'_>, (_, _, path, fd, to): (Fd, PathFlags, String, Fd, String)| {
        file(t, |w| w.refuse_link(fd.rep(), &path, &to))
    })?;
    l.func_wrap(&method("symlink-at"), |t: Task<'_>, (fd, path, to): (Fd, String, String)| {
        file(t, |w| w.refuse_link(fd.rep(), &path, &to))
    })
}

impl Wasi {
    /// Opens the directories that a component begins with.
    fn directories(&mut self) -> Call<Vec<(Fd, String)>> {
        let sides = [Some(Side::In), Some(Side::Out), (!self.inputs.root().is_empty()).then_some(Side::Root)];
        let mut list = Vec::new();
        for side in sides.into_iter().flatten() {
            let fd = self.descriptors.next()?;
            let handle = Handle::Dir { side, path: String::new(), preopened: true, cursor: None };
            self.descriptors.put(fd, Open { handle, flags: 0, read: true, write: true });
            list.push((Fd::new_own(fd), side.root().to_owned()));
        }
        Ok(list)
    }

    fn open_path(&mut self, fd: u32, path: &str, open: OpenFlags, flags: DescriptorFlags) -> Call<u32> {
        let place = self.place_of(fd, path.as_bytes())?;
        let mut oflags = 0;
        for (number, flag) in
            [OpenFlags::CREATE, OpenFlags::DIRECTORY, OpenFlags::EXCLUSIVE, OpenFlags::TRUNCATE].into_iter().enumerate()
        {
            // Preview 1 numbers them in this order.
            oflags |= u32::from(open.contains(flag)) << number;
        }
        let mut asked = 0;
        if flags.contains(DescriptorFlags::READ) {
            asked |= rights::READING;
        }
        if flags.contains(DescriptorFlags::WRITE) {
            asked |= rights::WRITING;
        }
        self.open(place, OpenHow { oflags, rights: asked, fdflags: 0 }, 0)
    }

    fn stat_path(&mut self, fd: u32, path: &str) -> Call<Stat> {
        let place = self.place_of(fd, path.as_bytes())?;
        self.stat_at(&place)
    }

    fn flags(&self, fd: u32) -> Call<DescriptorFlags> {
        let open = self.descriptors.get(fd)?;
        let mut flags = DescriptorFlags::default();
        if open.read {
            flags |= DescriptorFlags::READ;
        }
        match open.handle {
            Handle::Dir { side: Side::Out, .. } => flags |= DescriptorFlags::MUTATE_DIRECTORY,
            Handle::OutFile { .. } if open.write => flags |= DescriptorFlags::WRITE,
            _ => {}
        }
        Ok(flags)
    }

    /// Fails to make a link: there are none, so that a name can only lead where it says.
    fn refuse_link(&mut self, fd: u32, path: &str, to: &str) -> Call {
        self.owed_fuel += path.len() as u64 + to.len() as u64;
        self.path_make_link(fd)
    }

    fn source(&mut self, fd: u32, at: u64) -> Call<u32> {
        let open = self.descriptors.get(fd)?;
        let source = match &open.handle {
            Handle::Dir { .. } => return Err(Errno::Isdir.into()),
            _ if !open.read => return Err(Errno::Badf.into()),
            Handle::InFile { blob, .. } => Source::InFile { blob: blob.clone(), at },
            Handle::OutFile { id, .. } => Source::OutFile { id: *id, at },
            Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr => return Err(Errno::Badf.into()),
        };
        self.hold(Thing::Source(source))
    }

    fn sink(&mut self, fd: u32, at: Option<u64>) -> Call<u32> {
        let id = self.writable(fd)?;
        self.hold(Thing::Sink(Sink::OutFile { id, at }))
    }

    /// Reads at a position; tells as well whether the end was reached.
    fn read_file(&mut self, fd: u32, len: u64, at: u64) -> Call<(Vec<u8>, bool)> {
        let open = self.descriptors.get(fd)?;
        let source = match &open.handle {
            Handle::Dir { .. } => return Err(Errno::Isdir.into()),
            _ if !open.read => return Err(Errno::Badf.into()),
            Handle::InFile { blob, .. } => blob.as_slice(),
            Handle::OutFile { id, .. } => self.out.data(*id),
            Handle::Stdin { .. } | Handle::Stdout | Handle::Stderr => return Err(Errno::Badf.into()),
        };
        let bytes = bytes_at(source, at, len).to_vec();
        let is_end = at.saturating_add(bytes.len() as u64) >= source.len() as u64;
        self.owed_fuel += bytes.len() as u64;
        Ok((bytes, is_end))
    }

    fn write_file(&mut self, fd: u32, bytes: &[u8], at: u64) -> Call<u64> {
        let len = bytes.len() as u64;
        self.owed_fuel += len;
        let id = self.writable(fd)?;
        // What was copied is charged already; filling a gap is not.
        self.owed_fuel += self.out.write_at(id, at, bytes)?.saturating_sub(len);
        Ok(len)
    }

    fn listing(&mut self, fd: u32) -> Call<u32> {
        let (side, dir) = self.descriptors.dir(fd)?;
        let prefix = tree::prefix(dir);
        self.hold(Thing::Listing { side, from: prefix.clone(), prefix })
    }

    fn next_entry(&mut self, number: u32) -> Call<Option<DirectoryEntry>> {
        let Thing::Listing { side, prefix, from } = self.held.get(number)? else { return Err(Errno::Badf.into()) };
        // Finding an entry compares paths that begin with the directory's.
        let fuel = ENTRY_FUEL + prefix.len() as u64;
        let child = self.child(*side, prefix, from);
        self.owed_fuel += fuel;
        let Some((name, kind, _, next)) = child else { return Ok(None) };
        if let Thing::Listing { from, .. } = self.held.get_mut(number)? {
            *from = next;
        }
        Ok(Some(DirectoryEntry { kind: kind.into(), name }))
    }
}

//! The way of every system call from the program to its body: memory found, call charged, errors turned into numbers.

use std::time::Instant;

use wasmtime::{AsContextMut, Caller, Engine, Extern, ExternType, Linker, Module, Store, StoreContextMut, Trap, Val};

use super::Wasi;
use super::errno::{Call, Errno, Fault};
use super::guest::Guest;
use super::path_calls::OpenHow;
use crate::error::VmError;
use crate::state::{End, TaskState};
use crate::task::{StopFlag, TaskInput};

/// Name of the module that programs import from.
const MODULE: &str = "wasi_snapshot_preview1";
/// Fuel that every system call costs: about what its way through the host takes.
const CALL_FUEL: u64 = 100;

type Task<'a> = Caller<'a, TaskState>;
/// Is what a system call gives back to the engine: an error number, or the end of the program.
type Answer = wasmtime::Result<u32>;

/// Runs the body of a system call on the program's memory, then charges for it.
fn call(mut task: Task<'_>, body: impl FnOnce(&mut Wasi, &mut Guest<'_>) -> Call) -> Answer {
    if task.data().memory.is_none() {
        task.data_mut().memory = task.get_export("memory").and_then(Extern::into_memory);
    }
    let answer = match task.data().memory {
        Some(memory) => {
            let (bytes, state) = memory.data_and_store_mut(&mut task);
            body(&mut state.wasi, &mut Guest(bytes))
        }
        // Without a memory every address is outside it.
        None => body(&mut task.data_mut().wasi, &mut Guest(&mut [])),
    };
    charge(task.as_context_mut())?;
    match answer {
        Ok(()) => Ok(Errno::Success as u32),
        Err(Fault::Errno(errno)) => Ok(errno as u32),
        Err(Fault::End(end)) => Err(end.into()),
    }
}

/// Takes the fuel of the call just made, and looks at the clock if a slice is used up.
pub(super) fn charge(mut task: StoreContextMut<'_, TaskState>) -> wasmtime::Result<()> {
    let owed = CALL_FUEL.saturating_add(std::mem::take(&mut task.data_mut().wasi.owed_fuel));
    let left = task.get_fuel()?;
    task.set_fuel(left.saturating_sub(owed))?;
    if owed >= left {
        return Err(Trap::OutOfFuel.into());
    }
    match task.data_mut().watch.look_after_slice(left - owed) {
        Some(end) => Err(end.into()),
        None => Ok(()),
    }
}

/// Returns the linker with every function of WASI preview 1.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<TaskState>> {
    let mut linker = Linker::new(engine);
    link_process(&mut linker)?;
    link_descriptors(&mut linker)?;
    link_descriptor_state(&mut linker)?;
    link_paths(&mut linker)?;
    Ok(linker)
}

/// Gives a module the functions that it imports and nobody has: they trap when they are called.
pub(crate) fn trap_unknown(linker: &mut Linker<TaskState>, module: &Module) -> Result<(), VmError> {
    let own = linker.clone();
    let state = TaskState::new(&TaskInput::new(), &StopFlag::new(), 0, Instant::now());
    let mut store = Store::new(module.engine(), state);
    for import in module.imports() {
        if let (None, ExternType::Func(ty)) = (own.get_by_import(&mut store, &import), import.ty()) {
            // The same name may be imported twice, with one type or with two; the second type is refused later.
            linker.allow_shadowing(true);
            let trap = |_: Task<'_>, _: &[Val], _: &mut [Val]| Err(Trap::UnreachableCodeReached.into());
            let defined = linker.func_new(import.module(), import.name(), ty, trap);
            defined.map_err(|error| VmError::Internal(format!("{error:#}")))?;
        }
    }
    Ok(())
}

fn link_process(l: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "args_get", |t: Task<'_>, a: u32, b: u32| call(t, |w, g| w.args_get(g, a, b)))?;
    l.func_wrap(MODULE, "args_sizes_get", |t: Task<'_>, a: u32, b: u32| call(t, |w, g| w.args_sizes_get(g, a, b)))?;
    l.func_wrap(MODULE, "environ_get", |t: Task<'_>, a: u32, b: u32| call(t, |w, g| w.environ_get(g, a, b)))?;
    l.func_wrap(MODULE, "environ_sizes_get", |t: Task<'_>, a: u32, b: u32| {
        call(t, |w, g| w.environ_sizes_get(g, a, b))
    })?;
    l.func_wrap(MODULE, "clock_res_get", |t: Task<'_>, id: u32, out: u32| {
        call(t, |_, g| Wasi::clock_res_get(g, id, out))
    })?;
    l.func_wrap(MODULE, "clock_time_get", |t: Task<'_>, id: u32, _precision: u64, out: u32| {
        call(t, |w, g| w.clock_time_get(g, id, out))
    })?;
    l.func_wrap(MODULE, "random_get", |t: Task<'_>, at: u32, len: u32| call(t, |w, g| w.random_get(g, at, len)))?;
    l.func_wrap(MODULE, "sched_yield", |t: Task<'_>| call(t, |_, _| Ok(())))?;
    l.func_wrap(MODULE, "poll_oneoff", |t: Task<'_>, subs: u32, events: u32, n: u32, out: u32| {
        call(t, |w, g| w.poll_oneoff(g, subs, events, n, out))
    })?;
    l.func_wrap(MODULE, "proc_exit", |_: Task<'_>, code: u32| -> wasmtime::Result<()> { Err(End::Exit(code).into()) })?;
    l.func_wrap(MODULE, "proc_raise", |t: Task<'_>, _signal: u32| call(t, |_, _| Err(Errno::Notsup.into())))?;
    l.func_wrap(MODULE, "sock_accept", |t: Task<'_>, fd: u32, _: u32, _: u32| call(t, |w, _| w.socket(fd)))?;
    l.func_wrap(MODULE, "sock_recv", |t: Task<'_>, fd: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
        call(t, |w, _| w.socket(fd))
    })?;
    l.func_wrap(MODULE, "sock_send", |t: Task<'_>, fd: u32, _: u32, _: u32, _: u32, _: u32| {
        call(t, |w, _| w.socket(fd))
    })?;
    l.func_wrap(MODULE, "sock_shutdown", |t: Task<'_>, fd: u32, _: u32| call(t, |w, _| w.socket(fd)))?;
    Ok(())
}

fn link_descriptors(l: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "fd_read", |t: Task<'_>, fd: u32, iovs: u32, n: u32, out: u32| {
        call(t, |w, g| w.fd_read(g, fd, iovs, n, out))
    })?;
    l.func_wrap(MODULE, "fd_write", |t: Task<'_>, fd: u32, iovs: u32, n: u32, out: u32| {
        call(t, |w, g| w.fd_write(g, fd, iovs, n, out))
    })?;
    l.func_wrap(MODULE, "fd_pread", |t: Task<'_>, fd: u32, iovs: u32, n: u32, at: u64, out: u32| {
        call(t, |w, g| w.fd_pread(g, fd, (iovs, n), at, out))
    })?;
    l.func_wrap(MODULE, "fd_pwrite", |t: Task<'_>, fd: u32, iovs: u32, n: u32, at: u64, out: u32| {
        call(t, |w, g| w.fd_pwrite(g, fd, (iovs, n), at, out))
    })?;
    l.func_wrap(MODULE, "fd_seek", |t: Task<'_>, fd: u32, by: i64, whence: u32, out: u32| {
        call(t, |w, g| w.fd_seek(g, fd, by, whence, out))
    })?;
    l.func_wrap(MODULE, "fd_tell", |t: Task<'_>, fd: u32, out: u32| call(t, |w, g| w.fd_tell(g, fd, out)))?;
    l.func_wrap(MODULE, "fd_readdir", |t: Task<'_>, fd: u32, at: u32, len: u32, cookie: u64, out: u32| {
        call(t, |w, g| w.fd_readdir(g, fd, (at, len), cookie, out))
    })?;
    l.func_wrap(MODULE, "fd_close", |t: Task<'_>, fd: u32| call(t, |w, _| w.fd_close(fd)))?;
    l.func_wrap(MODULE, "fd_renumber", |t: Task<'_>, from: u32, to: u32| call(t, |w, _| w.fd_renumber(from, to)))?;
    Ok(())
}

fn link_descriptor_state(l: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    l.func_wrap(MODULE, "fd_advise", |t: Task<'_>, fd: u32, _: u64, _: u64, _: u32| call(t, |w, _| w.fd_noop(fd)))?;
    l.func_wrap(MODULE, "fd_sync", |t: Task<'_>, fd: u32| call(t, |w, _| w.fd_noop(fd)))?;
    l.func_wrap(MODULE, "fd_datasync", |t: Task<'_>, fd: u32| call(t, |w, _| w.fd_noop(fd)))?;
    l.func_wrap(MODULE, "fd_filestat_set_times", |t: Task<'_>, fd: u32, _: u64, _: u64, _: u32| {
        call(t, |w, _| w.fd_noop(fd))
    })?;
    l.func_wrap(MODULE, "fd_allocate", |t: Task<'_>, fd: u32, at: u64, len: u64| {
        call(t, |w, _| w.fd_allocate(fd, at, len))
    })?;
    l.func_wrap(MODULE, "fd_fdstat_get", |t: Task<'_>, fd: u32, out: u32| call(t, |w, g| w.fd_fdstat_get(g, fd, out)))?;
    l.func_wrap(MODULE, "fd_fdstat_set_flags", |t: Task<'_>, fd: u32, flags: u32| {
        call(t, |w, _| w.fd_fdstat_set_flags(fd, flags))
    })?;
    l.func_wrap(MODULE, "fd_fdstat_set_rights", |t: Task<'_>, fd: u32, base: u64, _inheriting: u64| {
        call(t, |w, _| w.fd_fdstat_set_rights(fd, base))
    })?;
    l.func_wrap(MODULE, "fd_filestat_get", |t: Task<'_>, fd: u32, out: u32| {
        call(t, |w, g| w.fd_filestat_get(g, fd, out))
    })?;
    l.func_wrap(MODULE, "fd_filestat_set_size", |t: Task<'_>, fd: u32, len: u64| {
        call(t, |w, _| w.fd_filestat_set_size(fd, len))
    })?;
    l.func_wrap(MODULE, "fd_prestat_get", |t: Task<'_>, fd: u32, out: u32| {
        call(t, |w, g| w.fd_prestat_get(g, fd, out))
    })?;
    l.func_wrap(MODULE, "fd_prestat_dir_name", |t: Task<'_>, fd: u32, at: u32, len: u32| {
        call(t, |w, g| w.fd_prestat_dir_name(g, fd, at, len))
    })?;
    Ok(())
}

fn link_paths(l: &mut Linker<TaskState>) -> wasmtime::Result<()> {
    l.func_wrap(
        MODULE,
        "path_open",
        |t: Task<'_>,
         fd: u32,
         _dirflags: u32,
         at: u32,
         len: u32,
         oflags: u32,
         rights: u64,
         _: u64,
         fdflags: u32,
         out: u32| { call(t, |w, g| w.path_open(g, fd, (at, len), OpenHow { oflags, rights, fdflags }, out)) },
    )?;
    l.func_wrap(MODULE, "path_filestat_get", |t: Task<'_>, fd: u32, _flags: u32, at: u32, len: u32, out: u32| {
        call(t, |w, g| w.path_filestat_get(g, fd, (at, len), out))
    })?;
    l.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |t: Task<'_>, fd: u32, _flags: u32, at: u32, len: u32, _: u64, _: u64, _: u32| {
            call(t, |w, g| w.path_filestat_set_times(g, fd, (at, len)))
        },
    )?;
    l.func_wrap(MODULE, "path_create_directory", |t: Task<'_>, fd: u32, at: u32, len: u32| {
        call(t, |w, g| w.path_create_directory(g, fd, (at, len)))
    })?;
    l.func_wrap(MODULE, "path_remove_directory", |t: Task<'_>, fd: u32, at: u32, len: u32| {
        call(t, |w, g| w.path_remove_directory(g, fd, (at, len)))
    })?;
    l.func_wrap(MODULE, "path_unlink_file", |t: Task<'_>, fd: u32, at: u32, len: u32| {
        call(t, |w, g| w.path_unlink_file(g, fd, (at, len)))
    })?;
    l.func_wrap(MODULE, "path_rename", |t: Task<'_>, fd: u32, at: u32, len: u32, to: u32, to_at: u32, to_len: u32| {
        call(t, |w, g| w.path_rename(g, (fd, at, len), (to, to_at, to_len)))
    })?;
    l.func_wrap(MODULE, "path_readlink", |t: Task<'_>, fd: u32, at: u32, len: u32, _: u32, _: u32, _: u32| {
        call(t, |w, g| w.path_readlink(g, fd, (at, len)))
    })?;
    l.func_wrap(MODULE, "path_symlink", |t: Task<'_>, _: u32, _: u32, fd: u32, _: u32, _: u32| {
        call(t, |w, _| w.path_make_link(fd))
    })?;
    l.func_wrap(MODULE, "path_link", |t: Task<'_>, _: u32, _: u32, _: u32, _: u32, fd: u32, _: u32, _: u32| {
        call(t, |w, _| w.path_make_link(fd))
    })?;
    Ok(())
}

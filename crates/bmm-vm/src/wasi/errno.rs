//! Error numbers of WASI preview 1, and what a system call may end with.

use crate::state::End;
use crate::task::LimitKind;

/// Numbers an error of a system call; the values are those of the witx file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Errno {
    /// No error.
    Success = 0,
    /// Bad file descriptor.
    Badf = 8,
    /// Device or resource busy.
    Busy = 10,
    /// File exists.
    Exist = 20,
    /// Bad address: a pointer outside the program's memory.
    Fault = 21,
    /// Illegal byte sequence: a path that is not UTF-8.
    Ilseq = 25,
    /// Invalid argument.
    Inval = 28,
    /// Is a directory.
    Isdir = 31,
    /// Too many open files.
    Mfile = 33,
    /// File name too long.
    Nametoolong = 37,
    /// No such file or directory.
    Noent = 44,
    /// Not a directory.
    Notdir = 54,
    /// Directory not empty.
    Notempty = 55,
    /// Not a socket.
    Notsock = 57,
    /// Not supported.
    Notsup = 58,
    /// Read-only file system.
    Rofs = 69,
    /// Invalid seek.
    Spipe = 70,
    /// Capabilities insufficient: a path that leaves its directory.
    Notcapable = 76,
}

/// Ends a system call early: with a number for the program, or with the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The program goes on with an error.
    Errno(Errno),
    /// The program is over.
    End(End),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<LimitKind> for Fault {
    fn from(kind: LimitKind) -> Self {
        Self::End(End::Limit(kind))
    }
}

/// Is what the body of a system call returns.
pub(super) type Call<T = ()> = Result<T, Fault>;

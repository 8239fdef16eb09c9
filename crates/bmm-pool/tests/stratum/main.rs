//! The Stratum server, through real sockets and with a real log.
#![allow(clippy::unwrap_used, reason = "tests")]

mod hostile;
mod protocol;
mod sessions;
mod support;
mod upstream;
mod v2;

//! Stratum V1 as bytes: lines, requests and answers. No sockets and no clock.

pub(crate) mod frames;
pub mod lines;
pub mod render;
pub mod request;
pub mod user;

pub use lines::{LineError, Lines, MAX_LINE_BYTES};
pub use render::Reject;
pub use request::{Id, Incoming, Param, Request, RequestError};
pub use user::{Password, User, UserError};

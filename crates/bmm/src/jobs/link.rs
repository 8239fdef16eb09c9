//! The way between a requester and the providers of one process: queues of encoded messages.

use alloy_primitives::Address;
use bmm_market::Micros;
use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Messages of all providers that may wait for the requester; a provider that meets a full queue waits.
pub const DRIVER_INBOX: usize = 4_096;

/// What reaches the requester's thread.
pub enum ToDriver {
    /// A provider said something.
    Message {
        /// The provider.
        from: Address,
        /// The encoded [`bmm_types::market::ToRequester`].
        bytes: Vec<u8>,
    },
}

/// Returns the time, microseconds since 1970: the wall clock's when the process first asked, and from then on a clock that nobody sets.
pub fn now_micros() -> Micros {
    static BEGAN: LazyLock<(Duration, Instant)> =
        LazyLock::new(|| (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), Instant::now()));
    let (wall, began) = *BEGAN;
    u64::try_from(wall.saturating_add(began.elapsed()).as_micros()).unwrap_or(u64::MAX)
}

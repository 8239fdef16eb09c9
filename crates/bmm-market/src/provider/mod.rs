//! The provider: takes leases, keeps its slots busy, and checks that it is paid.

mod api;

pub use api::{Chunk, Effect, Event, ProviderConfig};

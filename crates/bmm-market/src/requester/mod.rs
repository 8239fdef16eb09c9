//! The requester: hands tasks out, verifies what comes back, pays, and can be restarted at any moment.

mod api;
mod settle;

pub use api::{Effect, Ending, Event, JobFailure, Phase, RequesterConfig};
pub use settle::{Accepted, ProviderTotal, Settlement, merkle_proof, merkle_root, merkle_verify};

//! Other people's pools, as a miner sees them: Stratum V1 from the other side.
//!
//! [`protocol`] is what is said, without sockets; [`link`] keeps a connection to the best pool of a list.

pub mod job;
pub mod link;
pub mod protocol;
mod tls;
pub mod url;

pub use job::{UpstreamJob, UpstreamWork, wire_target};
pub use link::{LinkConfig, LinkError, LinkEvent, PoolAccount};
pub use protocol::{ProtocolError, UpstreamShare};
pub use url::PoolUrl;

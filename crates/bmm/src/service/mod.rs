//! Services: programs without an end, hosted by a provider, paid by the time, reached through the network of peers.

mod control;
mod forward;
mod host;
mod keep;
mod record;
mod session;
mod settle;
mod tend;

pub use control::{NewService, resume, stop};
pub use host::{HostParts, host_services};
pub use record::{ServiceFolder, ServiceRecord};

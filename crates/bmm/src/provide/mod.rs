//! Providing: this machine's cores for jobs of others, and what they have earned.

mod collect;
mod daemon;
mod hands;
mod ledger;
mod stakes;
mod status;
mod when;

pub use collect::{Collector, Told};
pub use daemon::{ProvideOptions, run};
pub use ledger::{Earning, Ledger, PayState};
pub use status::{Running, set_paused, status};
pub use when::{Hours, When};

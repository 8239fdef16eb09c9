//! The market between strangers' machines: offers that go round the network, sessions, and the exchange of content.

mod dial;
mod place;
mod serve;
mod talk;

pub(crate) use dial::reach;
pub use dial::{Dialer, Wanted};
pub use place::{Joining, Membership, Place, unix_millis};
pub use serve::{Advert, ContentDesk, take_sessions};
pub(crate) use talk::{introduced, talk};

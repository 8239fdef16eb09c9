//! Rented hash power: providers' miners work for a pool of the requester's, through this process's own Stratum proxy.
//!
//! The pool sees one miner, the requester; the providers see a Stratum server at the other end of an encrypted stream, and not whose
//! it is. Both sides count what the pool accepted.

mod control;
mod host;
mod keep;
mod record;
mod stay;

pub use control::{NewRental, resume, stop};
pub use host::{MinerParts, rent_out};
pub use record::{RentalFolder, RentalRecord};

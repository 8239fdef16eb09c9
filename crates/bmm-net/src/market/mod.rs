//! The market between strangers: sessions in which operators prove who they are, and the listings of a whole network.

mod book;
mod hello;
mod relay;
mod session;

pub use book::{Book, BookLimits, Refusal};
pub use hello::{HelloError, Role, Speaker, introduce};
pub use relay::{RelayRequest, answer_relay, relay};
pub use session::{Ended, Pulse, SendError, SessionReceiver, SessionSender, run_session};

/// Name, within a network, of the protocol between requester and provider.
pub const MARKET_PROTOCOL: &str = "market/1";
/// Name, within a network, of the protocol that asks a peer for the listings that it knows.
pub const LISTINGS_PROTOCOL: &str = "listings/1";
/// Name, within a network, of the protocol between the requester of a service and its provider.
pub const SERVICE_PROTOCOL: &str = "service/1";
/// Name, within a network, of the protocol between who rents a miner and its provider.
pub const RENTAL_PROTOCOL: &str = "rental/1";
/// Name, within a network, of the protocol of connections to a service's ports.
pub const RELAY_PROTOCOL: &str = "relay/1";

#[cfg(test)]
mod tests;

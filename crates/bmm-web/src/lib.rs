//! The pages: what a person sees of the network, of this machine and of the own money, made by the server in plain HTML.
//!
//! Layer: beside the API, above the chain and its index. It must not know of job folders, keystores or configuration files: the binary
//! adds the pages over those with the same frame, and every page, whoever made it, goes through the same gate.
//!
//! - [`Site`] is what all pages share; [`router`] holds the pages of the chain; [`guard`] puts any router behind the gate.
//! - [`gate`](guard) checks the host of each request, the origin and the token of each change, and adds the headers that keep foreign
//!   scripts out. A visitor sees what is public; the owner comes by a link with a key, which the node prints.
//! - [`Server`] serves connections within bounds: slow ones make room for new ones.

mod account;
mod api;
mod assets;
mod blocks;
pub mod chart;
mod decode;
mod error;
mod footstones;
pub mod format;
mod frame;
mod gate;
mod handle;
mod home;
mod live;
mod search;
mod serve;
mod session;
mod site;
mod texts;
mod tokens;
mod transaction;
pub mod view;

pub use error::PageError;
pub use frame::Frame;
pub use gate::{Owner, Visit, guard};
pub use live::stream;
pub use serve::Server;
pub use site::{Compute, Site, SiteConfig};
pub use texts::{Language, Texts};

use axum::{Router, routing::get};
use std::sync::Arc;

/// Returns the pages of the chain.
pub fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(home::page))
        .route("/blocks", get(blocks::list))
        .route("/block/{id}", get(blocks::block))
        .route("/tx/{hash}", get(transaction::page))
        .route("/address/{address}", get(account::page))
        .route("/account/{handle}", get(handle::page))
        .route("/tokens", get(tokens::list))
        .route("/token/{address}", get(tokens::token))
        .route("/footstones", get(footstones::page))
        .route("/epochs", get(footstones::epochs))
        .route("/search", get(search::search))
        .route("/live", get(live::chain))
        .route("/open", get(gate::open))
        .route("/leave", axum::routing::post(gate::leave))
        .route("/assets/{name}", get(assets::asset))
        .merge(api::routes())
        .fallback(error::missing)
        .with_state(site)
}

//! Jobs, splitting, offers, matching, leases, verification, vouchers, settlement: state machines, events in, effects out.
//!
//! Layer: above `bmm-types`, below the binary. It knows jobs and money; it must not know chains, networks, sandboxes,
//! clocks or threads. Time is passed in ([`Micros`]), and what is to be done comes out as effects.
//!
//! - [`job`] reads a job file (or builds a job from options) into a [`JobSpec`](bmm_types::market::JobSpec), and expands
//!   it lazily into tasks.
//! - [`requester::Requester`] hands the tasks out, verifies what comes back, and pays.
//! - [`provider::Provider`] takes leases, keeps its slots busy, and checks that it is paid.
//! - [`service`] and [`rental`] are paid by time and by accepted hashes.
//!
//! ```text
//! JobFile::parse → JobFile::build → Requester::new ─ Effect::Send(ToProvider) ─→ Provider
//!                                        ↑                                          │ Effect::Prepare, Run
//!                                        └────────── Event::Message(ToRequester) ───┘ Event::Ready, Done
//! ```

mod form;
pub mod job;
pub mod money;
pub mod provider;
pub mod rental;
pub mod requester;
pub mod service;
pub mod trust;
mod voucher;

pub use form::FormError;

/// Microseconds since the Unix epoch, as the wiring's clock shows them; they must not run backwards.
pub type Micros = u64;

/// Microseconds of a second.
pub const SECOND: Micros = 1_000_000;
/// Microseconds of a millisecond.
pub const MILLISECOND: Micros = 1_000;

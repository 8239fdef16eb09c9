//! Where work comes from and where blocks go, with the real nodes of the chains.

mod alone;
mod litecoind;
mod merged;
mod support;

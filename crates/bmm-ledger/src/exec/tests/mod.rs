//! Blocks, templates, header rules and simulated calls.

mod blocks;
mod calls;
mod headers;
mod parallel;
mod short;
mod transactions;

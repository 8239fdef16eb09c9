//! Blocks, templates, header rules and simulated calls.

mod blocks;
mod calls;
mod headers;
mod hooks;
mod parallel;
mod short;
mod transactions;

//! `bmm`: open infrastructure for sharing computing power, in one binary.
//!
//! The top layer: the command line, the configuration, and the wiring of the rooms below into tasks of one process. What a
//! block, a job or a sandboxed program *is* stands in the other crates. The library part exists for the binary, for its tests
//! and for the benchmarks.

pub mod cli;
pub mod config;
pub mod failure;
pub mod footstone;
pub mod jobs;
pub mod kept;
pub mod marketplace;
pub mod mine;
pub mod node;
pub mod output;
pub mod paths;
pub mod pool;
pub mod provide;
pub mod rental;
pub mod rpc;
pub mod service;
pub mod wallet;
pub mod web;

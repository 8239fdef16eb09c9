//! The command line as a user types it: the built binary, in data folders of its own.

#[path = "cli/chain.rs"]
mod chain;
#[path = "cli/cheat.rs"]
mod cheat;
#[path = "cli/containers.rs"]
mod containers;
#[path = "cli/crash.rs"]
mod crash;
#[path = "cli/crash_chain.rs"]
mod crash_chain;
#[path = "cli/db.rs"]
mod db;
#[path = "cli/docs.rs"]
mod docs;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/grown.rs"]
mod grown;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/hostile.rs"]
mod hostile;
#[path = "cli/input.rs"]
mod input;
#[path = "cli/job.rs"]
mod job;
#[path = "cli/merged.rs"]
mod merged;
#[path = "cli/net.rs"]
mod net;
#[path = "cli/network.rs"]
mod network;
#[path = "cli/pages/mod.rs"]
mod pages;
#[path = "cli/pool.rs"]
mod pool;
#[path = "cli/programs.rs"]
mod programs;
#[path = "cli/registry.rs"]
mod registry;
#[path = "cli/rent.rs"]
mod rent;
#[path = "cli/resource.rs"]
mod resource;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/service.rs"]
mod service;
#[path = "cli/settle.rs"]
mod settle;
#[path = "cli/snapshot.rs"]
mod snapshot;
#[path = "cli/verify.rs"]
mod verify;
#[path = "cli/wallet.rs"]
mod wallet;

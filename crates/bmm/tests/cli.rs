//! The command line as a user types it: the built binary, in data folders of its own.

#[path = "cli/help.rs"]
mod help;
#[path = "cli/run.rs"]
mod run;
#[path = "cli/wallet.rs"]
mod wallet;

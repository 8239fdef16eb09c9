//! Networks of several nodes within this process, over the loopback interface.

mod bets;
mod chain;
mod hostile;
mod network;
mod nodes;
mod world;

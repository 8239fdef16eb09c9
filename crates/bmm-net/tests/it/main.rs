//! Networks of several nodes within this process, over the loopback interface.

mod network;
mod nodes;

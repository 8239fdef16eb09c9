//! Many nodes in one process, under virtual time and a seed.
//!
//! A tool for developers. It drives the real state machines of the other rooms over encoded messages and plays everything around
//! them: clock, network, machines, people who cheat. The same seed gives the same run, on any machine, byte for byte.

pub mod consensus;
pub mod economy;
pub mod market;
mod random;
mod seeds;

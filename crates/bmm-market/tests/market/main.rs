//! The market as a whole: requester and providers speak in encoded messages, under virtual time and a seed.

mod audits;
mod cheats;
mod fixtures;
mod hostile;
mod needs;
mod simulation;
mod throughput;
mod world;

//! The chain as a whole: rules, reorganisations, pool, producer, restart.

mod journal;
mod pipeline;
mod pool;
mod producer;
mod reorg;
mod restart;
mod rules;
mod sync;
mod world;

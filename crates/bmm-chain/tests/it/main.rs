//! The chain as a whole: rules, reorganisations, pool, producer, restart.

mod deep;
mod finality;
mod footstones;
mod journal;
mod load;
mod pipeline;
mod pool;
mod producer;
mod reorg;
mod restart;
mod rules;
mod snapshot;
mod sync;
mod world;

//! Finds the host's hardware by itself and rates it by a short benchmark.

//! Seals beyond the first of each block.

#[derive(Default)]
pub(crate) struct Seals {}

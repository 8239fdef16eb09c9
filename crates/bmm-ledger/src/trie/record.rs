//! Recorded nodes, shared.

use std::sync::Arc;

/// A branch or an extension as it is recorded: two bytes with the mask of the children that are leaves, then the node's RLP.
///
/// It is shared, not copied: what an update makes is what the cache keeps and what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node(Arc<[u8]>);

impl Node {
    /// Takes over a record.
    pub(crate) fn new(record: &[u8]) -> Self {
        Self(record.into())
    }

    /// Returns the record's bytes.
    pub fn record(&self) -> &[u8] {
        &self.0
    }
}

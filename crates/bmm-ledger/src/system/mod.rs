//! The system contracts.

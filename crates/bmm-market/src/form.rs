//! What the files of services and rentals share: how they are wrong.

use bmm_types::market::WireError;
use std::path::PathBuf;

/// Says why a file describes nothing that can be had.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// It is no TOML of the right form.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A value is not usable.
    #[error("{key} is {value:?}; write {instead}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it was.
        value: String,
        /// What could stand there.
        instead: &'static str,
    },
    /// A bound is passed.
    #[error("{0}")]
    Bounds(#[from] WireError),
    /// The image cannot be read.
    #[error("the image {path} cannot be read: {reason}")]
    Image {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// Makes an error of a value.
pub(crate) fn wrong(key: &'static str, value: &str, instead: &'static str) -> FormError {
    FormError::Value { key, value: value.to_owned(), instead }
}

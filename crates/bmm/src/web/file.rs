//! The file that names the pages of a data folder, for `bmm dashboard`.

use crate::{
    failure::{Failure, IoContext, Outcome},
    paths::write_atomically,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a process that serves pages writes into its data folder, readable by its owner only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagesFile {
    /// The process.
    pub pid: u32,
    /// The owner's link.
    pub url: String,
}

impl PagesFile {
    /// Reads the file, if there is one.
    pub fn read(path: &Path) -> Outcome<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("read", path),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Failure::config(format!("{} cannot be understood: {error}", path.display()))
                .hint("stop the node of this data folder if one runs, delete the file, and start the node again")
        })
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Outcome {
        write_atomically(path, &serde_json::to_vec(self).expect("plain values"))
    }
}

//! Finds the files of a pattern such as `frames/**/*.png`.

use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSetBuilder};

/// Most files and folders that are looked at.
const MAX_ENTRIES: usize = 1_000_000;
/// Deepest folder below the pattern's fixed part.
const MAX_DEPTH: usize = 64;

/// Why a pattern finds nothing.
pub(super) enum GlobError {
    /// It is no pattern.
    Pattern(String),
    /// A folder cannot be read.
    Folder(PathBuf, io::Error),
}

/// Returns the files that match, in the order of their paths: the path relative to the pattern's fixed folders, and
/// the path to open.
pub(super) fn find(base: &Path, pattern: &str) -> Result<Vec<(String, PathBuf)>, GlobError> {
    let wild = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    let (folder, rest) = pattern.split_at(pattern[..wild].rfind('/').map_or(0, |at| at + 1));
    let wrong = |error: globset::Error| GlobError::Pattern(error.kind().to_string().chars().take(200).collect());
    let glob = GlobBuilder::new(rest).literal_separator(true).build().map_err(wrong)?;
    // A set says that a pattern is too complicated; a single matcher would panic.
    let matcher = GlobSetBuilder::new().add(glob).build().map_err(wrong)?;
    let root = base.join(folder);
    let mut found = Vec::new();
    let mut looked_at = 0usize;
    let mut folders = vec![(root, String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let fail = |error| GlobError::Folder(folder.clone(), error);
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            looked_at += 1;
            if looked_at > MAX_ENTRIES {
                return Err(GlobError::Pattern(format!("it would look at more than {MAX_ENTRIES} files")));
            }
            let relative = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_dir() && rest.contains('/') | rest.contains("**") && depth < MAX_DEPTH {
                folders.push((entry.path(), format!("{relative}/"), depth + 1));
            } else if !kind.is_dir() && matcher.is_match(&relative) && entry.path().is_file() {
                found.push((relative, entry.path()));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

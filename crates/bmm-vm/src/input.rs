//! The files that a task finds under `/in`: immutable, shared by every task of a job without copying.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Largest number of files in one [`InputSet`].
pub const MAX_INPUT_FILES: usize = 65_536;
/// Longest path of an input or output file, bytes.
pub(crate) const MAX_PATH_BYTES: usize = 4_096;
/// Longest name within a path, bytes.
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// Most names in a path.
pub(crate) const MAX_DEPTH: usize = 64;

/// Holds immutable bytes that are cheap to clone and to share between threads.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Blob(Arc<[u8]>);

impl Blob {
    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Arc<[u8]>> for Blob {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

/// Says why a path cannot name an input file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The path is empty, absolute, not normal, or too long.
    #[error("the input path {path:?} is not usable: {reason}; give a relative path such as \"scenes/a.txt\"")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The path is given twice, or once as a file and once as a directory.
    #[error("the input path {0:?} is given twice, or is both a file and a directory")]
    Conflict(String),
    /// There are more files than a set may hold.
    #[error("there are more than {MAX_INPUT_FILES} input files; pack them into an archive")]
    TooMany,
}

/// Holds the files of `/in` by their path relative to it, and those that a program wants at a fixed place by their absolute
/// path; a clone shares everything.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct InputSet(Arc<Files>);

/// Holds the files by where they are seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Files {
    /// By the path relative to `/in`.
    mounted: BTreeMap<String, Blob>,
    /// By the path relative to `/`.
    root: BTreeMap<String, Blob>,
}

impl fmt::Debug for InputSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tells a path's fault, or accepts a relative path of normal names.
fn check_path(path: &str) -> Result<(), InputError> {
    let reason = if path.is_empty() {
        "it is empty"
    } else if path.len() > MAX_PATH_BYTES {
        "it is longer than 4096 bytes"
    } else if path.contains('\0') || path.contains('\\') {
        "it contains a zero byte or a backslash"
    } else if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
        "it has an empty name, `.` or `..`"
    } else if path.split('/').any(|name| name.len() > MAX_NAME_BYTES) {
        "it has a name longer than 255 bytes"
    } else if path.split('/').count() > MAX_DEPTH {
        "it has more than 64 names"
    } else {
        return Ok(());
    };
    Err(InputError::Path { path: path.to_owned(), reason })
}

impl Files {
    fn len(&self) -> usize {
        self.mounted.len() + self.root.len()
    }
}

impl InputSet {
    /// Returns a set without files.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Starts a new set.
    pub fn builder() -> InputSetBuilder {
        InputSetBuilder(Files::default())
    }

    /// Returns the file at a path relative to `/in`.
    pub fn get(&self, path: &str) -> Option<&Blob> {
        self.0.mounted.get(path)
    }

    /// Returns the paths and files of `/in` in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Blob)> {
        self.0.mounted.iter().map(|(path, blob)| (path.as_str(), blob))
    }

    /// Starts a new set with everything that is in this one.
    pub fn extend(&self) -> InputSetBuilder {
        InputSetBuilder(Files::clone(&self.0))
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sorted files of `/in`.
    pub(crate) fn mounted(&self) -> &BTreeMap<String, Blob> {
        &self.0.mounted
    }

    /// Returns the sorted files with absolute paths, relative to `/`.
    pub(crate) fn root(&self) -> &BTreeMap<String, Blob> {
        &self.0.root
    }
}

/// Collects the files of an [`InputSet`], refusing paths that no program could reach.
#[derive(Debug)]
pub struct InputSetBuilder(Files);

impl InputSetBuilder {
    /// Adds one file at a path relative to `/in` (`a.txt`, `scenes/a.txt`), or at an absolute path that is neither `/in` nor
    /// `/out` (`/usr/local/lib/python315.zip`).
    ///
    /// # Errors
    /// A path that is not normal, too long, or taken; more than [`MAX_INPUT_FILES`] files.
    pub fn file(mut self, path: &str, content: impl Into<Blob>) -> Result<Self, InputError> {
        self.add(path, content)?;
        Ok(self)
    }

    /// Adds one file in place; see [`Self::file`].
    pub fn add(&mut self, path: &str, content: impl Into<Blob>) -> Result<(), InputError> {
        if self.0.len() >= MAX_INPUT_FILES {
            return Err(InputError::TooMany);
        }
        let (files, path) = match path.strip_prefix('/') {
            None => (&mut self.0.mounted, path),
            Some(rest) if matches!(rest.split('/').next(), Some("in" | "out")) => {
                let reason = "the task's own files are there";
                return Err(InputError::Path { path: path.to_owned(), reason });
            }
            Some(rest) => (&mut self.0.root, rest),
        };
        check_path(path)?;
        let below = format!("{path}/");
        let is_directory = files.range(below.clone()..).next().is_some_and(|(key, _)| key.starts_with(&below));
        let parent_is_file = path.match_indices('/').any(|(at, _)| files.contains_key(&path[..at]));
        if is_directory || parent_is_file || files.contains_key(path) {
            return Err(InputError::Conflict(path.to_owned()));
        }
        files.insert(path.to_owned(), content.into());
        Ok(())
    }

    /// Finishes the set.
    pub fn build(self) -> InputSet {
        InputSet(Arc::new(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_no_program_could_reach_are_refused() {
        for path in [
            "",
            "/",
            "//a",
            "/in",
            "/in/a",
            "/out/a",
            "/usr/../a",
            "a//b",
            "../a",
            "a/./b",
            "a/",
            "a\0b",
            "a\\b",
            &"x".repeat(256),
            &"x/".repeat(3000),
            &format!("{}x", "x/".repeat(64)),
        ] {
            assert!(InputSet::builder().file(path, vec![]).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_path_is_a_file_or_a_directory() {
        let with_file = || InputSet::builder().file("a/b", vec![1]).unwrap();
        assert_eq!(with_file().file("a/b", vec![]).unwrap_err(), InputError::Conflict("a/b".into()));
        assert!(with_file().file("a", vec![]).is_err());
        assert!(with_file().file("a/b/c", vec![]).is_err());
        assert_eq!(with_file().file("a/b.c", vec![]).unwrap().build().len(), 2);
    }
}

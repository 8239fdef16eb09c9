//! The folder `/out` where it is no file system of its own: its size is looked at while a program writes, and at the end.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::task::{LimitKind, Limits};

/// Returns the limit that what lies under `out` is over. A folder that cannot be read counts as too much: nobody could tell
/// what is in it.
pub(super) fn over(out: &Path, limits: &Limits) -> Option<LimitKind> {
    let (mut folders, mut bytes, mut entries) = (vec![out.to_owned()], 0_u64, 0_u32);
    while let Some(folder) = folders.pop() {
        let found = match fs::read_dir(&folder) {
            Ok(found) => found,
            // The program may have removed it meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(_) => return Some(LimitKind::Output),
        };
        for entry in found.flatten() {
            entries += 1;
            let Ok(found) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
            if entries > limits.files {
                return Some(LimitKind::Files);
            }
            if bytes > limits.output_bytes.saturating_add(u64::from(entries) * 4_096) {
                return Some(LimitKind::Output);
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    None
}

/// Makes all under `folder` readable and removable for us, once nothing runs there any more.
pub(super) fn open_up(folder: &Path) {
    // What is not ours stays as it is, and reading it says so.
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => open_up(&entry.path()),
            Ok(kind) if kind.is_file() => drop(fs::set_permissions(entry.path(), Permissions::from_mode(0o600))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_named() {
        let out = tempfile::tempdir().expect("a folder");
        let limits = Limits { output_bytes: 20_000, files: 3, ..Limits::default() };
        fs::create_dir(out.path().join("a")).expect("a folder");
        fs::write(out.path().join("a/b"), [1; 10_000]).expect("written");
        assert_eq!(over(out.path(), &limits), None);
        fs::write(out.path().join("a/c"), vec![1; 40_000]).expect("written");
        assert_eq!(over(out.path(), &limits), Some(LimitKind::Output));
        for name in ["d", "e"] {
            fs::write(out.path().join(name), []).expect("written");
        }
        assert!(over(out.path(), &limits).is_some());
        fs::remove_file(out.path().join("a/c")).expect("removed");
        assert_eq!(over(out.path(), &limits), Some(LimitKind::Files));
        fs::set_permissions(out.path().join("a"), Permissions::from_mode(0o000)).expect("set");
        open_up(out.path());
        assert_eq!(fs::read(out.path().join("a/b")).expect("it is readable").len(), 10_000);
    }
}

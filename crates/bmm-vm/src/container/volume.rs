//! Copies the files of a volume into a tar archive and back; both the files and the archive are strangers'.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use super::{ContainerError, host, layer};

/// Names under a volume that a snapshot holds at most.
const MAX_ENTRIES: usize = 65_536;

fn bad(text: &str) -> ContainerError {
    ContainerError::Image(text.to_owned())
}

/// Packs the folders, files and links under `root`, in the order of their names; the sum of their lengths is at most `limit`.
pub(super) fn save(root: &Path, limit: u64) -> Result<Vec<u8>, ContainerError> {
    let (mut archive, mut left) = (tar::Builder::new(Vec::new()), limit);
    let mut waiting = vec![root.to_owned()];
    let mut entries = 0_usize;
    while let Some(path) = waiting.pop() {
        entries += 1;
        if entries > MAX_ENTRIES {
            return Err(bad("the volume has too many files"));
        }
        let found = fs::symlink_metadata(&path).map_err(host("look at", &path))?;
        let inside = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&found);
        header.set_uid(0);
        header.set_gid(0);
        let added = if found.is_dir() {
            waiting.extend(children(&path)?);
            if inside.as_os_str().is_empty() {
                continue;
            }
            header.set_size(0);
            archive.append_data(&mut header, &inside, std::io::empty())
        } else if found.is_file() {
            // A file with holes may be longer than the volume.
            left =
                left.checked_sub(found.len()).ok_or_else(|| bad("the volume's files are longer than it is large"))?;
            let file = File::open(&path).map_err(host("open", &path))?;
            archive.append_data(&mut header, &inside, file.take(found.len()))
        } else if found.is_symlink() {
            let target = fs::read_link(&path).map_err(host("read the link", &path))?;
            header.set_size(0);
            archive.append_link(&mut header, &inside, target)
        } else {
            // Sockets and pipes are nothing without their processes.
            continue;
        };
        added.map_err(host("copy", &path))?;
    }
    archive.into_inner().map_err(host("copy", root))
}

/// Returns what is in a folder, the last name first.
fn children(folder: &Path) -> Result<Vec<PathBuf>, ContainerError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(host("read the folder", folder))? {
        names.push(entry.map_err(host("read the folder", folder))?.path());
        if names.len() > MAX_ENTRIES {
            return Err(bad("the volume has too many files"));
        }
    }
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}

/// Unpacks what [`save`] packed, for the owner `id`.
pub(super) fn restore(root: &Path, bytes: &[u8], id: u32) -> Result<(), ContainerError> {
    layer::unpack(root, bytes, &mut layer::Budget::default())?;
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        if fs::symlink_metadata(&path).map_err(host("look at", &path))?.is_dir() {
            waiting.extend(children(&path)?);
        }
        lchown(&path, Some(id), Some(id)).map_err(host("give away", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_saved_is_restored() {
        let (from, to) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(from.path().join("a/b")).expect("made");
        fs::write(from.path().join("a/b/data"), b"kept").expect("written");
        symlink("b/data", from.path().join("a/link")).expect("made");
        let bytes = save(from.path(), 1_000).expect("saved");
        assert_eq!(bytes, save(from.path(), 1_000).expect("saved again"), "equal files give equal bytes");
        // The own user may give its files to itself.
        let id = nix_user(to.path());
        restore(&to.path().join("volume"), &bytes, id).expect("restored");
        assert_eq!(fs::read(to.path().join("volume/a/b/data")).expect("a file"), b"kept");
        assert_eq!(fs::read_link(to.path().join("volume/a/link")).expect("a link"), Path::new("b/data"));
    }

    #[test]
    fn files_with_holes_do_not_fill_the_memory() {
        let from = tempfile::tempdir().expect("a folder");
        File::create(from.path().join("hole")).expect("made").set_len(1 << 40).expect("a hole");
        assert!(save(from.path(), 1 << 20).is_err());
    }

    fn nix_user(path: &Path) -> u32 {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).expect("it is there").uid()
    }
}

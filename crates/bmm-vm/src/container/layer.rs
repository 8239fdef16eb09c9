//! Unpacks the layers of an image, whose makers are strangers: nothing is written outside the image's folder.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::{ContainerError, host};

/// Largest sum of the files of an image, bytes.
const MAX_BYTES: u64 = 16 << 30;
/// Most entries in all layers.
const MAX_ENTRIES: u64 = 1_000_000;
/// Most names in a path.
const MAX_DEPTH: usize = 64;

/// What the rest of an image may still take.
pub(super) struct Budget {
    bytes: u64,
    entries: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: MAX_BYTES, entries: MAX_ENTRIES }
    }
}

fn bad(text: impl Into<String>) -> ContainerError {
    ContainerError::Image(text.into())
}

/// Unpacks one layer over what is there.
pub(super) fn unpack(root: &Path, bytes: &[u8], budget: &mut Budget) -> Result<(), ContainerError> {
    fs::create_dir_all(root).map_err(host("make the folder", root))?;
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(bad(
            "a layer is compressed; save the image without compression (podman save --format docker-archive)",
        ));
    }
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().map_err(|error| bad(error.to_string()))? {
        let mut entry = entry.map_err(|error| bad(error.to_string()))?;
        budget.entries = budget.entries.checked_sub(1).ok_or_else(|| bad("it has too many files"))?;
        budget.bytes = budget.bytes.checked_sub(entry.size()).ok_or_else(|| bad("its files are too large"))?;
        let path = entry.path().map_err(|error| bad(error.to_string()))?.into_owned();
        let Some(target) = place(root, &path)? else { continue };
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == ".wh..wh..opq" {
            let folder = target.parent().unwrap_or(root);
            for child in fs::read_dir(folder).map_err(host("read the folder", folder))? {
                remove(&child.map_err(host("read the folder", folder))?.path())?;
            }
            continue;
        }
        if let Some(gone) = name.strip_prefix(".wh.") {
            if matches!(gone, "" | "." | "..") {
                return Err(bad("a whiteout names no file"));
            }
            remove(&target.with_file_name(gone))?;
            continue;
        }
        write(root, &target, &mut entry)?;
    }
    Ok(())
}

/// Writes one entry at a place whose parents are known to be real folders.
fn write(root: &Path, target: &Path, entry: &mut tar::Entry<'_, &[u8]>) -> Result<(), ContainerError> {
    let link = entry.link_name().map_err(|error| bad(error.to_string()))?.map(std::borrow::Cow::into_owned);
    // No set-id bits; everybody may read, as the container's root is nobody here.
    let mode = entry.header().mode().unwrap_or(0o644) & 0o755 | 0o444;
    match entry.header().entry_type() {
        tar::EntryType::Directory => {
            if !fs::symlink_metadata(target).is_ok_and(|found| found.is_dir()) {
                remove(target)?;
                fs::create_dir(target).map_err(host("make the folder", target))?;
            }
            fs::set_permissions(target, fs::Permissions::from_mode(mode | 0o711)).map_err(host("set the mode", target))
        }
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            remove(target)?;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(target);
            let file = file.as_mut().map_err(|error| ContainerError::Host {
                what: "write the file",
                path: target.to_owned(),
                reason: error.to_string(),
            })?;
            std::io::copy(&mut entry.by_ref(), file).map_err(host("write the file", target))?;
            let mode = if mode & 0o100 == 0 { mode } else { mode | 0o111 };
            file.set_permissions(fs::Permissions::from_mode(mode)).map_err(host("set the mode", target))
        }
        tar::EntryType::Symlink => {
            remove(target)?;
            // Read inside the container alone: nothing here follows it.
            symlink(link.ok_or_else(|| bad("a link names nothing"))?, target).map_err(host("make the link", target))
        }
        tar::EntryType::Link => {
            let link = link.ok_or_else(|| bad("a link names nothing"))?;
            let from = place(root, &link)?.ok_or_else(|| bad("a hard link names the root"))?;
            if !fs::symlink_metadata(&from).is_ok_and(|found| !found.is_dir()) {
                return Err(bad(format!("the hard link to {} names no file", link.display())));
            }
            if from == *target {
                return Ok(());
            }
            remove(target)?;
            fs::hard_link(&from, target).map_err(host("make the link", target))
        }
        // Devices and pipes are not needed, and extended headers are read by the archive.
        _ => Ok(()),
    }
}

/// Returns where an entry goes, with its parents made; `None` for the root itself.
fn place(root: &Path, path: &Path) -> Result<Option<PathBuf>, ContainerError> {
    let refuse = |reason: &str| bad(format!("the path {} {reason}", path.display()));
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => return Err(refuse("leaves the image")),
        }
    }
    if names.len() > MAX_DEPTH {
        return Err(refuse("is too deep"));
    }
    let Some(last) = names.pop() else { return Ok(None) };
    let mut at = root.to_owned();
    for name in names {
        at.push(name);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(refuse("goes through a link or a file")),
            Err(_) => fs::create_dir(&at).map_err(host("make the folder", &at))?,
        }
    }
    at.push(last);
    Ok(Some(at))
}

/// Removes whatever is at a path, without following a link.
fn remove(path: &Path) -> Result<(), ContainerError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).map_err(host("remove the folder", path)),
        Ok(_) => fs::remove_file(path).map_err(host("remove the file", path)),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            let linked = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
            if linked {
                header.set_link_name_literal(text).expect("short");
            }
            header.set_size(if linked { 0 } else { text.len() as u64 });
            // Written by hand, as the library refuses paths that leave.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            archive.append(&header, if linked { &[][..] } else { text.as_bytes() }).expect("to memory");
        }
        archive.into_inner().expect("to memory")
    }

    fn unpacked(entries: &[(&str, tar::EntryType, &str)]) -> (tempfile::TempDir, Result<(), ContainerError>) {
        let folder = tempfile::tempdir().expect("a folder");
        let ended = unpack(&folder.path().join("root"), &layer(entries), &mut Budget::default());
        (folder, ended)
    }

    use tar::EntryType::{Link, Regular, Symlink};

    #[test]
    fn paths_and_links_that_leave_the_image_are_refused() {
        for entries in [
            &[("../evil", Regular, "x")][..],
            &[("a/../../evil", Regular, "x")],
            &[("a", Symlink, ".."), ("a/evil", Regular, "x")],
            &[("a", Symlink, "/tmp"), ("a/evil", Regular, "x")],
            &[("evil", Link, "../../etc/passwd")],
            &[("a", Symlink, "/etc"), ("evil", Link, "a/passwd")],
            &[("a/.wh...", Regular, "")],
        ] {
            let (folder, ended) = unpacked(entries);
            assert!(matches!(ended, Err(ContainerError::Image(_))), "{entries:?}: {ended:?}");
            assert!(!folder.path().join("evil").exists());
        }
    }

    #[test]
    fn whiteouts_remove_and_set_id_bits_vanish() {
        let (folder, ended) = unpacked(&[("a", Regular, "x"), ("b", Regular, "y"), (".wh.a", Regular, "")]);
        ended.expect("it is sound");
        let root = folder.path().join("root");
        assert!(!root.join("a").exists());
        assert_eq!(fs::metadata(root.join("b")).expect("it is there").permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_link_is_replaced_rather_than_written_through() {
        let (folder, ended) = unpacked(&[("a", Symlink, "../outside"), ("a", Regular, "x")]);
        ended.expect("it is sound");
        assert!(!folder.path().join("outside").exists());
        assert_eq!(fs::read(folder.path().join("root/a")).expect("a file"), b"x");
    }
}

//! Unpacks the layers of an image, whose makers are strangers: nothing is written outside the image's folder.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::{ContainerError, compressed, host};

/// Largest sum of the files of an image, unpacked, bytes; frameworks take 2 or 3 GiB.
const MAX_BYTES: u64 = 8 << 30;
/// Most bytes of the archive between two files: their header, long names, what else is said about them.
const HEADER_BYTES: u64 = 1 << 20;
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
    let allowance = Rc::new(Cell::new(HEADER_BYTES));
    let mut archive = tar::Archive::new(compressed::reader(bytes, &allowance));
    for entry in archive.entries().map_err(|error| bad(error.to_string()))? {
        let mut entry = entry.map_err(|error| bad(error.to_string()))?;
        budget.entries = budget.entries.checked_sub(1).ok_or_else(|| bad("it has too many files"))?;
        budget.bytes = budget.bytes.checked_sub(entry.size()).ok_or_else(|| bad("its files are too large"))?;
        allowance.set(entry.size());
        apply(root, &mut entry)?;
        // What was not wanted is passed over here, so that the allowance below is for the next header alone.
        std::io::copy(&mut entry, &mut std::io::sink()).map_err(|error| bad(error.to_string()))?;
        allowance.set(HEADER_BYTES);
    }
    Ok(())
}

/// Does what one entry says.
fn apply(root: &Path, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), ContainerError> {
    let path = entry.path().map_err(|error| bad(error.to_string()))?.into_owned();
    let Some(target) = place(root, &path)? else { return Ok(()) };
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name == ".wh..wh..opq" {
        let folder = target.parent().unwrap_or(root);
        for child in fs::read_dir(folder).map_err(host("read the folder", folder))? {
            remove(&child.map_err(host("read the folder", folder))?.path())?;
        }
        return Ok(());
    }
    match name.strip_prefix(".wh.") {
        Some("" | "." | "..") => Err(bad("a whiteout names no file")),
        Some(gone) => remove(&target.with_file_name(gone)),
        None => write(root, &target, entry),
    }
}

/// Writes one entry at a place whose parents are known to be real folders.
fn write(root: &Path, target: &Path, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), ContainerError> {
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
            pour(entry, file, target)?;
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

/// Copies a file's bytes; the image is to blame where they cannot be read, and the host where they cannot be written.
fn pour(from: &mut impl Read, to: &mut fs::File, target: &Path) -> Result<(), ContainerError> {
    let mut part = vec![0; 256 << 10];
    loop {
        let count = from.read(&mut part).map_err(|error| bad(error.to_string()))?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&part[..count]).map_err(host("write the file", target))?;
    }
}

/// Returns where an entry goes, with its parents made; `None` for the root itself.
pub(super) fn place(root: &Path, path: &Path) -> Result<Option<PathBuf>, ContainerError> {
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

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
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

    #[test]
    fn compressed_layers_give_the_same_files() {
        let plain = layer(&[("a", Regular, "x"), ("b", Symlink, "a"), ("c", Link, "a")]);
        let (first, second) = plain.split_at(700);
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [skipped.clone(), zstd(first), skipped, zstd(second)].concat();
        for bytes in [gzip(&plain), [gzip(first), gzip(second)].concat(), zstd(&plain), frames] {
            let folder = tempfile::tempdir().expect("a folder");
            unpack(folder.path(), &bytes, &mut Budget::default()).expect("it is sound");
            assert_eq!(fs::read(folder.path().join("c")).expect("a file"), b"x");
            assert_eq!(fs::read_link(folder.path().join("b")).expect("a link"), Path::new("a"));
        }
    }

    /// The head of an entry that says it has `size` bytes.
    fn head(name: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).expect("short");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn bombs_are_refused_before_they_are_written_or_held() {
        let zeros = vec![0; 64 << 20];
        let file = [head("a", Regular, zeros.len() as u64), zeros.clone()].concat();
        let name = [head("././@LongLink", tar::EntryType::GNULongName, zeros.len() as u64), zeros.clone()].concat();
        let said = [head("x", tar::EntryType::XHeader, zeros.len() as u64), zeros].concat();
        let small = || Budget { bytes: 32 << 20, entries: 10 };
        for (bytes, reason) in [(&file, "too large"), (&name, "too many bytes"), (&said, "too many bytes")] {
            for bytes in [gzip(bytes), zstd(bytes)] {
                let folder = tempfile::tempdir().expect("a folder");
                let ended = unpack(folder.path(), &bytes, &mut small());
                assert!(matches!(&ended, Err(ContainerError::Image(text)) if text.contains(reason)), "{ended:?}");
                assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
            }
        }
        // The sum counts, over all layers.
        let (folder, mut budget) = (tempfile::tempdir().expect("a folder"), small());
        let part = gzip(&[head("a", Regular, 20 << 20), vec![0; 20 << 20]].concat());
        unpack(folder.path(), &part, &mut budget).expect("within");
        assert!(matches!(unpack(folder.path(), &part, &mut budget), Err(ContainerError::Image(_))));
    }

    #[test]
    fn damaged_and_cut_layers_are_the_image_s_fault() {
        let plain = [
            head("a", Regular, 1 << 20),
            (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        ]
        .concat();
        for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
            let mut bent = bytes.clone();
            bent[..bytes.len() / 2].iter_mut().skip(20).step_by(97).for_each(|byte| *byte ^= 0x55);
            for bytes in [&bytes[..bytes.len() / 2], &bent] {
                let folder = tempfile::tempdir().expect("a folder");
                let ended = unpack(folder.path(), bytes, &mut Budget::default());
                assert!(matches!(ended, Err(ContainerError::Image(_))), "{ended:?}");
            }
        }
    }
}

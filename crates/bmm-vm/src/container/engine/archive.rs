//! Packs an unpacked image as an archive of one layer, in the form of `docker save`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::container::image::ARCHITECTURE;
use crate::container::{ContainerError, host};

/// Length of a tar archive's blocks, bytes.
const BLOCK_BYTES: u64 = 512;

/// Writes what is under `root` to the file `path`, as the image `reference` with these labels.
pub(super) fn write(
    root: &Path,
    path: &Path,
    reference: &str,
    labels: &HashMap<String, String>,
) -> Result<(), ContainerError> {
    pack(root, path, reference, labels).map_err(host("write the archive", path))
}

fn pack(root: &Path, path: &Path, reference: &str, labels: &HashMap<String, String>) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    // The layer's header, which says how long it is, is written when that is known.
    file.seek(SeekFrom::Start(BLOCK_BYTES))?;
    let mut layer = tar::Builder::new(Hashing { to: BufWriter::new(file), hash: Sha256::new(), bytes: 0 });
    add_folder(&mut layer, root, Path::new(""), &mut HashMap::new())?;
    let mut written = layer.into_inner()?;
    written.to.flush()?;
    let (digest, bytes) = (written.hash.finalize(), written.bytes);
    let mut file = written.to.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.write_all_at(header("layer.tar", bytes)?.as_bytes(), 0)?;
    file.seek(SeekFrom::Start(BLOCK_BYTES + bytes.next_multiple_of(BLOCK_BYTES)))?;
    let config = json!({
        "architecture": ARCHITECTURE, "os": "linux", "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest:x}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"] }]);
    let mut outer = tar::Builder::new(file);
    for (name, value) in [("config.json", config), ("manifest.json", manifest)] {
        let text = value.to_string();
        outer.append(&header(name, text.len() as u64)?, text.as_bytes())?;
    }
    outer.into_inner()?.flush()
}

fn header(name: &str, bytes: u64) -> std::io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header)
}

/// Adds what is in a folder. Files of several names are there once, however large they are: by device and inode.
fn add_folder(
    layer: &mut tar::Builder<impl Write>,
    root: &Path,
    inside: &Path,
    names: &mut HashMap<(u64, u64), PathBuf>,
) -> std::io::Result<()> {
    for entry in fs::read_dir(root.join(inside))? {
        let entry = entry?;
        let (path, found) = (inside.join(entry.file_name()), entry.metadata()?);
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(found.mode() & 0o755);
        if found.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            layer.append_data(&mut header, &path, std::io::empty())?;
            add_folder(layer, root, &path, names)?;
        } else if found.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            layer.append_link(&mut header, &path, fs::read_link(entry.path())?)?;
        } else if let Some(first) = names.get(&(found.dev(), found.ino())) {
            header.set_entry_type(tar::EntryType::Link);
            layer.append_link(&mut header, &path, first)?;
        } else {
            header.set_size(found.len());
            layer.append_data(&mut header, &path, File::open(entry.path())?)?;
            if found.nlink() > 1 {
                names.insert((found.dev(), found.ino()), path);
            }
        }
    }
    Ok(())
}

/// Counts and hashes what passes.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        let count = self.to.write(part)?;
        self.hash.update(&part[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_says_what_the_folder_has_and_files_of_two_names_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("bin")).expect("a folder");
        let long = "n".repeat(120);
        fs::write(root.join(&long), vec![7; 5_000]).expect("written");
        fs::hard_link(root.join(&long), root.join("bin/same")).expect("linked");
        std::os::unix::fs::symlink("../outside", root.join("link")).expect("linked");
        let path = folder.path().join("image.tar");
        write(&root, &path, "localhost/bmm/x:y", &HashMap::new()).expect("written");
        let bytes = fs::read(&path).expect("read");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut names = Vec::new();
        let mut layer = Vec::new();
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").display().to_string();
            if name == "layer.tar" {
                std::io::Read::read_to_end(&mut entry, &mut layer).expect("read");
            }
            names.push(name);
        }
        assert_eq!(names, ["layer.tar", "config.json", "manifest.json"]);
        let digest = format!("{:x}", Sha256::digest(&layer));
        assert!(String::from_utf8_lossy(&bytes).contains(&digest), "the configuration names the layer");
        let mut archive = tar::Archive::new(layer.as_slice());
        let entries: Vec<_> = archive.entries().expect("an archive").map(|entry| entry.expect("an entry")).collect();
        let kinds = |kind: tar::EntryType| entries.iter().filter(|entry| entry.header().entry_type() == kind).count();
        assert_eq!(
            [tar::EntryType::Regular, tar::EntryType::Link, tar::EntryType::Symlink, tar::EntryType::Directory]
                .map(kinds),
            [1, 1, 1, 1]
        );
    }
}

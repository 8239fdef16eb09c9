//! Reads the archive of a container image, or packs an OCI layout that lies in a folder into one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Most bytes of the files of a layout.
const MAX_BYTES: u64 = 8 << 30;

/// Reads the archive of an image, packing it first if `path` is a layout's folder; `None` if it is something else.
pub(crate) fn read_image(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let bytes = pack(path).unwrap_or_else(|| fs::read(path))?;
    Ok((bytes.get(257..262) == Some(b"ustar")).then_some(bytes))
}

/// Packs the OCI layout in `folder`, as `skopeo copy … oci:FOLDER` and `umoci` write it; equal layouts give equal bytes. Returns
/// nothing for anything that is no such folder.
fn pack(folder: &Path) -> Option<io::Result<Vec<u8>>> {
    (folder.join("index.json").is_file() && folder.join("blobs/sha256").is_dir()).then(|| pack_files(folder))
}

fn pack_files(folder: &Path) -> io::Result<Vec<u8>> {
    let mut names = vec!["index.json".to_owned()];
    for entry in fs::read_dir(folder.join("blobs/sha256"))? {
        names.push(format!("blobs/sha256/{}", entry?.file_name().to_string_lossy()));
    }
    names.sort_unstable();
    let sizes = names.iter().map(|name| fs::metadata(folder.join(name)).map(|found| found.len()));
    let sizes = sizes.collect::<io::Result<Vec<u64>>>()?;
    let sum = sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(size.saturating_add(1_024)));
    let sum = usize::try_from(sum).ok().filter(|_| sum <= MAX_BYTES);
    let sum = sum.ok_or_else(|| io::Error::other(format!("its blobs have more than {MAX_BYTES} bytes")))?;
    let mut archive = tar::Builder::new(Vec::with_capacity(sum.saturating_add(1_024)));
    for (name, size) in names.iter().zip(sizes) {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, File::open(folder.join(name))?)?;
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_packed_to_the_same_bytes_each_time_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(pack(folder.path()).is_none());
        fs::create_dir_all(folder.path().join("blobs/sha256")).expect("a folder");
        for (name, text) in [("index.json", "{}"), ("blobs/sha256/bb", "2"), ("blobs/sha256/aa", "1"), ("other", "3")] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let bytes = pack(folder.path()).expect("it is one").expect("it can be read");
        assert_eq!(bytes.get(257..262), Some(&b"ustar"[..]));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive
            .entries()
            .expect("an archive")
            .map(|entry| entry.expect("an entry").path().expect("a path").into_owned());
        let names: Vec<_> = entries.map(|path| path.to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["blobs/sha256/aa", "blobs/sha256/bb", "index.json"]);
        assert_eq!(pack(folder.path()).expect("it is one").expect("it can be read"), bytes);
    }
}

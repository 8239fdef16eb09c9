//! The JSON files below a folder, those in its archives included.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Deepest folder that is looked into.
const MAX_DEPTH: usize = 32;

/// Longest file that is read, in bytes; the longest of Ethereum's tests has some 40 MB.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Calls `each` with the name and the text of every JSON file below `folder`, and of every one in a `.tar.zst` there, in the order of
/// names.
///
/// # Errors
/// When a folder, a file or an archive cannot be read; the error names it.
pub fn for_each(folder: &Path, each: &mut dyn FnMut(PathBuf, Vec<u8>)) -> io::Result<()> {
    walk(folder, 0, each)
}

fn walk(folder: &Path, depth: usize, each: &mut dyn FnMut(PathBuf, Vec<u8>)) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(named(folder)(io::Error::other("folders within folders, more than 32")));
    }
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.map_err(named(folder))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(named(&path))?;
        if kind.is_dir() {
            walk(&path, depth + 1, each)?;
        } else if has_extension(&path, "json") {
            let text = File::open(&path).and_then(read);
            each(path.clone(), text.map_err(named(&path))?);
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".tar.zst")) {
            unpack(&path, each).map_err(named(&path))?;
        }
    }
    Ok(())
}

fn unpack(archive: &Path, each: &mut dyn FnMut(PathBuf, Vec<u8>)) -> io::Result<()> {
    let unpacked = ruzstd::decoding::StreamingDecoder::new(File::open(archive)?).map_err(io::Error::other)?;
    for entry in tar::Archive::new(unpacked).entries()? {
        let entry = entry?;
        let path = entry.path()?.into_owned();
        if has_extension(&path, "json") {
            each(path, read(entry)?);
        }
    }
    Ok(())
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let length = from.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    if u64::try_from(length).is_ok_and(|length| length < MAX_FILE_BYTES) {
        Ok(text)
    } else {
        Err(io::Error::other("a file of 1 GiB or more"))
    }
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension == wanted)
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

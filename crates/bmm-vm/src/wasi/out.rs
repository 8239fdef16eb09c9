//! The files of `/out` and the count of everything that a task outputs.

use std::collections::BTreeMap;

use super::errno::{Call, Errno, Fault};
use super::tree;
use crate::input::{MAX_DEPTH, MAX_PATH_BYTES};
use crate::task::LimitKind;

/// Is what a path of `/out` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Dir,
    /// Number of the file in the list of files.
    File(usize),
}

/// Holds one file: it lives while a path or a descriptor leads to it.
#[derive(Default)]
struct File {
    data: Vec<u8>,
    descriptors: u32,
    linked: bool,
}

/// Holds the tree of `/out`, bounded in bytes and in names.
pub(super) struct OutFiles {
    entries: BTreeMap<String, Entry>,
    files: Vec<File>,
    /// Numbers of files that are gone and may be used again.
    free: Vec<usize>,
    used_bytes: u64,
    max_bytes: u64,
    max_entries: usize,
}

impl OutFiles {
    /// Returns an empty tree.
    pub fn new(max_bytes: u64, max_entries: u32) -> Self {
        Self {
            entries: BTreeMap::new(),
            files: Vec::new(),
            free: Vec::new(),
            used_bytes: 0,
            max_bytes,
            max_entries: max_entries as usize,
        }
    }

    /// Returns the files by path, leaving directories out.
    pub fn into_files(mut self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (path, entry) in self.entries {
            if let Entry::File(id) = entry {
                files.insert(path, std::mem::take(&mut self.files[id].data));
            }
        }
        files
    }

    /// Returns the sorted map of paths.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// Finds what lies at a path that is not the root.
    pub fn entry(&self, path: &str) -> Option<Entry> {
        self.entries.get(path).copied()
    }

    /// Counts bytes of output; over the limit the program ends.
    pub fn charge(&mut self, bytes: u64) -> Call {
        let used = self.used_bytes.saturating_add(bytes);
        if used > self.max_bytes {
            return Err(LimitKind::Output.into());
        }
        self.used_bytes = used;
        Ok(())
    }

    /// Makes a directory; the caller has checked that the path is free and its parent there.
    pub fn make_dir(&mut self, path: String) -> Call {
        self.add(path, Entry::Dir)
    }

    /// Makes an empty file; the caller has checked that the path is free and its parent there.
    pub fn make_file(&mut self, path: String) -> Call<usize> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.files.push(File::default());
            self.files.len() - 1
        });
        self.files[id].linked = true;
        self.add(path, Entry::File(id))?;
        Ok(id)
    }

    fn add(&mut self, path: String, entry: Entry) -> Call {
        if self.entries.len() >= self.max_entries {
            return Err(LimitKind::Files.into());
        }
        self.entries.insert(path, entry);
        Ok(())
    }

    /// Takes a file's name away; its bytes go when no descriptor is left.
    pub fn unlink(&mut self, path: &str) -> Call {
        match self.entry(path) {
            None => Err(Errno::Noent.into()),
            Some(Entry::Dir) => Err(Errno::Isdir.into()),
            Some(Entry::File(id)) => {
                self.entries.remove(path);
                self.files[id].linked = false;
                self.collect(id);
                Ok(())
            }
        }
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, path: &str) -> Call {
        match self.entry(path) {
            None => Err(Errno::Noent.into()),
            Some(Entry::File(_)) => Err(Errno::Notdir.into()),
            Some(Entry::Dir) if tree::has_children(&self.entries, path) => Err(Errno::Notempty.into()),
            Some(Entry::Dir) => {
                self.entries.remove(path);
                Ok(())
            }
        }
    }

    /// Moves what lies at a path to another one, in the place of what is there; returns how many names moved.
    /// The caller has checked the parent of the new path.
    pub fn rename(&mut self, from: &str, to: &str) -> Call<u64> {
        let moved = self.entry(from).ok_or(Errno::Noent)?;
        if from == to {
            return Ok(1);
        }
        if to.starts_with(&tree::prefix(from)) {
            return Err(Errno::Inval.into());
        }
        let below = tree::prefix(from);
        let keys: Vec<String> = self
            .entries
            .range(below.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| moved == Entry::Dir && key.starts_with(&below))
            .cloned()
            .collect();
        // What lies in a directory obeys the same bounds as any path, or trees could be piled up without end.
        let fits = |key: &String| is_within_bounds(to, &key[below.len()..]);
        if !keys.iter().all(fits) {
            return Err(Errno::Nametoolong.into());
        }
        match (moved, self.entry(to)) {
            (_, None) => {}
            (Entry::File(_), Some(Entry::Dir)) => return Err(Errno::Isdir.into()),
            (Entry::Dir, Some(Entry::File(_))) => return Err(Errno::Notdir.into()),
            (Entry::File(_), Some(Entry::File(_))) => self.unlink(to)?,
            (Entry::Dir, Some(Entry::Dir)) => self.remove_dir(to)?,
        }
        self.entries.remove(from);
        self.entries.insert(to.to_owned(), moved);
        for key in &keys {
            if let Some(entry) = self.entries.remove(key) {
                self.entries.insert(format!("{to}/{}", &key[below.len()..]), entry);
            }
        }
        Ok(1 + keys.len() as u64)
    }

    /// Counts a descriptor more of a file.
    pub fn open(&mut self, id: usize) {
        self.files[id].descriptors += 1;
    }

    /// Counts a descriptor less of a file.
    pub fn close(&mut self, id: usize) {
        self.files[id].descriptors -= 1;
        self.collect(id);
    }

    /// Frees a file that nothing leads to.
    fn collect(&mut self, id: usize) {
        let file = &mut self.files[id];
        if !file.linked && file.descriptors == 0 {
            self.used_bytes -= file.data.len() as u64;
            *file = File::default();
            self.free.push(id);
        }
    }

    /// Returns a file's bytes.
    pub fn data(&self, id: usize) -> &[u8] {
        &self.files[id].data
    }

    /// Writes at a position, filling a gap before it with zeros; returns how many bytes were written in all.
    pub fn write_at(&mut self, id: usize, at: u64, bytes: &[u8]) -> Call<u64> {
        let end = at.checked_add(bytes.len() as u64).ok_or(Fault::from(LimitKind::Output))?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let old = self.files[id].data.len() as u64;
        self.charge(end.saturating_sub(old))?;
        let written = end - at.min(old);
        // Within the limit, so within the address space.
        let (at, end) = (to_usize(at)?, to_usize(end)?);
        let data = &mut self.files[id].data;
        if at == data.len() {
            data.extend_from_slice(bytes);
            return Ok(written);
        }
        if end > data.len() {
            data.resize(end, 0);
        }
        data[at..end].copy_from_slice(bytes);
        Ok(written)
    }

    /// Cuts or lengthens a file; returns how many bytes were written as zeros.
    pub fn set_len(&mut self, id: usize, len: u64) -> Call<u64> {
        let old = self.files[id].data.len() as u64;
        self.charge(len.saturating_sub(old))?;
        self.used_bytes -= old.saturating_sub(len);
        let data = &mut self.files[id].data;
        data.resize(to_usize(len)?, 0);
        if len < old {
            data.shrink_to_fit();
        }
        Ok(len.saturating_sub(old))
    }
}

/// Tells whether the path `rest` below the directory `dir` is a path that a program may have.
fn is_within_bounds(dir: &str, rest: &str) -> bool {
    let depth = dir.split('/').count() + rest.split('/').count();
    dir.len() + 1 + rest.len() <= MAX_PATH_BYTES && depth <= MAX_DEPTH
}

fn to_usize(bytes: u64) -> Call<usize> {
    usize::try_from(bytes).map_err(|_| LimitKind::Output.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::End;

    const FULL: Fault = Fault::End(End::Limit(LimitKind::Output));

    #[test]
    fn bytes_are_counted_and_given_back() {
        let mut out = OutFiles::new(10, 10);
        let id = out.make_file("a".into()).unwrap();
        out.write_at(id, 4, b"xyz").unwrap();
        assert_eq!((out.data(id), out.used_bytes), (&b"\0\0\0\0xyz"[..], 7));
        assert_eq!(out.write_at(id, u64::MAX, b"x"), Err(FULL));
        assert_eq!(out.write_at(id, 10, b"x"), Err(FULL));
        out.set_len(id, 2).unwrap();
        assert_eq!(out.used_bytes, 2);
        out.open(id);
        out.unlink("a").unwrap();
        assert_eq!(out.used_bytes, 2);
        out.close(id);
        assert_eq!(out.used_bytes, 0);
        assert_eq!(out.make_file("b".into()), Ok(id));
        assert!(out.data(id).is_empty());
    }

    #[test]
    fn names_are_bounded() {
        let mut out = OutFiles::new(10, 2);
        out.make_dir("d".into()).unwrap();
        out.make_file("d/a".into()).unwrap();
        assert_eq!(out.make_file("d/b".into()), Err(LimitKind::Files.into()));
    }

    #[test]
    fn a_directory_moves_with_what_lies_in_it() {
        let mut out = OutFiles::new(10, 10);
        for dir in ["a", "a/b", "c"] {
            out.make_dir(dir.into()).unwrap();
        }
        out.make_file("a/b/f".into()).unwrap();
        out.make_file("a.txt".into()).unwrap();
        assert_eq!(out.rename("a", "a/b/x"), Err(Errno::Inval.into()));
        assert_eq!(out.rename("c", "a"), Err(Errno::Notempty.into()));
        assert_eq!(out.rename("a", "a.txt"), Err(Errno::Notdir.into()));
        assert_eq!(out.rename("a", "c"), Ok(3));
        let keys: Vec<&str> = out.entries().keys().map(String::as_str).collect();
        assert_eq!(keys, ["a.txt", "c", "c/b", "c/b/f"]);
    }

    proptest! {
        #[test]
        fn the_count_is_the_sum_of_what_is_there(steps in prop::collection::vec((0_u8..6, 0_usize..4, 0_u64..40), 0..60)) {
            let paths = ["a", "b", "d", "d/e"];
            let (max_bytes, mut open) = (100, Vec::new());
            let mut out = OutFiles::new(max_bytes, 4);
            for (step, path, number) in steps {
                let path = paths[path];
                let file = match out.entry(path) { Some(Entry::File(id)) => Some(id), _ => None };
                let free = out.entry(path).is_none();
                let _ = match (step, file) {
                    (0, None) if free && path != "d" => out.make_file(path.to_owned()).map(drop),
                    (0, None) if free => out.make_dir(path.to_owned()),
                    (1, Some(id)) => out.write_at(id, number, &[1; 7]).map(drop),
                    (2, Some(id)) => out.set_len(id, number).map(drop),
                    (3, _) => out.unlink(path),
                    (4, Some(id)) => {
                        out.open(id);
                        open.push(id);
                        Ok(())
                    }
                    (5, _) if number < 20 => out.rename(path, "b").map(drop),
                    _ => {
                        open.pop().into_iter().for_each(|id| out.close(id));
                        Ok(())
                    }
                };
                let there: u64 = out.files.iter().map(|file| file.data.len() as u64).sum();
                prop_assert_eq!(out.used_bytes, there);
                prop_assert!(there <= max_bytes && out.entries.len() <= 4);
                for id in &open {
                    prop_assert!(out.files[*id].descriptors > 0);
                }
            }
        }
    }
}

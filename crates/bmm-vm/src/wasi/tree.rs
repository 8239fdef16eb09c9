//! Directories seen in a sorted map of paths: `/in` and `/out` are both such maps.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Holds one name of a directory, and where to look for the next.
pub(super) struct Child<'a> {
    /// Name within the directory.
    pub name: &'a str,
    /// Key from which the next child is found.
    pub next: String,
}

/// Returns the text that the keys below a directory begin with; the root is the empty path.
pub(super) fn prefix(dir: &str) -> String {
    if dir.is_empty() { String::new() } else { format!("{dir}/") }
}

/// Tells whether anything lies below a path.
pub(super) fn has_children<V>(map: &BTreeMap<String, V>, dir: &str) -> bool {
    let prefix = prefix(dir);
    map.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
        .next()
        .is_some_and(|(key, _)| key.starts_with(&prefix))
}

/// Finds the first child of a directory whose key is not below `from`; begin with the directory's prefix.
///
/// `implied` says whether a directory exists by what lies in it (`/in`) or only by its own entry (`/out`).
pub(super) fn next_child<'a, V>(
    map: &'a BTreeMap<String, V>,
    prefix: &str,
    from: &str,
    implied: bool,
) -> Option<Child<'a>> {
    let mut from = from.to_owned();
    loop {
        let (key, _) = map.range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded)).next()?;
        let rest = key.strip_prefix(prefix)?;
        let Some((dir, _)) = rest.split_once('/') else {
            // The key that directly follows `key` in the order of strings.
            return Some(Child { name: rest, next: format!("{key}\0") });
        };
        // '0' directly follows '/': everything in the directory is skipped.
        let next = format!("{prefix}{dir}0");
        if implied {
            return Some(Child { name: dir, next });
        }
        from = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &[&str], dir: &str, implied: bool) -> Vec<String> {
        let map: BTreeMap<String, u8> = keys.iter().map(|key| ((*key).to_owned(), 0)).collect();
        let prefix = prefix(dir);
        let mut from = prefix.clone();
        let mut names = Vec::new();
        while let Some(child) = next_child(&map, &prefix, &from, implied) {
            names.push(child.name.to_owned());
            from = child.next;
        }
        names
    }

    #[test]
    fn each_child_is_listed_once() {
        let keys = ["a.txt", "a/b", "a/c/d", "a0", "b"];
        assert_eq!(names(&keys, "", true), ["a.txt", "a", "a0", "b"]);
        assert_eq!(names(&keys, "a", true), ["b", "c"]);
        assert_eq!(names(&keys, "a/c", true), ["d"]);
        assert!(names(&keys, "z", true).is_empty());
        let keys = ["a", "a.txt", "a/b", "a/c", "a/c/d", "b"];
        assert_eq!(names(&keys, "", false), ["a", "a.txt", "b"]);
        assert_eq!(names(&keys, "a", false), ["b", "c"]);
    }
}

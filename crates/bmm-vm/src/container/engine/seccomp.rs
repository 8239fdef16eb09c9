//! The system calls that a container may make: what the engine's own list allows, without those that no task needs.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::container::config::DENIED;

/// Where Podman has its list; the first that is there counts.
const LISTS: [&str; 2] = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];
/// Largest list, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Returns Podman's list of allowed system calls without those that are refused here, if it lies where it should.
pub(super) fn profile() -> Option<Value> {
    let file = LISTS.iter().find_map(|path| fs::File::open(Path::new(path)).ok())?;
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text).ok()?;
    let mut list: Value = serde_json::from_slice(&text).ok()?;
    refuse(&mut list)?;
    Some(list)
}

/// Takes the names of refused calls out of all that a list allows.
fn refuse(list: &mut Value) -> Option<()> {
    let rules = list.get_mut("syscalls")?.as_array_mut()?;
    for rule in rules.iter_mut().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW") {
        let names = rule.get_mut("names")?.as_array_mut()?;
        names.retain(|name| !name.as_str().is_some_and(|name| DENIED.contains(&name)));
    }
    rules.retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refused_calls_are_taken_from_what_is_allowed_and_from_nothing_else() {
        let allow = |names: &[&str]| json!({ "names": names, "action": "SCMP_ACT_ALLOW" });
        let forbid = json!({ "names": ["mount"], "action": "SCMP_ACT_ERRNO" });
        let mut list = json!({ "syscalls": [allow(&["read", "unshare"]), allow(&["ptrace"]), forbid] });
        refuse(&mut list).expect("it is a list");
        assert_eq!(list, json!({ "syscalls": [allow(&["read"]), forbid] }));
        assert!(refuse(&mut json!({ "syscalls": 5 })).is_none());
    }
}

//! Whether somebody is at the machine: by the terminals, and by what the desktop tells systemd's login manager.
//!
//! Nothing that is typed is read: only when a terminal was last used, and whether the session says that it is idle.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long hands must have been off the machine before it counts as unused.
pub(super) const HANDS_OFF: Duration = Duration::from_mins(5);

/// Tells whether somebody used a terminal of this machine within [`HANDS_OFF`], or its desktop says that it is in use.
pub(super) fn are_on() -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let used = [Path::new("/dev"), Path::new("/dev/pts")].into_iter().filter_map(last_use).max().unwrap_or(0);
    // A clock that was set back says nothing.
    (used <= now && now - used < HANDS_OFF.as_secs()) || desktop_in_use()
}

/// Returns when a terminal in a folder was last read from: somebody typed then. Unix seconds.
fn last_use(folder: &Path) -> Option<u64> {
    let is_terminal = |name: &str| {
        let number = if folder.ends_with("pts") { Some(name) } else { name.strip_prefix("tty") };
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let entries = fs::read_dir(folder).ok()?.flatten();
    let terminals = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_terminal));
    let used = terminals.filter_map(|entry| u64::try_from(entry.metadata().ok()?.atime()).ok());
    used.max()
}

/// Asks the login manager, where there is one.
fn desktop_in_use() -> bool {
    let asked = Command::new("loginctl")
        .args(["show-seat", "seat0", "--property=ActiveSession", "--property=IdleHint"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    asked.is_ok_and(|told| says_in_use(&String::from_utf8_lossy(&told.stdout)))
}

/// Reads the answer: somebody is logged in at the seat, and not idle.
fn says_in_use(told: &str) -> bool {
    let value = |key: &str| told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("ActiveSession").is_some_and(|session| !session.is_empty()) && value("IdleHint") == Some("no")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_in_use_while_its_session_is_not_idle() {
        assert!(says_in_use("IdleHint=no\nActiveSession=c2\n"));
        for unused in ["", "ActiveSession=\nIdleHint=no\n", "ActiveSession=c2\nIdleHint=yes\n", "ActiveSession=c2\n"] {
            assert!(!says_in_use(unused), "{unused:?}");
        }
    }

    #[test]
    fn terminals_tell_when_they_were_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let pts = folder.path().join("pts");
        fs::create_dir(&pts).expect("a folder");
        assert_eq!(last_use(&pts), None);
        let used = SystemTime::now() - HANDS_OFF * 2;
        for (name, at) in [("0", used), ("ptmx", SystemTime::now())] {
            let file = fs::File::create(pts.join(name)).expect("a file");
            file.set_times(fs::FileTimes::new().set_accessed(at)).expect("set");
        }
        let seconds = used.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        assert_eq!(last_use(&pts), Some(seconds), "the multiplexer is no terminal");
    }
}

//! Cores that threads stay on.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Highest number of a core.
const MAX_CORE: usize = 1_023;

/// Cores by their numbers, such as "0,2,4-7".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cores(Vec<usize>);

impl Cores {
    /// Keeps this thread, the one of that number, on its core. Does nothing where no cores are named.
    ///
    /// # Errors
    /// What the system says, which may not know such a core, or no way to do this.
    pub fn pin(&self, thread: usize) -> Result<(), String> {
        let Some(core) = self.0.get(thread.checked_rem(self.0.len()).unwrap_or_default()) else { return Ok(()) };
        pin_to(*core).map_err(|error| format!("core {core}: {error}"))
    }
}

#[cfg(target_os = "linux")]
fn pin_to(core: usize) -> Result<(), String> {
    use nix::{
        sched::{CpuSet, sched_setaffinity},
        unistd::Pid,
    };
    let mut set = CpuSet::new();
    set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).map_err(|error| error.to_string())
}

#[cfg(not(target_os = "linux"))]
fn pin_to(_: usize) -> Result<(), String> {
    Err("this system keeps no threads on cores".to_owned())
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no cores; write them as 0,2,4-7, each at most {MAX_CORE}");
        let number = |text: &str| text.trim().parse().ok().filter(|core| *core <= MAX_CORE).ok_or_else(wrong);
        let mut cores = Vec::new();
        for part in text.split(',').filter(|_| !text.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            cores.extend(first..=last);
        }
        cores.truncate(MAX_CORE + 1);
        Ok(Self(cores))
    }
}

impl TryFrom<String> for Cores {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cores> for String {
    fn from(cores: Cores) -> Self {
        cores.to_string()
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        let read = |text: &str| text.parse::<Cores>().map(|cores| cores.to_string());
        assert_eq!(read("0,2,4-7"), Ok("0,2,4,5,6,7".to_owned()));
        assert_eq!(read(" "), Ok(String::new()));
        for wrong in ["a", "3-1", "-1", "1,,2", "0-2000"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

//! When a provider works: at its hours, and, if its owner wants so, only while the machine has nothing else to do.

use super::hands;
use crate::failure::{Failure, Outcome};
use bmm_vm::container::used_nanos;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// How long the machine is watched before it counts as idle or busy.
const WATCH: Duration = Duration::from_secs(15);
/// Share of all cores, percent, that others may use on an idle machine.
const IDLE_BELOW_PERCENT: u64 = 15;

/// A part of each day by the local clock, such as "22:00-06:30".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    /// Whether a minute of the day (from 0) is within; a part may go past midnight.
    pub fn contains(self, minute: u16) -> bool {
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no part of a day; write it as 22:00-06:30");
        let minute = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (minutes < 60).then(|| hours.checked_mul(60)?.checked_add(minutes)).flatten().filter(|at| *at <= DAY)
        };
        let (from, to) = text.split_once('-').ok_or_else(wrong)?;
        let (from, to) = minute(from).zip(minute(to)).filter(|(from, to)| from != to).ok_or_else(wrong)?;
        Ok(Self { from, to })
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// Processor time of the machine, and of this process with its containers, in the system's ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    all: u64,
    idle: u64,
    own: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        let read = |path| std::fs::read_to_string(path).ok();
        let ticks = Self::parse(&read("/proc/stat")?, &read("/proc/self/stat")?)?;
        Some(ticks.with_containers(used_nanos()))
    }

    /// Adds what containers have used; they are processes of their own.
    fn with_containers(self, nanos: u64) -> Self {
        let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
        let a_second = a_second.and_then(|ticks| u128::try_from(ticks).ok()).unwrap_or(100);
        let ticks = u64::try_from(u128::from(nanos).saturating_mul(a_second) / 1_000_000_000).unwrap_or(u64::MAX);
        Self { own: self.own.saturating_add(ticks), ..self }
    }

    fn parse(machine: &str, own: &str) -> Option<Self> {
        let times: Vec<u64> = machine
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq steal; guests' time is within user's.
        let all = times.iter().take(8).sum();
        let idle = times.get(3)?.saturating_add(times.get(4).copied().unwrap_or(0));
        // The program's name, in brackets, may have spaces and brackets.
        let (_, rest) = own.rsplit_once(')')?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (user, system): (u64, u64) = (words.get(11)?.parse().ok()?, words.get(12)?.parse().ok()?);
        Some(Self { all, idle, own: user.saturating_add(system) })
    }

    /// Returns the share of all cores, percent, that others used since `before`.
    fn others_percent(self, before: Self) -> u64 {
        let all = self.all.saturating_sub(before.all);
        let busy = all.saturating_sub(self.idle.saturating_sub(before.idle));
        let others = busy.saturating_sub(self.own.saturating_sub(before.own));
        (others.saturating_mul(100)).checked_div(all).unwrap_or(0)
    }
}

/// Decides from moment to moment whether to work.
pub struct When {
    hours: Option<Hours>,
    watch: Option<(Instant, Ticks)>,
    busy: Option<Use>,
}

/// How the owner uses the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Programs of others take so many percent of its cores.
    Programs(u64),
    /// Somebody types.
    Hands,
}

impl When {
    /// Takes the owner's wishes.
    pub fn new(hours: Option<Hours>, idle_only: bool) -> Outcome<Self> {
        let watch = if idle_only {
            let ticks = Ticks::now().ok_or_else(|| {
                Failure::config("idle_only: this system does not tell how busy it is")
                    .hint("leave it out; `bmm provide` has hours in its place")
            })?;
            Some((Instant::now(), ticks))
        } else {
            None
        };
        Ok(Self { hours, watch, busy: None })
    }

    /// Returns why not to work now, if so; `paused` tells whether the owner has said so.
    pub fn objection(&mut self, paused: bool) -> Option<String> {
        if let Some((since, before)) = self.watch
            && since.elapsed() >= WATCH
            && let Some(now) = Ticks::now()
        {
            self.watch = Some((Instant::now(), now));
            let percent = now.others_percent(before);
            self.busy = if percent >= IDLE_BELOW_PERCENT {
                Some(Use::Programs(percent))
            } else {
                hands::are_on().then_some(Use::Hands)
            };
        }
        let now = jiff::Zoned::now();
        let minute = u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).unwrap_or(0);
        decide(paused, self.hours, minute, self.busy)
    }
}

/// Decides whether to work at a minute of the day; returns the first reason not to.
fn decide(paused: bool, hours: Option<Hours>, minute: u16, busy: Option<Use>) -> Option<String> {
    match (hours, busy) {
        _ if paused => Some("paused by its owner; `bmm provide resume` goes on".to_owned()),
        (Some(hours), _) if !hours.contains(minute) => Some(format!("its hours are {hours}")),
        (_, Some(Use::Hands)) => Some(format!(
            "its owner uses the machine (it was touched in the last {} minutes)",
            hands::HANDS_OFF.as_secs() / 60
        )),
        (_, Some(Use::Programs(percent))) => Some(format!("its owner uses the machine ({percent} % of its cores)")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_may_go_past_midnight() {
        let hours: Hours = "22:00-06:30".parse().expect("hours");
        let within = [0, 389, 1_320, 1_439].map(|minute| hours.contains(minute));
        let without = [390, 720, 1_319].map(|minute| hours.contains(minute));
        assert_eq!((within, without), ([true; 4], [false; 3]));
        assert_eq!(hours.to_string().parse(), Ok(hours));
        assert!("00:00-24:00".parse::<Hours>().is_ok_and(|hours| hours.contains(0) && hours.contains(1_439)));
        for wrong in ["", "22-6", "22:00", "25:00-26:00", "22:60-23:00", "06:00-06:00", "99999:00-1:00", "a:b-c:d"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_owner_goes_before_the_clock_and_the_clock_before_the_load() {
        let hours = Some("22:00-06:30".parse().expect("hours"));
        let reason = |paused, minute, busy| decide(paused, hours, minute, busy).unwrap_or_default();
        assert!(reason(true, 0, None).starts_with("paused"));
        assert!(reason(true, 720, Some(Use::Programs(50))).starts_with("paused"));
        assert_eq!(reason(false, 720, Some(Use::Hands)), "its hours are 22:00-06:30");
        assert!(reason(false, 0, Some(Use::Programs(50))).contains("50 %"));
        assert!(reason(false, 0, Some(Use::Hands)).contains("5 minutes"));
        assert_eq!(decide(false, hours, 0, None), None);
        assert_eq!(decide(false, None, 720, None), None);
    }

    #[test]
    fn what_this_process_uses_does_not_make_the_machine_busy() {
        let machine = |user: u64, idle: u64| format!("cpu  {user} 0 100 {idle} 50 0 0 0 7 7\ncpu0 1 2 3\n");
        let own = |ticks: u64| format!("77 (a b) c) S 1 1 1 0 -1 4 0 0 0 0 {ticks} 0 0 0 20 0 1 0 5");
        let at = |user, idle, used| Ticks::parse(&machine(user, idle), &own(used)).expect("ticks");
        let before = at(1_000, 5_000, 400);
        assert_eq!(before, Ticks { all: 6_150, idle: 5_050, own: 400 });
        assert_eq!(at(1_150, 5_050, 550).others_percent(before), 0);
        assert_eq!(at(1_150, 5_050, 450).others_percent(before), 50);
        assert_eq!(before.others_percent(before), 0);
        // A second of 100 ticks in which containers were busy on one core and others for half of that.
        assert_eq!(at(1_150, 5_050, 400).with_containers(1_000_000_000).others_percent(before), 25);
        assert_eq!(Ticks::parse("", ""), None);
    }
}

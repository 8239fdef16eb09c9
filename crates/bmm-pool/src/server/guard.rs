//! Who may connect, and what misbehaviour costs.

use super::config::ServerLimits;
use crate::stratum::Reject;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

/// Addresses that are told apart. Beyond that, new ones are let in only where others can be forgotten.
const MAX_ADDRESSES: usize = 1 << 17;

/// What a miner did wrong. Points fall by half every minute, and by [`GOOD_SHARE`] with every share that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line that is no request.
    Malformed,
    /// A share that is no work: low difficulty, sent before, or not of the right shape.
    Share(Reject),
    /// A method that does not exist.
    Method,
    /// A worker's name that cannot be paid.
    Worker,
}

/// Points that an accepted share takes off.
pub const GOOD_SHARE: u32 = 2;

impl Fault {
    /// Returns how much worse it makes the connection's standing.
    pub const fn points(self) -> u32 {
        match self {
            Self::Malformed => 20,
            Self::Worker => 10,
            Self::Share(Reject::Stale) => 2,
            Self::Share(_) => 5,
            Self::Method => 1,
        }
    }
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is banned for a while.
    Banned,
    /// It has as many connections as an address may have.
    TooMany,
    /// It connects too often.
    TooOften,
    /// The server cannot tell more addresses apart.
    Crowded,
}

#[derive(Clone, Copy, Debug)]
struct Address {
    open: u32,
    /// Connections that it may begin, in thousandths, at the time `at`.
    tokens: u64,
    at: u64,
    strikes: u32,
    struck_at: u64,
    banned_until: u64,
}

/// What is known of each address. Times are in milliseconds of any one clock.
#[derive(Debug)]
pub struct Guard {
    limits: ServerLimits,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

impl Guard {
    /// Knows nobody.
    pub fn new(limits: ServerLimits) -> Self {
        Self { limits, addresses: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        self.addresses.lock()
    }

    /// Counts a connection that begins, if it may.
    pub fn admit(&self, address: IpAddr, now: u64) -> Result<(), Refusal> {
        let (key, full) = (network(address), u64::from(self.limits.connects_at_once).saturating_mul(1_000));
        let mut addresses = self.lock();
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&key) {
            addresses.retain(|_, entry| !self.is_forgettable(entry, now));
            if addresses.len() >= MAX_ADDRESSES {
                return Err(Refusal::Crowded);
            }
        }
        let fresh = Address { open: 0, tokens: full, at: now, strikes: 0, struck_at: 0, banned_until: 0 };
        let entry = addresses.entry(key).or_insert(fresh);
        if now < entry.banned_until {
            return Err(Refusal::Banned);
        }
        if entry.open >= self.limits.per_address {
            return Err(Refusal::TooMany);
        }
        (entry.tokens, entry.at) = (self.tokens(entry, now), now);
        entry.tokens = entry.tokens.checked_sub(1_000).ok_or(Refusal::TooOften)?;
        entry.open = entry.open.saturating_add(1);
        Ok(())
    }

    /// Counts the end of a connection that was let in.
    pub fn leave(&self, address: IpAddr) {
        if let Some(entry) = self.lock().get_mut(&network(address)) {
            entry.open = entry.open.saturating_sub(1);
        }
    }

    /// Counts a connection that was closed for its faults. Returns whether its address is banned now.
    pub fn strike(&self, address: IpAddr, now: u64) -> bool {
        let ban = millis(self.limits.ban);
        let mut addresses = self.lock();
        let Some(entry) = addresses.get_mut(&network(address)) else { return false };
        if now.saturating_sub(entry.struck_at) > ban {
            entry.strikes = 0;
        }
        (entry.strikes, entry.struck_at) = (entry.strikes.saturating_add(1), now);
        if entry.strikes >= self.limits.strikes {
            (entry.strikes, entry.banned_until) = (0, now.saturating_add(ban));
        }
        now < entry.banned_until
    }

    /// Forgets addresses of which there is nothing to know.
    pub fn sweep(&self, now: u64) {
        self.lock().retain(|_, entry| !self.is_forgettable(entry, now));
    }

    fn is_forgettable(&self, entry: &Address, now: u64) -> bool {
        let ban = millis(self.limits.ban);
        entry.open == 0
            && now >= entry.banned_until
            && (entry.strikes == 0 || now.saturating_sub(entry.struck_at) > ban)
            && self.tokens(entry, now) >= u64::from(self.limits.connects_at_once).saturating_mul(1_000)
    }

    /// A connection a second is a thousandth a millisecond.
    fn tokens(&self, entry: &Address, now: u64) -> u64 {
        let gained = now.saturating_sub(entry.at).saturating_mul(u64::from(self.limits.connects_per_sec));
        let full = u64::from(self.limits.connects_at_once).saturating_mul(1_000);
        entry.tokens.saturating_add(gained).min(full)
    }
}

/// Whoever has an address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::Ipv4Addr, time::Duration};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn guard() -> Guard {
        let limits =
            ServerLimits { per_address: 3, connects_per_sec: 2, connects_at_once: 5, strikes: 2, ..Default::default() };
        Guard::new(ServerLimits { ban: Duration::from_mins(1), ..limits })
    }

    #[test]
    fn an_address_has_so_many_connections_and_begins_so_many() {
        let guard = guard();
        let taken: Vec<_> = (0..4).map(|_| guard.admit(HERE, 0)).collect();
        assert_eq!(taken, [Ok(()), Ok(()), Ok(()), Err(Refusal::TooMany)]);
        assert_eq!(guard.admit(THERE, 0), Ok(()), "others have their own");
        (0..3).for_each(|_| guard.leave(HERE));
        assert_eq!([guard.admit(HERE, 0), guard.admit(HERE, 0)], [Ok(()), Ok(())]);
        guard.leave(HERE);
        assert_eq!(guard.admit(HERE, 400), Err(Refusal::TooOften));
        assert_eq!([guard.admit(HERE, 500), guard.admit(HERE, 500)], [Ok(()), Err(Refusal::TooOften)]);
    }

    #[test]
    fn bans_begin_after_strikes_and_end() {
        let guard = guard();
        guard.admit(HERE, 0).expect("nobody is banned");
        assert!(!guard.strike(HERE, 10));
        assert!(!guard.strike(HERE, 60_011), "the first is forgotten by then");
        assert!(guard.strike(HERE, 60_020));
        assert_eq!(guard.admit(HERE, 120_019), Err(Refusal::Banned));
        assert_eq!(guard.admit(THERE, 120_019), Ok(()));
        assert_eq!(guard.admit(HERE, 120_020), Ok(()));
    }

    #[test]
    fn neighbours_of_ipv6_are_one_address() {
        let guard = guard();
        let at = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        assert_eq!([1, 2, 3, 4].map(|last| guard.admit(at(last), 0).is_ok()), [true, true, true, false]);
        let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
        assert_eq!(network(mapped), HERE);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let guard = guard();
        let at = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
        let many = u32::try_from(MAX_ADDRESSES).expect("few");
        for n in 0..many {
            guard.admit(at(n), 0).expect("there is room");
            guard.leave(at(n));
        }
        assert_eq!(guard.admit(HERE, 0), Err(Refusal::Crowded), "all of them could have connected less");
        assert_eq!(guard.admit(HERE, 500), Ok(()));
        assert_eq!(guard.lock().len(), 1);
    }
}

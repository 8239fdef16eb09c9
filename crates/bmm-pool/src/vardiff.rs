//! Finds the difficulty at which a miner sends so many shares a minute as are wanted.

use crate::difficulty::{Limits, ShareDifficulty};

/// Hashes are counted over so long at most before the difficulty is judged, in milliseconds.
const WINDOW_MILLIS: u64 = 240_000;
/// Or until so much work was shown, in shares at the difficulty that holds.
const WINDOW_SHARES: u64 = 64;
/// A miner is judged at once after so many shares where it is far too fast.
const FAST_SHARES: u64 = 16;
/// How many times too fast that is.
const FAST_TIMES: u64 = 4;
/// A miner is judged at once where so many shares were due and none or hardly any came.
const SLOW_DUE: u64 = 9;
/// Most steps up at once.
const MAX_STEPS: i32 = 6;
/// Shares in thousandths.
const MILLI: u128 = 1_000;

/// Watches what a miner shows, and says when its difficulty should change. Times are in milliseconds of any one clock.
///
/// Steps are of a factor 2, so a miner at rest sends between wanted/√2 and wanted·√2 shares a minute. Work is counted in hashes: a
/// share that was handed out at another difficulty counts for what it is.
#[derive(Clone, Debug)]
pub struct Vardiff {
    per_minute: u64,
    since: u64,
    hashes: u128,
}

impl Vardiff {
    /// Begins to watch at `now`; `per_minute` shares are wanted, at least 1.
    pub fn new(per_minute: u32, now: u64) -> Self {
        Self { per_minute: u64::from(per_minute.max(1)), since: now, hashes: 0 }
    }

    /// Begins anew, as when the difficulty was changed.
    pub fn restart(&mut self, now: u64) {
        (self.since, self.hashes) = (now, 0);
    }

    /// Counts a share that takes `hashes` on average.
    pub fn count(&mut self, hashes: u64) {
        self.hashes = self.hashes.saturating_add(u128::from(hashes));
    }

    /// Returns the difficulty that should hold, where it is another than the one that does; counting begins anew then.
    pub fn judge(&mut self, now: u64, current: ShareDifficulty, limits: &Limits) -> Option<ShareDifficulty> {
        let elapsed = now.saturating_sub(self.since);
        // In thousandths of shares at the current difficulty: what came, and what was wanted in that time.
        let came = self.hashes.saturating_mul(MILLI).checked_div(u128::from(current.hashes())).unwrap_or_default();
        let wanted =
            u128::from(elapsed).saturating_mul(u128::from(self.per_minute)).checked_div(60).unwrap_or_default();
        let reached = |shares: u64, of: u128| of >= u128::from(shares).saturating_mul(MILLI);
        let times = |count: u128, n: u64| count.saturating_mul(u128::from(n));

        let fast = reached(FAST_SHARES, came) && came > times(wanted, FAST_TIMES);
        let slow = reached(SLOW_DUE, wanted) && times(came, FAST_TIMES) < wanted;
        let full = reached(WINDOW_SHARES, came) || elapsed >= WINDOW_MILLIS;
        if !(fast || slow || full) {
            return None;
        }
        let steps = if slow { -1 } else { steps(came, wanted) };
        self.restart(now);
        let next = current.stepped(steps, limits);
        (next != current).then_some(next)
    }
}

/// Steps of a factor 2 after which `came` is within a factor √2 of `wanted`: at most [`MAX_STEPS`] up and 1 down.
fn steps(came: u128, wanted: u128) -> i32 {
    let square = |n: u128| n.saturating_mul(n);
    // came > wanted · √2 · 2^k is came² > wanted² · 2 · 4^k.
    let (came, mut bound) = (square(came), square(wanted).saturating_mul(2));
    if came.saturating_mul(2) < square(wanted) {
        return -1;
    }
    let mut steps = 0;
    while steps < MAX_STEPS && came > bound {
        bound = bound.saturating_mul(4);
        steps = i32::saturating_add(steps, 1);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { least: ShareDifficulty::LEAST, greatest: ShareDifficulty::GREATEST };
    const PER_MINUTE: u32 = 17;

    /// A miner of `rate` hashes a second for `seconds`, whose shares come when their work is done. Returns its last difficulty, all
    /// difficulties there were, and the shares of the last half.
    fn run(rate: u64, seconds: u64, start: ShareDifficulty) -> (ShareDifficulty, Vec<ShareDifficulty>, u64) {
        let (mut vardiff, mut current) = (Vardiff::new(PER_MINUTE, 0), start);
        let (mut done, mut late, mut all) = (0, 0, vec![start]);
        for second in 1..=seconds {
            done += rate;
            while done >= current.hashes() {
                done -= current.hashes();
                vardiff.count(current.hashes());
                late += u64::from(second > seconds / 2);
                if let Some(next) = vardiff.judge(second * 1_000, current, &LIMITS) {
                    current = next;
                    all.push(next);
                }
            }
            if let Some(next) = vardiff.judge(second * 1_000, current, &LIMITS) {
                current = next;
                all.push(next);
            }
        }
        (current, all, late)
    }

    #[test]
    fn a_fast_miner_is_slowed_within_seconds() {
        // An ASIC of 10 GH/s that begins at difficulty 1: 150,000 shares a second.
        let (_, all, late) = run(10_000_000_000, 3_600, ShareDifficulty::whole(1));
        assert!(all.len() <= 8, "{all:?}");
        assert!((12 * 30..=24 * 30).contains(&late), "{late} shares in 30 minutes");
    }

    #[test]
    fn a_slow_miner_gets_easier_shares_though_it_sends_none() {
        let (last, _, late) = run(40_000, 7_200, ShareDifficulty::whole(65_536));
        assert!(last < ShareDifficulty::whole(4), "{last}");
        assert!((12 * 60..=24 * 60).contains(&late), "{late} shares in an hour");
    }

    #[test]
    fn in_flight_shares_of_another_difficulty_count_for_their_work() {
        let current = ShareDifficulty::whole(1_024);
        let mut vardiff = Vardiff::new(PER_MINUTE, 0);
        (0..200).for_each(|_| vardiff.count(ShareDifficulty::whole(1).hashes()));
        assert_eq!(vardiff.judge(10_000, current, &LIMITS), None, "200 easy shares are a fifth of one");
    }

    proptest! {
        #[test]
        fn every_miner_comes_to_rest_within_the_band(rate in 1_000u64..1_000_000_000_000, start in 1u32..1 << 20) {
            let (last, all, late) = run(rate, 14_400, ShareDifficulty::whole(start));
            let minutes = 120;
            prop_assert!((11 * minutes..=25 * minutes).contains(&late), "{late} shares in 2 h, at {last}, {all:?}");
        }

        #[test]
        fn steps_bring_it_within_the_root_of_two(came in 1u128..1 << 40, wanted in 1u128..1 << 40) {
            let steps = steps(came, wanted);
            prop_assert!((-1..=MAX_STEPS).contains(&steps));
            if steps > 0 && steps < MAX_STEPS {
                let came = came * came / (1 << (2 * steps));
                prop_assert!(came <= 2 * wanted * wanted && 4 * (came + 1) > 2 * wanted * wanted);
            }
        }

        #[test]
        fn limits_are_never_left(hashes in any::<u64>(), now in any::<u64>(), parts in 1u64..1 << 50) {
            let limits = Limits { least: ShareDifficulty::whole(4), greatest: ShareDifficulty::whole(1 << 20) };
            let mut vardiff = Vardiff::new(PER_MINUTE, 0);
            vardiff.count(hashes);
            if let Some(next) = vardiff.judge(now, ShareDifficulty::parts(parts), &limits) {
                prop_assert!(limits.least <= next && next <= limits.greatest);
            }
        }
    }
}

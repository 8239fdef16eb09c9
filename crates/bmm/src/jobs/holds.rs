//! Slots of a provider that services have instead of tasks.

use parking_lot::Mutex;
use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

/// How often it is looked whether a slot is free.
const LOOK: Duration = Duration::from_millis(50);

/// How a provider's slots are shared out.
#[derive(Clone, Debug)]
pub struct Holds(Arc<Mutex<Shares>>);

#[derive(Debug)]
struct Shares {
    all: u16,
    /// Held, or to be held as soon as tasks leave them.
    held: u16,
    /// Held slots that the provider knows of, and slots that run tasks, as it said last.
    known: u16,
    busy: u16,
}

/// A slot that no task gets; it goes back when this is dropped.
#[derive(Debug)]
pub struct Hold(Holds);

impl Holds {
    pub(super) fn new(all: u16) -> Self {
        Self(Arc::new(Mutex::new(Shares { all, held: 0, known: 0, busy: 0 })))
    }

    /// Takes a slot, waiting for a task to leave it; `None` if services have all of them, or tasks run on for longer than `patience`.
    pub fn take(&self, patience: Duration) -> Option<Hold> {
        let hold = {
            let mut shares = self.0.lock();
            let held = shares.held.checked_add(1).filter(|held| *held <= shares.all)?;
            shares.held = held;
            Hold(self.clone())
        };
        let began = Instant::now();
        loop {
            let shares = self.0.lock();
            if shares.known == shares.held && shares.busy <= shares.all.saturating_sub(shares.held) {
                return Some(hold);
            }
            drop(shares);
            if began.elapsed() > patience {
                return None;
            }
            sleep(LOOK);
        }
    }

    /// The provider says how many of its slots run tasks, and is told how many are held.
    pub(super) fn told(&self, known: u16, busy: u16) -> u16 {
        let mut shares = self.0.lock();
        (shares.known, shares.busy) = (known, busy);
        shares.held
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut shares = self.0.0.lock();
        shares.held = shares.held.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_taken_when_its_task_has_left_it() {
        let holds = Holds::new(2);
        holds.told(0, 2);
        let other = holds.clone();
        let taken = std::thread::spawn(move || other.take(Duration::from_mins(1)));
        while holds.told(0, 2) == 0 {
            sleep(LOOK);
        }
        assert!(!taken.is_finished());
        holds.told(1, 1);
        let hold = taken.join().expect("no panic").expect("a slot");
        assert!(holds.take(Duration::ZERO).is_none(), "a task runs on the other one");
        assert_eq!(holds.told(1, 0), 1);
        let last = {
            let other = holds.clone();
            let taken = std::thread::spawn(move || other.take(Duration::from_mins(1)));
            while holds.told(1, 0) < 2 {
                sleep(LOOK);
            }
            holds.told(2, 0);
            taken.join().expect("no panic").expect("a slot")
        };
        assert!(holds.take(Duration::from_mins(1)).is_none(), "there is no third");
        drop((hold, last));
        assert_eq!(holds.told(2, 0), 0);
    }
}

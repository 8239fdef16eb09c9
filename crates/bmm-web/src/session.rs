//! Who is the owner: sessions that began with the key.

use alloy_primitives::{B256, hex};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Most sessions; the one that was unused longest goes when one more begins.
const MAX_SESSIONS: usize = 64;
/// A session ends when it was unused for so long.
const UNUSED: Duration = Duration::from_hours(24);

/// Sessions by the value of their cookie.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Session>>);

struct Session {
    csrf: String,
    seen: Instant,
}

/// Returns 256 random bits in hexadecimal.
pub(crate) fn secret() -> String {
    hex::encode(B256::random())
}

/// Compares without telling by the time how much is the same.
pub(crate) fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

impl Sessions {
    /// Begins a session and returns its cookie.
    pub fn begin(&self) -> String {
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.seen.elapsed() < UNUSED);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.seen).map(|(cookie, _)| cookie.clone());
            sessions.remove(&oldest.unwrap_or_default());
        }
        let cookie = secret();
        sessions.insert(cookie.clone(), Session { csrf: secret(), seen: Instant::now() });
        cookie
    }

    /// Returns the token of a session's forms.
    pub fn csrf(&self, cookie: &str) -> Option<String> {
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(cookie).filter(|session| session.seen.elapsed() < UNUSED)?;
        session.seen = Instant::now();
        Some(session.csrf.clone())
    }

    /// Ends a session.
    pub fn end(&self, cookie: &str) {
        self.0.lock().remove(cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_too_many() {
        let sessions = Sessions::default();
        let first = sessions.begin();
        let token = sessions.csrf(&first).expect("it began");
        assert_eq!(token.len(), 64);
        for _ in 0..MAX_SESSIONS {
            sessions.begin();
        }
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS);
        assert_eq!(sessions.csrf(&first), None);
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd") && !same("abc", "ab"));
    }
}

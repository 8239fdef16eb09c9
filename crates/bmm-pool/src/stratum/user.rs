//! Who is paid, as miners' user names and passwords say it.

use crate::{difficulty::ShareDifficulty, share::MAX_WORKER_BYTES};
use alloy_primitives::Address;
use std::sync::Arc;

/// A user name, read: `0x…` (20 bytes) and perhaps `.worker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Who is paid.
    pub account: Address,
    /// The miner's own name for the machine; empty if it has none.
    pub worker: Arc<str>,
}

/// What is wrong with a user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Not an address.
    #[error("the user name must be an address of 0x and 40 hexadecimal digits, and may end in .worker")]
    NotAnAddress,
    /// Mixed case that is not the checksum's.
    #[error(
        "the address is mistyped: its capitals do not agree with its digits; copy it again, or write it in small letters"
    )]
    Checksum,
    /// Nobody has it.
    #[error("the address is zero, which nobody can spend from")]
    Zero,
    /// A name that cannot be kept.
    #[error("the worker's name must have at most {MAX_WORKER_BYTES} letters, digits, '-', '_', '.', ':' or '@'")]
    Worker,
}

impl User {
    /// Reads a user name.
    pub fn parse(name: &str) -> Result<Self, UserError> {
        let (address, worker) = name.split_once('.').unwrap_or((name, ""));
        let digits = address.strip_prefix("0x").filter(|digits| digits.len() == 40).ok_or(UserError::NotAnAddress)?;
        let account: Address = address.parse().map_err(|_| UserError::NotAnAddress)?;
        let mixed = digits.bytes().any(|b| b.is_ascii_uppercase()) && digits.bytes().any(|b| b.is_ascii_lowercase());
        if mixed && Address::parse_checksummed(address, None).is_err() {
            return Err(UserError::Checksum);
        }
        if account.is_zero() {
            return Err(UserError::Zero);
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte);
        if worker.len() > MAX_WORKER_BYTES || !worker.bytes().all(good) {
            return Err(UserError::Worker);
        }
        Ok(Self { account, worker: worker.into() })
    }
}

/// What a password may ask for; anything else in it is passed over, as miners write `x` there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Password {
    /// `d=N`: begin at this difficulty, and do not go below it.
    pub difficulty: Option<ShareDifficulty>,
}

impl Password {
    /// Reads a password: settings with commas, semicolons or spaces between them.
    pub fn parse(password: &str) -> Self {
        let number = |setting: &str| setting.trim().strip_prefix("d=").and_then(|number| number.parse().ok());
        let difficulty = password.split([',', ';', ' ']).find_map(number).and_then(ShareDifficulty::nearest);
        Self { difficulty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

    #[test]
    fn addresses_with_and_without_checksum() {
        let small = MIXED.to_ascii_lowercase();
        let capitals = format!("0x{}", MIXED[2..].to_ascii_uppercase());
        for name in [MIXED, &small, &capitals] {
            assert_eq!(User::parse(name).expect(name).account.to_string(), MIXED);
        }
        let mistyped = MIXED.replace("0x5a", "0x5A");
        assert_eq!(User::parse(&mistyped), Err(UserError::Checksum));
        let zero = format!("0x{}.rig", "0".repeat(40));
        assert_eq!(User::parse(&zero), Err(UserError::Zero));
        for name in
            ["", "0x", &MIXED[2..], &MIXED[..41], "0xzzAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "LTCaddress.rig"]
        {
            assert_eq!(User::parse(name), Err(UserError::NotAnAddress), "{name}");
        }
    }

    #[test]
    fn workers_are_named_after_the_point() {
        let worker = |name: &str| User::parse(&format!("{MIXED}.{name}")).map(|user| user.worker.to_string());
        assert_eq!(worker("rig-1.b"), Ok("rig-1.b".to_owned()));
        assert_eq!(worker(""), Ok(String::new()));
        assert_eq!(worker(&"w".repeat(32)), Ok("w".repeat(32)));
        for name in ["<b>", "a b", "ä", &"w".repeat(33)] {
            assert_eq!(worker(name), Err(UserError::Worker), "{name}");
        }
    }

    #[test]
    fn passwords_ask_for_difficulties() {
        let asked = |password| Password::parse(password).difficulty;
        assert_eq!(asked("d=1024"), Some(ShareDifficulty::whole(1_024)));
        assert_eq!(asked("x, d=0.5;stop"), ShareDifficulty::nearest(0.5));
        assert_eq!([asked("x"), asked("d=-1"), asked("d=NaN"), asked("id=8")], [None; 4]);
    }
}

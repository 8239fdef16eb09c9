//! Keys of machine-made identities, unsealed in files that only their owner can read: they hold what a person would not
//! miss, or what must be usable without a person.

use super::{parse_private_key, secret::read_secret_file, store::write_new};
use crate::failure::{Failure, IoContext, Outcome};
use alloy_primitives::hex;
use alloy_signer_local::PrivateKeySigner;
use std::path::Path;
use zeroize::Zeroizing;

/// Reads the private key in the file at `path`, or makes one from the system's randomness and writes it there (0600).
pub fn load_or_create_key(path: &Path) -> Outcome<PrivateKeySigner> {
    if !path.exists() {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).doing("create", dir)?;
        }
        let key = Zeroizing::new(PrivateKeySigner::random().to_bytes().0);
        let text = Zeroizing::new(format!("0x{}\n", hex::encode(*key)));
        // If another process was faster, its key counts.
        write_new(path, text.as_bytes())?;
    }
    load_key(path)
}

/// Reads the private key in the file at `path`.
pub fn load_key(path: &Path) -> Outcome<PrivateKeySigner> {
    let text = read_secret_file(path)?;
    parse_private_key(&text).map_err(|_| {
        Failure::config(format!("{} does not hold a private key", path.display()))
            .hint("the file was changed; restore it from a copy, or move it away to let a new key be made")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("deep").join("wallet.key");
        let made = load_or_create_key(&path).expect("made");
        let read = load_or_create_key(&path).expect("read");
        assert_eq!(made.address(), read.address());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).expect("exists").permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "0x12").expect("write");
        let failure = load_or_create_key(&path).expect_err("no key");
        assert!(failure.message.contains("wallet.key"), "{failure:?}");
    }
}

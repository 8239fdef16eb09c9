//! Wallets: private keys in password-sealed files, phrases to restore them from, and the plain keys of machine-made
//! identities.

mod keystore;
mod phrase;
mod plain;
mod secret;
mod store;

pub use phrase::{Phrase, derivation_path};
pub use plain::{load_key, load_or_create_key};
pub use secret::{Passwords, Secret, ask, is_interactive, read_secret_file, read_variable};
pub use store::{DEV_WALLET, Wallet, WalletStore, is_address};

use crate::failure::{Failure, Outcome};
use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use std::path::Path;

/// Reads an address; mixed case is checked against EIP-55, so that a typing error is found.
pub fn parse_address(text: &str) -> Outcome<Address> {
    let wrong = |what: &str| Failure::user(format!("{text:?} is not an address: {what}"));
    let digits = text.strip_prefix("0x").ok_or_else(|| wrong("it does not begin with 0x"))?;
    if digits.len() != 40 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong("0x and 40 hexadecimal digits are wanted"));
    }
    let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
    if mixed {
        return Address::parse_checksummed(text, None).map_err(|_| {
            wrong("its checksum (the pattern of capitals) does not fit")
                .hint("copy it again from its source; a digit is wrong")
        });
    }
    text.parse().map_err(|_| wrong("0x and 40 hexadecimal digits are wanted"))
}

/// Reads a private key: 64 hexadecimal digits, with or without 0x. The text never appears in the failure.
pub fn parse_private_key(text: &str) -> Outcome<PrivateKeySigner> {
    text.trim().parse().map_err(|_| {
        Failure::user("that is not a private key")
            .hint("a private key is 64 hexadecimal digits, with or without 0x in front")
    })
}

/// Opens a keystore file that another program wrote.
pub fn open_keystore_file(path: &Path, password: &Secret) -> Outcome<PrivateKeySigner> {
    let bytes = store::read_bounded(path)?;
    keystore::open(&bytes, password).map_err(|error| store::keystore_failure(path, &error))
}

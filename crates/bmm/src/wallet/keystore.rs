//! Ethereum keystore files, version 3 ("Web3 Secret Storage Definition"): a private key sealed by a password.
//!
//! What is written is what geth, ethers and `cast` read: scrypt, AES-128-CTR, and a MAC of Keccak-256. What is read may
//! come from any of them, so every parameter is bounded before it costs time or memory.

use aes::cipher::{KeyIvInit, StreamCipher};
use alloy_primitives::{Address, B128, B256, hex, keccak256};
use alloy_signer_local::PrivateKeySigner;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;

/// Largest keystore file that is read, in bytes; real ones have about 500.
pub const MAX_FILE_BYTES: u64 = 64 * 1024;

/// log2 of scrypt's N in files written here: 128 MiB and some tenths of a second for each guess of a password (OWASP's advice).
const LOG_N: u8 = 17;
const R: u32 = 8;
const P: u32 = 1;

/// Most memory that scrypt may ask for, in bytes.
const MAX_SCRYPT_BYTES: u64 = 1 << 29;
/// Most rounds of scrypt's mixing (N × r × p): sixteen times what is written here.
const MAX_SCRYPT_WORK: u64 = 1 << 24;
/// Most rounds of PBKDF2: about ten seconds.
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// Says why a keystore cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Not the JSON of a keystore.
    #[error("it is not a keystore of version 3: {0}")]
    Format(String),
    /// A field has a value that no wallet program writes.
    #[error("its field {field} is not supported: {reason}")]
    Unsupported {
        /// The field's path.
        field: &'static str,
        /// What would be.
        reason: &'static str,
    },
    /// The MAC does not fit.
    #[error("the password is wrong")]
    WrongPassword,
    /// The sealed bytes are no private key.
    #[error("the key inside is not a private key of secp256k1")]
    BadKey,
    /// The key belongs to another address than the file says.
    #[error("it names the address {named} but holds the key of {actual}")]
    OtherAddress {
        /// What the field `address` says.
        named: Address,
        /// The key's address.
        actual: Address,
    },
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    // Old wallets of ethers and of the presale write it in capitals.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    ciphertext: String,
    cipherparams: CipherParams,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt { dklen: u32, n: u32, r: u32, p: u32, salt: String },
    Pbkdf2 { dklen: u32, c: u32, prf: String, salt: String },
}

/// Seals `signer`'s key with `password` and returns the file's bytes.
pub fn seal(signer: &PrivateKeySigner, password: &str) -> Vec<u8> {
    let salt = hex::encode(B256::random());
    let kdf = Kdf::Scrypt { dklen: 32, n: 1 << LOG_N, r: R, p: P, salt };
    let derived = kdf.derive(password).expect("the parameters written here are within the bounds");
    let iv = B128::random();
    let mut sealed = Zeroizing::new(signer.to_bytes().0);
    apply_cipher(&derived, &iv, &mut sealed);
    let file = File {
        address: Some(hex::encode(signer.address())),
        crypto: Crypto {
            cipher: "aes-128-ctr".into(),
            ciphertext: hex::encode(*sealed),
            cipherparams: CipherParams { iv: hex::encode(iv) },
            kdf,
            mac: hex::encode(mac(&derived, &sealed)),
        },
        id: random_uuid(),
        version: 3,
    };
    serde_json::to_vec_pretty(&file).expect("a keystore is plain values")
}

/// Opens a keystore file's bytes with `password`.
pub fn open(bytes: &[u8], password: &str) -> Result<PrivateKeySigner, KeystoreError> {
    let file = parse(bytes)?;
    let crypto = &file.crypto;
    if crypto.cipher != "aes-128-ctr" {
        return Err(KeystoreError::Unsupported { field: "crypto.cipher", reason: "only aes-128-ctr is" });
    }
    let iv: B128 = fixed(&crypto.cipherparams.iv, "crypto.cipherparams.iv", "16 bytes of hexadecimal are")?;
    let mut key =
        Zeroizing::new(fixed::<B256>(&crypto.ciphertext, "crypto.ciphertext", "32 bytes of hexadecimal are")?.0);
    let expected: B256 = fixed(&crypto.mac, "crypto.mac", "32 bytes of hexadecimal are")?;
    let derived = crypto.kdf.derive(password)?;
    if mac(&derived, &key) != expected {
        return Err(KeystoreError::WrongPassword);
    }
    apply_cipher(&derived, &iv, &mut key);
    let signer = PrivateKeySigner::from_slice(&*key).map_err(|_| KeystoreError::BadKey)?;
    match file.named_address()? {
        Some(named) if named != signer.address() => {
            Err(KeystoreError::OtherAddress { named, actual: signer.address() })
        }
        _ => Ok(signer),
    }
}

/// Returns the address that a keystore file names, without opening it; `None` if the file leaves it out.
pub fn address(bytes: &[u8]) -> Result<Option<Address>, KeystoreError> {
    parse(bytes)?.named_address()
}

fn parse(bytes: &[u8]) -> Result<File, KeystoreError> {
    let file: File = serde_json::from_slice(bytes).map_err(|error| KeystoreError::Format(error.to_string()))?;
    if file.version != 3 {
        return Err(KeystoreError::Unsupported { field: "version", reason: "only 3 is" });
    }
    Ok(file)
}

impl File {
    fn named_address(&self) -> Result<Option<Address>, KeystoreError> {
        self.address.as_deref().map(|text| fixed(text, "address", "20 bytes of hexadecimal are")).transpose()
    }
}

impl Kdf {
    /// Derives 32 bytes from the password: 16 for the cipher, 16 for the MAC.
    fn derive(&self, password: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let unsupported = |field, reason| KeystoreError::Unsupported { field, reason };
        let mut derived = Zeroizing::new([0; 32]);
        let (Self::Scrypt { dklen, salt, .. } | Self::Pbkdf2 { dklen, salt, .. }) = self;
        if *dklen != 32 {
            return Err(unsupported("crypto.kdfparams.dklen", "only 32 is"));
        }
        let salt = hex::decode(salt).map_err(|_| unsupported("crypto.kdfparams.salt", "hexadecimal is"))?;
        match self {
            Self::Scrypt { n, r, p, .. } => {
                let params = scrypt_params(*n, *r, *p).ok_or(unsupported(
                    "crypto.kdfparams",
                    "scrypt with at most 512 MiB and 2^24 rounds, N a power of two, is",
                ))?;
                scrypt::scrypt(password.as_bytes(), &salt, &params, &mut *derived)
                    .expect("32 bytes are a valid length");
            }
            Self::Pbkdf2 { c, prf, .. } => {
                if prf != "hmac-sha256" {
                    return Err(unsupported("crypto.kdfparams.prf", "only hmac-sha256 is"));
                }
                if !(1..=MAX_PBKDF2_ROUNDS).contains(c) {
                    return Err(unsupported("crypto.kdfparams.c", "1 to 10,000,000 rounds are"));
                }
                pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, *c, &mut *derived);
            }
        }
        Ok(derived)
    }
}

fn scrypt_params(n: u32, r: u32, p: u32) -> Option<scrypt::Params> {
    let memory = u64::from(n).checked_mul(u64::from(r))?.checked_mul(128)?;
    let work = u64::from(n).checked_mul(u64::from(r))?.checked_mul(u64::from(p))?;
    let bounded = n >= 2 && n.is_power_of_two() && memory <= MAX_SCRYPT_BYTES && work <= MAX_SCRYPT_WORK;
    let log_n = u8::try_from(n.trailing_zeros()).ok()?;
    bounded.then(|| scrypt::Params::new(log_n, r, p).ok())?
}

fn mac(derived: &[u8; 32], sealed: &[u8; 32]) -> B256 {
    let mut input = Zeroizing::new([0; 48]);
    input[..16].copy_from_slice(&derived[16..]);
    input[16..].copy_from_slice(sealed);
    keccak256(input.as_slice())
}

fn apply_cipher(derived: &[u8; 32], iv: &B128, bytes: &mut [u8; 32]) {
    let key: &[u8; 16] = derived.first_chunk().expect("16 of 32 bytes");
    Aes128Ctr::new(key.into(), (&iv.0).into()).apply_keystream(bytes);
}

fn fixed<T: std::str::FromStr>(text: &str, field: &'static str, reason: &'static str) -> Result<T, KeystoreError> {
    text.parse().map_err(|_| KeystoreError::Unsupported { field, reason })
}

/// Returns a random UUID (RFC 9562, version 4): the format wants one, nothing reads it.
fn random_uuid() -> String {
    let mut bytes = B128::random().0;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::address;
    use proptest::prelude::*;

    /// Test vectors of the Web3 Secret Storage Definition.
    const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
        "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":262144,"r":1,"p":8,
        "salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
        "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const VECTOR_ADDRESS: Address = address!("008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b");

    fn with(field: &str, value: serde_json::Value) -> Vec<u8> {
        let mut json: serde_json::Value = serde_json::from_str(SCRYPT).expect("JSON");
        *json.pointer_mut(field).expect("a field") = value;
        serde_json::to_vec(&json).expect("JSON")
    }

    #[test]
    fn the_definitions_vectors_open() {
        for file in [PBKDF2, SCRYPT, &SCRYPT.replace("\"crypto\"", "\"Crypto\"")] {
            let signer = open(file.as_bytes(), "testpassword").expect("opens");
            assert_eq!(signer.address(), VECTOR_ADDRESS);
            assert_eq!(address(file.as_bytes()), Ok(None));
        }
        assert_eq!(open(PBKDF2.as_bytes(), "testpasswore").err(), Some(KeystoreError::WrongPassword));
    }

    #[test]
    fn an_independent_reader_opens_what_is_sealed() {
        let signer = PrivateKeySigner::random();
        let bytes = seal(&signer, "p\u{e4}ssword");
        assert_eq!(address(&bytes), Ok(Some(signer.address())));
        assert_eq!(open(&bytes, "p\u{e4}ssword"), Ok(signer.clone()));
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("key.json");
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(PrivateKeySigner::decrypt_keystore(&path, "p\u{e4}ssword").expect("opens"), signer);

        let mut json: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(json["id"].as_str().map(str::len), Some(36));
        assert_eq!(json["address"].as_str().map(str::len), Some(40), "geth writes it without 0x");
        json["address"] = hex::encode(VECTOR_ADDRESS).into();
        let bytes = serde_json::to_vec(&json).expect("JSON");
        let told = KeystoreError::OtherAddress { named: VECTOR_ADDRESS, actual: signer.address() };
        assert_eq!(open(&bytes, "p\u{e4}ssword"), Err(told));
    }

    #[test]
    fn hostile_parameters_cost_nothing() {
        let cases: [(&str, serde_json::Value); 9] = [
            ("/version", 4.into()),
            ("/crypto/cipher", "aes-256-gcm".into()),
            ("/crypto/cipherparams/iv", "00".into()),
            ("/crypto/ciphertext", "00".into()),
            ("/crypto/mac", "zz".into()),
            ("/crypto/kdfparams/dklen", 16.into()),
            ("/crypto/kdfparams/n", (1_u32 << 31).into()),
            ("/crypto/kdfparams/n", 0.into()),
            ("/crypto/kdfparams/p", u32::MAX.into()),
        ];
        for (field, value) in cases {
            let error = open(&with(field, value), "testpassword").expect_err(field);
            assert!(matches!(error, KeystoreError::Unsupported { .. }), "{field}: {error:?}");
        }
        let rounds = PBKDF2.replace("262144", &u32::MAX.to_string());
        assert!(matches!(open(rounds.as_bytes(), "x"), Err(KeystoreError::Unsupported { .. })));
        let truncated = SCRYPT.split_at(100).0.as_bytes();
        assert!(matches!(open(truncated, "x"), Err(KeystoreError::Format(_))));
    }

    proptest! {
        #[test]
        fn scrypt_is_bounded(n: u32, r: u32, p: u32) {
            if scrypt_params(n, r, p).is_some() {
                prop_assert!(u64::from(n) * u64::from(r) * 128 <= MAX_SCRYPT_BYTES);
                prop_assert!(u64::from(n) * u64::from(r) * u64::from(p) <= MAX_SCRYPT_WORK);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(address(&bytes).is_err());
        }
    }
}

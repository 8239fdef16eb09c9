//! The wallets of a data folder: one keystore file each, `NAME.json`, and the name of the default one in `default`.

use super::{
    keystore::{self, KeystoreError},
    parse_address,
    plain::load_key,
    secret::{Passwords, Secret},
};
use crate::{
    failure::{Failure, IoContext, Outcome},
    paths::write_atomically,
};
use alloy_primitives::Address;
use alloy_signer_local::PrivateKeySigner;
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// Name of the dev chain's own wallet, which has no password.
pub const DEV_WALLET: &str = "dev";

/// A wallet as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Address,
    /// The file of its key.
    pub file: PathBuf,
    /// Whether commands take it when no wallet is named.
    pub is_default: bool,
    /// Whether it opens without a password (the dev chain's).
    pub is_plain: bool,
}

/// The wallets of a data folder.
#[derive(Clone, Debug)]
pub struct WalletStore {
    dir: PathBuf,
    dev_key: Option<PathBuf>,
}

impl WalletStore {
    /// Takes the folder of the keystores; it need not exist yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, dev_key: None }
    }

    /// Adds the dev chain's wallet, whose plain key is or will be in the file `key`.
    #[must_use]
    pub fn with_dev_key(self, key: PathBuf) -> Self {
        Self { dev_key: Some(key), ..self }
    }

    /// Lists the wallets by name, the dev chain's last.
    pub fn list(&self) -> Outcome<Vec<Wallet>> {
        let names = self.names()?;
        let default = self.marked(&names)?;
        let mut wallets = Vec::with_capacity(names.len());
        for name in names {
            let is_default = default.as_ref() == Some(&name);
            wallets.push(Wallet {
                address: self.address(&name)?,
                file: self.file(&name),
                name,
                is_default,
                is_plain: false,
            });
        }
        if let Some(file) = self.dev_key_file() {
            let (name, address) = (DEV_WALLET.to_owned(), load_key(file)?.address());
            let is_default = default.is_none() && wallets.is_empty();
            wallets.push(Wallet { name, address, file: file.clone(), is_default, is_plain: true });
        }
        Ok(wallets)
    }

    /// Finds a wallet by its name or its address.
    pub fn find(&self, name_or_address: &str) -> Outcome<Wallet> {
        let found = if is_address(name_or_address) {
            let address = parse_address(name_or_address)?;
            self.list()?.into_iter().find(|wallet| wallet.address == address)
        } else {
            check_name(name_or_address)?;
            self.list()?.into_iter().find(|wallet| wallet.name == name_or_address)
        };
        found.ok_or_else(|| no_wallet(name_or_address))
    }

    /// Returns the wallet that commands take when none is named: the one marked as default, or the only one.
    pub fn default_wallet(&self) -> Outcome<Wallet> {
        let mut wallets = self.list()?;
        if let Some(position) = wallets.iter().position(|wallet| wallet.is_default) {
            return Ok(wallets.swap_remove(position));
        }
        if wallets.is_empty() {
            return Err(Failure::user("there is no wallet yet").hint("`bmm wallet new NAME` makes one"));
        }
        Err(Failure::user("no wallet is named, and none is the default").hint("`bmm wallet default NAME` chooses one"))
    }

    /// Finds the named wallet, or the default one if no name is given.
    pub fn choose(&self, name_or_address: Option<&str>) -> Outcome<Wallet> {
        name_or_address.map_or_else(|| self.default_wallet(), |name| self.find(name))
    }

    /// Returns the address of the wallet called `name`, without opening it.
    pub fn address(&self, name: &str) -> Outcome<Address> {
        let path = self.file(name);
        let address = keystore::address(&read_bounded(&path)?).map_err(|error| keystore_failure(&path, &error))?;
        address.ok_or_else(|| {
            Failure::config(format!("{} does not name its address", path.display()))
                .hint(format!("move it elsewhere and bring it in again: bmm wallet import {name} --keystore FILE"))
        })
    }

    /// Fails if no wallet can be created under `name`: a bad name, or one that is taken.
    pub fn check_free(&self, name: &str) -> Outcome {
        check_name(name)?;
        if name == DEV_WALLET {
            return Err(
                Failure::user("the name \"dev\" is kept for the dev chain's own wallet").hint("choose another name")
            );
        }
        if self.file(name).exists() { Err(taken(name)) } else { Ok(()) }
    }

    /// Seals `key` with `password` in a new file. The first wallet becomes the default one.
    pub fn create(&self, name: &str, key: &PrivateKeySigner, password: &Secret) -> Outcome<Wallet> {
        self.check_free(name)?;
        let is_first = self.names()?.is_empty();
        create_private_dir(&self.dir)?;
        let file = self.file(name);
        if !write_new(&file, &keystore::seal(key, password))? {
            return Err(taken(name));
        }
        if is_first {
            self.set_default(name)?;
        }
        Ok(Wallet { name: name.to_owned(), address: key.address(), file, is_default: is_first, is_plain: false })
    }

    /// Makes the wallet called `name` the default one.
    pub fn set_default(&self, name: &str) -> Outcome {
        check_name(name)?;
        if !self.file(name).exists() {
            return Err(no_wallet(name));
        }
        write_atomically(&self.marker(), format!("{name}\n").as_bytes())
    }

    /// Opens a wallet. The password is asked for only if the wallet has one.
    pub fn unlock(&self, name_or_address: &str, passwords: &Passwords) -> Outcome<PrivateKeySigner> {
        self.unlock_wallet(&self.find(name_or_address)?, passwords)
    }

    /// Opens a wallet of the list. The password is asked for only if the wallet has one.
    pub fn unlock_wallet(&self, wallet: &Wallet, passwords: &Passwords) -> Outcome<PrivateKeySigner> {
        if wallet.is_plain {
            return load_key(&wallet.file);
        }
        let bytes = read_bounded(&wallet.file)?;
        let password = passwords.existing(&format!("wallet {}", wallet.name))?;
        keystore::open(&bytes, &password).map_err(|error| match error {
            KeystoreError::WrongPassword => Failure::user(format!("the password of wallet {} is wrong", wallet.name))
                .hint("if it is lost, restore the wallet from its phrase: bmm wallet import NEWNAME"),
            error => keystore_failure(&wallet.file, &error),
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    fn marker(&self) -> PathBuf {
        self.dir.join("default")
    }

    fn dev_key_file(&self) -> Option<&PathBuf> {
        self.dev_key.as_ref().filter(|file| file.exists())
    }

    /// Names of the keystore files, sorted; other files of the folder are passed over.
    fn names(&self) -> Outcome<Vec<String>> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir).doing("list", &self.dir)? {
            let file_name = entry.doing("list", &self.dir)?.file_name();
            let name = file_name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(name) = name.filter(|name| check_name(name).is_ok()) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The default among the keystores: the marked one if it still exists, or the only one.
    fn marked(&self, names: &[String]) -> Outcome<Option<String>> {
        let path = self.marker();
        let text = if path.exists() { std::fs::read_to_string(&path).doing("read", &path)? } else { String::new() };
        let marked = names.iter().find(|name| name.as_str() == text.trim());
        Ok(marked.or_else(|| names.first().filter(|_| names.len() == 1)).cloned())
    }
}

/// Whether `text` is meant as an address rather than a name; names are too short to be one.
pub fn is_address(text: &str) -> bool {
    text.starts_with("0x")
}

/// Checks that a name is fit for a file on any system, and no address.
fn check_name(name: &str) -> Outcome {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good =
        (1..=32).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('-') && !is_address(name);
    if good {
        return Ok(());
    }
    Err(Failure::user(format!("{:?} is not a name for a wallet", name.chars().take(40).collect::<String>()))
        .hint("1 to 32 lower-case letters, digits and dashes, beginning with a letter or digit, and not with 0x"))
}

fn no_wallet(name_or_address: &str) -> Failure {
    Failure::user(format!("there is no wallet {name_or_address}"))
        .hint("`bmm wallet list` shows the wallets, `bmm wallet new NAME` makes one")
}

fn taken(name: &str) -> Failure {
    Failure::user(format!("there is already a wallet {name}"))
        .hint("choose another name; wallets are never overwritten")
}

/// Says what is wrong with a keystore file.
pub fn keystore_failure(path: &Path, error: &KeystoreError) -> Failure {
    let failure = Failure::user(format!("{}: {error}", path.display()));
    match error {
        KeystoreError::WrongPassword => failure,
        _ => failure.hint("keystore files of version 3 are wanted, as geth, ethers and `cast wallet` write them"),
    }
}

/// Reads a keystore file, if it is not too large to be one.
pub fn read_bounded(path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = keystore::MAX_FILE_BYTES;
    let file = std::fs::File::open(path).doing("open", path)?;
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes).doing("read", path)?;
    if u64::try_from(read).is_ok_and(|read| read > limit) {
        return Err(
            Failure::user(format!("{} is too large to be a keystore", path.display())).hint("is it the right file?")
        );
    }
    Ok(bytes)
}

/// Writes a file that must not exist yet, whole or not at all, readable by its owner only; `false` if it exists.
pub fn write_new(path: &Path, bytes: &[u8]) -> Outcome<bool> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).doing("write into", dir)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).doing("write", path)?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error.error).doing("write", path),
    }
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).doing("sync", dir)?;
    Ok(true)
}

fn create_private_dir(dir: &Path) -> Outcome {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).doing("create", dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn store() -> (TempDir, WalletStore) {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = WalletStore::new(dir.path().join("wallets")).with_dev_key(dir.path().join("wallet.key"));
        (dir, store)
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    fn default_name(store: &WalletStore) -> Option<String> {
        store.default_wallet().ok().map(|wallet| wallet.name)
    }

    #[test]
    fn a_wallet_opens_by_name_and_address_with_its_password_only() {
        let (_dir, store) = store();
        assert_eq!(store.list(), Ok(vec![]));
        let key = PrivateKeySigner::random();
        let wallet = store.create("savings", &key, &secret("one")).expect("created");
        assert_eq!(store.list(), Ok(vec![wallet.clone()]));
        assert_eq!(store.address("savings"), Ok(key.address()));
        for who in ["savings", &key.address().to_checksum(None), &format!("{:#x}", key.address())] {
            assert_eq!(store.unlock(who, &Passwords::Given(secret("one"))).expect("opens"), key);
        }
        let failure = store.unlock("savings", &Passwords::Given(secret("two"))).expect_err("another password");
        assert!(failure.message.contains("password of wallet savings is wrong"), "{failure:?}");
        assert!(store.find("other").expect_err("absent").message.contains("no wallet other"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
            assert_eq!((mode(&wallet.file), mode(&store.dir)), (0o600, 0o700));
        }
    }

    #[test]
    fn nothing_is_overwritten_and_names_are_plain() {
        let (_dir, store) = store();
        let (one, two) = (PrivateKeySigner::random(), PrivateKeySigner::random());
        store.create("a", &one, &secret("x")).expect("created");
        assert!(store.create("a", &two, &secret("x")).expect_err("taken").message.contains("already"));
        assert_eq!(store.address("a"), Ok(one.address()));
        assert_eq!(write_new(&store.file("a"), b"other"), Ok(false));
        let long = "x".repeat(33);
        for name in ["", "-a", "A", "a/b", "..", "a.b", "0xabc", "a b", "\u{e4}", "dev", &long] {
            assert!(store.check_free(name).is_err(), "{name:?}");
        }
        for name in ["default", "0", "a-", "z9-9", &long[1..]] {
            assert_eq!(store.check_free(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn the_default_is_the_first_until_another_is_chosen() {
        let (_dir, store) = store();
        assert_eq!(default_name(&store), None);
        let dev = super::super::load_or_create_key(store.dev_key.as_ref().expect("given")).expect("made");
        assert_eq!(default_name(&store).as_deref(), Some("dev"));
        assert_eq!(store.unlock("dev", &Passwords::Ask).expect("no password").address(), dev.address());
        for name in ["b", "a"] {
            store.create(name, &PrivateKeySigner::random(), &secret("x")).expect("created");
        }
        assert_eq!(default_name(&store).as_deref(), Some("b"));
        store.set_default("a").expect("chosen");
        assert_eq!(default_name(&store).as_deref(), Some("a"));
        assert!(store.set_default("c").is_err());
        let names: Vec<_> = store.list().expect("listed").into_iter().map(|wallet| wallet.name).collect();
        assert_eq!(names, ["a", "b", "dev"]);
        fs::remove_file(store.file("a")).expect("removed");
        assert_eq!(default_name(&store).as_deref(), Some("b"), "the only one that is left");
    }

    #[test]
    fn broken_files_are_named() {
        let (_dir, store) = store();
        create_private_dir(&store.dir).expect("created");
        fs::write(store.dir.join("notes.txt"), "no wallet").expect("written");
        assert_eq!(store.list(), Ok(vec![]));
        fs::write(store.file("broken"), "{}").expect("written");
        assert!(store.list().expect_err("broken").message.contains("broken.json"));
        let huge = vec![b' '; usize::try_from(keystore::MAX_FILE_BYTES).expect("small") + 1];
        fs::write(store.file("broken"), huge).expect("written");
        assert!(store.list().expect_err("huge").message.contains("too large"));
    }
}

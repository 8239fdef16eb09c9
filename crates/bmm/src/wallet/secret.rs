//! Where passwords and other secrets come from: a file, the environment, or a person at the terminal. Never the
//! command line, which other users of the machine can read.

use crate::failure::{Failure, IoContext, Outcome};
use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// A text that is wiped from memory when it is dropped.
pub type Secret = Zeroizing<String>;

/// Environment variable of the password.
const PASSWORD_VARIABLE: &str = "BMM_PASSWORD";
/// Largest file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4096;

/// Where the password of a wallet comes from. No `Debug`: it would show the password.
#[derive(Clone)]
pub enum Passwords {
    /// The first line of a file.
    File(PathBuf),
    /// Known already.
    Given(Secret),
    /// A person at the terminal.
    Ask,
}

impl Passwords {
    /// Chooses `file` if there is one, else `BMM_PASSWORD`, else the terminal.
    pub fn choose(file: Option<&Path>) -> Self {
        match (file, read_variable(PASSWORD_VARIABLE)) {
            (Some(file), _) => Self::File(file.to_owned()),
            (None, Some(password)) => Self::Given(password),
            (None, None) => Self::Ask,
        }
    }

    /// Gets the password of something that exists; `what` names it in the prompt.
    pub fn existing(&self, what: &str) -> Outcome<Secret> {
        match self {
            Self::File(path) => first_line(path),
            Self::Given(password) => Ok(password.clone()),
            Self::Ask => ask(&format!("Password of {what}: "), "a password", &password_options()),
        }
    }

    /// Gets a new password; a person types it twice.
    pub fn new_for(&self, what: &str) -> Outcome<Secret> {
        let password = match self {
            Self::File(_) | Self::Given(_) => self.existing(what)?,
            Self::Ask => {
                let options = password_options();
                let first = ask(&format!("New password of {what}: "), "a password", &options)?;
                let second = ask("The same again: ", "a password", &options)?;
                if first != second {
                    return Err(
                        Failure::user("the two passwords differ").hint("run the command again; nothing was written")
                    );
                }
                first
            }
        };
        if password.is_empty() {
            return Err(Failure::user("the password is empty")
                .hint("anybody who reads the wallet's file could spend from it; choose a password"));
        }
        Ok(password)
    }
}

/// Whether a person can be asked.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

/// Reads a secret from an environment variable; an empty one counts as absent.
pub fn read_variable(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
}

/// Reads a secret from a file, or from standard input if `path` is `-`.
pub fn read_secret_file(path: &Path) -> Outcome<Secret> {
    let mut text = Zeroizing::new(String::new());
    let limit = MAX_SECRET_BYTES.saturating_add(1);
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    let read = read.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::user(format!("there is no file {}", path.display())).hint("check the path")
        }
        std::io::ErrorKind::InvalidData => Failure::user(format!("{} is not a text", path.display())),
        _ => Err::<(), _>(error).doing("read", path).expect_err("it is an error"),
    })?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_SECRET_BYTES) {
        return Err(Failure::user(format!("{} has more than {MAX_SECRET_BYTES} bytes", path.display()))
            .hint("is it the right file?"));
    }
    Ok(text)
}

/// Asks the person at the terminal, without showing what is typed; `wanted` and `hints` speak when there is nobody to ask.
pub fn ask(prompt: &str, wanted: &str, hints: &[String]) -> Outcome<Secret> {
    if !is_interactive() {
        let failure = Failure::user(format!("{wanted} is needed, and there is no terminal to ask at"));
        return Err(hints.iter().fold(failure, Failure::hint));
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::user(format!("nothing was read from the terminal: {error}")))
}

fn password_options() -> [String; 1] {
    [format!("give it with --password-file FILE (its first line), or in the environment variable {PASSWORD_VARIABLE}")]
}

fn first_line(path: &Path) -> Outcome<Secret> {
    let text = read_secret_file(path)?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_is_its_first_line() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("password");
        for (bytes, password) in [("one two \r\nthree", "one two "), ("x", "x"), ("\nx", "")] {
            std::fs::write(&path, bytes).expect("write");
            let read = Passwords::File(path.clone()).existing("it").expect("readable");
            assert_eq!(*read, password);
        }
        assert!(Passwords::File(path.clone()).new_for("it").expect_err("empty").message.contains("empty"));
        std::fs::write(&path, "x".repeat(5000)).expect("write");
        assert!(Passwords::File(path.clone()).existing("it").expect_err("long").message.contains("4096"));
        std::fs::write(&path, [0xff, 0xfe]).expect("write");
        assert!(Passwords::File(path).existing("it").expect_err("binary").message.contains("not a text"));
        assert!(
            Passwords::File(dir.path().join("none")).existing("it").expect_err("absent").message.contains("no file")
        );
    }
}

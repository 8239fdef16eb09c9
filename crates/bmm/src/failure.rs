//! What goes wrong, told to a person: the kind, the cause, and what to do about it.

use std::process::ExitCode;

/// Whose business a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The input is wrong: arguments, a job file, a password.
    User,
    /// The configuration or the data folder is wrong.
    Config,
    /// The job ended without its result: the program failed, the budget or the deadline ran out.
    Job,
    /// This machine or this program failed.
    Internal,
}

/// A failure with its hints; what every command returns when it cannot do its work.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// Whose business it is.
    pub kind: Kind,
    /// One sentence: what is wrong, with the name of the field or file.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
}

/// Shorthand of the commands' results.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Makes a failure of the user's input.
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over errors that they have no more use for")]
    pub fn user(message: impl ToString) -> Self {
        Self { kind: Kind::User, message: message.to_string(), hints: Vec::new() }
    }

    /// Makes a failure of the configuration or the data folder.
    pub fn config(message: impl ToString) -> Self {
        Self { kind: Kind::Config, ..Self::user(message) }
    }

    /// Makes a failure of a job.
    pub fn job(message: impl ToString) -> Self {
        Self { kind: Kind::Job, ..Self::user(message) }
    }

    /// Makes a failure of this machine or this program.
    pub fn internal(message: impl ToString) -> Self {
        Self { kind: Kind::Internal, ..Self::user(message) }
    }

    /// Adds a hint.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over texts that they have no more use for")]
    pub fn hint(mut self, hint: impl ToString) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Returns the process's exit code: 1 user, 2 configuration (and clap's own usage errors), 3 job, 70 internal.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::User => 1,
            Kind::Config => 2,
            Kind::Job => 3,
            Kind::Internal => 70,
        })
    }
}

/// Adds the path and the deed to an I/O error.
pub trait IoContext<T> {
    /// Turns the error into a failure that says what was being done to which path.
    fn doing(self, deed: &str, path: &std::path::Path) -> Outcome<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn doing(self, deed: &str, path: &std::path::Path) -> Outcome<T> {
        self.map_err(|error| {
            let failure = Failure::internal(format!("cannot {deed} {}: {error}", path.display()));
            match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    failure.hint("check the permissions, or choose another folder with --data")
                }
                std::io::ErrorKind::StorageFull => {
                    failure.hint("free some disk space and run the command again; nothing is lost")
                }
                _ => failure,
            }
        })
    }
}

//! Commands of this program that the pages start, each a process of its own: it outlives the pages, and what ends it ends nothing else.

use super::desk::Desk;
use bmm_web::PageError;
use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The variable from which commands take a wallet's password.
const PASSWORD: &str = "BMM_PASSWORD";
/// Time between two looks at a process that begins.
const LOOK: Duration = Duration::from_millis(50);

/// Makes a command of this program over the data folder, in the folder `dir`; its own arguments follow.
pub(super) fn command(desk: &Desk, dir: &Path) -> Result<Command, PageError> {
    let mut command = Command::new(std::env::current_exe().map_err(|_| PageError::Internal)?);
    // Who opened the node's own wallet opened no other one.
    command.current_dir(dir).stdin(Stdio::null()).env_remove(PASSWORD);
    #[cfg(unix)]
    {
        // The interrupt that ends the node in its terminal is not meant for the job.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
    }
    command.arg("--data").arg(desk.data.root());
    if desk.config_file.exists() {
        command.arg("--config").arg(&*desk.config_file);
    }
    command.args(["--json", "--rpc", &desk.site.config.rpc_url]);
    Ok(command)
}

/// Hands a command the password that was typed, if one was.
pub(super) fn unlock(command: &mut Command, password: &str) {
    if !password.is_empty() {
        command.env(PASSWORD, password);
    }
}

/// Starts a command with `log` as its standard error, and waits until `ready` finds what it was started for, or it has ended well;
/// `None` when neither happens in time.
///
/// # Errors
/// [`PageError::Bad`] with what it said if it fails before.
pub(super) fn begin<T>(
    mut command: Command,
    log: &Path,
    within: Duration,
    ready: impl Fn() -> Option<T>,
) -> Result<Option<T>, PageError> {
    let errors = File::create(log).map_err(|_| PageError::Internal)?;
    let mut child = command.stdout(Stdio::null()).stderr(errors).spawn().map_err(|_| PageError::Internal)?;
    let since = Instant::now();
    let mut found = None;
    while since.elapsed() < within {
        let ended = child.try_wait().ok().flatten();
        found = ready();
        match ended {
            _ if found.is_some() => break,
            Some(status) if status.success() => return Ok(None),
            Some(_) => return Err(PageError::Bad(problem(&std::fs::read_to_string(log).unwrap_or_default()))),
            None => std::thread::sleep(LOOK),
        }
    }
    // Nobody waits for the process otherwise, and it would stay in the table of processes.
    std::thread::spawn(move || child.wait());
    Ok(found)
}

/// Takes the message out of what a command prints of a failure.
pub(super) fn problem(errors: &str) -> String {
    let start = errors.find('{').unwrap_or(0);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(errors.get(start..).unwrap_or_default()) else {
        return errors.chars().take(2_000).collect();
    };
    let failure = &value["error"];
    let hints = failure["hints"].as_array().into_iter().flatten().filter_map(|hint| hint.as_str());
    hints.fold(failure["message"].as_str().unwrap_or_default().to_owned(), |text, hint| format!("{text} – {hint}"))
}

//! Runs the binary.

use serde_json::Value;
use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a command may take before the test gives it up.
const PATIENCE: Duration = Duration::from_mins(3);

/// A data folder, and what is set in the environment of the commands that use it.
pub struct Bmm {
    pub dir: TempDir,
    env: Vec<(&'static str, String)>,
}

/// What a command left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bmm {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("temporary folder"), env: Vec::new() }
    }

    /// Sets an environment variable of the following commands.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    /// Writes a file beside the data folder and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        self.bytes(name, text.as_bytes())
    }

    /// Writes a file of any bytes beside the data folder and returns its path.
    pub fn bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs `bmm ARGS`, without a terminal, with nothing on standard input.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with_input(args, "")
    }

    /// Prepares `bmm --data … ARGS` in an environment that says nothing but what the test sets.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bmm"));
        command.arg("--data").arg(self.data()).args(args).current_dir(self.dir.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BMM_")) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG").envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `bmm ARGS` and leaves it running.
    pub fn spawn(&self, args: &[&str]) -> Running {
        let dir = tempfile::tempdir_in(self.dir.path()).expect("temporary folder");
        let file = |name: &str| File::create(dir.path().join(name)).expect("created");
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        Running { child: command.spawn().expect("the binary starts"), dir }
    }

    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        // A command that fails early closes the pipe before it is read.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        Ran::from(child.wait_with_output().expect("the binary ends"))
    }

    /// Runs a command that must succeed, with `--json`, and returns its object.
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[&["--json"], args].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    /// Runs a command that must fail with `code`, and returns what it says.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        ran.stderr
    }
}

/// A command that runs; killed when it is dropped.
pub struct Running {
    child: Child,
    dir: TempDir,
}

impl Running {
    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stdout")).expect("text")
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).expect("text")
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Sends a signal, such as "KILL".
    pub fn signal(&self, name: &str) {
        // It may be over already.
        let _ = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status();
    }

    /// Waits for its end; `None` if a signal ended it.
    pub fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return ExitStatus::code(&status);
            }
            assert!(start.elapsed() < PATIENCE, "bmm does not end: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, and returns what it left.
    pub fn wait(mut self) -> Ran {
        let code = self.end().expect("not killed");
        Ran { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Reads stdout as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON on stdout ({error}): {self:?}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self {
            code: output.status.code().expect("not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

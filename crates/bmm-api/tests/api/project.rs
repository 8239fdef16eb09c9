//! A project of OpenZeppelin's contracts in a folder of its own, as somebody would have it who builds on the chain; see `tests/js/project`.

use super::{node::Node, tools::Tools};
use alloy_primitives::hex;
use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest run of one of the programs; several times what they take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// The project, with the packages beside it.
pub struct Project {
    pub tools: Tools,
    folder: TempDir,
}

impl Project {
    /// Copies the project; none where a tool is missing.
    pub fn copy(packages: &[&str], programs: &[&str]) -> Option<Self> {
        let tools = Tools::with_packages(&[packages, &["@openzeppelin/contracts", "solc"]].concat(), programs)?;
        let folder = TempDir::new().expect("a folder");
        copy(&tools.scripts.join("project"), folder.path());
        symlink(&tools.modules, folder.path().join("node_modules")).expect("a link");
        Some(Self { tools, folder })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where one of the packages' programs is.
    pub fn program(&self, name: &str) -> PathBuf {
        self.tools.modules.join(".bin").join(name)
    }

    /// Runs a program in the project against `node` and returns what it prints; it must succeed.
    pub fn run(&self, node: &Node, command: &mut Command) -> String {
        let output = self.try_run(node, command);
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(output.status.success(), "{command:?}: {out}\n{err}");
        out.into_owned()
    }

    /// Runs a program in the project against `node`, however it ends, as long as it ends in time.
    pub fn try_run(&self, node: &Node, command: &mut Command) -> Output {
        command
            .current_dir(self.path())
            .env("RPC_URL", node.url())
            .env("ETH_RPC_URL", node.url())
            .env("WS_URL", format!("ws://{}", node.address))
            .env("PRIVATE_KEY", hex::encode_prefixed(node.key.to_bytes()))
            // Settings and caches of whoever runs the tests stay out of them.
            .env("HOME", self.path().join("home"))
            .env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true")
            .env("NO_COLOR", "1");
        finish(command, PATIENCE)
    }
}

/// Copies a folder's files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("a kind").is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}

/// Runs a program to its end; a program that takes longer than `limit` is ended, and fails the test.
fn finish(command: &mut Command, limit: Duration) -> Output {
    let [mut out, mut err] = [(); 2].map(|()| tempfile::tempfile().expect("a file"));
    let handle = |file: &File| file.try_clone().expect("a handle");
    let mut child = command.stdout(handle(&out)).stderr(handle(&err)).spawn().expect("the program starts");
    let start = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break Some(status),
            None if start.elapsed() > limit => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if status.is_none() {
        child.kill().expect("a child");
        child.wait().expect("a child");
    }
    let [stdout, stderr] = [&mut out, &mut err].map(read_all);
    let Some(status) = status else {
        let [out, err] = [&stdout, &stderr].map(|bytes| String::from_utf8_lossy(bytes));
        panic!("{command:?} was still running after {limit:?}: {out}\n{err}")
    };
    Output { status, stdout, stderr }
}

fn read_all(file: &mut File) -> Vec<u8> {
    use std::io::{Seek as _, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("a file");
    file.read_to_end(&mut bytes).expect("a file");
    bytes
}

#[test]
fn documented_configurations_are_the_tested_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("../../docs/tools.md")).expect("the document");
    for name in ["hardhat.config.cjs", "foundry.toml"] {
        let file = fs::read_to_string(root.join("tests/js/project").join(name)).expect("the file");
        assert!(document.contains(&file), "docs/tools.md shows another {name} than tests/js/project has");
    }
}

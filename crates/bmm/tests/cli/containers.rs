//! Jobs whose program is a container image, between strangers. They take root, `runc` and `busybox-static`.
#![expect(clippy::print_stderr, reason = "it says why it is skipped")]

use crate::{
    chain::Chain,
    network::{Provider, until},
    run::Bmm,
};
use std::path::{Path, PathBuf};

/// A configuration with containers, and the folder that they live in; it goes with the test.
pub struct Place {
    folder: PathBuf,
    pub config: String,
}

impl Place {
    /// Says why there is none where this machine cannot run containers.
    pub fn new(name: &str) -> Option<Self> {
        let runc = std::process::Command::new("runc").arg("--version").output().is_ok();
        let able = runc && Path::new("/bin/busybox").exists() && Path::new("/sys/fs/cgroup/pids").is_dir();
        if !able || !is_root() {
            eprintln!("skipped: containers take root, runc, busybox-static and control groups of version 1");
            return None;
        }
        let folder = PathBuf::from(format!("/var/lib/bmm-tests-{name}-{}", std::process::id()));
        let config = format!("[provide]\ncontainers = true\ncontainers_dir = \"{}\"\n", folder.display());
        Some(Self { folder, config })
    }

    /// A requester whose own runs are in the same place.
    pub fn requester(&self) -> Bmm {
        let bmm = Bmm::new();
        std::fs::create_dir_all(bmm.data()).expect("a folder");
        std::fs::write(bmm.data().join("config.toml"), &self.config).expect("written");
        bmm
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(bytes.len()).expect("small"));
    header.set_mode(0o755);
    archive.append_data(&mut header, name, bytes).expect("to memory");
}

/// Returns the archive of an image with a shell that takes a script.
pub fn shell() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "bin/busybox", &std::fs::read("/bin/busybox").expect("busybox"));
    for folder in ["in", "out", "proc", "dev", "tmp", "data"] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        layer.append_data(&mut header, folder, &[][..]).expect("to memory");
    }
    let layer = layer.into_inner().expect("to memory");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Entrypoint":["/bin/busybox","sh","-c"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{:x}"]}}}}"#,
        bmm_types::ContentHash::of(&layer).0
    );
    let mut image = tar::Builder::new(Vec::new());
    add(&mut image, "manifest.json", br#"[{"Config":"config.json","Layers":["layer.tar"]}]"#);
    add(&mut image, "config.json", config.as_bytes());
    add(&mut image, "layer.tar", &layer);
    image.into_inner().expect("to memory")
}

fn job(bmm: &Bmm, script: &str, tasks: u32, more: &str) -> String {
    bmm.bytes("shell.tar", &shell());
    bmm.file("given.txt", "given\n");
    let text = format!(
        "app = \"oci:./shell.tar\"\nargs = ['{script}', \"sh\", \"{{n}}\"]\ninputs = {{ \"a.txt\" = \"given.txt\" }}\n\
         split = {{ n = {{ range = \"0..{tasks}\" }} }}\noutput = {{ file = \"out.txt\" }}\n{more}"
    );
    bmm.file("job.toml", &text).to_str().expect("UTF-8").to_owned()
}

/// What of a process's containers is on the host: control groups, mounts and files.
fn left(pid: u64, folder: &Path) -> Vec<String> {
    let prefix = format!("bmm-{pid}-");
    let mut left = Vec::new();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten() {
        for group in std::fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
            if group.file_name().to_string_lossy().starts_with(&prefix) {
                left.push(group.path().display().to_string());
            }
        }
    }
    let own = folder.join(prefix.trim_end_matches('-'));
    let own = own.to_str().expect("UTF-8");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    left.extend(mounts.lines().filter(|line| line.contains(own)).map(str::to_owned));
    let files =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path().display().to_string());
    left.extend(files.filter(|path| path.starts_with(own)));
    left
}

/// Counts the tasks of a process that are in a container now.
fn running(pid: u64) -> usize {
    let groups = std::fs::read_dir("/sys/fs/cgroup/pids").expect("control groups").flatten();
    let prefix = format!("bmm-{pid}-");
    let ours = groups.filter(|group| {
        let name = group.file_name().to_string_lossy().into_owned();
        name.starts_with(&prefix) && name.contains("-task-")
    });
    ours.filter(|group| std::fs::read_to_string(group.path().join("0/cgroup.procs")).is_ok_and(|ids| !ids.is_empty()))
        .count()
}

#[test]
fn strangers_run_a_container_and_agree() {
    let Some(place) = Place::new("agree") else { return };
    let bmm = place.requester();
    let chain = Chain::up(&bmm);
    let first = Provider::with(&chain, None, &place.config);
    let second = Provider::with(&chain, Some(&first), &place.config);
    let without = Provider::with(&chain, Some(&first), "");
    let more = "deterministic = true\n[verify]\nmode = \"replicate\"\n";
    let file =
        job(&bmm, "read -r x < /in/a.txt; echo $1 $x; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done", 6, more);
    let args = ["--json", "run", file.as_str(), "--bootstrap", &first.address, "--out", "out"];
    until("three offers", || {
        let listed = bmm.json(&["market", "offers", "--bootstrap", &first.address, "--no-mdns", "--wait", "1"]);
        (listed["offers"].as_array().map(Vec::len) == Some(3)).then_some(())
    });
    let receipt = bmm.spawn(&args).wait().json();
    assert_eq!((&receipt["status"], &receipt["done"]), (&"settled".into(), &6.into()), "{receipt}");
    let output = std::fs::read_to_string(bmm.dir.path().join("out/out.txt")).expect("the output");
    let expected: Vec<String> = (0..6).map(|n| format!("{n} given")).collect();
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
    let paid = receipt["providers"].as_array().expect("a list");
    assert_eq!(paid.len(), 2, "every task ran on both: {receipt}");
    // Both measured their own time, but the same work is paid alike.
    assert!(paid[0]["fuel"].as_u64() > Some(0) && paid[0]["pay_bmm"] == paid[1]["pay_bmm"], "{receipt}");
    let explained = bmm.json(&["job", "explain", receipt["job"].as_str().expect("an id")]);
    assert_eq!((&explained["providers"], &explained["matching"]), (&3.into(), &2.into()), "{explained}");
    assert!(explained.to_string().contains("the container runtime"), "{explained}");
    drop((second, without));
}

#[test]
fn a_provider_that_is_killed_leaves_ten_containers_and_its_next_start_none() {
    let Some(place) = Place::new("killed") else { return };
    let bmm = place.requester();
    let chain = Chain::up(&bmm);
    let hub = Provider::with(&chain, None, "");
    let mut provider = Provider::with_slots(&chain, Some(&hub), &place.config, "10");
    let pid = provider.pid();
    let file = job(
        &bmm,
        "/bin/busybox sleep 4; echo $1",
        10,
        "[limits]\nmemory = \"16 MiB\"\noutput = \"1 MiB\"\n[verify]\nmode = \"none\"\n",
    );
    let mut run = bmm.spawn(&["--json", "run", &file, "--bootstrap", &hub.address, "--out", "out"]);
    until("ten tasks at once", || {
        assert!(run.lives(), "bmm run ended before that: {} {}", run.stdout(), run.stderr());
        (running(pid) == 10).then_some(())
    });
    provider.kill();
    assert!(running(pid) > 0 && !left(pid, &place.folder).is_empty(), "a killed process cannot clean up");
    provider.restart(&chain, Some(&hub), "10");
    assert_eq!(left(pid, &place.folder), Vec::<String>::new());
    let receipt = run.wait().json();
    assert_eq!((&receipt["status"], &receipt["done"]), (&"settled".into(), &10.into()), "{receipt}");
    let output = std::fs::read_to_string(bmm.dir.path().join("out/out.txt")).expect("the output");
    assert_eq!(output.lines().collect::<Vec<_>>(), (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn an_engine_that_is_wrong_or_silent_is_told_with_the_remedy() {
    let bmm = Bmm::new();
    let told = bmm.fails(2, &["provide", "--engine", "tcp://127.0.0.1:2375"]);
    assert!(told.contains("--engine") && told.contains("unix:///run/podman/podman.sock"), "{told}");
    let config = |text: &str| bmm.file("config.toml", text).to_str().expect("UTF-8").to_owned();
    let wrong = config("[provide]\nengine = \"podman.sock\"\n");
    let told = bmm.fails(2, &["--config", &wrong, "config", "show"]);
    assert!(told.contains("engine = ") && told.contains("unix:///run/podman/podman.sock"), "{told}");
    let silent = config(&format!("[provide]\nengine = \"{}/podman.sock\"\n", bmm.dir.path().display()));
    let mut image = [0; 512];
    image[257..262].copy_from_slice(b"ustar");
    bmm.bytes("shell.tar", &image);
    let job = bmm.file("job.toml", "app = \"oci:./shell.tar\"\n");
    let told = bmm.fails(2, &["--config", &silent, "run", job.to_str().expect("UTF-8")]);
    assert!(told.contains("provide.engine") && told.contains("podman system service"), "{told}");
}

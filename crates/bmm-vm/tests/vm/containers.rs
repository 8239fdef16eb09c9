//! Hostile programs in real containers: each is stopped, and nothing of it is left on the host.
#![expect(clippy::print_stderr, reason = "it says why it is skipped")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bmm_vm::container::{
    ContainerError, Containers, Devices, Image, Service, ServiceInput, Share, VolumeInput, is_image,
};
use bmm_vm::{Exit, InputSet, LimitKind, Limits, Outcome, StopFlag, TaskInput};
use serde_json::json;
use sha2::Digest as _;

/// Where the tests keep their containers; every container's user must be able to reach it.
const STATE: &str = "/var/lib/bmm-container-tests";

/// Lets one of these tests run at a time, as they look for what is left of all of them.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns an image of a shell, or says why there is none.
pub fn shell() -> Option<(Containers, Arc<Image>)> {
    let containers = match Containers::open(Path::new(STATE), 1_000_000_000, Devices::default()) {
        Ok(containers) => containers,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        eprintln!("skipped: /bin/busybox was not found; install busybox-static");
        return None;
    };
    let image = containers.prepare(&archive(&busybox)).expect("the image is sound");
    Some((containers, image))
}

pub fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o4755);
    archive.append_data(&mut header, name, bytes).expect("to memory");
}

pub fn layer(busybox: &[u8]) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "bin/busybox", busybox);
    for folder in ["in", "out", "proc", "dev", "tmp"] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        layer.append_data(&mut header, folder, &[][..]).expect("to memory");
    }
    layer.into_inner().expect("to memory")
}

pub fn archive(busybox: &[u8]) -> Vec<u8> {
    let mut image = tar::Builder::new(Vec::new());
    let config = br#"{"config":{"Entrypoint":["/bin/busybox","sh","-c"],"Env":["PATH=/bin"]}}"#;
    add(&mut image, "manifest.json", br#"[{"Config":"config.json","Layers":["layer.tar"]}]"#);
    add(&mut image, "config.json", config);
    add(&mut image, "layer.tar", &layer(busybox));
    image.into_inner().expect("to memory")
}

pub fn limits() -> Limits {
    Limits { memory_bytes: 64 << 20, output_bytes: 1 << 20, time: Duration::from_secs(3), ..Limits::default() }
}

pub fn run(image: &Image, script: &str) -> Outcome {
    let args = ["busybox() { /bin/busybox \"$@\"; }; ".to_owned() + script];
    let inputs = InputSet::builder().file("a.txt", b"given".to_vec()).expect("a path").build();
    let task = TaskInput { args: &args, inputs: &inputs, stdin: b"typed", limits: limits(), ..TaskInput::new() };
    image.run(&task, &Share::default(), &StopFlag::new()).expect("the host can run it")
}

/// Control groups and mounts of this test's process that are still there.
pub fn left() -> Vec<String> {
    let prefix = format!("bmm-{}-", std::process::id());
    let mut left = Vec::new();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        for group in std::fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
            if group.file_name().to_string_lossy().starts_with(&prefix) {
                left.push(group.path().display().to_string());
            }
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    left.extend(mounts.lines().filter(|line| line.contains(STATE)).map(str::to_owned));
    left
}

#[test]
fn containers_run_hostile_programs_and_leave_nothing() {
    let _turn = turn();
    let Some((containers, image)) = shell() else { return };
    let good = run(&image, "busybox cat /in/a.txt; busybox cat; echo made > /out/b.txt");
    assert_eq!((good.exit, good.stdout.as_slice()), (Exit::Ok, &b"giventyped"[..]), "{good:?}");
    assert_eq!(good.outputs.get("b.txt").map(Vec::as_slice), Some(&b"made\n"[..]));
    assert!(good.fuel > 0 && good.peak_memory_bytes > 0);
    assert_eq!(run(&image, "exit 7").exit, Exit::Code(7));

    for (name, script, kind) in [
        ("endless loop", "while :; do :; done", LimitKind::Time),
        ("fork bomb", "f() { f | f & }; f; busybox sleep 1; exit 1", LimitKind::Processes),
        ("zombie storm", "while :; do busybox sleep 60 & done", LimitKind::Processes),
        ("memory bomb", "x=aaaaaaaa; while :; do x=$x$x; done", LimitKind::Memory),
        ("disk fill", "busybox dd if=/dev/zero of=/out/big bs=4096 count=100000", LimitKind::Output),
        ("endless output", "busybox yes", LimitKind::Output),
    ] {
        let outcome = run(&image, script);
        assert_eq!(outcome.exit, Exit::Limit(kind), "{name}: {}", String::from_utf8_lossy(&outcome.stderr));
    }
    for (name, script) in [
        ("write outside", "echo x > /bin/evil"),
        ("write to the inputs", "echo x > /in/a.txt"),
        ("network", "busybox grep -v -e lo: -e '|' /proc/net/dev"),
        ("mount", "busybox mount -t tmpfs none /tmp"),
        ("kernel module", "busybox insmod /in/a.txt"),
        ("device node", "busybox mknod /tmp/disk b 8 0"),
        ("memory of the kernel", "busybox cat /dev/mem"),
        ("kernel setting", "echo x > /proc/sys/kernel/hostname"),
        ("new name space", "busybox unshare -U busybox true"),
        ("privileged program", "test -u /bin/busybox"),
    ] {
        let outcome = run(&image, script);
        assert!(matches!(outcome.exit, Exit::Code(1..)), "{name}: {outcome:?}");
    }
    let link = run(&image, "busybox ln -s /etc/passwd /out/link");
    assert!(link.exit.is_ok() && link.outputs.is_empty(), "a link is no output: {link:?}");
    assert_eq!(left(), Vec::<String>::new());
    drop((image, containers));
}

/// Runs a script in the task's container and two more, on two cores.
fn run_three(image: &Image, script: &str, limits: Limits) -> Outcome {
    let args = ["busybox() { /bin/busybox \"$@\"; }; ".to_owned() + script];
    let task = TaskInput { args: &args, limits, ..TaskInput::new() };
    let share = Share { cores: 2, workers: 2, ..Share::default() };
    image.run(&task, &share, &StopFlag::new()).expect("the host can run it")
}

#[test]
fn workers_share_a_network_and_limits_and_end_with_the_task() {
    let _turn = turn();
    let Some((containers, image)) = shell() else { return };
    let script = r#"case $BMM_RANK in
        0) busybox nc -l -p 7000 > /tmp/got
           until test -s /out/of2; do busybox sleep 0.02; done
           busybox cat /tmp/got; echo "$BMM_WORKERS workers, $BMM_CORES cores"
           busybox grep -v -e lo: -e '|' /proc/net/dev; true;;
        1) until echo "from 1" | busybox nc 127.0.0.1 7000; do busybox sleep 0.02; done; busybox sleep 100;;
        2) echo here > /out/of2; while :; do :; done;;
    esac"#;
    let outcome = run_three(&image, script, limits());
    assert_eq!(outcome.exit, Exit::Ok, "{outcome:?}");
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "from 1\n2 workers, 2 cores\n");
    assert!(outcome.wall < Duration::from_secs(3), "the workers end with it: {:?}", outcome.wall);
    assert_eq!(left(), Vec::<String>::new());

    let alone = "if test $BMM_RANK = 0; then busybox sleep 2; exit 1; fi; ";
    for (name, script, limits, kind) in [
        (
            "fork bomb",
            "f() { f | f & }; f; busybox sleep 9",
            Limits { memory_bytes: 512 << 20, ..limits() },
            LimitKind::Processes,
        ),
        ("memory bomb", "x=aaaaaaaa; while :; do x=$x$x; done", limits(), LimitKind::Memory),
        ("disk fill", "busybox dd if=/dev/zero of=/out/big bs=4096 count=100000", limits(), LimitKind::Output),
        ("busy", "while :; do :; done", Limits { fuel: Some(1_000_000_000), ..limits() }, LimitKind::Fuel),
    ] {
        let outcome = run_three(&image, &format!("{alone}{script}"), limits);
        assert_eq!(outcome.exit, Exit::Limit(kind), "{name}: {}", String::from_utf8_lossy(&outcome.stderr));
    }
    assert_eq!(run_three(&image, "exit 3", limits()).exit, Exit::Code(3), "it may end before they begin");
    let failed =
        run_three(&image, "test $BMM_RANK = 0 || { echo lost >&2; exit 1; }; busybox sleep 1; exit 4", limits());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("worker 2: lost"), "{failed:?}");
    assert_eq!(left(), Vec::<String>::new());
    drop((image, containers));
}

/// Writes a blob of an OCI layout and returns what names it.
fn blob(folder: &Path, bytes: &[u8]) -> serde_json::Value {
    let hex = format!("{:x}", sha2::Sha256::digest(bytes));
    std::fs::write(folder.join("blobs/sha256").join(&hex), bytes).expect("the folder is there");
    serde_json::json!({ "digest": format!("sha256:{hex}"), "size": bytes.len() })
}

#[test]
fn a_compressed_layout_of_several_architectures_runs() {
    let _turn = turn();
    let Some((containers, _)) = shell() else { return };
    let busybox = std::fs::read("/bin/busybox").expect("it was there");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("blobs/sha256")).expect("a folder");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&layer(&busybox)).expect("to memory");
    let layer = blob(folder.path(), &gzip.finish().expect("to memory"));
    let config = blob(folder.path(), br#"{"config":{"Entrypoint":["/bin/busybox","echo","of the layout"]}}"#);
    let manifest = blob(folder.path(), json!({ "config": config, "layers": [layer] }).to_string().as_bytes());
    let mut ours = manifest.clone();
    ours["platform"] = json!({ "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" } });
    let other = json!({ "digest": "sha256:00", "platform": { "architecture": "s390x" } });
    let choices = blob(folder.path(), json!({ "manifests": [other, ours] }).to_string().as_bytes());
    std::fs::write(folder.path().join("index.json"), json!({ "manifests": [choices] }).to_string()).expect("a file");
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", folder.path()).expect("to memory");
    let bytes = archive.into_inner().expect("to memory");
    assert!(is_image(&bytes));
    let image = containers.prepare(&bytes).expect("it is sound");
    let outcome = image.run(&TaskInput::new(), &Share::default(), &StopFlag::new()).expect("the host can run it");
    assert_eq!((outcome.exit, outcome.stdout.as_slice()), (Exit::Ok, &b"of the layout\n"[..]), "{outcome:?}");
}

#[test]
fn a_task_gets_the_device_that_a_specification_names_and_no_other() {
    let Some((containers, image)) = shell() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let spec = r#"{ "cdiVersion": "0.6.0", "kind": "example.org/harmless",
        "devices": [{ "name": "0", "containerEdits": { "deviceNodes": [{ "path": "/dev/harmless", "hostPath": "/dev/null" }] } },
                    { "name": "1", "containerEdits": { "deviceNodes": [{ "path": "/dev/other", "hostPath": "/dev/zero" }] } }],
        "containerEdits": { "env": ["DEVICE=given"] } }"#;
    std::fs::write(folder.path().join("harmless.json"), spec).expect("written");
    let find = |name: &str| Devices::find(&[name.to_owned()], &[folder.path()]);
    let list = |share: &Share| {
        let args = ["for d in /dev/*; do echo $d; done; echo $DEVICE; echo x > /dev/harmless && test -c /dev/harmless"
            .to_owned()];
        let task = TaskInput { args: &args, limits: limits(), ..TaskInput::new() };
        let outcome = image.run(&task, share, &StopFlag::new()).expect("the host can run it");
        (outcome.exit, String::from_utf8(outcome.stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (without, plain) = list(&Share::default());
    assert_eq!(without, Exit::Code(1), "without the device");
    let (with, given) =
        list(&Share { devices: find("example.org/harmless=0").expect("it is named"), ..Share::default() });
    assert_eq!(with, Exit::Ok, "{given:?}");
    let more: Vec<&str> = given.iter().filter(|line| !plain.contains(line)).map(String::as_str).collect();
    assert_eq!(
        (more, plain.iter().all(|line| given.contains(line) || line.is_empty())),
        (vec!["/dev/harmless", "given"], true)
    );
    // A second with a device counts beside the time on cores, and two tasks do not have it at once.
    let rated = find("example.org/harmless=0").expect("it is named").rated(1_000_000_000_000);
    let share = Share { devices: rated, ..Share::default() };
    let nap = || {
        let args = ["/bin/busybox sleep 1".to_owned()];
        let task = TaskInput { args: &args, limits: limits(), ..TaskInput::new() };
        image.run(&task, &share, &StopFlag::new()).expect("the host can run it")
    };
    let began = std::time::Instant::now();
    let naps = std::thread::scope(|scope| [scope.spawn(nap), scope.spawn(nap)].map(|nap| nap.join().expect("a nap")));
    assert!(began.elapsed() >= std::time::Duration::from_secs(2), "one after the other");
    for outcome in naps {
        assert!(outcome.exit.is_ok() && outcome.fuel >= 1_000_000_000_000, "{outcome:?}");
    }
    let message = find("nvidia.com/gpu=0").expect_err("there is none").to_string();
    assert!(
        message.contains("nvidia.com/gpu=0") && message.contains(folder.path().to_str().expect("text")),
        "{message}"
    );
    drop((image, containers));
}

#[test]
fn calls_that_work_outside_are_refused_inside() {
    let Some((containers, image)) = shell() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (source, program) =
        (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/native/reach.c"), folder.path().join("reach"));
    let compiled = std::process::Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(source).status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no C compiler made a static program");
        return;
    }
    for name in ["trace", "spaces"] {
        let outside = std::process::Command::new(&program).arg(name).status().expect("it runs");
        assert!(outside.success(), "{name} works outside: {outside}");
    }
    let inputs = InputSet::builder().file("reach", std::fs::read(&program).expect("read")).expect("a path").build();
    let (refused, nothing, unreachable) = (1, 2, 101);
    for (name, errno) in [
        ("trace", refused),
        ("spaces", refused),
        ("users", refused),
        ("keys", refused),
        ("ring", refused),
        ("program", refused),
        ("node", refused),
        ("module", refused),
        ("memory", nothing),
        ("disk", nothing),
        ("net", unreachable),
    ] {
        let args = [format!("busybox cp /in/reach /tmp/reach && busybox chmod 755 /tmp/reach && /tmp/reach {name}")];
        let args = args.map(|script| "busybox() { /bin/busybox \"$@\"; }; ".to_owned() + &script);
        let task = TaskInput { args: &args, inputs: &inputs, limits: limits(), ..TaskInput::new() };
        let outcome = image.run(&task, &Share::default(), &StopFlag::new()).expect("the host can run it");
        assert_eq!(outcome.exit, Exit::Code(errno), "{name}: {}", String::from_utf8_lossy(&outcome.stderr));
    }
    drop((image, containers));
}

#[test]
fn damaged_images_are_refused() {
    let _turn = turn();
    let Some((containers, _)) = shell() else { return };
    for bytes in [&b""[..], &[0; 1024], &archive(b"x")[..700]] {
        assert!(matches!(containers.prepare(bytes), Err(ContainerError::Image(_))));
    }
}

/// Lays out a service whose program serves what is under `/data` and counts its starts there.
fn served(image: &Arc<Image>, snapshot: Option<&[u8]>) -> Service {
    let script = "echo x >> /data/starts; echo begun; exec /bin/busybox httpd -f -p 127.0.0.1:8000 -h /data";
    let args = [script.to_owned()];
    let volume = Some(VolumeInput { path: "/data", size_bytes: 1 << 20 });
    let input = ServiceInput { args: &args, env: &[], memory_bytes: 64 << 20, volume };
    Service::lay_out(Arc::clone(image), &input, snapshot).expect("laid out")
}

/// Gets a file of the served folder, when it is served.
fn get(service: &Service, path: &str) -> String {
    for _ in 0..200 {
        let Ok(mut stream) = service.door().connect(8_000, Duration::from_secs(1)) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        return text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned();
    }
    panic!("the service does not answer");
}

#[test]
fn services_answer_through_their_door_alone_and_their_volumes_move() {
    let _turn = turn();
    let Some((containers, image)) = shell() else { return };
    let mut service = served(&image, None);
    assert!(service.door().connect(8_000, Duration::from_secs(1)).is_err(), "it does not run yet");
    service.start().expect("started");
    assert_eq!(get(&service, "/starts"), "x\n");
    assert!(std::net::TcpStream::connect("127.0.0.1:8000").is_err(), "not on the host");
    assert_eq!(service.take_log(), b"begun\n");
    let good = ["/bin/busybox".to_owned(), "true".to_owned()];
    let bad = ["/bin/busybox".to_owned(), "false".to_owned()];
    assert!(service.probe(&good, Duration::from_secs(5)) && !service.probe(&bad, Duration::from_secs(5)));
    let copied = service.snapshot().expect("copied").expect("a volume");
    assert!(service.is_running(), "it goes on");
    assert_eq!(get(&service, "/starts"), "x\n");
    service.stop();
    assert!(!service.is_running());
    service.start().expect("started again");
    assert_eq!(get(&service, "/starts"), "x\nx\n", "the volume stays");
    drop(service);

    let mut moved = served(&image, Some(&copied));
    moved.start().expect("started");
    assert_eq!(get(&moved, "/starts"), "x\nx\n", "what was copied, and its own");
    drop((moved, image, containers));
    assert_eq!(left(), Vec::<String>::new());
}

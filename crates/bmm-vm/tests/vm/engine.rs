//! The programs of the container tests by the API of a container engine.
#![expect(clippy::print_stderr, reason = "it tells how long containers take")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bmm_vm::container::{Containers, Devices, EngineAddress, Image, Service, ServiceInput, Share};
use bmm_vm::{Exit, LimitKind, Limits, Outcome, StopFlag, TaskInput};

use crate::containers::{archive, limits, run, turn};
use crate::service::{Served, address, is_root, shell_archive};

/// Runs a script with other limits.
fn run_under(image: &Image, script: &str, limits: Limits, stop: &StopFlag) -> Outcome {
    let args = ["busybox() { /bin/busybox \"$@\"; }; ".to_owned() + script];
    let task = TaskInput { args: &args, limits, ..TaskInput::new() };
    image.run(&task, &Share::default(), stop).expect("the host can run it")
}

#[test]
fn podman_stops_hostile_programs_and_keeps_nothing() {
    let _turn = turn();
    let Some(podman) = Served::podman(false) else { return };
    stops_hostile_programs_and_keeps_nothing(&podman);
}

#[test]
fn docker_stops_hostile_programs_and_keeps_nothing() {
    let _turn = turn();
    let Some(docker) = Served::docker() else { return };
    stops_hostile_programs_and_keeps_nothing(&docker);
}

fn stops_hostile_programs_and_keeps_nothing(engine: &Served) {
    let (containers, image) = engine.shell();
    let good = run(&image, "busybox cat /in/a.txt; busybox cat; echo made > /out/b.txt; echo aside >&2");
    assert_eq!((good.exit, good.stdout.as_slice()), (Exit::Ok, &b"giventyped"[..]), "{good:?}");
    assert_eq!(good.outputs.get("b.txt").map(Vec::as_slice), Some(&b"made\n"[..]));
    assert_eq!(good.stderr, b"aside\n");
    assert!(good.fuel > 0 && good.peak_memory_bytes > 0, "{good:?}");
    assert_eq!(run(&image, "exit 7").exit, Exit::Code(7));
    eprintln!("a trivial container: {:?}", good.wall);

    for (name, script, kind) in [
        ("endless loop", "while :; do :; done", LimitKind::Time),
        ("fork bomb", "f() { f | f & }; f; busybox sleep 1; exit 1", LimitKind::Processes),
        ("zombie storm", "while :; do busybox sleep 60 & done", LimitKind::Processes),
        ("memory bomb", "x=aaaaaaaa; while :; do x=$x$x; done", LimitKind::Memory),
        ("disk fill", "busybox dd if=/dev/zero of=/out/big bs=4096 count=100000", LimitKind::Output),
        ("endless output", "busybox yes", LimitKind::Output),
        ("silent loop", "exec >&- 2>&-; while :; do :; done", LimitKind::Time),
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
        ("start of an output", "echo '#!/bin/busybox true' > /out/b; busybox chmod 755 /out/b; /out/b"),
    ] {
        let outcome = run(&image, script);
        assert!(matches!(outcome.exit, Exit::Code(1..)), "{name}: {outcome:?}");
    }
    let link = run(&image, "busybox ln -s /etc/passwd /out/link");
    assert!(link.exit.is_ok() && link.outputs.is_empty(), "a link is no output: {link:?}");
    drop((image, containers));
    assert_eq!(engine.left(), Vec::<String>::new());
}

#[test]
fn podman_gives_what_runc_gives() {
    let _turn = turn();
    let Some(podman) = Served::podman(false) else { return };
    gives_what_runc_gives(&podman);
}

#[test]
fn docker_gives_what_runc_gives() {
    let _turn = turn();
    let Some(docker) = Served::docker() else { return };
    gives_what_runc_gives(&docker);
}

fn gives_what_runc_gives(engine: &Served) {
    let (containers, image) = engine.shell();
    let Some((direct, same)) = crate::containers::shell() else { return };
    let many = "i=0; while test $i -lt 20; do echo line $i; i=$((i+1)); done; busybox env | busybox grep BMM_";
    let large = "busybox dd if=/dev/zero bs=65536 count=320 2>/dev/null; busybox cat > /out/all; busybox mkdir /out/a; echo x > /out/a/b";
    for script in [many, large, "exit 9", "echo lost >&2; exit 1", "busybox kill -9 $$", "test -x /bin/none"] {
        let limits = Limits { output_bytes: 64 << 20, ..limits() };
        let args = ["busybox() { /bin/busybox \"$@\"; }; ".to_owned() + script];
        let stdin = vec![7; 300_000];
        let task = TaskInput { args: &args, stdin: &stdin, seed: [3; 32], limits, ..TaskInput::new() };
        let run = |image: &Image| image.run(&task, &Share::default(), &StopFlag::new()).expect("the host can run it");
        let (ours, theirs) = (run(&image), run(&same));
        assert_eq!((ours.exit, &ours.stderr), (theirs.exit, &theirs.stderr), "{script}");
        assert!(
            ours.stdout == theirs.stdout && ours.outputs == theirs.outputs,
            "{script}: {} bytes",
            ours.stdout.len()
        );
    }
    // What one second of a core is worth is the same, however it is measured.
    let busy = "i=0; while test $i -lt 400000; do i=$((i+1)); done";
    let fuel = |image: &Image| run_under(image, busy, limits(), &StopFlag::new()).fuel;
    let (ours, theirs) = (fuel(&image), fuel(&same));
    assert!(ours > theirs / 2 && ours < theirs * 2, "{ours} and {theirs}");
    let trivial = |image: &Image| {
        let started = Instant::now();
        (0..5).for_each(|_| assert!(run_under(image, "true", limits(), &StopFlag::new()).exit.is_ok()));
        started.elapsed() / 5
    };
    eprintln!("start and end of a container: engine {:?}, runc {:?}", trivial(&image), trivial(&same));
    drop((image, containers, same, direct));
    assert_eq!(engine.left(), Vec::<String>::new());
}

#[test]
fn podman_ends_tasks_by_limit_and_by_hand() {
    let _turn = turn();
    let Some(podman) = Served::podman(false) else { return };
    ends_tasks_by_limit_and_by_hand(&podman);
}

#[test]
fn docker_ends_tasks_by_limit_and_by_hand() {
    let _turn = turn();
    let Some(docker) = Served::docker() else { return };
    ends_tasks_by_limit_and_by_hand(&docker);
}

fn ends_tasks_by_limit_and_by_hand(engine: &Served) {
    let (containers, image) = engine.shell();
    let fuel = Limits { fuel: Some(300_000_000), ..limits() };
    assert_eq!(run_under(&image, "while :; do :; done", fuel, &StopFlag::new()).exit, Exit::Limit(LimitKind::Fuel));
    let files = Limits { files: 10, ..limits() };
    let script = "i=0; while test $i -lt 20; do i=$((i+1)); echo x > /out/$i || exit 1; done";
    assert_eq!(run_under(&image, script, files, &StopFlag::new()).exit, Exit::Limit(LimitKind::Files));
    let stop = StopFlag::new();
    let stopped = std::thread::scope(|scope| {
        let task = scope.spawn(|| {
            run_under(&image, "busybox sleep 60", Limits { time: Duration::from_secs(50), ..limits() }, &stop)
        });
        std::thread::sleep(Duration::from_millis(500));
        stop.stop();
        task.join().expect("it ends")
    });
    assert_eq!(stopped.exit, Exit::Cancelled);
    assert!(stopped.wall < Duration::from_secs(10), "{:?}", stopped.wall);
    let at_once = std::thread::scope(|scope| {
        let run = || run_under(&image, "echo $$", limits(), &StopFlag::new()).stdout;
        let tasks: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        tasks.into_iter().map(|task| task.join().expect("it ends")).collect::<Vec<_>>()
    });
    assert_eq!(at_once, vec![b"1\n".to_vec(); 4]);

    let share = Share { workers: 2, ..Share::default() };
    let refused = image.run(&TaskInput::new(), &share, &StopFlag::new()).expect_err("no workers").to_string();
    assert!(refused.contains("[cluster]") && refused.contains("provide.engine"), "{refused}");
    let input = ServiceInput { args: &[], env: &[], memory_bytes: 64 << 20, volume: None };
    let refused = Service::lay_out(Arc::clone(&image), &input, None).expect_err("no services").to_string();
    assert!(refused.contains("services") && refused.contains("provide.engine"), "{refused}");
    assert!(containers.prepare(&archive(b"x")[..700]).is_err(), "damaged");
    drop((image, containers));
    assert_eq!(engine.left(), Vec::<String>::new());
}

#[test]
fn a_device_reaches_a_task_by_an_engine_unless_it_takes_a_hook() {
    let _turn = turn();
    let Some(podman) = Served::podman(false) else { return };
    let folder = podman.folder.join("cdi");
    std::fs::create_dir(&folder).expect("a folder");
    let spec = r#"{ "cdiVersion": "0.6.0", "kind": "example.org/harmless",
        "devices": [{ "name": "0", "containerEdits": { "deviceNodes": [{ "path": "/dev/harmless", "hostPath": "/dev/null" }] } },
                    { "name": "1", "containerEdits": { "hooks": [{ "hookName": "createContainer", "path": "/bin/true" }] } }],
        "containerEdits": { "env": ["DEVICE=given"], "mounts": [{ "hostPath": "/bin/busybox", "containerPath": "/lib/given" }] } }"#;
    std::fs::write(folder.join("harmless.json"), spec).expect("written");
    let find = |name: &str| Devices::find(&[name.to_owned()], &[&folder]).expect("it is named");
    let (containers, image) = podman.shell();
    let args = ["echo $DEVICE; test -x /lib/given && echo x > /dev/harmless && test -c /dev/harmless".to_owned()];
    let task = TaskInput { args: &args, limits: limits(), ..TaskInput::new() };
    let run = |share: &Share| image.run(&task, share, &StopFlag::new());
    assert_eq!(run(&Share::default()).expect("it runs").exit, Exit::Code(1));
    let given = run(&Share { devices: find("example.org/harmless=0"), ..Share::default() }).expect("it runs");
    assert_eq!((given.exit, given.stdout.as_slice()), (Exit::Ok, &b"given\n"[..]), "{given:?}");
    let hook = run(&Share { devices: find("example.org/harmless=1"), ..Share::default() });
    let hook = hook.expect_err("a hook").to_string();
    assert!(hook.contains("/bin/true") && hook.contains("example.org/harmless=1"), "{hook}");
    drop((image, containers));
    assert_eq!(podman.left(), Vec::<String>::new());
}

#[test]
fn an_engine_that_does_not_answer_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let address: EngineAddress = address(folder.path()).parse().expect("an address");
    let open = || {
        Containers::open_engine(folder.path(), 1, Devices::default(), &address).expect_err("none is there").to_string()
    };
    for _ in 0..2 {
        let message = open();
        assert!(message.contains("podman.sock") && message.contains("podman system service"), "{message}");
        // Then a socket at which nobody listens.
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("podman.sock")));
    }
}

/// Leaves a container that runs and an image: the process that is killed runs this "test" by its name.
#[test]
#[ignore = "the test of what a killed process leaves starts it"]
fn a_process_to_be_killed() {
    let Some(folder) = std::env::var_os("BMM_TEST_ENGINE").map(PathBuf::from) else { return };
    let address: EngineAddress = address(&folder).parse().expect("an address");
    let containers =
        Containers::open_engine(&folder.join("state"), 1, Devices::default(), &address).expect("it answers");
    let image = containers.prepare(&shell_archive()).expect("the image is sound");
    run_under(&image, "busybox sleep 600", Limits { time: Duration::from_mins(10), ..limits() }, &StopFlag::new());
}

#[test]
fn podman_removes_what_a_killed_process_left() {
    let _turn = turn();
    let Some(podman) = Served::podman(false) else { return };
    removes_what_a_killed_process_left(&podman);
}

#[test]
fn docker_removes_what_a_killed_process_left() {
    let _turn = turn();
    let Some(docker) = Served::docker() else { return };
    removes_what_a_killed_process_left(&docker);
}

fn removes_what_a_killed_process_left(engine: &Served) {
    let mut killed = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "engine::a_process_to_be_killed", "--include-ignored"])
        .env("BMM_TEST_ENGINE", &engine.folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let until = Instant::now() + Duration::from_secs(30);
    let runs = || engine.left().iter().any(|line| line.starts_with("containers"));
    while !runs() {
        assert!(Instant::now() < until, "it does not run");
        std::thread::sleep(Duration::from_millis(100));
    }
    // A process that lives keeps what is its own.
    drop(engine.open());
    assert!(runs());
    killed.kill().expect("killed");
    killed.wait().expect("gone");
    assert!(engine.left().len() >= 3, "container, image and mount: {:?}", engine.left());
    let (containers, image) = engine.shell();
    assert!(run(&image, "exit 0").exit.is_ok());
    drop((image, containers));
    assert_eq!(engine.left(), Vec::<String>::new());
    let group = format!("bmm-{}-", killed.id());
    let groups = std::fs::read_dir("/sys/fs/cgroup/pids").expect("groups").flatten();
    assert!(!groups.into_iter().any(|found| found.file_name().to_string_lossy().starts_with(&group)));
}

#[test]
fn an_engine_with_users_to_give_maps_the_root_of_a_container_to_nobody() {
    let _turn = turn();
    let Some(podman) = Served::podman(true) else { return };
    let (containers, image) = podman.shell();
    let script = "busybox id -u; busybox cat /proc/self/uid_map /in/a.txt; echo made > /out/b.txt";
    let outcome = run(&image, script);
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let ids: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(outcome.exit, Exit::Ok, "{outcome:?}");
    assert!(ids[0] == "0" && ids[1] == "0" && ids[2].starts_with("1000") && ids[4] == "given", "{said}");
    assert_eq!(outcome.outputs.get("b.txt").map(Vec::as_slice), Some(&b"made\n"[..]));
    assert!(matches!(run(&image, "busybox mount -t tmpfs none /tmp").exit, Exit::Code(1..)));
    drop((image, containers));
    assert_eq!(podman.left(), Vec::<String>::new());
}

/// Runs as a user who is not root, but may use the engine's socket.
#[test]
#[ignore = "the test of an engine's users starts it as one"]
fn a_process_of_a_plain_user() {
    let Some(folder) = std::env::var_os("BMM_TEST_USER").map(PathBuf::from) else { return };
    assert!(!is_root());
    let address: EngineAddress = address(&folder).parse().expect("an address");
    let containers = Containers::open_engine(&folder.join("plain"), 1_000_000_000, Devices::default(), &address);
    let containers = containers.expect("it answers");
    let image = containers.prepare(&shell_archive()).expect("the image is sound");
    let good =
        run(&image, "busybox id -u; busybox cat /in/a.txt; echo x > /out/b; busybox chmod 0 /out/b; busybox sleep 0.5");
    assert_eq!((good.exit, good.stdout.as_slice()), (Exit::Ok, &b"65534\ngiven"[..]), "{good:?}");
    assert_eq!(good.outputs.get("b").map(Vec::as_slice), Some(&b"x\n"[..]));
    let busy = |limits| run_under(&image, "while :; do :; done", limits, &StopFlag::new());
    let ended = busy(limits());
    assert_eq!(ended.exit, Exit::Limit(LimitKind::Time));
    assert!(ended.fuel > 1_000_000_000 && ended.peak_memory_bytes > 0, "as the engine tells: {ended:?}");
    let fuel = Limits { fuel: Some(500_000_000), ..limits() };
    assert_eq!(busy(fuel).exit, Exit::Limit(LimitKind::Fuel));
    for (name, script, kind) in [
        ("disk fill", "while :; do busybox dd if=/dev/zero of=/out/big bs=65536 count=1000; done", LimitKind::Output),
        ("many files", "i=0; while :; do i=$((i+1)); echo x > /out/$i; done", LimitKind::Files),
        ("locked folder", "busybox mkdir /out/a; busybox chmod 0 /out/a; busybox sleep 60", LimitKind::Output),
    ] {
        let outcome = run(&image, script);
        assert_eq!(outcome.exit, Exit::Limit(kind), "{name}: {}", String::from_utf8_lossy(&outcome.stderr));
    }
    // Without the counters of control groups there is only what the engine tells, which may be less.
    let is_blind = std::env::var_os("BMM_TEST_BLIND").is_some();
    for (script, kind, code) in [
        ("x=aaaaaaaa; while :; do x=$x$x; done", LimitKind::Memory, 137),
        ("while :; do busybox sleep 60 & done", LimitKind::Processes, 2),
    ] {
        let exit = run(&image, script).exit;
        assert!(exit == Exit::Limit(kind) || is_blind && exit == Exit::Code(code), "{script}: {exit:?}");
    }
    drop((image, containers));
    let left: Vec<_> =
        std::fs::read_dir(folder.join("plain")).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn an_engine_runs_tasks_for_a_user_who_is_not_root() {
    use std::os::unix::fs::PermissionsExt;
    let _turn = turn();
    let Some(podman) = Served::podman(false) else { return };
    let (program, plain) = (podman.folder.join("program"), podman.folder.join("plain"));
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("copied");
    std::fs::create_dir(&plain).expect("a folder");
    std::os::unix::fs::chown(&plain, Some(65_534), Some(65_534)).expect("given");
    for (path, mode) in [(podman.folder.clone(), 0o755), (podman.folder.join("podman.sock"), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("opened");
    }
    for blind in [false, true] {
        let hide = if blind { "export BMM_TEST_BLIND=1; mount -t tmpfs none /sys/fs/cgroup;" } else { "" };
        let script = format!("{hide} exec setpriv --reuid=65534 --regid=65534 --clear-groups -- \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(&program).current_dir("/");
        command.args(["--exact", "engine::a_process_of_a_plain_user", "--include-ignored", "--nocapture"]);
        let ended = command.env("BMM_TEST_USER", &podman.folder).output().expect("unshare runs");
        let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }
    assert_eq!(podman.left(), Vec::<String>::new());
}

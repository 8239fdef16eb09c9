//! Images that a registry has. It takes `docker-registry` and `skopeo`, and what containers take.
#![expect(clippy::print_stderr, reason = "it says why it is skipped")]

use crate::{
    chain::Chain,
    containers::{Place, shell},
    network::until,
    run::Bmm,
};
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

/// A registry of this machine, without TLS.
struct Registry {
    child: Child,
    at: String,
}

impl Registry {
    fn start(bmm: &Bmm) -> Option<Self> {
        let is_there = |name: &str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
        if !is_there("docker-registry") || !is_there("skopeo") {
            eprintln!("skipped: it takes docker-registry and skopeo");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let store = bmm.dir.path().join("store");
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {free}\n",
            store.display()
        );
        let config = bmm.file("registry.yml", &config);
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let this = Self { child: child.expect("it starts"), at: free.to_string() };
        until("the registry", || TcpStream::connect(free).ok());
        Some(this)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_job_runs_the_image_of_a_registry() {
    let Some(place) = Place::new("registry") else { return };
    let bmm = place.requester();
    let Some(registry) = Registry::start(&bmm) else { return };
    let plain = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.at);
    let home = bmm.dir.path().to_str().expect("UTF-8").to_owned();
    std::fs::create_dir_all(bmm.dir.path().join(".config/containers")).expect("a folder");
    bmm.file(".config/containers/registries.conf", &plain);
    let bmm = bmm.env("HOME", &home);
    let archive = bmm.bytes("shell.tar", &shell());
    let (from, to) =
        (format!("docker-archive:{}", archive.display()), format!("docker://{}/team/shell:v1", registry.at));
    let pushed = Command::new("skopeo").args(["copy", "--dest-tls-verify=false", &from, &to]).output().expect("skopeo");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));

    let _chain = Chain::up(&bmm);
    let job = |tag: &str| {
        let text = format!(
            "app = \"oci:docker://{}/team/shell:{tag}\"\nargs = ['echo it is $1', \"sh\", \"{{n}}\"]\n\
             split = {{ n = {{ range = \"0..2\" }} }}\noutput = {{ file = \"out.txt\" }}\n",
            registry.at
        );
        bmm.file("job.toml", &text).to_str().expect("UTF-8").to_owned()
    };
    let receipt = bmm.json(&["run", &job("v1"), "--out", "out"]);
    assert_eq!((&receipt["status"], &receipt["name"]), (&"settled".into(), &"shell".into()), "{receipt}");
    let output = std::fs::read_to_string(bmm.dir.path().join("out/out.txt")).expect("the output");
    assert_eq!(output, "it is 0\nit is 1\n");
    let told = bmm.fails(1, &["run", &job("v2")]);
    assert!(told.contains("team/shell:v2 cannot be fetched") && told.contains("hint:"), "{told}");
    // What is here already is not fetched again.
    let again = bmm.run(&["run", &job("v1"), "--out", "again"]);
    assert!(again.code == 0 && !again.stderr.contains("fetching"), "{again:?}");
}

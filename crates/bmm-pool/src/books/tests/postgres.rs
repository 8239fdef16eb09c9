//! A PostgreSQL server for tests, of the pool's books and of the explorer's index.

use sqlx::{AnyConnection, Connection as _};
use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A PostgreSQL server of its own, while it lives.
pub struct Postgres {
    server: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Postgres {
    /// Starts one; `None`, with a visible line, where it is not installed.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests is to see what was not tested")]
    pub fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let found = versions.map(|version| version.path().join("bin")).find(|bin| bin.join("postgres").exists());
        let Some(bin) = found else {
            eprintln!("SKIPPED: PostgreSQL is not installed (apt-get install postgresql)");
            return None;
        };
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        // The server refuses to run as root.
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let command = |program: &str| {
            let path: PathBuf = bin.join(program);
            if is_root {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path);
                command
            } else {
                Command::new(path)
            }
        };
        if is_root {
            let owned = Command::new("chown").arg("postgres").arg(dir.path()).status().expect("chown runs");
            assert!(owned.success());
        }
        let made = command("initdb")
            .args(["--auth=trust", "--username=postgres", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(made.success());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let server = command("postgres")
            .args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(dir.path())
            .arg("-D")
            .arg(&data)
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres runs");
        Some(Self { server, port, _dir: dir })
    }

    /// Makes a database and returns its address.
    pub async fn url(&self, name: &str) -> String {
        sqlx::any::install_default_drivers();
        let base = format!("postgres://postgres@127.0.0.1:{}", self.port);
        for _ in 0..600 {
            if let Ok(mut server) = AnyConnection::connect(&format!("{base}/postgres")).await {
                let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
                sqlx::query(sql).execute(&mut server).await.expect("a database");
                return format!("{base}/{name}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL does not start");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = self.server.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let _ = self.server.wait();
    }
}

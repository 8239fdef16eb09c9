//! The pages: in a real browser, and under attack.

mod explorer;
mod jobs;
mod pool;

use super::run::{Bmm, Running};
use serde_json::Value;
use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

/// A node with pages.
struct Served {
    owner: String,
    host: String,
    rpc: String,
    _up: Running,
}

fn serve(bmm: &Bmm) -> Served {
    let mut up = bmm.spawn(&["up", "--json", "--listen", "127.0.0.1:0", "--mine-percent", "20"]);
    let listening: Value = loop {
        if let Ok(listening) = serde_json::from_str(&up.stdout()) {
            break listening;
        }
        assert!(up.lives(), "bmm up ends: {}", up.stderr());
        std::thread::sleep(Duration::from_millis(10));
    };
    let link = bmm.json(&["dashboard"]);
    let owner = link["url"].as_str().expect("a link").to_owned();
    let host = listening["pages"].as_str().expect("pages").trim_start_matches("http://").to_owned();
    assert!(owner.starts_with(&format!("http://{host}/open?key=")), "{owner}");
    Served { owner, host, rpc: listening["rpc"].as_str().expect("an address").to_owned(), _up: up }
}

impl Served {
    /// Sends a request as it is and returns the answer's head and body.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.host).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.host))
    }

    fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{kind}\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
            self.host
        ))
    }

    /// Returns the header that brings the owner's key.
    fn key(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.owner.split_once("key=").expect("the link").1)
    }

    /// Reads a path of the API with the owner's key.
    fn json(&self, path: &str) -> Value {
        let answer = self.get(path, &self.key());
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// Sends the form of a page as the owner does: with the session, from the page's own origin.
    fn send(&self, page: &str, path: &str, fields: &str) -> String {
        let session = self.session();
        let form = self.get(page, &session);
        let token = form.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let headers = format!("{session}Origin: http://{}\r\n", self.host);
        self.post(path, &headers, &format!("csrf={}{fields}", token.expect("a token")))
    }

    /// Begins the owner's session and returns its cookie.
    fn session(&self) -> String {
        let path = self.owner.split_once(&self.host).expect("the link").1;
        let answer = self.get(path, "");
        let cookie = answer.split("session=").nth(1).and_then(|rest| rest.split(';').next()).expect("a cookie");
        format!("Cookie: session={cookie}\r\n")
    }
}

#[test]
fn strangers_change_nothing_and_reach_nothing() {
    let bmm = Bmm::new();
    let pages = serve(&bmm);
    let status = |answer: &str| answer.get(9..12).unwrap_or_default().to_owned();
    let home = pages.get("/", "");
    assert_eq!(status(&home), "200", "{home}");
    assert!(home.contains("script-src 'self'") && !home.contains("unsafe-inline"), "{home}");

    // Another name that leads here (DNS rebinding), and none.
    let evil = |host: &str| pages.ask(&format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
    assert_eq!(status(&evil("Host: evil.example\r\n")), "421");
    assert_eq!(status(&evil("Host: localhost.evil.example:80\r\n")), "421");

    // What is the owner's, with no key, a wrong one, and without the session's token.
    for path in ["/jobs", "/wallet", "/provider", "/jobs/new"] {
        assert_eq!(status(&pages.get(path, "")), "403", "{path}");
    }
    assert_eq!(status(&pages.get("/open?key=00", "")), "403");
    let session = pages.session();
    let wallet = pages.get("/wallet", &session);
    assert_eq!(status(&wallet), "200", "{wallet}");
    let token = wallet.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    let transfer = format!(
        "csrf={token}&wallet=dev&to=0x00000000000000000000000000000000000000aa&amount=1&fee=999999999999999999"
    );
    let from = |origin: &str| format!("{session}Origin: {origin}\r\n");
    for headers in [
        session.clone(),
        from("http://evil.example"),
        from("null"),
        format!("{}Sec-Fetch-Site: cross-site\r\n", from(&format!("http://{}", pages.host))),
        format!("{}Sec-Fetch-Site: same-site\r\n", from(&format!("http://{}", pages.host))),
    ] {
        assert_eq!(status(&pages.post("/wallet/send", &headers, &transfer)), "403", "{headers}");
    }
    let ours = from(&format!("http://{}", pages.host));
    assert_eq!(status(&pages.post("/wallet/send", &ours, &transfer.replace(token, &"0".repeat(64)))), "403");
    // And that it is these that hold it back: all of them together send.
    let sent = pages.post("/wallet/send", &ours, &transfer);
    assert_eq!(status(&sent), "303", "{sent}");

    // Paths that would lead elsewhere.
    for path in [
        "/jobs/..%2f..%2fetc/files/0",
        "/jobs/%2e%2e/files/%2e%2e%2fpasswd",
        "/assets/..%2f..%2fCargo.toml",
        "/jobs/aaaa/tasks/0",
    ] {
        let answer = pages.get(path, &session);
        assert!(["404", "400"].contains(&status(&answer).as_str()), "{path}: {answer}");
    }
    assert!(!pages.get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E", "").contains("<script>alert"));
}

#[test]
fn slow_connections_keep_nobody_out() {
    let bmm = Bmm::new();
    let pages = serve(&bmm);
    let mut slow = Vec::new();
    // As many as this process may open, ten thousand if it may; the server has its own limit.
    for number in 0..10_000 {
        let Ok(mut stream) = TcpStream::connect(&pages.host) else { break };
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: 127");
        slow.push(stream);
        if number % 1_000 == 999 {
            assert!(pages.get("/health", "").contains("\"head\""), "after {number}");
        }
    }
    assert!(slow.len() > 500, "{} connections say nothing", slow.len());
    drop(slow.drain(..50));
    assert!(pages.get("/", "").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_person_uses_the_pages_in_a_browser() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = here.join("tests/browser");
    let chromium = env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let missing = [
        (Path::new(&chromium).is_file(), "chromium is not installed"),
        (scripts.join("node_modules/puppeteer-core").is_dir(), "run `npm ci` in crates/bmm/tests/browser"),
    ];
    if let Some((_, what)) = missing.iter().find(|(there, _)| !there) {
        assert!(env::var_os("CI").is_none(), "{what}");
        let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
        return;
    }
    let bmm = Bmm::new();
    let pages = serve(&bmm);
    bmm.json(&["account", "register", "alice-7", "--from", "dev"]);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    let output = Command::new("node")
        .arg("pages.mjs")
        .args([&pages.owner, &pages.rpc])
        .arg(here.join("../../examples/render"))
        .arg(bmm.data().join("chains/dev/wallet.key"))
        .arg(&pictures)
        .current_dir(scripts)
        .env("CHROMIUM", chromium)
        .output()
        .expect("node runs");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "pictures are in {}\n{told}\n{errors}", pictures.display());
}

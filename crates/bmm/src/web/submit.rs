//! A job from the browser: upload, job file, quote, start.
//!
//! The job runs as `bmm run` does, in a process of its own that outlives the pages ([`process`]).

use super::{
    desk::{Desk, bad, told},
    process,
};
use crate::jobs::JobFolder;
use alloy_primitives::{B256, hex};
use axum::{
    Form,
    extract::{Multipart, State},
    response::{Html, Redirect},
};
use bmm_web::{Frame, Owner, PageError, view};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Most drafts that are kept.
const DRAFTS: usize = 200;
/// Longest job file.
const MAX_FILE: usize = 64 << 10;
/// Most files of a job.
const MAX_FILES: usize = 256;
/// How long a quote may take.
const QUOTE_WITHIN: Duration = Duration::from_mins(1);
/// How long a job may take to appear.
const START_WITHIN: Duration = Duration::from_mins(1);

/// `GET /jobs/new`
pub(super) async fn form(Owner(visit): Owner) -> Result<Html<String>, PageError> {
    view::show(&view::NewJob { f: Frame::new(&visit, visit.texts.s("new.title")) })
}

/// The folder of a draft; its name comes from this server alone.
fn folder(desk: &Desk, draft: &str) -> Result<PathBuf, PageError> {
    if draft.len() != 32 || !draft.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(PageError::Missing("draft"));
    }
    let folder = desk.data.root().join("web").join(draft);
    if folder.is_dir() { Ok(folder) } else { Err(PageError::Missing("draft")) }
}

/// Makes a name that is safe in a folder.
fn plain(name: &str) -> Option<String> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().take(80).map(plain).collect();
    (!name.trim_matches('.').is_empty() && name != "job.toml" && name != "run.log" && name != "out").then_some(name)
}

fn too_much(error: &axum::extract::multipart::MultipartError) -> PageError {
    PageError::Bad(error.body_text())
}

/// `POST /jobs/draft`: keeps what was uploaded, writes the job file, and asks for a quote.
pub(super) async fn draft(
    State(desk): State<Desk>,
    owner: Owner,
    mut parts: Multipart,
) -> Result<Html<String>, PageError> {
    let (mut texts, mut inputs) = (BTreeMap::<String, String>::new(), Vec::new());
    let draft = hex::encode(&B256::random()[..16]);
    let mut dir: Option<PathBuf> = None;
    while let Some(part) = parts.next_field().await.map_err(|error| too_much(&error))? {
        let (field, name) = (part.name().unwrap_or_default().to_owned(), part.file_name().map(str::to_owned));
        let bytes = part.bytes().await.map_err(|error| too_much(&error))?;
        let Some(name) = name else {
            texts.insert(field, String::from_utf8_lossy(&bytes).chars().take(4_000).collect());
            continue;
        };
        if name.is_empty() {
            continue;
        }
        // The token stands first in the form: before it was seen, nothing is kept.
        owner.check(texts.get("csrf").map_or("", String::as_str))?;
        let name = plain(&name).ok_or_else(|| PageError::Bad("a file has no name that can be used".to_owned()))?;
        if dir.is_none() {
            dir = Some(begin(&desk, &draft)?);
        }
        let path = dir.as_ref().map(|dir| dir.join(&name)).unwrap_or_default();
        tokio::fs::write(&path, &bytes).await.map_err(|_| PageError::Internal)?;
        if field == "inputs" {
            inputs.push(name);
        } else {
            texts.insert(field, name);
        }
        if inputs.len() > MAX_FILES {
            return Err(PageError::Bad(format!("at most {MAX_FILES} files")));
        }
    }
    owner.check(texts.get("csrf").map_or("", String::as_str))?;
    let dir = dir.ok_or_else(|| PageError::Bad("choose the program, a .wasm file".to_owned()))?;
    let file = job_file(&texts, &inputs);
    tokio::fs::write(dir.join("job.toml"), &file).await.map_err(|_| PageError::Internal)?;
    let network =
        if texts.get("network").is_some_and(|place| place == "network") { Where::Network } else { Where::Here };
    quote(&desk, &owner, draft, file, network).await
}

/// Makes the folder of a draft, and forgets the oldest ones.
fn begin(desk: &Desk, draft: &str) -> Result<PathBuf, PageError> {
    let root = desk.data.root().join("web");
    let dir = root.join(draft);
    desk.data.create(&dir).map_err(|failure| bad(&failure))?;
    let mut drafts: Vec<_> = std::fs::read_dir(&root)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // What was started stays: its results are there.
            (!entry.path().join("run.log").exists()).then_some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    drafts.sort();
    let surplus = drafts.len().saturating_sub(DRAFTS);
    for (_, path) in drafts.into_iter().take(surplus) {
        let _ = std::fs::remove_dir_all(path);
    }
    Ok(dir)
}

/// Writes the job file that the form describes.
fn job_file(texts: &BTreeMap<String, String>, inputs: &[String]) -> String {
    let text = |key: &str| texts.get(key).map_or("", |value| value.trim());
    let quoted = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let list = |value: &str| {
        let words: Vec<toml::Value> =
            value.split_whitespace().map(|word| toml::Value::String(word.to_owned())).collect();
        toml::Value::Array(words).to_string()
    };
    let mut file = format!("name = {}\napp = {}\n", quoted(text("name")), quoted(&format!("./{}", text("program"))));
    if !text("args").is_empty() {
        let _ = writeln!(file, "args = {}", list(text("args")));
    }
    if !inputs.is_empty() {
        file.push_str("\n[inputs]\n");
        for input in inputs {
            let _ = writeln!(file, "{} = {}", quoted(input), quoted(input));
        }
    }
    if !text("axis").is_empty() && !text("range").is_empty() {
        let chunk: u64 = text("chunk").parse().unwrap_or(1).max(1);
        let _ =
            write!(file, "\n[split]\n{} = {{ range = {}, chunk = {chunk} }}\n", text("axis"), quoted(text("range")));
    }
    if !text("collect").is_empty() {
        let _ = write!(file, "\n[output]\ncollect = {}\n", quoted(text("collect")));
        if !text("merge").is_empty() {
            let _ = writeln!(file, "merge = {}", quoted(&format!("./{}", text("merge"))));
        }
        if !text("merge_args").is_empty() {
            let _ = writeln!(file, "merge_args = {}", list(text("merge_args")));
        }
        if !text("file").is_empty() {
            let _ = writeln!(file, "file = {}", quoted(text("file")));
        }
    }
    match text("verify") {
        number @ ("2" | "3") => {
            let _ = write!(file, "\n[verify]\nmode = \"replicate\"\nn = {number}\n");
        }
        _ => file.push_str("\n[verify]\nmode = \"none\"\n"),
    }
    let (budget, deadline) = (quoted(text("budget")), quoted(text("deadline")));
    let _ = write!(file, "\n[budget]\nmax = {budget}\ndeadline = {deadline}\n");
    file
}

/// A job file that was changed by hand.
#[derive(Deserialize)]
pub(super) struct Changed {
    csrf: String,
    draft: String,
    #[serde(default)]
    network: Where,
    job: String,
}

/// `POST /jobs/check`: takes the job file as it was changed, and asks for a quote again.
pub(super) async fn check(
    State(desk): State<Desk>,
    owner: Owner,
    Form(form): Form<Changed>,
) -> Result<Html<String>, PageError> {
    owner.check(&form.csrf)?;
    if form.job.len() > MAX_FILE {
        return Err(PageError::Bad("the job file is too long".to_owned()));
    }
    let file = form.job.replace("\r\n", "\n");
    tokio::fs::write(folder(&desk, &form.draft)?.join("job.toml"), &file).await.map_err(|_| PageError::Internal)?;
    quote(&desk, &owner, form.draft, file, form.network).await
}

/// Who does the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Where {
    /// Providers of the job's own process.
    #[default]
    Here,
    /// Providers of the network.
    Network,
}

impl Where {
    /// Returns the name that forms have it by.
    const fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Network => "network",
        }
    }
}

/// Makes the command that runs a draft.
fn run(desk: &Desk, dir: &Path, network: Where) -> Result<Command, PageError> {
    let mut command = process::command(desk, dir)?;
    command.args(["run", "job.toml"]);
    if network == Where::Network {
        command.arg("--network");
    }
    Ok(command)
}

/// A quote as `bmm run --dry-run --json` prints it.
#[derive(Deserialize)]
struct Quoted {
    name: String,
    tasks: u64,
    providers: u16,
    budget_bmm: String,
    price_bmm: Option<String>,
    time_ms: Option<u64>,
    verify: String,
}

async fn quote(
    desk: &Desk,
    owner: &Owner,
    draft: String,
    file: String,
    network: Where,
) -> Result<Html<String>, PageError> {
    let dir = folder(desk, &draft)?;
    let here = dir.clone();
    let asked = desk.blocking(move |desk| ask(desk, &here, network));
    let (quote, problem) = match asked.await? {
        Ok(quote) => (rows(&quote), String::new()),
        Err(problem) => (Vec::new(), problem),
    };
    let wallets = desk.blocking(|desk| {
        let wallets = desk.wallets().list().map_err(|failure| bad(&failure))?;
        Ok(wallets.into_iter().map(|wallet| (wallet.name, wallet.address, !wallet.is_plain)).collect())
    });
    let wallets = wallets.await?;
    let names =
        std::fs::read_dir(&dir).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut uploads: Vec<String> = names.filter(|name| name != "job.toml").collect();
    uploads.sort();
    let f = Frame::new(&owner.0, owner.0.texts.s("quote.title"));
    view::show(&view::Quote { f, draft, file, network: network.name(), uploads, problem, quote, wallets })
}

fn rows(quote: &Quoted) -> Vec<(&'static str, String)> {
    let bmm = |amount: &String| format!("{amount} BMM");
    vec![
        ("quote.name", quote.name.clone()),
        ("quote.tasks", quote.tasks.to_string()),
        ("quote.price", quote.price_bmm.as_ref().map_or_else(|| "–".to_owned(), bmm)),
        ("quote.budget", bmm(&quote.budget_bmm)),
        ("quote.time", quote.time_ms.map_or_else(|| "–".to_owned(), |ms| bmm_web::format::span(ms.div_ceil(1_000)))),
        ("quote.providers", quote.providers.to_string()),
        ("quote.verify", quote.verify.clone()),
    ]
}

/// Runs the check of a job; what is wrong comes back as text.
fn ask(desk: &Desk, dir: &Path, network: Where) -> Result<Result<Quoted, String>, PageError> {
    let mut command = run(desk, dir, network)?;
    let (out, err) = (dir.join("quote.json"), dir.join("quote.err"));
    let make = |path: &Path| File::create(path).map_err(|_| PageError::Internal);
    command.arg("--dry-run").stdout(make(&out)?).stderr(make(&err)?);
    let mut child = command.spawn().map_err(|_| PageError::Internal)?;
    let since = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if since.elapsed() < QUOTE_WITHIN => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(Err("the check took too long".to_owned()));
            }
        }
    };
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let (printed, errors) = (read(&out), read(&err));
    let _ = (std::fs::remove_file(out), std::fs::remove_file(err));
    if status.success() {
        return Ok(serde_json::from_str(&printed).map_err(|error| error.to_string()));
    }
    Ok(Err(process::problem(&errors)))
}

/// A job that is to start.
#[derive(Deserialize)]
pub(super) struct Start {
    csrf: String,
    draft: String,
    #[serde(default)]
    network: Where,
    wallet: String,
    #[serde(default)]
    password: String,
}

/// `POST /jobs/start`: runs the draft, and leads to the job when it is there.
pub(super) async fn start(
    State(desk): State<Desk>,
    owner: Owner,
    Form(form): Form<Start>,
) -> Result<Redirect, PageError> {
    owner.check(&form.csrf)?;
    let dir = folder(&desk, &form.draft)?;
    desk.blocking(move |desk| {
        let wallet = desk.wallets().find(&form.wallet).map_err(|failure| PageError::Bad(told(&failure)))?;
        let log = dir.join("run.log");
        // Twice would pay twice.
        File::create_new(&log)
            .map_err(|_| PageError::Bad("this draft was started already; see the list of jobs".to_owned()))?;
        let out = dir.join("out");
        let mut command = run(desk, &dir, form.network)?;
        command.arg("--out").arg(&out).arg("--wallet").arg(&wallet.name);
        process::unlock(&mut command, &form.password);
        let appeared = process::begin(command, &log, START_WITHIN, || {
            let folders = JobFolder::all(&desk.data).unwrap_or_default();
            let mut records = folders.iter().take(50).filter_map(|folder| folder.record().ok());
            records.find(|record| record.out == out).map(|record| record.id)
        });
        let appeared = appeared.inspect_err(|_| {
            // Nothing was locked: it may be tried again.
            let _ = std::fs::remove_file(&log);
        })?;
        Ok(appeared.map_or_else(|| Redirect::to("/jobs"), |id| Redirect::to(&format!("/jobs/{id:x}"))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(plain("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(plain("C:\\a b.wasm").as_deref(), Some("a_b.wasm"));
        assert_eq!(plain(".."), None);
        assert_eq!(plain("job.toml"), None);
    }

    #[test]
    fn what_is_typed_stays_a_value() {
        let mut texts = BTreeMap::new();
        for (key, value) in
            [("name", "a\"\n[budget]\nmax = \"9 BMM"), ("program", "p.wasm"), ("budget", "1 BMM"), ("deadline", "1 h")]
        {
            texts.insert(key.to_owned(), value.to_owned());
        }
        let file: toml::Table = job_file(&texts, &["in.txt".to_owned()]).parse().expect("a job file");
        assert_eq!(file["name"].as_str(), Some("a\"\n[budget]\nmax = \"9 BMM"));
        assert_eq!(file["budget"]["max"].as_str(), Some("1 BMM"));
    }
}

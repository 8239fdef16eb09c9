//! The jobs of the data folder.

use super::desk::{Desk, bad};
use crate::jobs::{JobFolder, JobRecord, JobStatus, Live, read_live};
use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderValue, header},
    response::{Html, IntoResponse as _, Response},
};
use bmm_types::ContentHash;
use bmm_web::{
    Frame, Owner, PageError, chart,
    view::{self, Further, JobActs, JobFile, JobProvider, JobRow},
};
use futures::stream;
use serde::Deserialize;
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path as FilePath,
    time::Duration,
};

/// Jobs that are listed.
const JOBS: usize = 200;
/// Files and results that are shown.
const SHOWN: usize = 60;
/// Most tasks that have a square.
const SQUARES: u64 = 4_096;
/// Bytes of a text that are shown, and of the end of a log.
const TEXT: usize = 4 << 10;
/// A process that works on a job writes of it once a second.
const FRESH: Duration = Duration::from_secs(5);
/// Largest file that is read into memory to be sent.
const LARGEST: u64 = 1 << 30;

/// Whether a process works on a job. Looking at its lock takes it for a moment, so that is done only where nothing else tells.
pub(super) fn is_worked_on(folder: &JobFolder) -> bool {
    let written = std::fs::metadata(folder.path().join("live.json")).and_then(|meta| meta.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    let works = age.is_some_and(|age| age < FRESH) && read_live(folder).is_some_and(|live| !live.last);
    works || folder.is_locked()
}

/// Says what the list says of a job.
pub(super) fn row(folder: &JobFolder, record: &JobRecord) -> JobRow {
    let live = read_live(folder).unwrap_or_default();
    let receipt = folder.receipt().ok().flatten();
    let (done, price) = match &receipt {
        Some(receipt) => (receipt.done, receipt.price_bmm),
        None => (live.done, live.spent),
    };
    let over = record.status.is_over();
    let state = match () {
        () if over => record.status.name(),
        () if !is_worked_on(folder) => "interrupted",
        () if folder.asked_to_cancel().is_some() => "cancelling",
        () => record.status.name(),
    };
    JobRow {
        id: format!("{:x}", record.id),
        name: record.name.clone(),
        state,
        done,
        tasks: record.tasks,
        price: price.units(),
        created: record.created,
    }
}

/// `GET /jobs`
pub(super) async fn list(State(desk): State<Desk>, Owner(visit): Owner) -> Result<Html<String>, PageError> {
    let jobs = desk.blocking(|desk| {
        let folders = JobFolder::all(&desk.data).map_err(|failure| bad(&failure))?;
        let rows = folders.iter().take(JOBS).filter_map(|folder| Some(row(folder, &folder.record().ok()?)));
        Ok(rows.collect::<Vec<_>>())
    });
    let jobs = jobs.await?;
    let f = Frame::new(&visit, visit.texts.s("jobs.title")).live("/live");
    view::show(&view::Jobs { f, now: desk.site.chain.now_secs(), jobs })
}

/// Finds a job by its whole id, which alone names a folder.
pub(super) fn find(desk: &Desk, id: &str) -> Result<JobFolder, PageError> {
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(PageError::Missing("job"));
    }
    JobFolder::find(&desk.data, id).map_err(|_| PageError::Missing("job"))
}

/// `GET /jobs/{id}`
pub(super) async fn job(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Owner(visit): Owner,
) -> Result<Html<String>, PageError> {
    let (folder, record, live, files, acts) = desk.blocking(move |desk| read(desk, &id)).await?;
    let row = row(&folder, &record);
    let stream = format!("/jobs/{}/live", row.id);
    let f = Frame::new(&visit, &record.name);
    let transactions = [
        ("jobs.opened_by", record.open_transaction),
        ("jobs.settled_by", record.settle_transaction),
        ("jobs.refunded_by", record.refund_transaction),
    ];
    let provider = |provider: &crate::jobs::LiveProvider| JobProvider {
        address: provider.address,
        running: provider.running,
        total: provider.total.units(),
        refused: provider.refused.clone().unwrap_or_default(),
    };
    let receipt = folder.receipt().ok().flatten();
    let providers = match &receipt {
        Some(receipt) => receipt.providers.iter().map(paid).collect(),
        None => live.providers.iter().map(provider).collect(),
    };
    let over = record.status.is_over();
    let page = view::Job {
        f: if over { f } else { f.live(&stream) },
        now: desk.site.chain.now_secs(),
        map: map(&record, &live, row.state, visit.texts.s("jobs.map")),
        phase: [("merging", "jobs.merging"), ("settling", "jobs.settling")]
            .into_iter()
            .find_map(|(phase, text)| (!over && live.phase == phase).then_some(text)),
        running: if over { 0 } else { live.running },
        failures: live.failures,
        rate: live.tasks_per_second,
        left: live.left_secs.filter(|_| !over),
        spent: row.price,
        escrow: record.budget.units(),
        projected: live.projected.map(bmm_types::Amount::units).filter(|_| !over),
        providers,
        ending: if record.status == JobStatus::Settled { String::new() } else { record.ending.clone() },
        files,
        tail: tail(&desk, &folder, &record),
        transactions: transactions.into_iter().filter_map(|(what, hash)| Some((what, hash?))).collect(),
        acts,
        row,
    };
    view::show(&page)
}

fn paid(pay: &crate::jobs::ProviderPay) -> JobProvider {
    JobProvider { address: pay.address, running: 0, total: pay.pay_bmm.units(), refused: String::new() }
}

/// Draws the map of the tasks.
fn map(record: &JobRecord, live: &Live, state: &str, describe: &str) -> String {
    if record.tasks > SQUARES {
        return String::new();
    }
    let known = live.states.bytes().map(|digit| digit.saturating_sub(b'0')).chain(std::iter::repeat(0));
    let all = usize::try_from(record.tasks).unwrap_or(0);
    let square = |told: u8| match told {
        _ if state == "settled" => 2,
        // Nobody has tasks out of a job that nobody works on.
        1 if matches!(state, "interrupted" | "cancelled" | "failed") => 0,
        told => told,
    };
    chart::map(&known.map(square).take(all).collect::<Vec<_>>(), describe)
}

/// Reads what the process wrote that was started from the browser for this job: to go on with it, or else to begin it.
fn tail(desk: &Desk, folder: &JobFolder, record: &JobRecord) -> String {
    let draft = record.out.parent().filter(|draft| draft.starts_with(desk.data.root().join("web")));
    let logs = [Some(folder.path()), draft];
    let Some(mut file) = logs.into_iter().flatten().find_map(|place| File::open(place.join("run.log")).ok()) else {
        return String::new();
    };
    let size = file.metadata().map_or(0, |meta| meta.len());
    let from = size.saturating_sub(u64::try_from(TEXT).unwrap_or(0));
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(from)).is_ok() {
        let _ = file.take(u64::try_from(TEXT).unwrap_or(0)).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

type Read = (JobFolder, JobRecord, Live, Vec<JobFile>, JobActs);

/// Finds out what can be done about a job.
fn acts(desk: &Desk, folder: &JobFolder, record: &JobRecord) -> JobActs {
    let over = record.status.is_over();
    let worked_on = !over && is_worked_on(folder);
    let kept = folder.receipt().ok().flatten().is_some_and(|receipt| receipt.refunded_bmm.is_none());
    let wallet = desk.wallets().find(&record.requester.to_string());
    JobActs {
        further: match () {
            () if !over && !worked_on => Further::Resume,
            () if over && kept && !folder.is_locked() => Further::Refund,
            () => Further::Nothing,
        },
        cancel: !over && folder.asked_to_cancel().is_none(),
        password: !worked_on && wallet.is_ok_and(|wallet| !wallet.is_plain),
    }
}

/// Reads a job, and looks at what it made.
fn read(desk: &Desk, id: &str) -> Result<Read, PageError> {
    let folder = find(desk, id)?;
    let record = folder.record().map_err(|failure| bad(&failure))?;
    let live = read_live(&folder).unwrap_or_default();
    let outputs = record.outputs.iter().enumerate().take(SHOWN).filter_map(|(number, path)| {
        let name = path.strip_prefix(&record.out).unwrap_or(path).display().to_string();
        let mut file = File::open(path).ok()?;
        Some(shown(format!("files/{number}"), name, file.metadata().ok()?.len(), &beginning(&mut file)))
    });
    let mut files: Vec<JobFile> = outputs.collect();
    if files.is_empty() {
        let results = live.results.iter().enumerate().filter_map(|(task, hash)| Some((task, (*hash)?)));
        for (task, hash) in results.take(SHOWN) {
            // Tasks make what the merger understands; only what people can look at is shown before the end.
            let Some((mut file, len)) = result(&folder, hash) else { continue };
            let start = beginning(&mut file.by_ref().take(len));
            let seen = shown(format!("tasks/{task}"), format!("#{task}"), len, &start);
            if seen.is_image || !seen.text.is_empty() {
                files.push(seen);
            }
        }
    }
    let acts = acts(desk, &folder, &record);
    Ok((folder, record, live, files, acts))
}

fn beginning(file: &mut impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = file.take(u64::try_from(TEXT).unwrap_or(0)).read_to_end(&mut bytes);
    bytes
}

fn shown(link: String, name: String, size: u64, start: &[u8]) -> JobFile {
    let is_image = image(start).is_some();
    let cut = start.iter().rposition(|byte| *byte == b'\n').map_or(start.len(), |at| at + 1);
    let text = std::str::from_utf8(&start[..if start.len() < TEXT { start.len() } else { cut }]).unwrap_or_default();
    let plain = !is_image && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'));
    JobFile { link, name, size, is_image, text: if plain { text.to_owned() } else { String::new() } }
}

/// Returns the kind of a picture by its first bytes; nothing that can hold a script.
fn image(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// Finds the bytes of a result in the append-only file, without its lock: the process that works on the job goes on writing behind them.
fn result(folder: &JobFolder, wanted: ContentHash) -> Option<(File, u64)> {
    let mut file = File::open(folder.outputs()).ok()?;
    let mut header = [0u8; 40];
    loop {
        file.read_exact(&mut header).ok()?;
        let len = u64::from_le_bytes(header[32..].try_into().ok()?);
        if header[..32] == *wanted.0 {
            return Some((file, len));
        }
        file.seek(SeekFrom::Current(i64::try_from(len).ok()?)).ok()?;
    }
}

/// How a file is wanted.
#[derive(Default, Deserialize)]
pub(super) struct How {
    download: Option<u8>,
}

/// `GET /jobs/{id}/files/{number}`: a file that the job made, by its number alone, so that no path comes from outside.
pub(super) async fn file(
    State(desk): State<Desk>,
    Path((id, number)): Path<(String, usize)>,
    Query(how): Query<How>,
    _: Owner,
) -> Result<Response, PageError> {
    let read = desk.blocking(move |desk| {
        let record = find(desk, &id)?.record().map_err(|failure| bad(&failure))?;
        let path = record.outputs.get(number).ok_or(PageError::Missing("file"))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok((name, read_whole(path)?))
    });
    let (name, bytes) = read.await?;
    Ok(answer(&name, bytes, how.download.is_some()))
}

fn read_whole(path: &FilePath) -> Result<Vec<u8>, PageError> {
    let file = File::open(path).map_err(|_| PageError::Missing("file"))?;
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(|_| PageError::Internal)?;
    Ok(bytes)
}

/// `GET /jobs/{id}/tasks/{number}`: the result of one task.
pub(super) async fn task(
    State(desk): State<Desk>,
    Path((id, number)): Path<(String, usize)>,
    Query(how): Query<How>,
    _: Owner,
) -> Result<Response, PageError> {
    let bytes = desk.blocking(move |desk| {
        let folder = find(desk, &id)?;
        let live = read_live(&folder).unwrap_or_default();
        let hash = live.results.get(number).copied().flatten().ok_or(PageError::Missing("result"))?;
        let (file, len) = result(&folder, hash).ok_or(PageError::Missing("result"))?;
        let mut bytes = Vec::new();
        file.take(len.min(LARGEST)).read_to_end(&mut bytes).map_err(|_| PageError::Internal)?;
        Ok(bytes)
    });
    Ok(answer(&format!("task-{number}"), bytes.await?, how.download.is_some()))
}

/// Sends bytes that strangers made: as a picture if they are one, else to be saved; never as a page.
fn answer(name: &str, bytes: Vec<u8>, download: bool) -> Response {
    let kind = image(&bytes).filter(|_| !download);
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().take(100).map(plain).collect();
    let mut answer = Body::from(bytes).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.unwrap_or("application/octet-stream")));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if kind.is_none()
        && let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    answer
}

/// `GET /jobs/{id}/live`: something of the job changed.
pub(super) async fn live(State(desk): State<Desk>, Path(id): Path<String>, _: Owner) -> Result<Response, PageError> {
    let folder = find(&desk, &id)?;
    let news = stream::unfold((folder, String::new(), 0u64), |(folder, seen, count)| async move {
        loop {
            let reader = folder.clone();
            let state = tokio::task::spawn_blocking(move || stamp(&reader)).await.ok()?;
            if state != seen {
                return Some((count.to_string(), (folder, state, count + 1)));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    bmm_web::stream(&desk.site, news)
}

/// Tells apart what the page would show.
fn stamp(folder: &JobFolder) -> String {
    let time = |name: &str| std::fs::metadata(folder.path().join(name)).and_then(|meta| meta.modified()).ok();
    // Now and then in any case: a process that died changes no file.
    let tick = std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs() / 10);
    format!("{:?} {:?} {:?} {tick}", time("job.json"), time("live.json"), time("receipt.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_are_shown_as_such() {
        assert_eq!(image(b"\x89PNG\r\n"), Some("image/png"));
        assert_eq!(image(b"<svg onload=alert(1)>"), None);
        let page = answer("../../etc/\"passwd\r\nX: y", b"<script>".to_vec(), false);
        assert_eq!(page.headers()[header::CONTENT_TYPE], "application/octet-stream");
        assert_eq!(page.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\".._.._etc__passwd__X__y\"");
    }
}

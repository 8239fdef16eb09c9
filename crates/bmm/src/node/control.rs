//! What the commands of a data folder ask of the node that runs on it: through files in the folder `control`, which only its owner can
//! write. Whoever can write there can also read the keys; a network reaches none of it.
//!
//! A command writes `ID.request.json`; the node answers in `ID.answer.json`, again and again until it is done. When the request goes,
//! the node stops working on it.

use super::reports::{BackupReport, BanReport, StatsReport};
use crate::{
    failure::{Failure, IoContext, Outcome},
    footstone::Bettor,
    paths::{DataDir, write_atomically},
};
use bmm_chain::Chain;
use bmm_net::{Network, PeerId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Handle;

/// How often the node looks for requests, and a command for answers.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the node says how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How long a command waits for a sign of the node.
const SILENCE: Duration = Duration::from_mins(2);
/// Longest request that is read.
const MAX_REQUEST_BYTES: u64 = 64 << 10;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlRequest {
    /// Copy the database into this folder.
    Backup(PathBuf),
    /// Say what the tables hold.
    Stats,
    /// Say who is banned from the network.
    Bans,
    /// Ban a node, then say who is banned.
    Ban {
        /// Its id.
        peer: String,
        /// How long, in seconds.
        secs: u64,
    },
    /// End a ban, then say who is banned.
    LiftBan(String),
    /// Say how the footstone bets.
    Footstone,
    /// Have the footstone take over bets that its log does not hold, then say how it is.
    AcceptHistory,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Answer {
    /// How far it is.
    done: u64,
    whole: u64,
    /// Counts up with every version of the file, so that silence can be told from slowness.
    beat: u64,
    result: Option<Value>,
    error: Option<String>,
}

/// The node's side. Dropping it stops it.
pub struct Control {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Begins to serve the folder; what lies there from before is removed.
    pub fn start(
        data: &DataDir,
        chain: Arc<Chain>,
        network: Option<(Network, Handle)>,
        bettor: Option<Arc<Mutex<Bettor>>>,
    ) -> Outcome<Self> {
        let folder = data.control();
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).doing("empty", &folder),
            _ => {}
        }
        data.create(&folder)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let asked = Asked { chain, network, bettor };
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    for request in requests(&folder) {
                        serve(&asked, &request, &stopped);
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
            })
            .map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that answers commands ended in a panic");
        }
    }
}

/// The requests that have no answer yet.
fn requests(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let open = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.ends_with(".request.json") && !answer_path(path).exists()
    };
    files.filter(open).collect()
}

fn answer_path(request: &Path) -> PathBuf {
    let name = request.file_name().and_then(OsStr::to_str).unwrap_or_default();
    request.with_file_name(name.replace(".request.json", ".answer.json"))
}

/// Who knows what is asked for.
struct Asked {
    chain: Arc<Chain>,
    network: Option<(Network, Handle)>,
    bettor: Option<Arc<Mutex<Bettor>>>,
}

/// Asks the footstone.
fn footstone(bettor: Option<&Arc<Mutex<Bettor>>>, request: &ControlRequest) -> Result<Value, String> {
    let mut bettor = bettor.ok_or("the node bets for no footstone; start it with --footstone WALLET")?.lock();
    let report = match request {
        ControlRequest::AcceptHistory => bettor.accept_history().map_err(|error| error.to_string())?,
        _ => bettor.report(),
    };
    Ok(serde_json::json!(report))
}

fn serve(asked: &Asked, path: &Path, stopped: &AtomicBool) {
    let Asked { chain, network, bettor } = asked;
    let mut answer = Answer::default();
    let place = answer_path(path);
    let write = |answer: &mut Answer| {
        answer.beat += 1;
        // The folder's disk may be full; the command then hears nothing and says so.
        let _ = write_atomically(&place, &serde_json::to_vec(answer).expect("plain values"));
    };
    write(&mut answer);
    let mut told = Instant::now();
    let mut progress = |done: u64, whole: u64| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            (answer.done, answer.whole) = (done, whole);
            write(&mut answer);
        }
        path.exists() && !stopped.load(Ordering::Relaxed)
    };
    let result = match read_request(path) {
        Ok(ControlRequest::Backup(to)) => chain
            .backup(&to, &mut progress)
            .map(|backup| serde_json::json!(BackupReport::from(&backup)))
            .map_err(|error| error.to_string()),
        Ok(ControlRequest::Stats) => {
            let stats = chain.store_stats().map(|stats| serde_json::json!(StatsReport::from(&stats)));
            stats.map_err(|error| error.to_string())
        }
        Ok(request @ (ControlRequest::Footstone | ControlRequest::AcceptHistory)) => {
            footstone(bettor.as_ref(), &request)
        }
        Ok(request) => bans(network.as_ref(), &request),
        Err(what) => Err(what),
    };
    match result {
        Ok(value) => answer.result = Some(value),
        Err(error) => answer.error = Some(error),
    }
    if path.exists() {
        write(&mut answer);
    } else {
        let _ = std::fs::remove_file(&place);
    }
}

/// Bans, lifts bans, and says who is banned.
fn bans(network: Option<&(Network, Handle)>, request: &ControlRequest) -> Result<Value, String> {
    let (network, runtime) = network.ok_or("the node is in no network")?;
    let read = |peer: &str| peer.parse::<PeerId>().map_err(|_| format!("{peer:?} is no id of a node"));
    match request {
        ControlRequest::Ban { peer, secs } => {
            let peer = read(peer)?;
            runtime.block_on(network.ban(peer, *secs)).map_err(|error| error.to_string())?;
        }
        ControlRequest::LiftBan(peer) => {
            let peer = read(peer)?;
            if !network.lift_ban(peer) {
                return Err(format!("{peer} is not banned"));
            }
        }
        _ => {}
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let report =
        |ban: bmm_net::Ban| BanReport { peer: ban.peer.to_string(), secs_left: ban.until_secs.saturating_sub(now) };
    Ok(serde_json::json!(network.bans().into_iter().map(report).collect::<Vec<_>>()))
}

fn read_request(path: &Path) -> Result<ControlRequest, String> {
    let len = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if len > MAX_REQUEST_BYTES {
        return Err("the request is too long".to_owned());
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| format!("the request is not understood: {error}"))
}

/// Asks the node that runs on the data folder, and waits for its result. `progress` is told how far it is, and says whether to go on.
pub fn ask_node<T: DeserializeOwned>(
    data: &DataDir,
    request: &ControlRequest,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Outcome<T> {
    let folder = data.control();
    data.create(&folder)?;
    let id = format!("{}-{}", std::process::id(), beat_of_clock());
    let path = folder.join(format!("{id}.request.json"));
    let place = answer_path(&path);
    write_atomically(&path, &serde_json::to_vec(request).expect("plain values"))?;
    let result = wait_for_answer(&place, progress);
    // The node stops when the request goes.
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_file(&place);
    serde_json::from_value(result?).map_err(|error| {
        Failure::internal(format!("the node's answer is not understood: {error}"))
            .hint("is it another version of bmm? stop it and run the command again")
    })
}

fn beat_of_clock() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

fn wait_for_answer(place: &Path, progress: &mut dyn FnMut(u64, u64) -> bool) -> Outcome<Value> {
    let (mut beat, mut heard) = (0, Instant::now());
    loop {
        let answer = std::fs::read(place).ok().and_then(|bytes| serde_json::from_slice::<Answer>(&bytes).ok());
        if let Some(answer) = answer {
            if let Some(value) = answer.result {
                return Ok(value);
            }
            if let Some(error) = answer.error {
                return Err(Failure::user(error));
            }
            if answer.beat != beat {
                (beat, heard) = (answer.beat, Instant::now());
            }
            if !progress(answer.done, answer.whole) {
                return Err(Failure::user("interrupted"));
            }
        }
        if heard.elapsed() > SILENCE {
            return Err(Failure::internal(format!("the running node says nothing for {} s", SILENCE.as_secs()))
                .hint("stop the node and run the command again; it then reads the database itself"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

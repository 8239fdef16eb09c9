//! One miner's conversation: requests in, answers and shares out.

use super::{
    Shared,
    config::Listen,
    conn::Conn,
    guard::Fault,
    session::{Checked, Claim, Refused, Session},
    stats::Worker,
    work::Work,
};
use crate::{
    difficulty::{Limits, ShareDifficulty},
    stratum::{Id, Incoming, Param, Password, Reject, Request, User, render},
    validate::{Pending, Reply},
    vardiff::Vardiff,
};
use std::{sync::Arc, time::Duration};

/// Bits of a header's version that miners may roll.
pub(super) const VERSION_MASK: u32 = 0x1fff_e000;
/// Longest name of a miner's software that is kept, in bytes.
pub(super) const MAX_AGENT_BYTES: usize = 64;
/// Shares on jobs that are over are no fault for so long after that, in milliseconds: the news is on its way.
const GRACE_MILLIS: u64 = 10_000;

/// What the server knows of a miner. It holds no socket.
#[derive(Debug)]
pub(super) struct Client {
    pub session: Option<Session>,
    /// Those that were authorised, under the names that shares carry.
    workers: Vec<(Box<str>, Arc<Worker>)>,
    /// Bits of the version that it rolls.
    mask: u32,
    start: ShareDifficulty,
    suggested: Option<ShareDifficulty>,
    /// By the password: not below this.
    floor: Option<ShareDifficulty>,
    /// The last that it was told.
    announced: Option<ShareDifficulty>,
    agent: Arc<str>,
    takes_extranonces: bool,
    /// Whether it was given a job.
    works: bool,
}

/// Around a line: who sent it, when, and where things go.
pub(super) struct Call<'a> {
    pub shared: &'a Arc<Shared>,
    pub conn: &'a Arc<Conn>,
    /// On the server's clock, and in Unix milliseconds.
    pub now: u64,
    pub at_millis: u64,
    pub out: String,
    /// The same for Stratum V2.
    pub bytes: Vec<u8>,
    pub shares: Vec<Pending>,
    pub points: u32,
}

impl Call<'_> {
    pub fn fault(&mut self, fault: Fault) {
        self.points = self.points.saturating_add(fault.points());
    }

    /// Counts a share that is refused. News of a job that is over takes its time.
    pub fn share_fault(&mut self, reject: Reject) {
        let in_grace = self.now.saturating_sub(self.shared.works.changed_at()) < GRACE_MILLIS;
        if !(reject == Reject::Stale && in_grace) {
            self.fault(Fault::Share(reject));
        }
    }

    fn result(&mut self, id: &Id, json: &str) {
        render::result(&mut self.out, id, json);
    }

    fn refuse(&mut self, id: &Id, reject: Reject, why: &str) {
        render::refusal(&mut self.out, id, reject, why);
    }
}

impl Client {
    pub fn new(listen: &Listen) -> Self {
        Self {
            session: None,
            workers: Vec::new(),
            mask: 0,
            start: listen.start,
            suggested: None,
            floor: None,
            announced: None,
            agent: Arc::from(""),
            takes_extranonces: false,
            works: false,
        }
    }

    /// Whether it subscribed and authorised a worker.
    pub fn is_ready(&self) -> bool {
        self.session.is_some() && !self.workers.is_empty()
    }

    /// Takes a line.
    pub fn line(&mut self, line: &[u8], call: &mut Call) {
        match Incoming::parse(line) {
            Ok(Incoming::Request(request)) => self.request(&request, call),
            Ok(Incoming::Answer(Id::Text(id), Param::Text(agent))) if &*id == render::VERSION_ID => {
                self.set_agent(&agent);
            }
            Ok(Incoming::Answer(..)) => {}
            Err(error) => {
                call.fault(Fault::Malformed);
                call.refuse(&Id::Null, Reject::Other, &error.to_string());
            }
        }
    }

    fn request(&mut self, request: &Request, call: &mut Call) {
        let Request { id, method, params } = request;
        match &**method {
            "mining.submit" => self.submit(id, params, call),
            "mining.subscribe" => self.subscribe(id, params, call),
            "mining.authorize" => self.authorise(id, params, call),
            "mining.configure" => self.configure(id, params, call),
            "mining.suggest_difficulty" => self.suggest(id, params, call),
            "mining.extranonce.subscribe" => {
                self.takes_extranonces = true;
                call.result(id, "true");
            }
            "mining.ping" | "ping" => call.result(id, "\"pong\""),
            "client.get_version" => call.result(id, concat!("\"bmm/", env!("CARGO_PKG_VERSION"), "\"")),
            _ => {
                call.fault(Fault::Method);
                call.refuse(id, Reject::Other, "there is no such method");
            }
        }
    }

    fn configure(&mut self, id: &Id, params: &[Param], call: &mut Call) {
        let extensions = if let Some(Param::List(names)) = params.first() { &names[..] } else { &[] };
        let options = if let Some(Param::Map(options)) = params.get(1) { &options[..] } else { &[] };
        let option = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let mut fields = Vec::new();
        for name in extensions.iter().filter_map(Param::text).take(8) {
            match name {
                "version-rolling" => {
                    let asked = option("version-rolling.mask").and_then(Param::text);
                    let asked = asked.map_or(Some(u32::MAX), |mask| u32::from_str_radix(mask, 16).ok());
                    let mask = asked.unwrap_or(0) & VERSION_MASK;
                    let fewest = option("version-rolling.min-bit-count").and_then(Param::number).unwrap_or(0.0);
                    if mask == 0 || f64::from(mask.count_ones()) < fewest {
                        fields.push("\"version-rolling\":false".to_owned());
                    } else {
                        self.mask = mask;
                        fields.push(format!("\"version-rolling\":true,\"version-rolling.mask\":\"{mask:08x}\""));
                    }
                }
                "minimum-difficulty" => {
                    let asked = option("minimum-difficulty.value").and_then(Param::number);
                    self.floor = asked.and_then(ShareDifficulty::nearest).or(self.floor);
                    fields.push("\"minimum-difficulty\":true".to_owned());
                }
                "subscribe-extranonce" => {
                    self.takes_extranonces = true;
                    fields.push("\"subscribe-extranonce\":true".to_owned());
                }
                "info" => fields.push("\"info\":true".to_owned()),
                // Names are a stranger's, so that they are written as JSON writes texts.
                other => fields.extend(serde_json::to_string(other).ok().map(|name| format!("{name}:false"))),
            }
        }
        call.result(id, &format!("{{{}}}", fields.join(",")));
        self.retarget(call);
    }

    fn subscribe(&mut self, id: &Id, params: &[Param], call: &mut Call) {
        if let Some(agent) = params.first().and_then(Param::text) {
            self.set_agent(agent);
        }
        let mut resumed = false;
        if self.session.is_none() {
            let asked = params.get(1).and_then(Param::text).and_then(|id| u64::from_str_radix(id, 16).ok());
            let session = asked.and_then(|asked| call.shared.resume(asked, call.conn, call.now));
            resumed = session.is_some();
            let begin = || {
                let vardiff = Vardiff::new(call.shared.config.difficulty.shares_per_minute, call.now);
                let difficulty = self.first_difficulty(&call.shared.works.current(), &self.limits(call.shared));
                call.shared.sessions.begin(call.conn.number(), difficulty, vardiff)
            };
            self.session = Some(session.unwrap_or_else(begin));
        }
        if let Some(session) = &mut self.session {
            render::subscribed(&mut call.out, id, session.id, session.extranonce1);
            if resumed {
                session.vardiff.restart(call.now);
                let current = call.shared.works.current();
                self.works = session.tell_again(current.job.number, &mut self.announced, &mut call.out);
            }
        }
        self.begin_work(call);
    }

    fn authorise(&mut self, id: &Id, params: &[Param], call: &mut Call) {
        let name = params.first().and_then(Param::text).unwrap_or_default();
        let password = params.get(1).and_then(Param::text).unwrap_or_default();
        if self.worker(name).is_some() {
            return call.result(id, "true");
        }
        let user = match User::parse(name) {
            Ok(user) => user,
            Err(error) => {
                call.fault(Fault::Worker);
                return call.refuse(id, Reject::Unauthorised, &error.to_string());
            }
        };
        let limits = &call.shared.config.limits;
        if self.workers.len() >= limits.workers_per_connection {
            return call.refuse(id, Reject::Unauthorised, "the connection has as many workers as it may have");
        }
        let Some(worker) = call.shared.stats.enter(user.account, &user.worker, call.at_millis) else {
            return call.refuse(
                id,
                Reject::Unauthorised,
                "the pool has as many workers as it can keep; try again later",
            );
        };
        if !self.agent.is_empty() {
            worker.has_agent(&self.agent);
        }
        self.workers.push((name.into(), worker));
        call.result(id, "true");
        if let Some(difficulty) = Password::parse(password).difficulty {
            (self.floor, self.suggested) = (Some(difficulty), None);
            self.retarget(call);
        }
        if self.agent.is_empty() {
            call.out.push_str(render::GET_VERSION);
        }
        self.begin_work(call);
    }

    fn suggest(&mut self, id: &Id, params: &[Param], call: &mut Call) {
        let Some(difficulty) = params.first().and_then(Param::number).and_then(ShareDifficulty::nearest) else {
            return call.refuse(id, Reject::Other, "the difficulty must be a number above zero");
        };
        self.suggested = Some(difficulty);
        call.result(id, "true");
        self.retarget(call);
    }

    /// Brings a session to what its miner asked for.
    fn retarget(&mut self, call: &mut Call) {
        let limits = self.limits(call.shared);
        let asked = self.suggested.or(self.floor);
        let Some(session) = &mut self.session else { return };
        let difficulty = asked.unwrap_or(session.difficulty).within(&limits);
        if difficulty != session.difficulty {
            session.difficulty = difficulty;
            session.vardiff.restart(call.now);
            self.change_difficulty(call.shared, &mut call.out);
        }
    }

    fn limits(&self, shared: &Shared) -> Limits {
        let limits = shared.config.difficulty.limits;
        let floor = self.floor.unwrap_or(limits.least).within(&limits);
        Limits { least: floor, ..limits }
    }

    fn first_difficulty(&self, work: &Work, limits: &Limits) -> ShareDifficulty {
        let usual = self.start.min(work.easiest);
        self.suggested.or(self.floor).unwrap_or(usual).within(limits)
    }

    fn set_agent(&mut self, agent: &str) {
        let visible = agent.chars().filter(char::is_ascii_graphic);
        self.agent = visible.take(MAX_AGENT_BYTES).collect::<String>().into();
        for (_, worker) in &self.workers {
            worker.has_agent(&self.agent);
        }
    }

    fn worker(&self, name: &str) -> Option<&Arc<Worker>> {
        self.workers.iter().find(|(known, _)| &**known == name).map(|(_, worker)| worker)
    }

    /// Gives the first job, once the miner is ready.
    fn begin_work(&mut self, call: &mut Call) {
        if self.is_ready() && !self.works {
            let work = call.shared.works.current();
            self.hand(&work, true, &mut call.out);
        }
    }

    /// Gives a job to a miner that is ready.
    pub fn hand(&mut self, work: &Arc<Work>, clean: bool, out: &mut String) {
        if !self.is_ready() {
            return;
        }
        self.works = true;
        if let Some(session) = &mut self.session {
            let before = self.announced;
            session.hand(work, clean, &mut self.announced, out);
            if self.announced != before {
                self.workers.iter().for_each(|(_, worker)| worker.has_difficulty(session.difficulty));
            }
        }
    }

    /// Gives the current job again, in a variation that goes with a difficulty that has changed.
    fn change_difficulty(&mut self, shared: &Shared, out: &mut String) {
        if self.works {
            self.hand(&shared.works.current(), false, out);
        }
    }

    /// Lets vardiff judge, as time goes by and when shares come.
    pub fn judge(&mut self, shared: &Shared, now: u64, out: &mut String) {
        let limits = self.limits(shared);
        if self.works
            && let Some(session) = &mut self.session
            && session.judge(now, &limits)
        {
            self.change_difficulty(shared, out);
        }
    }

    fn submit(&mut self, id: &Id, params: &[Param], call: &mut Call) {
        match self.share(id, params, call) {
            Ok(share) => {
                call.shares.push(share);
                self.judge(call.shared, call.now, &mut call.out);
            }
            Err((reject, why)) => {
                let worker = params.first().and_then(Param::text).and_then(|name| self.worker(name));
                call.shared.stats.rejected(worker.map(|worker| &**worker), reject);
                call.share_fault(reject);
                call.refuse(id, reject, why);
            }
        }
    }

    /// Checks a share but for its hash.
    fn share(&mut self, id: &Id, params: &[Param], call: &Call) -> Result<Pending, Refused> {
        let mask = self.mask;
        let (name, job_id, extranonce2, time, nonce, bits) = match params {
            [name, job_id, extranonce2, time, nonce] => (name, job_id, extranonce2, time, nonce, None),
            [name, job_id, extranonce2, time, nonce, bits] => (name, job_id, extranonce2, time, nonce, Some(bits)),
            _ => return Err((Reject::Other, "a share has five parameters, or six with the bits of a version")),
        };
        if self.session.is_none() {
            return Err((Reject::NotSubscribed, "mining.subscribe must come first"));
        }
        let worker = name.text().and_then(|name| self.worker(name)).cloned();
        let worker = worker.ok_or((Reject::Unauthorised, "the worker is not authorised on this connection"))?;
        let Some(session) = &mut self.session else {
            return Err((Reject::NotSubscribed, "mining.subscribe must come first"));
        };
        let extranonce1 = session.extranonce1;
        let handed = job_id.text().and_then(|id| session.find(id));
        let handed = handed.ok_or((Reject::Stale, "the job is over, or was never given"))?;

        let extranonce2 = hex(extranonce2, "the second extra nonce must have 16 hexadecimal digits")?;
        let time = u32::from_be_bytes(hex(time, "the time must have 8 hexadecimal digits")?);
        let nonce = u32::from_be_bytes(hex(nonce, "the nonce must have 8 hexadecimal digits")?);
        let bits = bits.map(|bits| hex(bits, "the bits of the version must have 8 hexadecimal digits")).transpose()?;
        let version = bits.map_or(Ok(handed.version()), |bits| {
            let bits = u32::from_be_bytes(bits);
            let other = "the bits of the version are not those that mining.configure allowed";
            if bits & !mask == 0 { Ok(handed.version() & !mask | bits) } else { Err((Reject::Other, other)) }
        })?;
        let claim = Claim { extranonce2, time, nonce, version };
        let Checked { work, difficulty, header } = handed.check(&claim, extranonce1, mask, call.shared)?;
        let hashes = difficulty.hashes();
        session.vardiff.count(hashes);
        Ok(Pending {
            header,
            target: difficulty.target(),
            hashes,
            at_millis: call.at_millis,
            work,
            extranonce1,
            extranonce2,
            worker,
            conn: Arc::clone(call.conn),
            reply: Reply::Request(id.clone()),
        })
    }

    /// Gives its session up to another connection of the same miner. A miner that takes extra nonces goes on with a new one; returns
    /// whether it does.
    pub fn give_up(&mut self, shared: &Shared, number: u64, now: u64, out: &mut String) -> (Option<Session>, bool) {
        let given = self.session.take();
        if !self.takes_extranonces || given.is_none() {
            return (given, false);
        }
        let vardiff = Vardiff::new(shared.config.difficulty.shares_per_minute, now);
        let difficulty = given.as_ref().map_or(self.start, |session| session.difficulty);
        let session = shared.sessions.begin(number, difficulty, vardiff);
        render::set_extranonce(out, session.extranonce1);
        self.session = Some(session);
        self.hand(&shared.works.current(), true, out);
        (given, true)
    }

    /// Ends the conversation, and returns the session.
    pub fn end(&mut self, at_millis: u64) -> Option<Session> {
        self.workers.drain(..).for_each(|(_, worker)| worker.left(at_millis));
        self.session.take()
    }
}

/// Reads as many hexadecimal digits as there must be.
fn hex<const N: usize>(param: &Param, otherwise: &'static str) -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    let text = param.text().filter(|text| text.len() == N.saturating_mul(2)).ok_or((Reject::Other, otherwise))?;
    alloy_primitives::hex::decode_to_slice(text, &mut bytes).map_err(|_| (Reject::Other, otherwise))?;
    Ok(bytes)
}

/// How far a share's time may be after its job's: networks refuse blocks that are two hours ahead.
pub(super) const MAX_AHEAD: Duration = Duration::from_secs(7_000);

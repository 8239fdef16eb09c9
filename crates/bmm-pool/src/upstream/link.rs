//! Keeps a connection to the best pool of a list: the first one that works.

use super::{
    job::UpstreamWork,
    protocol::{MAX_LINE_BYTES, ProtocolError, Said, Session, UpstreamShare},
    tls,
    url::PoolUrl,
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::rustls::pki_types::ServerName;

/// How long a connection, and what is said at its beginning, may take.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);
/// How long a pool may be silent: jobs come every minute or so.
const SILENCE: Duration = Duration::from_mins(5);
/// Pause after the whole list was tried in vain; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often it is looked whether a better pool is back.
const LOOK_BACK: Duration = Duration::from_mins(2);
/// Bytes read at once.
const CHUNK: usize = 8 << 10;

/// A pool, and who one is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolAccount {
    /// Where it is.
    pub url: PoolUrl,
    /// The user's name, as the pool wants it: often an address, a point and a worker's name.
    pub user: String,
    /// The password; most pools take any.
    pub password: String,
}

/// What a link needs to know.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// The pools, the best first; at least one.
    pub pools: Vec<PoolAccount>,
    /// Name and version of this program, as pools are told.
    pub agent: String,
    /// PEM file of certificates to trust instead of the system's.
    pub trusted: Option<PathBuf>,
}

/// Why a connection ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The network.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No answer.
    #[error("the pool says nothing within {0} s")]
    Silent(u64),
    /// What the pool said.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// A line without an end.
    #[error("the pool sends a line of more than {MAX_LINE_BYTES} bytes")]
    LongLine,
    /// The pool closed the connection.
    #[error("the pool closed the connection")]
    Closed,
    /// The pool wants the miner to connect anew.
    #[error("the pool asks to connect anew")]
    Reconnect,
    /// A better pool is back.
    #[error("a preferred pool answers again")]
    Better,
    /// The file of certificates.
    #[error("the certificates of {}: {why}", path.display())]
    Trusted {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No file of certificates.
    #[error("this system's file of trusted certificates is not found; name one")]
    NoneTrusted,
    /// The name of the pool.
    #[error("{0} is no name that a certificate could be for")]
    Name(String),
}

/// What a link tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// A pool has taken the user.
    Connected(PoolUrl),
    /// There is work.
    Work(Arc<UpstreamWork>),
    /// A share was accepted, or refused with these words.
    Verdict(UpstreamShare, Result<(), String>),
    /// The pool's words for the person at the screen.
    Words(String),
    /// There is no connection any more; what was worked on is worth nothing.
    Lost(PoolUrl, LinkError),
}

/// Lines of a pool. Waiting for one can be given up at any time.
struct Reader<R> {
    from: R,
    begun: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn line(&mut self) -> Result<Vec<u8>, LinkError> {
        loop {
            if let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let rest = self.begun.split_off(end.saturating_add(1));
                let mut line = std::mem::replace(&mut self.begun, rest);
                line.truncate(end);
                return Ok(line);
            }
            if self.begun.len() > MAX_LINE_BYTES {
                return Err(LinkError::LongLine);
            }
            let mut chunk = [0; CHUNK];
            let read = self.from.read(&mut chunk).await?;
            if read == 0 {
                return Err(LinkError::Closed);
            }
            self.begun.extend_from_slice(chunk.get(..read).unwrap_or_default());
        }
    }
}

/// Works until nobody sends shares or hears events any more.
pub async fn run(config: LinkConfig, events: mpsc::Sender<LinkEvent>, mut shares: mpsc::Receiver<UpstreamShare>) {
    let (mut index, mut number, mut pause) = (0usize, 0u64, FIRST_PAUSE);
    while let Some(pool) = config.pools.get(index) {
        number = number.wrapping_add(1);
        let mut talk = Talk { config: &config, index, pool, number, events: &events, connected: false };
        let Err(error) = talk.run(&mut shares).await else { return };
        if talk.connected {
            pause = FIRST_PAUSE;
        }
        let again = matches!(error, LinkError::Reconnect);
        index = match error {
            LinkError::Better => 0,
            LinkError::Reconnect => index,
            _ => index.saturating_add(1),
        };
        if events.send(LinkEvent::Lost(pool.url.clone(), error)).await.is_err() {
            return;
        }
        if index >= config.pools.len() || again {
            index = if again { index } else { 0 };
            // Shares that are found meanwhile are for nobody.
            let wait = sleep(pause);
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    share = shares.recv() => if share.is_none() { return },
                }
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}

/// Works over a stream that is there already, until it ends; well only when nobody sends shares or hears events any more.
pub async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    account: PoolAccount,
    agent: String,
    events: mpsc::Sender<LinkEvent>,
    mut shares: mpsc::Receiver<UpstreamShare>,
) -> Result<(), LinkError> {
    let config = LinkConfig { pools: vec![account.clone()], agent, trusted: None };
    let mut talk = Talk { config: &config, index: 0, pool: &account, number: 0, events: &events, connected: false };
    talk.talk(stream, &mut shares).await
}

/// One connection.
struct Talk<'a> {
    config: &'a LinkConfig,
    index: usize,
    pool: &'a PoolAccount,
    number: u64,
    events: &'a mpsc::Sender<LinkEvent>,
    connected: bool,
}

impl Talk<'_> {
    /// Ends well only when there is nobody to work for.
    async fn run(&mut self, shares: &mut mpsc::Receiver<UpstreamShare>) -> Result<(), LinkError> {
        let PoolUrl { host, port, tls } = &self.pool.url;
        let silent = |_| LinkError::Silent(BEGIN_WITHIN.as_secs());
        let stream = timeout(BEGIN_WITHIN, TcpStream::connect((host.as_str(), *port))).await.map_err(silent)??;
        stream.set_nodelay(true)?;
        if *tls {
            let connector = tls::connector(self.config.trusted.as_deref())?;
            let name = ServerName::try_from(host.clone()).map_err(|_| LinkError::Name(host.clone()))?;
            let stream = timeout(BEGIN_WITHIN, connector.connect(name, stream)).await.map_err(silent)??;
            self.talk(stream, shares).await
        } else {
            self.talk(stream, shares).await
        }
    }

    async fn talk(
        &mut self,
        stream: impl AsyncRead + AsyncWrite,
        shares: &mut mpsc::Receiver<UpstreamShare>,
    ) -> Result<(), LinkError> {
        let (from, mut to) = tokio::io::split(stream);
        let mut reader = Reader { from: Box::pin(from), begun: Vec::new() };
        let PoolAccount { user, password, .. } = self.pool;
        let (mut session, hello) = Session::begin(self.number, user, password, &self.config.agent);
        send(&mut to, &hello).await?;
        let mut heard = Instant::now();
        let mut looked = Instant::now();
        loop {
            let patience = if self.connected { SILENCE } else { BEGIN_WITHIN };
            let until = heard.checked_add(patience).unwrap_or(heard);
            let look = looked.checked_add(LOOK_BACK).unwrap_or(looked);
            tokio::select! {
                line = reader.line() => {
                    let said = session.hear(&line?)?;
                    // Before the user is taken, only that counts.
                    if self.connected || session.is_authorised() {
                        heard = Instant::now();
                    }
                    if !self.connected && session.is_authorised() {
                        self.connected = true;
                        if !self.tell(LinkEvent::Connected(self.pool.url.clone())).await { return Ok(()) }
                    }
                    if let Some(said) = said && !self.said(said, &mut to).await? { return Ok(()) }
                }
                share = shares.recv() => match share {
                    None => return Ok(()),
                    Some(share) => if let Some(line) = session.submit(share) { send(&mut to, &line).await? },
                },
                () = tokio::time::sleep_until(until) => return Err(LinkError::Silent(patience.as_secs())),
                () = tokio::time::sleep_until(look), if self.index > 0 => {
                    looked = Instant::now();
                    if self.a_better_one_answers().await { return Err(LinkError::Better) }
                }
            }
        }
    }

    /// Does what follows from the pool's words. False when nobody listens any more.
    async fn said(&self, said: Said, to: &mut (impl AsyncWrite + Unpin)) -> Result<bool, LinkError> {
        let event = match said {
            Said::Work(work) => LinkEvent::Work(work),
            Said::Verdict(share, verdict) => LinkEvent::Verdict(share, verdict),
            Said::Words(words) => LinkEvent::Words(words),
            Said::Answer(line) => {
                send(to, &line).await?;
                return Ok(true);
            }
            // To where it was: a name in the message could be anybody's, as nothing shows that the pool has sent it.
            Said::Reconnect => return Err(LinkError::Reconnect),
        };
        Ok(self.tell(event).await)
    }

    async fn tell(&self, event: LinkEvent) -> bool {
        self.events.send(event).await.is_ok()
    }

    async fn a_better_one_answers(&self) -> bool {
        let Some(first) = self.config.pools.first() else { return false };
        let connect = TcpStream::connect((first.url.host.as_str(), first.url.port));
        matches!(timeout(Duration::from_secs(5), connect).await, Ok(Ok(_)))
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), lines: &str) -> Result<(), LinkError> {
    let all = async {
        to.write_all(lines.as_bytes()).await?;
        to.flush().await
    };
    timeout(BEGIN_WITHIN, all).await.map_err(|_| LinkError::Silent(BEGIN_WITHIN.as_secs()))?.map_err(Into::into)
}

//! The fetching side: each chunk is held against the list as it comes, and the whole against its name; a break is gone on from.

use super::{
    CHUNK_BYTES, ChunkList, ContentStore, HERE, ListError, MAX_CONTENT_BYTES, PATIENCE, PIPELINE, Request, StoreError,
    chunk_len, chunks, list::Whole, store::Reservation,
};
use bmm_types::{ContentHash, market::Content};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
};
use libp2p::PeerId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

/// Bytes of a list that are read at once.
const LIST_PART_BYTES: usize = 64 << 10;

/// Says why content did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer does not have it.
    #[error("the peer does not have the content {0}")]
    NotThere(ContentHash),
    /// The peer's list of chunks is none.
    #[error("the peer's list of chunks is wrong: {0}")]
    WrongList(#[from] ListError),
    /// A chunk differs from the peer's own list.
    #[error("the peer sent a wrong chunk {0}")]
    WrongChunk(u32),
    /// All chunks are as listed, and the whole is something else.
    #[error("the peer sent something else under the name {0}")]
    WrongWhole(ContentHash),
    /// The connection broke, or nothing came for a minute.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody was named who could have it.
    #[error("nobody is known who has the content {0}")]
    Nobody(ContentHash),
}

impl FetchError {
    /// Whether the peer sent what it must not.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::WrongList(_) | Self::WrongChunk(_) | Self::WrongWhole(_))
    }
}

/// Fetches content over an open stream into a store; what came before a break is kept, and gone on from.
pub async fn fetch_from<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    content: Content,
    store: &ContentStore,
) -> Result<(), FetchError> {
    if store.has(content) {
        return Ok(());
    }
    let room = store.reserve(content.size)?;
    store.set_arriving(content.hash, true);
    let fetched = fetch_into(stream, content, store, room).await;
    store.set_arriving(content.hash, false);
    fetched
}

async fn fetch_into<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    content: Content,
    store: &ContentStore,
    room: Reservation,
) -> Result<(), FetchError> {
    let list = ask_for_list(stream, content).await?;
    let path = store.partial(content.hash);
    let begin = {
        let (path, list) = (path.clone(), list.clone());
        tokio::task::spawn_blocking(move || Arrival::open(&path, list)).await.map_err(io::Error::from)??
    };
    if begin.next < list.count() {
        let request = Request { list: false, hash: content.hash, size: content.size, from: begin.next };
        ask(stream, request).await?;
    }
    let (mut arrival, sent) = receive(stream, begin).await?;
    sent?;
    let whole = std::mem::take(&mut arrival.whole).name();
    drop(arrival);
    let _ = fs::remove_file(list_path(&path));
    if whole != content.hash {
        let _ = fs::remove_file(&path);
        return Err(FetchError::WrongWhole(content.hash));
    }
    Ok(store.take_in(&path, content, room)?)
}

/// Sends a request and reads whether the content is there.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: Request) -> Result<(), FetchError> {
    within(stream.write_all(&request.encode())).await?;
    within(stream.flush()).await?;
    let mut answer = [0];
    within(stream.read_exact(&mut answer)).await?;
    if answer[0] == HERE { Ok(()) } else { Err(FetchError::NotThere(request.hash)) }
}

async fn ask_for_list<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    content: Content,
) -> Result<ChunkList, FetchError> {
    if let Some(list) = ChunkList::single(content.size) {
        return Ok(list);
    }
    let count = chunks(content.size).filter(|_| content.size <= MAX_CONTENT_BYTES).ok_or(ListError::TooLarge)?;
    ask(stream, Request { list: true, hash: content.hash, size: content.size, from: 0 }).await?;
    let mut bytes = Vec::new();
    let mut left = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(32);
    while left > 0 {
        // Memory for what comes, not for what is announced.
        let (begin, part) = (bytes.len(), left.min(LIST_PART_BYTES));
        bytes.resize(begin + part, 0);
        within(stream.read_exact(&mut bytes[begin..])).await?;
        left -= part;
    }
    Ok(ChunkList::decode(content.size, &bytes)?)
}

/// Reads the rest of the chunks, while a thread checks and writes them.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    begin: Arrival,
) -> Result<(Arrival, Result<(), FetchError>), FetchError> {
    let (size, first, count) = (begin.list.size(), begin.next, begin.list.count());
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(PIPELINE);
    // Buffers go round: clearing new ones costs as much as copying into them.
    let (give_back, mut used) = mpsc::channel::<Vec<u8>>(PIPELINE);
    let writing = tokio::task::spawn_blocking(move || {
        let mut arrival = begin;
        while let Some(chunk) = receiver.blocking_recv() {
            if let Err(error) = arrival.add(&chunk) {
                return (arrival, Err(error));
            }
            let _ = give_back.try_send(chunk);
        }
        (arrival, Ok(()))
    });
    let mut read = Ok(());
    for index in first..count {
        let mut chunk = used.try_recv().unwrap_or_default();
        chunk.resize(chunk_len(size, index), 0);
        read = within(stream.read_exact(&mut chunk)).await;
        // A closed channel means that a chunk was wrong.
        if read.is_err() || sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    let (arrival, written) = writing.await.map_err(io::Error::from)?;
    Ok((arrival, written.and(read.map_err(FetchError::Io))))
}

fn list_path(path: &Path) -> PathBuf {
    path.with_extension("list")
}

/// Content that is on its way.
struct Arrival {
    file: File,
    list: ChunkList,
    whole: Whole,
    next: u32,
}

impl Arrival {
    /// Goes on with what an earlier try has left, if it was made by the same list.
    fn open(path: &Path, list: ChunkList) -> io::Result<Self> {
        let encoded = list.encode();
        let same = fs::read(list_path(path)).is_ok_and(|kept| kept == encoded);
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        if !same {
            file.set_len(0)?;
            fs::write(list_path(path), &encoded)?;
        }
        let mut arrival = Self { file: file.try_clone()?, list, whole: Whole::default(), next: 0 };
        let mut buffer = vec![0; CHUNK_BYTES];
        while arrival.next < arrival.list.count() {
            let chunk = &mut buffer[..chunk_len(arrival.list.size(), arrival.next)];
            if file.read_exact(chunk).is_err() || !arrival.list.is_chunk(arrival.next, chunk) {
                break;
            }
            arrival.whole.update(chunk);
            arrival.next += 1;
        }
        let end = u64::from(arrival.next) * u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
        let end = end.min(arrival.list.size());
        arrival.file.set_len(end)?;
        arrival.file.seek(SeekFrom::Start(end))?;
        Ok(arrival)
    }

    fn add(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        if !self.list.is_chunk(self.next, chunk) {
            return Err(FetchError::WrongChunk(self.next));
        }
        self.whole.update(chunk);
        self.file.write_all(chunk)?;
        self.next += 1;
        Ok(())
    }
}

/// Waits, but not for ever.
async fn within<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, what).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Fetches at once.
const AT_ONCE: usize = 8;
/// Streams to one peer that are kept for the next fetch.
const KEPT_STREAMS: usize = 4;
/// Peers that streams are kept to.
const KEPT_PEERS: usize = 64;

/// Opens a stream to a peer.
pub type Opener<S> = Arc<dyn Fn(PeerId) -> BoxFuture<'static, io::Result<S>> + Send + Sync>;
type Report = Arc<dyn Fn(PeerId, &FetchError) + Send + Sync>;
type Flight = Shared<BoxFuture<'static, Result<(), Arc<FetchError>>>>;

/// Fetches content from peers; what several want at once comes once.
pub struct Fetcher<S> {
    store: ContentStore,
    open: Opener<S>,
    /// Is told of peers that sent what they must not.
    report: Report,
    flights: Arc<Mutex<HashMap<ContentHash, Flight>>>,
    /// Streams that wait for their next request.
    idle: Arc<Mutex<HashMap<PeerId, Vec<S>>>>,
    places: Arc<Semaphore>,
}

impl<S> Clone for Fetcher<S> {
    fn clone(&self) -> Self {
        let (store, open) = (self.store.clone(), self.open.clone());
        let (report, flights) = (self.report.clone(), self.flights.clone());
        Self { store, open, report, flights, idle: self.idle.clone(), places: self.places.clone() }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Fetcher<S> {
    /// Fetches into `store`, over streams of `open`; `report` is told of peers that sent what they must not.
    pub fn new(
        store: ContentStore,
        open: Opener<S>,
        report: impl Fn(PeerId, &FetchError) + Send + Sync + 'static,
    ) -> Self {
        let (flights, idle, places) = (Arc::default(), Arc::default(), Arc::new(Semaphore::new(AT_ONCE)));
        Self { store, open, report: Arc::new(report), flights, idle, places }
    }

    /// Returns the store.
    pub fn store(&self) -> &ContentStore {
        &self.store
    }

    /// Fetches content from the first of `peers` that has it. Runs in a task of its own, so that one who stops waiting stops nobody else.
    pub async fn fetch(&self, content: Content, peers: &[PeerId]) -> Result<(), Arc<FetchError>> {
        loop {
            if self.store.has(content) {
                return Ok(());
            }
            let (flight, own) = self.join(content, peers);
            let ended = flight.await;
            // Another's flight may have failed for want of a peer that has it.
            if ended.is_ok() || own {
                return ended;
            }
        }
    }

    fn join(&self, content: Content, peers: &[PeerId]) -> (Flight, bool) {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&content.hash) {
            return (flight.clone(), false);
        }
        let (this, peers) = (self.clone(), peers.to_vec());
        let task = tokio::spawn(async move {
            let result = this.try_each(content, &peers).await.map_err(Arc::new);
            this.flights.lock().remove(&content.hash);
            result
        });
        let flight = async move { task.await.unwrap_or_else(|error| Err(Arc::new(io::Error::from(error).into()))) };
        let flight = flight.boxed().shared();
        flights.insert(content.hash, flight.clone());
        (flight, true)
    }

    async fn try_each(&self, content: Content, peers: &[PeerId]) -> Result<(), FetchError> {
        let _place = self.places.acquire().await;
        let mut last = FetchError::Nobody(content.hash);
        for peer in peers {
            match self.try_one(content, *peer).await {
                Ok(()) => return Ok(()),
                // Nobody else's bytes would fit either.
                Err(error @ FetchError::Store(_)) => return Err(error),
                Err(error) => {
                    if error.is_fault() {
                        (self.report)(*peer, &error);
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn try_one(&self, content: Content, peer: PeerId) -> Result<(), FetchError> {
        let kept = self.idle.lock().get_mut(&peer).and_then(Vec::pop);
        if let Some(mut stream) = kept {
            match fetch_from(&mut stream, content, &self.store).await {
                Ok(()) => {
                    self.keep(peer, stream);
                    return Ok(());
                }
                // The other side may have closed it long ago.
                Err(FetchError::Io(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut stream = (self.open)(peer).await?;
        fetch_from(&mut stream, content, &self.store).await?;
        self.keep(peer, stream);
        Ok(())
    }

    fn keep(&self, peer: PeerId, stream: S) {
        let mut idle = self.idle.lock();
        if idle.len() >= KEPT_PEERS && !idle.contains_key(&peer) {
            idle.clear();
        }
        let streams = idle.entry(peer).or_default();
        if streams.len() < KEPT_STREAMS {
            streams.push(stream);
        }
    }
}

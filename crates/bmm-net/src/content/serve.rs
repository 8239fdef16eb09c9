//! The serving side: answers requests from files.

use super::{CHUNK_BYTES, ChunkList, HERE, NOT_HERE, PATIENCE, PIPELINE, REQUEST_BYTES, Request, chunk_len, chunks};
use bmm_types::ContentHash;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
};
use tokio::{sync::mpsc, time::timeout};

/// Lists that are kept, so that they are not hashed anew for each peer.
const KEPT_LISTS: usize = 256;

/// Finds the file of some content.
type Find = Arc<dyn Fn(ContentHash) -> Option<PathBuf> + Send + Sync>;
/// Lists by name, the oldest first.
type Lists = VecDeque<(ContentHash, Arc<ChunkList>)>;

/// Where content is served from.
#[derive(Clone)]
pub struct Source {
    find: Find,
    lists: Arc<Mutex<Lists>>,
}

impl Source {
    /// Serves the files that `find` finds by their content's name. They must not change while they are served.
    pub fn new(find: impl Fn(ContentHash) -> Option<PathBuf> + Send + Sync + 'static) -> Self {
        Self { find: Arc::new(find), lists: Arc::default() }
    }

    fn open(&self, hash: ContentHash, size: u64) -> Option<File> {
        let file = File::open((self.find)(hash)?).ok()?;
        (file.metadata().ok()?.len() == size).then_some(file)
    }

    fn list(&self, hash: ContentHash, size: u64) -> io::Result<Option<Arc<ChunkList>>> {
        let Some(file) = self.open(hash, size) else { return Ok(None) };
        let known = self.lists.lock().iter().find(|(of, _)| *of == hash).map(|(_, list)| list.clone());
        if let Some(list) = known.filter(|list| list.size() == size) {
            return Ok(Some(list));
        }
        let list = Arc::new(ChunkList::read(file, size)?);
        let mut lists = self.lists.lock();
        lists.push_back((hash, list.clone()));
        if lists.len() > KEPT_LISTS {
            lists.pop_front();
        }
        Ok(Some(list))
    }
}

/// Answers the requests of one stream, until the peer ends it or is silent for a minute.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, source: &Source) -> io::Result<()> {
    let mut bytes = [0; REQUEST_BYTES];
    loop {
        match within(stream.read_exact(&mut bytes)).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let request = Request::decode(&bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        if request.list {
            serve_list(&mut stream, source, request).await?;
        } else {
            serve_chunks(&mut stream, source, request).await?;
        }
        within(stream.flush()).await?;
    }
}

async fn serve_list<S: AsyncWrite + Unpin>(stream: &mut S, source: &Source, request: Request) -> io::Result<()> {
    let source = source.clone();
    let list = tokio::task::spawn_blocking(move || source.list(request.hash, request.size)).await??;
    let Some(list) = list else { return within(stream.write_all(&[NOT_HERE])).await };
    within(stream.write_all(&[HERE])).await?;
    within(stream.write_all(&list.encode())).await
}

async fn serve_chunks<S: AsyncWrite + Unpin>(stream: &mut S, source: &Source, request: Request) -> io::Result<()> {
    let count = chunks(request.size).filter(|count| request.from <= *count);
    let file = count.and_then(|count| source.open(request.hash, request.size).map(|file| (file, count)));
    let Some((mut file, count)) = file else { return within(stream.write_all(&[NOT_HERE])).await };
    within(stream.write_all(&[HERE])).await?;
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(PIPELINE);
    // Buffers go round: clearing new ones costs as much as reading into them.
    let (give_back, mut used) = mpsc::channel::<Vec<u8>>(PIPELINE);
    let reading = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let chunk = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
        file.seek(SeekFrom::Start(u64::from(request.from).saturating_mul(chunk)))?;
        for index in request.from..count {
            let mut bytes = used.try_recv().unwrap_or_default();
            bytes.resize(chunk_len(request.size, index), 0);
            file.read_exact(&mut bytes)?;
            if sender.blocking_send(bytes).is_err() {
                break;
            }
        }
        Ok(())
    });
    while let Some(bytes) = receiver.recv().await {
        within(stream.write_all(&bytes)).await?;
        let _ = give_back.try_send(bytes);
    }
    reading.await?
}

/// Waits, but not for ever.
async fn within<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, what).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

//! WebSockets: calls and their answers, as many at once as there is room for.

use super::{
    Shared,
    pulse::Pulse,
    subscribe::{Session, Subscriptions},
};
use crate::envelope;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use soketto::{
    Incoming,
    connection::{Builder, Error, Mode},
    data::ByteSlice125,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::BufWriter,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time,
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

/// Calls of one WebSocket that run or whose answers wait for their reader.
const MAX_OPEN_CALLS: usize = 16;

/// Time between pings. A caller that answers none of four is silent for too long.
const PING: Duration = Duration::from_secs(30);

type Stream = Compat<BufWriter<TokioIo<Upgraded>>>;
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A message on its way out; the place that it takes is free once it is written.
pub(super) struct Message {
    pub(super) text: String,
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Serves a WebSocket until it is closed.
pub(super) async fn serve(stream: Upgraded, shared: Arc<Shared>, pulse: Arc<Pulse>) -> Fallible<()> {
    pulse.worked();
    let mut builder = Builder::new(BufWriter::new(TokioIo::new(stream)).compat(), Mode::Server);
    let most = usize::try_from(shared.context.config.max_request_bytes).unwrap_or(usize::MAX);
    builder.set_max_message_size(most);
    builder.set_max_frame_size(most);
    let (sender, receiver) = builder.finish();
    let (answers, outgoing) = mpsc::channel(MAX_OPEN_CALLS);
    let subscriptions = Arc::new(Subscriptions::default());
    tokio::select! {
        ended = read(receiver, &shared, &pulse, &answers, &subscriptions) => ended,
        ended = subscriptions.feed(&shared.context, &answers) => ended.map_err(Into::into),
        ended = write(sender, outgoing) => ended.map_err(Into::into),
        () = shared.stopped() => Ok(()),
    }
}

/// Starts every call that comes. No more are read than can be open, so that a caller who does not read is not read either.
async fn read(
    mut receiver: soketto::Receiver<Stream>,
    shared: &Arc<Shared>,
    pulse: &Pulse,
    answers: &mpsc::Sender<Message>,
    subscriptions: &Arc<Subscriptions>,
) -> Fallible<()> {
    let places = Arc::new(Semaphore::new(MAX_OPEN_CALLS));
    let mut calls = JoinSet::new();
    let mut request = Vec::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        match receiver.receive(&mut request).await {
            Ok(Incoming::Data(_)) => {}
            Ok(Incoming::Pong(_)) => {
                pulse.beat();
                continue;
            }
            Ok(Incoming::Closed(_)) | Err(Error::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        pulse.beat();
        let (context, answers, request) = (Arc::clone(&shared.context), answers.clone(), std::mem::take(&mut request));
        let session = Session::new(Arc::clone(subscriptions));
        calls.spawn(async move {
            let mut out = Vec::new();
            envelope::answer(&context, Some(&session), &request, &mut out).await;
            if let Ok(text) = String::from_utf8(out)
                && !text.is_empty()
            {
                // An error says that the WebSocket is closed.
                let _ = answers.send(Message { text, place: Some(place) }).await;
            }
            session.answered(&context);
        });
        while calls.try_join_next().is_some() {}
    }
}

/// Writes what is to be sent, and pings.
async fn write(mut sender: soketto::Sender<Stream>, mut outgoing: mpsc::Receiver<Message>) -> Result<(), Error> {
    let mut ping = time::interval_at(time::Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = outgoing.recv() => {
                let Some(message) = message else { return Ok(()) };
                sender.send_text_owned(message.text).await?;
                drop(message.place);
            }
            _ = ping.tick() => sender.send_ping(ByteSlice125::try_from(&[][..]).expect("0 is less than 125")).await?,
        }
        if outgoing.is_empty() {
            sender.flush().await?;
        }
    }
}

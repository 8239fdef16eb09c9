//! News by server-sent events: that something changed. The page then fetches itself and puts the parts that changed in place.

use crate::{PageError, Site};
use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{Stream, StreamExt as _, stream};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// Longest time that one stream lasts; browsers open the next by themselves.
const LONGEST: Duration = Duration::from_hours(1);

/// `GET /live`: the chain changed.
pub(crate) async fn chain(State(site): State<Arc<Site>>) -> Result<Response, PageError> {
    let changes = site.follower.changes();
    stream_news(
        &site,
        stream::unfold(changes, |mut changes| async move {
            changes.changed().await.ok()?;
            let count = *changes.borrow_and_update();
            Some((count.to_string(), changes))
        }),
    )
}

/// Answers with a stream of news; each item is told as it is, at most one every half second.
pub fn stream(site: &Site, news: impl Stream<Item = String> + Send + 'static) -> Result<Response, PageError> {
    stream_news(site, news)
}

fn stream_news(site: &Site, news: impl Stream<Item = String> + Send + 'static) -> Result<Response, PageError> {
    let permit = site.streams.clone().try_acquire_owned();
    let permit = permit.map_err(|_| PageError::Bad("too many pages wait for news; reload by hand".to_owned()))?;
    let news = news.then(move |text| {
        let _held = &permit;
        async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok::<_, Infallible>(Event::default().data(text))
        }
    });
    let news = news.take_until(tokio::time::sleep(LONGEST));
    Ok(Sse::new(news).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

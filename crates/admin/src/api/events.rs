//! `/api/events`: what happens, as server-sent events with a CloudEvent each.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Admin;
use crate::LiveEvent;

/// Every event from now on.
pub(super) async fn stream(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    Sse::new(stream_of(admin.live.watch())).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}

fn stream_of(watch: Receiver<LiveEvent>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(watch, async |mut watch| {
        let event = match watch.recv().await {
            Ok(live) => Event::default().data(&*live.json),
            Err(RecvError::Lagged(lost)) => Event::default().event("lost").data(lost.to_string()),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), watch))
    })
}

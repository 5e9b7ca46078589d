//! Requests of the server itself to a server behind. They take the same way as all other requests.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::oneshot;
use upstream::{Ask, Hop};

use crate::{
    inbox::{Answered, ShardMessage},
    shared::Shared,
};

/// Sends a request of our own through the proxy and waits for its final answer. None if none came within
/// `patience`, or before the transaction ended.
pub(crate) async fn ask(shared: &Shared, hop: Hop, ask: &Ask<'_>, patience: Duration) -> Option<Answered> {
    let request = ask.write(&shared.listeners.get(usize::from(hop.listener()))?.host, "");
    let (answer, answered) = oneshot::channel();
    let message = ShardMessage::Originate { hop, request: request.into_bytes().into(), answer: Some(answer) };
    shared.tell(shared.inboxes.shard_of(hop), message).ok()?;
    let answered = tokio::time::timeout(patience, answered).await.ok()?.ok()?;
    (answered.status != 408).then_some(answered)
}

/// Asks servers by OPTIONS whether they are there: gives the status of the answer.
pub(crate) fn options(
    shared: &Arc<Shared>,
) -> impl Fn(Hop, SocketAddr, Duration) -> Pin<Box<dyn Future<Output = Option<u16>> + Send>> + use<> {
    let shared = Arc::clone(shared);
    move |hop, server, patience| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let answered = ask(&shared, hop, &Ask::options(server), patience).await?;
            Some(answered.status)
        })
    }
}

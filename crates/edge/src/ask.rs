//! Requests of our own to a server behind us, by the way that all else goes.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::sync::oneshot;
use upstream::{Ask, Hop};

use crate::{dialling, inbox::ShardMessage, shared::Shared};

/// The final answer to a request of our own.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The status of the final response: 408 if none came before the transaction ended, 503 if the request
    /// could not be sent.
    pub(crate) status: u16,
    /// The response as it came; none if none did.
    pub(crate) response: Option<Box<[u8]>>,
}

/// Sends a request of our own through the proxy and waits for its final answer. None if none came within
/// `patience`, or before the transaction ended.
pub(crate) async fn ask(shared: &Shared, hop: Hop, ask: &Ask<'_>, patience: Duration) -> Option<Answered> {
    let request = ask.write(&shared.listeners.get(usize::from(hop.listener()))?.host, "");
    let (answer, answered) = oneshot::channel();
    let message = ShardMessage::Originate { hop, request: request.into_bytes().into(), answer: Some(answer) };
    shared.tell(dialling::shard_of(shared, hop), message).ok()?;
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

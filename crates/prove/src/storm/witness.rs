//! The client that all others say BYE to.

use std::net::IpAddr;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A client that stays while the others end, and notes the BYEs that reach it.
pub(super) struct Witness {
    address: String,
    attempt: Attempt,
    heard: watch::Receiver<HashSet<u64>>,
    leave: oneshot::Sender<()>,
    task: JoinHandle<Option<u64>>,
}

fn parting(target: &Target) -> Ending {
    if target.is_websocket() { Ending::Close(CloseWord::Normal, AfterClose::Wait) } else { Ending::Fin }
}

impl Witness {
    pub(super) async fn connect(
        target: &Target,
        user: &str,
        source: Option<IpAddr>,
    ) -> Result<Self, StormError> {
        let setup = Setup { source, ..Setup::new(user) };
        let started = now_micros();
        let mut client = Client::connect(target, &setup).await?;
        let attempt = Attempt {
            transport: target.transport,
            remote: client.local(),
            started,
            became: Became::Flow,
            registered: Registered::Yes,
            ending: Some(parting(target)),
            farewell: Farewell::Nothing,
            acted_at: None,
            expected: parting(target).expected(),
        };
        let response = client.register(600).await?;
        if response.status != 200 {
            return Err(RequestError::Unauthorized.into());
        }
        let address = client.address_of_record();
        let (tell, heard) = watch::channel(HashSet::new());
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(listen(client, tell, left));
        Ok(Self { address, attempt, heard, leave, task })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Waits for the BYEs that must arrive, then leaves. Gives its own connection, what became of the BYEs
    /// that were `sent`, and those that never came.
    pub(super) async fn end(
        mut self,
        sent: u64,
        owed: HashSet<u64>,
        patience: Duration,
    ) -> (Attempt, Said, Findings) {
        let _ = timeout(patience, self.heard.wait_for(|heard| owed.is_subset(heard))).await;
        let mut lost = Findings::default();
        let arrived = {
            let heard = self.heard.borrow();
            for call in owed.difference(&heard) {
                lost.add(|| format!("the BYE of client {call}"));
            }
            heard.len() as u64
        };
        let said = Said {
            sent,
            arrived,
            lost: lost.count(),
            cut_short: sent.saturating_sub(arrived + lost.count()),
        };
        let _ = self.leave.send(());
        match self.task.await.ok().flatten() {
            Some(acted_at) => self.attempt.acted_at = Some(acted_at),
            // The server ended it first.
            None => self.attempt.ending = None,
        }
        (self.attempt, said, lost)
    }
}

/// Notes BYEs until told to leave; says when it acted, or nothing if the server ended it first.
async fn listen(
    mut client: Client,
    tell: watch::Sender<HashSet<u64>>,
    mut left: oneshot::Receiver<()>,
) -> Option<u64> {
    loop {
        let incoming = tokio::select! {
            incoming = client.next() => incoming.ok()?,
            _ = &mut left => break,
        };
        if let Incoming::Request(_) = &incoming
            && let Some(call) = incoming.message().call_id()
            && let Some(call) =
                std::str::from_utf8(call).ok().and_then(|call| u64::from_str_radix(call, 16).ok())
        {
            tell.send_modify(|heard| {
                heard.insert(call);
            });
        }
    }
    let ending = parting(client.target());
    Some(client.end(ending, &Farewell::Nothing, Duration::from_secs(5)).await.acted_at)
}

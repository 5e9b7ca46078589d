//! One client's life in a round.

use lifecycle::Transport;

use super::*;
use crate::Dialled;

/// How long a client waits before it knocks again at a server that is not there.
const KNOCK_AGAIN: Duration = Duration::from_millis(20);

/// What one client does in a round.
pub(super) struct Part {
    pub(super) target: Target,
    pub(super) setup: Setup,
    /// Whether it registers before it waits for its end.
    pub(super) registers: Registered,
    pub(super) ending: Ending,
    pub(super) farewell: Farewell,
    pub(super) delay: Duration,
}

/// A client that is not connected and registered.
pub(super) struct Failure {
    /// When it began, in microseconds since the Unix epoch.
    pub(super) started: u64,
    pub(super) why: String,
}

/// Connects, registers, waits for the order to end, ends. `None` if it did not even get a TCP connection.
pub(super) async fn live(
    part: Part,
    gate: Arc<Semaphore>,
    ready: mpsc::Sender<Result<(), Failure>>,
    mut orders: watch::Receiver<Order>,
    patience: Duration,
) -> Option<Attempt> {
    let Part { target, setup, registers, ending, farewell, delay } = part;
    let permit = gate.acquire_owned().await;
    let mut started = now_micros();
    let failure = |started, why: String| Err(Failure { started, why: format!("{}: {why}", setup.user) });
    let dialled = match dial(&target, &setup, &mut started).await {
        Ok(dialled) => dialled,
        Err(error) => {
            let _ = ready.send(failure(started, error.to_string())).await;
            return None;
        }
    };
    let mut attempt = Attempt {
        transport: target.transport,
        remote: dialled.local(),
        started,
        became: Became::Nothing,
        registered: Registered::No,
        ending: None,
        farewell: Farewell::Nothing,
        acted_at: None,
        expected: Expected::only(Outcome::any(Cause::NodeCrash)),
    };
    let mut client = match dialled.upgrade(&setup).await {
        Ok(client) => client,
        Err(error) => {
            let _ = ready.send(failure(started, error.to_string())).await;
            return Some(attempt);
        }
    };
    if matches!(target.transport, Transport::Ws | Transport::Wss) {
        attempt.became = Became::Flow;
    }
    let mut outcome = Ok(());
    if registers == Registered::Yes {
        outcome = match client.register(600).await {
            Ok(response) => {
                // A plain stream is a flow once its first message is answered.
                attempt.became = Became::Flow;
                if response.status == 200 {
                    attempt.registered = Registered::Yes;
                    Ok(())
                } else {
                    failure(started, format!("REGISTER was answered {}", response.status))
                }
            }
            Err(error) => failure(started, format!("REGISTER: {error}")),
        };
    }
    drop(permit);
    let _ = ready.send(outcome).await;
    drop(ready);

    let order = tokio::select! {
        order = async { orders.wait_for(|order| *order != Order::Stay).await.ok().map(|order| *order) } => order,
        _ = client.serve() => return Some(attempt),
    };
    if order != Some(Order::End) || client.serve_for(delay).await.is_some() {
        return Some(attempt);
    }
    attempt.ending = Some(ending);
    attempt.expected = ending.expected();
    let parting = client.end(ending, &farewell, patience).await;
    attempt.farewell = farewell;
    attempt.acted_at = Some(parting.acted_at);
    Some(attempt)
}

/// Connects; to a server that is just not there it comes back, as clients do.
async fn dial(target: &Target, setup: &Setup, started: &mut u64) -> Result<Dialled, ConnectError> {
    let until = tokio::time::Instant::now() + setup.patience;
    loop {
        match Dialled::connect(target, setup).await {
            Err(ConnectError::Io(error))
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && tokio::time::Instant::now() < until =>
            {
                sleep(KNOCK_AGAIN).await;
                *started = now_micros();
            }
            other => return other,
        }
    }
}

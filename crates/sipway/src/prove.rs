//! `sipway prove`: storms a server with connections that end in every way, kills it meanwhile, and holds what
//! its sinks were told against what the clients did.

mod campaign;
mod consumer;
mod external_server;
mod follow;
mod machine;
mod place;
mod report;
mod rounds;
mod screen;
mod server;

use event_text::counted;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::{command::Prove, outcome::Outcome};

/// How it came out.
enum Verdict {
    AddsUp,
    Misses(u64),
}

pub(crate) fn run(prove: &Prove) -> Outcome {
    let runtime = match Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::failed(error),
    };
    let proven = runtime.block_on(async {
        let proving = async {
            match &prove.server {
                Some(url) => external_server::run(prove, url).await,
                None => campaign::run(prove).await,
            }
        };
        // What is dropped in mid-flight ends its processes and removes its directory.
        tokio::select! {
            proven = proving => proven,
            () = interrupted() => Err("interrupted".to_owned()),
        }
    });
    runtime.shutdown_background();
    match proven {
        Ok(Verdict::AddsUp) => Outcome::Done,
        Ok(Verdict::Misses(misses)) => {
            Outcome::failed(format!("{}: it does not add up", counted(misses, "miss")))
        }
        Err(why) => Outcome::Failed(why),
    }
}

/// Resolves on SIGINT and on SIGTERM.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Then they end the process, and its server notices nothing.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

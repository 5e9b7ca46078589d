//! What can be asked and ordered over HTTP: one file for each resource.

mod access;
mod answer;
mod audit;
mod bans;
mod calls;
mod development;
mod drain;
mod events;
mod flows;
mod health;
mod node;
mod rpc;
mod sinks;
mod snapshot;
mod upstreams;

use std::sync::Arc;

use ::sinks::Sinks;
use axum::{
    Router,
    http::{Method, StatusCode, Uri},
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodRouter, delete, get, post},
};
use edge::Handle;

use tokio::sync::Semaphore;

use crate::softphone;
use answer::Failure;

pub use access::Access;

/// Readers of events at once. Each takes at most some 2 MiB (two blocks of the ledger), and only while it is
/// behind.
const MOST_READERS: usize = 64;

/// Snapshots at once.
const MOST_SNAPSHOTS: usize = 2;

/// Whether the softphone page and what it asks for are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Development {
    /// The page at `/`, and `/api/dev`.
    Yes,
    /// Only what an operator needs.
    No,
}

/// What every answer is made from.
struct Admin {
    server: Handle,
    sinks: Arc<Sinks>,
    readers: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
}

/// A path of the API and what answers there.
type Route = (&'static str, fn() -> MethodRouter<Arc<Admin>>);

/// What an operator's tools use. Who may is decided by [`Access`].
const ROUTES: &[Route] = &[
    ("/api/node", || get(node::show)),
    ("/api/flows", || get(flows::list)),
    ("/api/flows/{flow}", || get(flows::show).delete(flows::close)),
    ("/api/flows/{flow}/ping", || post(flows::ping)),
    ("/api/drain", || get(drain::show).post(drain::begin).delete(drain::cancel)),
    ("/api/calls", || get(calls::list)),
    ("/api/bans", || get(bans::list)),
    ("/api/bans/{address}", || delete(bans::lift)),
    ("/api/hindered", || get(bans::hindered)),
    ("/api/events", || get(events::stream)),
    ("/api/sinks", || get(sinks::list)),
    ("/api/upstreams", || get(upstreams::list)),
    ("/api/snapshot", || get(snapshot::take)),
    ("/api/audit", || get(audit::last).post(audit::look)),
    ("/rpc", || post(rpc::call)),
    ("/metrics", || get(health::metrics)),
];

/// What load balancers ask, without a token. They learn nothing else.
const OPEN_ROUTES: &[Route] = &[("/healthz", || get(health::health))];

fn mount(router: Router<Arc<Admin>>, routes: &[Route]) -> Router<Arc<Admin>> {
    routes.iter().fold(router, |router, (path, answer)| router.route(path, answer()))
}

/// Everything that is served over HTTP, to whom `access` lets in.
pub fn router(server: Handle, sinks: Arc<Sinks>, development: Development, access: Access) -> Router {
    let routes = mount(Router::new(), ROUTES);
    let routes = match development {
        Development::Yes => {
            let routes = routes.merge(softphone::routes()).route("/api/dev", get(development::addresses));
            routes.layer(from_fn(development::only_by_address))
        }
        Development::No => routes,
    };
    let (readers, snapshots) =
        (Arc::new(Semaphore::new(MOST_READERS)), Arc::new(Semaphore::new(MOST_SNAPSHOTS)));
    let guarded = routes
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_that_way)
        .layer(from_fn_with_state(Arc::new(access), access::check));
    mount(guarded, OPEN_ROUTES).layer(from_fn(access::no_strange_pages)).with_state(Arc::new(Admin {
        server,
        sinks,
        readers,
        snapshots,
    }))
}

/// The answer where nothing is. It names what there is; what lies below a named path is left out.
async fn nothing_there(uri: Uri) -> Failure {
    let paths = ROUTES.iter().chain(OPEN_ROUTES).map(|(path, _)| *path).filter(|path| !path.contains('{'));
    let known = paths.collect::<Vec<_>>().join(", ");
    Failure::new(StatusCode::NOT_FOUND, format!("there is nothing at {}; there are {known}", uri.path()))
}

async fn not_that_way(method: Method, uri: Uri) -> Failure {
    let error = format!("{} does not know {method}; the header Allow says what it knows", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

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
    routing::{MethodFilter, MethodRouter},
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

/// A path of the API: what can be asked there, and what answers.
struct Route {
    path: &'static str,
    /// Each method of the path, and what it does.
    methods: &'static [(&'static str, &'static str)],
    answer: fn() -> MethodRouter<Arc<Admin>>,
}

impl Route {
    /// Methods and path, such as `GET|DELETE /api/flows/{flow}`.
    fn signature(&self) -> String {
        let methods: Vec<&str> = self.methods.iter().map(|(method, _)| *method).collect();
        format!("{} {}", methods.join("|"), self.path)
    }
}

/// Makes a list of routes. Each line states a method once, with its handler and what it does. The router, the
/// 404 text, the header `Allow` and the page of the documentation follow from it.
macro_rules! routes {
    ($($path:literal { $($method:ident $handler:path = $does:literal;)+ })+) => {
        &[$(Route {
            path: $path,
            methods: &[$((stringify!($method), $does)),+],
            answer: || MethodRouter::new()$(.on(MethodFilter::$method, $handler))+,
        }),+]
    };
}

/// The routes for an operator's tools. [`Access`] decides which clients may use them.
const ROUTES: &[Route] = routes! {
    "/api/node" { GET node::show = "Shows name, version, listeners and totals of the node."; }
    "/api/flows" { GET flows::list = "Lists open flows."; }
    "/api/flows/{flow}" {
        GET flows::show = "Shows one flow.";
        DELETE flows::close = "Closes one flow.";
    }
    "/api/flows/{flow}/ping" { POST flows::ping = "Pings the peer of a flow and waits for the answer."; }
    "/api/drain" {
        GET drain::show = "Shows how far a drain has come.";
        POST drain::begin = "Begins a drain, or changes its time.";
        DELETE drain::cancel = "Ends a drain: new flows are accepted again.";
    }
    "/api/calls" { GET calls::list = "Lists calls under way."; }
    "/api/bans" { GET bans::list = "Lists banned addresses."; }
    "/api/bans/{address}" { DELETE bans::lift = "Lifts the ban of an address."; }
    "/api/hindered" { GET bans::hindered = "Lists users that a limit stopped within the last hour."; }
    "/api/events" { GET events::stream = "Streams events as server-sent events."; }
    "/api/sinks" { GET sinks::list = "Shows how far each sink has come."; }
    "/api/upstreams" { GET upstreams::list = "Shows the health of the servers behind."; }
    "/api/snapshot" { GET snapshot::take = "Shows what is open as of one event."; }
    "/api/audit" {
        GET audit::last = "Shows the last result of the running audit.";
        POST audit::look = "Runs the audit now.";
    }
    "/rpc" { POST rpc::call = "Takes JSON-RPC 2.0, with the method names of other SIP servers."; }
    "/metrics" { GET health::metrics = "Shows all metrics in OpenMetrics text."; }
};

/// The routes for load balancers, without a token. They give nothing else away.
const OPEN_ROUTES: &[Route] = routes! {
    "/healthz" { GET health::health = "Says whether the node takes new connections."; }
};

/// The routes for the softphone page.
const DEVELOPMENT_ROUTES: &[Route] = routes! {
    "/api/dev" { GET development::addresses = "Shows how the softphone page reaches this server."; }
};

fn mount(router: Router<Arc<Admin>>, routes: &[Route]) -> Router<Arc<Admin>> {
    routes.iter().fold(router, |router, route| router.route(route.path, (route.answer)()))
}

/// Everything that is served over HTTP, to whom `access` lets in.
pub fn router(server: Handle, sinks: Arc<Sinks>, development: Development, access: Access) -> Router {
    let routes = mount(Router::new(), ROUTES);
    let mut known = vec![ROUTES, OPEN_ROUTES];
    let routes = match development {
        Development::Yes => {
            known.push(DEVELOPMENT_ROUTES);
            mount(routes.merge(softphone::routes()), DEVELOPMENT_ROUTES)
                .layer(from_fn(development::only_by_address))
        }
        Development::No => routes,
    };
    let known = known.into_iter().flatten().map(Route::signature).collect::<Vec<_>>().join(", ");
    let (readers, snapshots) =
        (Arc::new(Semaphore::new(MOST_READERS)), Arc::new(Semaphore::new(MOST_SNAPSHOTS)));
    let guarded = routes
        .fallback(async move |uri: Uri| nothing_there(&uri, &known))
        .method_not_allowed_fallback(not_that_way)
        .layer(from_fn_with_state(Arc::new(access), access::check));
    mount(guarded, OPEN_ROUTES)
        .method_not_allowed_fallback(not_that_way)
        .layer(from_fn(access::no_strange_pages))
        .with_state(Arc::new(Admin { server, sinks, readers, snapshots }))
}

/// The answer where nothing is: it names every path that there is.
fn nothing_there(uri: &Uri, known: &str) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("there is nothing at {}; there are {known}", uri.path()))
}

/// The answer to a method that a path does not have. The router adds `Allow` with those that it has.
async fn not_that_way(method: Method, uri: Uri) -> Failure {
    let error = format!("{} does not know {method}; the header Allow says what it knows", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

#[cfg(test)]
mod tests;

//! A server in the process of a test, and its API.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
    response::Response,
};
use config::{Config, FakeEnvironment};
use edge::Server;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use ledger::storage::sim::Simulated;
use sinks::Sinks;

use crate::api::{Access, Development, router};

/// A server on a simulated disk, and its API.
pub(crate) struct Served {
    pub(crate) server: Server,
    router: TowerToHyperService<Router>,
    directory: PathBuf,
}

impl Served {
    pub(crate) fn new(name: &str, access: Access) -> Self {
        // Tests of one process run at once, and two may use one name.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("sipway-admin-{}-{name}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "[ledger]\ndirectory = \"{}\"\n[limits]\nshards = 1\n\
             [[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n",
            directory.display()
        );
        let config = Config::parse(&text, Path::new("sipway.toml"), &FakeEnvironment::new()).unwrap();
        let server = Server::start_on(Arc::new(Simulated::new(1).mount()), &config, |_| None).unwrap();
        let router = router(server.handle(), Arc::new(Sinks::default()), Development::Yes, access);
        Self { server, router: TowerToHyperService::new(router), directory }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        self.router.call(request).await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.server.shut_down(Duration::ZERO, Duration::from_secs(30)).await.unwrap();
        fs::remove_dir_all(self.directory).unwrap();
    }
}

pub(crate) async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

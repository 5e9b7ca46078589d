//! The softphone page's files, compiled in.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
    routing::get,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page talks to its own server and to nobody else.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:";

pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || file(HTML, include_str!("../assets/softphone/index.html"))))
        .route("/softphone.css", get(async || file(CSS, include_str!("../assets/softphone/softphone.css"))))
        .route("/softphone.js", get(async || file(SCRIPT, include_str!("../assets/softphone/softphone.js"))))
        .route(
            "/server-view.js",
            get(async || file(SCRIPT, include_str!("../assets/softphone/server-view.js"))),
        )
        .route("/jssip.min.js", get(async || file(SCRIPT, include_str!("../assets/softphone/jssip.min.js"))))
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content).into_response()
}

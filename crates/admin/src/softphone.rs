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
        .route("/words.js", get(async || file(SCRIPT, include_str!("../assets/softphone/words.js"))))
        .route(
            "/call-fates.js",
            get(async || file(SCRIPT, include_str!("../assets/softphone/call-fates.js"))),
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

#[cfg(test)]
mod tests {
    use lifecycle::{CallCause, Cause, EventKind, RemovalCause};

    /// Every cause and every type of event of the server has words on the page.
    #[test]
    fn the_page_has_words_for_everything_the_server_tells() {
        let (words, view) = (
            include_str!("../assets/softphone/words.js"),
            include_str!("../assets/softphone/server-view.js"),
        );
        let ends = Cause::ALL.iter().map(|cause| format!("\n  {}: \"", cause.as_str()));
        let removals = RemovalCause::ALL.iter().map(|cause| format!("\n  {}: \"", cause.as_str()));
        let calls = CallCause::ALL.iter().map(|cause| format!("case \"{}\":", cause.as_str()));
        let events = EventKind::ALL.iter().map(|kind| format!("case \"{}\":", kind.as_str()));
        for wanted in ends.chain(removals).chain(calls).chain(events) {
            assert!(words.contains(&wanted), "words.js has no {wanted}");
        }
        for kind in EventKind::ALL {
            assert!(
                view.contains(&format!("\"{}\"", kind.as_str())),
                "server-view.js does not listen to {kind}"
            );
        }
    }
}

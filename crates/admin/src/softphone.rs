//! The softphone page's files, compiled in.

use std::sync::LazyLock;

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
    routing::get,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The words for causes, from the table that the command line shows, too.
static CAUSES: LazyLock<String> = LazyLock::new(event_text::causes::javascript);

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
        .route("/causes.js", get(async || file(SCRIPT, CAUSES.as_str())))
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
    use lifecycle::EventKind;

    /// Every type of event of the server has words on the page. Causes have theirs from `event-text`.
    #[test]
    fn the_page_has_words_for_every_type_of_event() {
        let words = include_str!("../assets/softphone/words.js");
        let view = include_str!("../assets/softphone/server-view.js");
        for kind in EventKind::ALL {
            let (case, listens) = (format!("case \"{kind}\":"), format!("\"{kind}\""));
            assert!(words.contains(&case), "words.js has no {case}");
            assert!(view.contains(&listens), "server-view.js does not listen to {kind}");
        }
    }

    #[test]
    fn the_page_imports_only_tables_that_the_server_gives_it() {
        let words = include_str!("../assets/softphone/words.js");
        let (_, rest) = words.split_once("import {").unwrap();
        let (names, _) = rest.split_once("} from \"./causes.js\"").unwrap();
        for name in names.split(',').map(str::trim) {
            assert!(super::CAUSES.contains(&format!("export const {name} = {{")), "causes.js has no {name}");
        }
    }
}

//! The table of routes, against what answers and against the documentation.

use std::{collections::BTreeSet, fs, path::Path};

use axum::http::header::ALLOW;

use super::*;
use crate::test_server::{Served, text};

const DOCUMENTATION: &str = include_str!("../../../../docs/OPERATING.md");

fn all_routes() -> impl Iterator<Item = &'static Route> {
    [ROUTES, OPEN_ROUTES, DEVELOPMENT_ROUTES].into_iter().flatten()
}

#[tokio::test]
async fn every_route_answers_its_methods_and_names_them_for_any_other() {
    let served = Served::new("routes", Access::Anyone);
    for route in all_routes() {
        let path = route.path.replace("{flow}", "edge1.1.f1").replace("{address}", "192.0.2.1");
        for (method, _) in route.methods {
            let response = served.ask(method, &path).await;
            assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            if response.status() == StatusCode::NOT_FOUND {
                let error = text(response).await;
                assert!(!error.contains("there is nothing at"), "{method} {path}: {error}");
            }
        }
        let refused = served.ask("PATCH", &path).await;
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allow = refused.headers()[ALLOW].to_str().unwrap();
        let allowed: BTreeSet<&str> =
            allow.split(',').map(str::trim).filter(|name| *name != "HEAD").collect();
        let stated: BTreeSet<&str> = route.methods.iter().map(|(method, _)| *method).collect();
        assert_eq!(allowed, stated, "{path}");
        assert!(text(refused).await.contains("Allow"), "{path}");
    }
    served.end().await;
}

#[tokio::test]
async fn the_404_names_every_route() {
    let served = Served::new("nothing", Access::Anyone);
    let response = served.ask("GET", "/api/none").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let error = text(response).await;
    for route in all_routes() {
        assert!(error.contains(&route.signature()), "{}: {error}", route.path);
    }
    served.end().await;
}

#[tokio::test]
async fn without_the_token_nothing_answers_but_the_open_routes() {
    let served = Served::new("token", Access::Bearer("secret".to_owned()));
    for route in all_routes() {
        let is_open = OPEN_ROUTES.iter().any(|open| open.path == route.path);
        for method in ["PATCH", route.methods[0].0] {
            let status = served.ask(method, route.path).await.status();
            assert_eq!(status != StatusCode::UNAUTHORIZED, is_open, "{method} {}: {status}", route.path);
        }
    }
    assert_eq!(served.ask("GET", "/api/none").await.status(), StatusCode::UNAUTHORIZED);
    served.end().await;
}

/// The rows of the table in docs/OPERATING.md, as the routes say them.
fn rows() -> String {
    let routes = ROUTES.iter().chain(OPEN_ROUTES);
    let rows = routes.flat_map(|route| {
        route.methods.iter().map(|(method, does)| format!("| `{method} {}` | {does} |\n", route.path))
    });
    rows.collect()
}

#[test]
fn the_documentation_has_the_table_of_routes() {
    let rows = rows();
    assert!(DOCUMENTATION.contains(&rows), "docs/OPERATING.md needs this table:\n{rows}");
}

/// Every path of the API that a document names is a route.
#[test]
fn documents_name_only_routes_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let documents =
        ["", "docs", "docs/internals", "crates/admin/assets/softphone"].map(|room| root.join(room));
    let mut named = 0;
    for document in documents.iter().flat_map(|room| fs::read_dir(room).unwrap()) {
        let document = document.unwrap().path();
        if document.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let content = fs::read_to_string(&document).unwrap();
        for (at, _) in content.match_indices("/api/") {
            let path = &content[at..];
            let end = path.find(|next: char| !(next.is_ascii_alphanumeric() || "/{}_-".contains(next)));
            let path = &path[..end.unwrap_or(path.len())];
            let resource = path.split('/').nth(2).unwrap_or_default();
            // `/api/…` stands for all of them.
            let is_route = all_routes().any(|route| route.path.split('/').nth(2) == Some(resource));
            assert!(resource.is_empty() || is_route, "{}: {path} is no route", document.display());
            named += 1;
        }
    }
    assert!(named > 10, "{named}");
}

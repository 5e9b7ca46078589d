//! What `sipway --version` says.

use crate::process::{run, sipway};

/// The commit that it was built from, or why that is not known.
#[tokio::test]
async fn the_version_says_what_it_was_built_from() {
    let ended = run(sipway(["--version"])).await;
    assert_eq!(ended.code, Some(0));
    let release = env!("CARGO_PKG_VERSION");
    let build =
        ended.out.trim().strip_prefix(&format!("sipway {release} (")).and_then(|rest| rest.strip_suffix(')'));
    let build = build.unwrap_or_else(|| panic!("{}", ended.out));
    let commit = build.strip_prefix("commit ").map(|commit| commit.trim_end_matches(" with changes"));
    assert!(
        commit.is_some_and(|commit| !commit.is_empty())
            || build == "debug build"
            || build.starts_with("commit unknown"),
        "{build}"
    );
}

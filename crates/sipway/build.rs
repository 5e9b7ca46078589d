//! Says which commit the program is built from. Asks nobody but git on this machine, and builds without it,
//! too.

use std::{env, fs, path::Path, process::Command};

/// As many digits as stay unique in a large repository.
const DIGITS: &str = "--short=12";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=commit.txt");
    println!("cargo:rerun-if-env-changed=SIPWAY_COMMIT");
    println!("cargo:rustc-env=SIPWAY_BUILD={}", build());
}

/// The words in the brackets of `sipway --version`.
fn build() -> String {
    // Whoever packages it may know better.
    if let Some(commit) = env::var("SIPWAY_COMMIT").ok().filter(|commit| !commit.trim().is_empty()) {
        return format!("commit {}", commit.trim());
    }
    // A debug build would be made anew at each commit for this alone.
    if env::var("PROFILE").as_deref() == Ok("debug") {
        return "debug build".to_owned();
    }
    from_git().or_else(from_archive).unwrap_or_else(|| "commit unknown: built without git".to_owned())
}

fn from_git() -> Option<String> {
    // A .git further up is another project's.
    let root = Path::new("../..");
    if !root.join(".git").exists() {
        return None;
    }
    let commit = git(&["rev-parse", DIGITS, "HEAD"])?;
    let branch = git(&["symbolic-ref", "-q", "HEAD"]).unwrap_or_default();
    for name in ["HEAD", "packed-refs", branch.as_str()].into_iter().filter(|name| !name.is_empty()) {
        // A path that is not there would mean a new build each time.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    for path in ["crates", "Cargo.lock", "Cargo.toml"].map(|path| root.join(path)) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    Some(format!("commit {commit}{}", if changed { " with changes" } else { "" }))
}

/// What `git archive` has put in place of its mark.
fn from_archive() -> Option<String> {
    let text = fs::read_to_string("commit.txt").ok()?;
    let commit = text.trim();
    (!commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| format!("commit {commit}"))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

//! Mounts of a test's own.

use std::path::Path;
use std::process::Command;

/// Says that this process is inside already.
const INSIDE: &str = "SIPWAY_TEST_MOUNTS";

/// Runs a test in a process whose mounts nobody else sees, in which it is root. `test` is its whole name.
pub(crate) fn in_mounts_of_its_own(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut command = Command::new("unshare");
    // Whoever is root needs no namespace of users, which not every machine allows.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "yes");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "with mounts of its own (which takes root, or a kernel that lets users have namespaces): {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A disk of this size (`4m`) in memory.
pub(crate) fn mount_small_disk(at: &Path, size: &str) {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "small-disk"]).arg(at);
    assert!(command.status().unwrap().success(), "a tmpfs cannot be mounted at {}", at.display());
}

/// From now on nothing can be written there.
pub(crate) fn make_read_only(at: &Path) {
    let status = Command::new("mount").args(["-o", "remount,ro"]).arg(at).status();
    assert!(status.unwrap().success(), "{} cannot be made read-only", at.display());
}

//! A network of a test's own, which it may break.

use std::{
    fs::{File, read_link},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Says that this process is inside already.
const INSIDE: &str = "SIPWAY_TEST_NETWORK";

/// Runs a test in a process with a network of its own, in which it is root. `test` is its whole name.
pub(crate) fn in_a_network(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut command = Command::new("unshare");
    // Whoever is root needs no namespace of users, which not every machine allows.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "yes").stdout(Stdio::piped());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in a network of its own (which takes root, or a kernel that lets users have namespaces): {said}"
    );
}

/// `ip …`
pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status();
    assert!(status.expect("iproute2 is installed").success(), "ip {arguments}");
}

/// Another host, joined to ours (192.0.2.1) by a cable that works until it is cut. It is 192.0.2.2.
pub(crate) struct Host(Child);

impl Host {
    pub(crate) fn joined() -> Self {
        let sleeps = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let host = Self(sleeps);
        let ours = read_link("/proc/self/ns/net").unwrap();
        while read_link(host.network()).ok().is_none_or(|network| network == ours) {
            std::thread::sleep(Duration::from_millis(1));
        }
        ip(&format!("link add ours type veth peer name theirs netns {}", host.0.id()));
        ip("address add 192.0.2.1/24 dev ours");
        ip("link set ours up");
        host.on_it(|| {
            ip("address add 192.0.2.2/24 dev theirs");
            ip("link set theirs up");
        });
        host
    }

    fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// What is done (sockets made, commands started) is done on that host.
    pub(crate) fn on_it<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let there = || {
            let network = File::open(self.network()).unwrap();
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        };
        std::thread::scope(|scope| scope.spawn(there).join().unwrap())
    }

    /// From now on nothing that is sent to it is answered in any way.
    pub(crate) fn vanish(&self) {
        // Who it was is remembered, or the neighbourhood would be asked and the host found to be unreachable.
        ip("neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev ours nud permanent");
        self.on_it(|| ip("address flush dev theirs"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

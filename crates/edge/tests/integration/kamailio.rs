//! A real Kamailio behind the server: registrar and proxy of its own users.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use tokio::net::UdpSocket;

use crate::test_server::PATIENCE;

/// It saves the Path with a binding and calls along it.
const KNOWS_PATH: &str =
    "modparam(\"registrar\", \"use_path\", 1)\nmodparam(\"registrar\", \"path_mode\", 2)";

/// Whether it looks at Path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Known,
    Ignored,
}

/// The domain of its users.
pub(crate) const DOMAIN: &str = "pbx.test";

/// Requests without a To tag go to who is registered.
const CONFIGURATION: &str = r#"
debug=2
log_stderror=yes
children=1
auto_aliases=no
listen=udp:ADDRESS
TCP
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
MORE
PATH
modparam("registrar", "max_expires", 600)
request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (is_method("OPTIONS") && $rU == $null) { sl_send_reply("200", "OK"); exit; }
    REGISTER
    if (is_method("REGISTER")) { if (!save("location")) { sl_reply_error(); } exit; }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
    if (loose_route()) { if (!t_relay()) { sl_reply_error(); } exit; }
    if (is_method("ACK")) { exit; }
    record_route();
    if (!lookup("location")) { sl_send_reply("404", "Not Found Here"); exit; }
    if (!t_relay()) { sl_reply_error(); }
}
"#;

/// It lets tests look at its contacts, and asks for the password of everybody who changes some.
const PASSWORDS: &str = r#"
    if (is_method("REGISTER") && !is_present_hf("Contact")) { save("location"); exit; }
    RECIPE
    if (is_method("REGISTER")) {
        if (!pv_www_authenticate("$td", "wonder", "0")) { www_challenge("$td", "0"); exit; }
        if ($au != $tU) { sl_send_reply("403", "Not Your Address"); exit; }
    }
"#;

/// The recipes of the documentation: what is tested is what operators are told.
const RECIPES: &str = include_str!("../../../../docs/PBX.md");

/// The recipe that begins with this line, with what stands for an operator's own values replaced.
fn recipe(first: &str, given: &[(&str, &str)]) -> String {
    let (_, recipe) = RECIPES.split_once(&format!("```c\n{first}")).expect("a recipe for Kamailio");
    let (recipe, _) = recipe.split_once("```").unwrap();
    given.iter().fold(format!("#{recipe}"), |recipe, (from, to)| {
        assert!(recipe.contains(from), "{recipe} has {from}");
        recipe.replace(from, to)
    })
}

/// One that runs until it is dropped. On an address of its own, so that it is nobody else who speaks from
/// there.
pub(crate) struct Kamailio {
    pub(crate) address: SocketAddr,
    directory: PathBuf,
    child: Child,
}

/// Whether it does.
enum Answers {
    Yes,
    PortTaken,
}

impl Kamailio {
    /// Over UDP alone.
    pub(crate) async fn run(name: &str) -> Self {
        Self::run_with(name, "disable_tcp=yes", KNOWS_PATH).await
    }

    /// Over TCP too.
    pub(crate) async fn run_with_tcp(name: &str) -> Self {
        Self::run_with(name, "tcp_children=1\nlisten=tcp:ADDRESS", KNOWS_PATH).await
    }

    /// One that lets nobody register for less than five minutes, and says so in its answer.
    pub(crate) async fn run_with_long_registrations(name: &str) -> Self {
        let path = format!("{KNOWS_PATH}\nmodparam(\"registrar\", \"min_expires\", 300)");
        Self::run_with(name, "disable_tcp=yes", &path).await
    }

    /// One that looks at no Path.
    pub(crate) async fn run_without_path(name: &str) -> Self {
        Self::run_with(name, "disable_tcp=yes", "").await
    }

    /// Over UDP at an IPv6 address; it looks at Path if it is to. None on a machine without IPv6.
    pub(crate) async fn run_by_ipv6(name: &str, path: Path) -> Option<Self> {
        let free = std::net::UdpSocket::bind("[::1]:0").ok()?;
        let path = match path {
            Path::Known => KNOWS_PATH,
            Path::Ignored => "",
        };
        Some(Self::run_at(free, name, "disable_tcp=yes", path).await)
    }

    /// One that asks users for the password `wonder`, and takes un-REGISTERs of a server at this address with
    /// this secret by the recipe of docs/PBX.md; none: it asks for every one.
    pub(crate) async fn run_with_passwords(name: &str, ours: Option<(&str, &str)>) -> Self {
        let recipe = ours.map_or_else(String::new, |(address, secret)| {
            recipe("# kamailio.cfg: un-REGISTERs", &[("10.0.0.1", address), ("SECRET", secret)])
        });
        let passwords = PASSWORDS.replace("RECIPE", &recipe);
        let text = CONFIGURATION.replace("REGISTER\n    if", &format!("{passwords}\n    if"));
        let text = text.replace("MORE", "loadmodule \"auth.so\"");
        let free = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        Self::run_text(free, name, "disable_tcp=yes", KNOWS_PATH, &text).await
    }

    /// One with users of its own, that has a server at this address for a trunk by the recipe of docs/PBX.md.
    pub(crate) async fn run_with_trunk(name: &str, trunk: SocketAddr) -> Self {
        let (ip, port) = (trunk.ip().to_string(), format!(":{}", trunk.port()));
        let given = [("10.0.0.1", ip.as_str()), (":5060", &port), ("example.com", DOMAIN)];
        let recipe = recipe("# kamailio.cfg: a trunk", &given);
        let nobody = r#"if (!lookup("location")) { sl_send_reply("404", "Not Found Here"); exit; }"#;
        assert!(CONFIGURATION.contains(nobody));
        let text = CONFIGURATION.replace("    REGISTER\n", "").replace("MORE\n", "").replace(nobody, &recipe);
        let free = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        Self::run_text(free, name, "disable_tcp=yes", KNOWS_PATH, &text).await
    }

    async fn run_with(name: &str, tcp: &str, path: &str) -> Self {
        let free = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
        Self::run_at(free, name, tcp, path).await
    }

    async fn run_at(free: std::net::UdpSocket, name: &str, tcp: &str, path: &str) -> Self {
        let text = CONFIGURATION.replace("    REGISTER\n", "").replace("MORE\n", "");
        Self::run_text(free, name, tcp, path, &text).await
    }

    /// The port may be somebody else's by the time that Kamailio takes it, or over TCP: then another is
    /// tried.
    async fn run_text(free: std::net::UdpSocket, name: &str, tcp: &str, path: &str, text: &str) -> Self {
        let mut address = free.local_addr().unwrap();
        drop(free);
        for _ in 0..10 {
            let mut kamailio = Self::start(address, name, tcp, path, text);
            match kamailio.answers().await {
                Answers::Yes => return kamailio,
                Answers::PortTaken => {
                    address = std::net::UdpSocket::bind((address.ip(), 0)).unwrap().local_addr().unwrap();
                }
            }
        }
        panic!("no port is free for kamailio")
    }

    fn start(address: SocketAddr, name: &str, tcp: &str, path: &str, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("sipway-kamailio-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("kamailio.cfg");
        let text = text.replace("TCP", tcp).replace("PATH", path).replace("ADDRESS", &address.to_string());
        fs::write(&file, text).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-f"])
            .arg(&file)
            .arg("-Y")
            .arg(&directory)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run kamailio: {error}. Install it: apt-get install kamailio")
            });
        Self { address, directory, child }
    }

    async fn answers(&mut self) -> Answers {
        let begun = Instant::now();
        while self.ask("OPTIONS", "").await.is_none() {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            if self.child.try_wait().unwrap().is_some() {
                let log = log();
                assert!(log.contains("Address already in use"), "kamailio ended: {log}");
                return Answers::PortTaken;
            }
            assert!(begun.elapsed() < PATIENCE, "kamailio does not answer: {}", log());
        }
        Answers::Yes
    }

    /// The contacts that it has of a user, as it lists them.
    pub(crate) async fn contacts(&self, user: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(answer) = self.ask("REGISTER", user).await {
                assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
                return answer.lines().filter(|line| line.starts_with("Contact:")).collect();
            }
            assert!(begun.elapsed() < PATIENCE, "kamailio does not tell of its users");
        }
    }

    pub(crate) async fn until_contacts(&self, user: &str, what: &str, so: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let contacts = self.contacts(user).await;
            if so(&contacts) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "not {what}: {contacts}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Asks it something from outside of the server; nothing if it does not answer soon.
    async fn ask(&self, method: &str, user: &str) -> Option<String> {
        let socket = UdpSocket::bind((self.address.ip(), 0)).await.unwrap();
        socket.connect(self.address).await.unwrap();
        let (local, number) = (socket.local_addr().unwrap(), rand::random::<u64>());
        let who = if user.is_empty() { format!("sip:{DOMAIN}") } else { format!("sip:{user}@{DOMAIN}") };
        let request = format!(
            "{method} sip:{} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n\
             From: <{who}>;tag=1\r\nTo: <{who}>\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
            self.address
        );
        socket.send(request.as_bytes()).await.ok()?;
        let mut answer = vec![0; 65_535];
        let wait = std::time::Duration::from_millis(200);
        let read = tokio::time::timeout(wait, socket.recv(&mut answer)).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&answer[..read]).into_owned())
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It has processes of its own, which it ends when it is asked to.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

//! A real PostgreSQL server in a directory of its own, on a Unix socket and on loopback.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// The superuser that `initdb` makes; trusted on the socket.
const ADMIN: &str = "admin";

/// Starting takes long on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Server {
    home: PathBuf,
    pub(crate) port: u16,
    process: Option<Child>,
}

/// Where the programs are: Debian keeps them out of the path.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("this test needs a PostgreSQL server: apt-get install postgresql (./test does it)")
}

/// A command of the server, which refuses to be run by root: then it is run by the user that its package
/// made.
fn command(program: &str) -> Command {
    let program = programs().join(program);
    if !am_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    // Our own directory may not be its to enter.
    command.current_dir("/");
    command
}

fn am_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Copies with owners and modes.
fn copy(from: &Path, to: &Path) {
    done(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// An empty data directory is made once for all tests, for that takes longest.
fn new_data(to: &Path) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres-empty");
    if !kept.exists() {
        let own = to.with_extension("initdb");
        let mut initdb = command("initdb");
        initdb.args(["--username", ADMIN, "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"]);
        done(initdb.args(["--encoding=UTF8", "--locale=C", "--pgdata"]).arg(&own));
        let copied =
            kept.with_extension(std::process::id().to_string() + &to.to_string_lossy().replace('/', "-"));
        copy(&own, &copied);
        std::fs::remove_dir_all(&own).unwrap();
        // Another test may have been quicker.
        if std::fs::rename(&copied, &kept).is_err() {
            std::fs::remove_dir_all(&copied).unwrap();
        }
    }
    copy(&kept, to);
}

impl Server {
    pub(crate) fn start(home: &Path) -> Self {
        let home = home.join("postgres");
        std::fs::create_dir_all(&home).unwrap();
        if am_root() {
            done(Command::new("chown").arg("postgres:").arg(&home));
        }
        new_data(&home.join("data"));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { home, port, process: None };
        server.go_on();
        server
    }

    /// Starts it on the data that is there.
    pub(crate) fn go_on(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            // Right after a kill the rest of the old one may still hold the memory: then the new one ends at
            // once.
            if self.process.as_mut().is_none_or(|process| process.try_wait().unwrap().is_some()) {
                let log =
                    std::fs::File::options().create(true).append(true).open(self.home.join("log")).unwrap();
                let mut postgres = command("postgres");
                postgres.arg("-D").arg(self.home.join("data")).arg("-k").arg(&self.home);
                postgres.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
                postgres.args([
                    "-c",
                    "shared_buffers=16MB",
                    "-c",
                    "max_connections=20",
                    "-c",
                    "autovacuum=off",
                ]);
                self.process =
                    Some(postgres.stdout(Stdio::null()).stdin(Stdio::null()).stderr(log).spawn().unwrap());
            }
            if self.try_ask("SELECT 1").is_ok() {
                return;
            }
            let log = || std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the server does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Restarts it with TLS, with this certificate and key.
    pub(crate) fn secure(&mut self, certificate: &str, key: &str) {
        self.stop();
        let data = self.home.join("data");
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = data.join(name);
            done(Command::new("install").arg("-m600").arg(from).arg(&to));
            done(Command::new("chown").arg("--reference").arg(data.join("PG_VERSION")).arg(&to));
        }
        let settings = data.join("postgresql.auto.conf");
        std::fs::write(&settings, std::fs::read_to_string(&settings).unwrap() + "ssl = on\n").unwrap();
        self.go_on();
    }

    fn signal(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        done(Command::new("kill").args([signal, &process.id().to_string()]));
        process.wait().unwrap();
    }

    /// As a loss of power to it would.
    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
    }

    /// Stops in order, at once.
    pub(crate) fn stop(&mut self) {
        self.signal("-INT");
    }

    /// Takes a backup; the server must be stopped.
    pub(crate) fn back_up(&self) {
        copy(&self.home.join("data"), &self.home.join("backup"));
    }

    /// Puts the backup in place of what is there; the server must be stopped.
    pub(crate) fn restore(&self) {
        std::fs::remove_dir_all(self.home.join("data")).unwrap();
        std::fs::rename(self.home.join("backup"), self.home.join("data")).unwrap();
    }

    /// How a sink reaches it by the socket, as this role.
    pub(crate) fn by_socket(&self, role: &str) -> String {
        let home = self.home.to_str().unwrap().replace('/', "%2F");
        format!("postgres://{role}@{home}:{}/postgres", self.port)
    }

    fn try_ask(&self, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut config = tokio_postgres::Config::new();
            config.host_path(&self.home).port(self.port).user(ADMIN).dbname("postgres");
            let (client, connection) = config.connect(NoTls).await?;
            let connection = tokio::spawn(connection);
            let answer = client.simple_query(sql).await?;
            drop(client);
            let _ = connection.await;
            let rows = answer.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).unwrap_or("-").to_owned()).collect())
                }
                _ => None,
            });
            Ok(rows.collect())
        })
    }

    /// What it answers to the superuser: rows of text, `-` for NULL.
    pub(crate) fn ask(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_ask(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The one number that it answers.
    pub(crate) fn number(&self, sql: &str) -> u64 {
        self.ask(sql)[0][0].parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

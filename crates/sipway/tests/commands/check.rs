//! What `sipway check` finds outside the text of a configuration: each finding once, with the mend; 2 where
//! the server would not start or not do what it is told, 0 where it would. Nothing is made, taken or
//! disturbed.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::{fs, path::Path};

use lifecycle::Transport;
use prove::{Client, Setup, Target};

use crate::directory::Directory;
use crate::process::{Ended, Server, run, sipway};

const LISTENER: &str = "[[listener]]\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n";
const OPEN: &str = "[[domain]]\nname = \"localhost\"\nauth = \"open\"\n";

async fn check(file: &Path, more: &[&str]) -> Ended {
    let mut check = sipway(["check"]);
    check.arg(file).args(more);
    run(check).await
}

/// A case: what stands in the configuration, what is put into the directory before, the exit code, and what
/// must be said.
struct Case<'a> {
    name: &'a str,
    config: &'a str,
    prepare: &'a dyn Fn(&Directory),
    code: i32,
    says: &'a [&'a str],
}

fn nothing(_: &Directory) {}

fn users(text: &str) -> impl Fn(&Directory) {
    move |directory| {
        directory.write("users.txt", text);
    }
}

const DIGEST: &str = "[[domain]]\nname = \"example.com\"\nusers = \"users.txt\"\n";

#[tokio::test]
async fn each_finding_is_told_once_with_its_mend() {
    let hash = "0".repeat(32);
    let (foreign_realm, shared) = (
        format!("alice:wrong.com:{hash}\n"),
        format!("alice:example.com:{hash}\nbob:example.org:{hash}\ncarol@example.org:pw\n"),
    );
    let sink = "[[sink]]\nname = \"crm\"\nkind = \"file\"\npath = ";
    let missing_sink = format!("{sink}\"nowhere/events.jsonl\"\n");
    let sink_is_directory_below_file = format!("{sink}\"users.txt/events.jsonl\"\n");
    let dead_letter = format!("{sink}\"events.jsonl\"\ndead_letter = \"lost/letters.jsonl\"\n");
    let shared_domains = format!("{DIGEST}[[domain]]\nname = \"example.org\"\nusers = \"users.txt\"\n");
    let cases = [
        Case { name: "good", config: OPEN, prepare: &nothing, code: 0, says: &[] },
        Case {
            name: "ledger-is-file",
            config: OPEN,
            prepare: &|directory| drop(directory.write("ledger", "")),
            code: 2,
            says: &["error: the ledger cannot be written", "is no directory", "`directory` under [ledger]"],
        },
        Case {
            name: "ledger-below-file",
            config: "[ledger]\ndirectory = \"file/deep/ledger\"\n",
            prepare: &|directory| drop(directory.write("file", "")),
            code: 2,
            says: &["error: the ledger cannot be written", "file is no directory"],
        },
        Case {
            name: "sink-directory",
            config: &missing_sink,
            prepare: &nothing,
            code: 2,
            says: &["error: sink `crm` cannot write to", "there is no directory", "nowhere; make it"],
        },
        Case {
            name: "sink-below-file",
            config: &sink_is_directory_below_file,
            prepare: &users(""),
            code: 2,
            says: &["error: sink `crm` cannot write to"],
        },
        Case {
            name: "dead-letters",
            config: &dead_letter,
            prepare: &nothing,
            code: 2,
            says: &["error: sink `crm` cannot write to", "lost; make it"],
        },
        Case {
            name: "nobody",
            config: DIGEST,
            prepare: &users("# nobody yet\n"),
            code: 0,
            says: &["warning: domain example.com: there is no user: nobody can log in"],
        },
        Case {
            name: "foreign-name",
            config: DIGEST,
            prepare: &users("alice@wrong.com:pw\nbob@example.com:pw\n"),
            code: 0,
            says: &["warning: domain example.com: user `alice@wrong.com` has `@wrong.com` in the name"],
        },
        Case {
            name: "foreign-realm",
            config: DIGEST,
            prepare: &users(&foreign_realm),
            code: 0,
            says: &[
                "warning: domain example.com: user `alice` has a hash for the realm `wrong.com`, but clients are asked for `example.com`",
                "realm = \"wrong.com\"",
            ],
        },
        Case { name: "shared", config: &shared_domains, prepare: &users(&shared), code: 0, says: &[] },
        Case {
            name: "unused-upstream",
            config: "[[upstream]]\nname = \"pbx\"\ntargets = [\"sip:127.0.0.1:1;transport=tcp\"]\n[[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n",
            prepare: &nothing,
            code: 0,
            says: &["no domain has the upstream `pbx` as its backend", "backend = \"pbx\""],
        },
        Case {
            name: "open-users",
            config: DIGEST,
            prepare: &|directory| {
                let file = directory.write("users.txt", "alice:pw\n");
                fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
                fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            },
            code: 0,
            says: &["everybody on this machine may read the users file", "chmod o-rwx"],
        },
        Case {
            name: "no-such-address",
            // RFC 5737: an address for documentation.
            config: "[[listener]]\nname = \"elsewhere\"\ntransport = \"tcp\"\nbind = \"192.0.2.1:5060\"\n",
            prepare: &nothing,
            code: 2,
            says: &[
                "error: listener `elsewhere` cannot have 192.0.2.1:5060: this machine has no address 192.0.2.1",
            ],
        },
    ];
    for Case { name, config, prepare, code, says } in cases {
        let directory = Directory::new(&format!("check-{name}"));
        prepare(&directory);
        let ledger = if config.contains("[ledger]") { "" } else { "[ledger]\ndirectory = \"ledger\"\n" };
        let domain = if config.contains("[[domain]]") { "" } else { OPEN };
        let file = directory.write("sipway.toml", format!("{ledger}{LISTENER}{config}{domain}"));
        let before = directory.names();
        // Nobody is behind.
        let offline: &[&str] = if config.contains("[[upstream]]") { &["--offline"] } else { &[] };
        let ended = check(&file, offline).await;
        assert_eq!(ended.code, Some(code), "{name}: {}", ended.err);
        for words in says {
            assert_eq!(ended.err.matches(words).count(), 1, "{name}: {words}: {}", ended.err);
        }
        let warnings = usize::from(code == 0 && !says.is_empty());
        let last = ended.out.lines().last().unwrap_or_default();
        match (code, warnings) {
            (0, 0) => assert!(ended.err.is_empty() && last.ends_with(": no errors"), "{name}: {ended:?}"),
            (0, _) => assert!(last.ends_with(": no errors, 1 warning"), "{name}: {ended:?}"),
            _ => assert!(
                !ended.out.contains("no errors") && ended.err.ends_with("sipway.toml: 1 error\n"),
                "{name}: {ended:?}"
            ),
        }
        assert_eq!(directory.names(), before, "{name}: nothing was made");
    }
}

/// A key that everybody may read, and a certificate that is not the key's: an error, and no word of "no
/// errors".
#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_an_error_and_an_open_key_a_warning() {
    let directory = Directory::new("check-key");
    let make = || rcgen::generate_simple_self_signed(["sip.example.com".to_owned()]).unwrap();
    let pair = make();
    directory.write("cert.pem", pair.cert.pem());
    let key = directory.write("key.pem", pair.signing_key.serialize_pem());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "[ledger]\ndirectory = \"ledger\"\n[[listener]]\ntransport = \"wss\"\nbind = \"127.0.0.1:0\"\n\
         advertise = \"sip.example.com\"\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n{OPEN}"
    );
    let file = directory.write("sipway.toml", text);
    let open = check(&file, &[]).await;
    assert_eq!(open.code, Some(0), "{}", open.err);
    assert!(open.err.contains("everybody on this machine may read the private key"), "{}", open.err);
    assert!(open.out.ends_with(": no errors, 1 warning\n"), "{}", open.out);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let closed = check(&file, &[]).await;
    assert!(closed.err.is_empty() && closed.out.ends_with(": no errors\n"), "{closed:?}");
    directory.write("cert.pem", make().cert.pem());
    let wrong = check(&file, &[]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    assert!(!wrong.out.contains("no errors"), "{}", wrong.out);
}

/// By listeners of every kind and the admin API: who has it is said, and that it is not us.
#[tokio::test]
async fn a_taken_port_is_an_error_and_says_who_has_it() {
    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) = (stream.local_addr().unwrap(), datagram.local_addr().unwrap());
    for (who, section) in [
        ("listener `one`", format!("[[listener]]\nname = \"one\"\ntransport = \"ws\"\nbind = \"{tcp}\"\n")),
        ("listener `one`", format!("[[listener]]\nname = \"one\"\ntransport = \"tcp\"\nbind = \"{tcp}\"\n")),
        ("listener `one`", format!("[[listener]]\nname = \"one\"\ntransport = \"udp\"\nbind = \"{udp}\"\n")),
        (
            "listener `one`",
            format!(
                "[[listener]]\nname = \"one\"\ntransport = \"udp\"\nbind = \"0.0.0.0:{}\"\nadvertise = \"127.0.0.1\"\n",
                udp.port()
            ),
        ),
        ("[admin]", format!("{LISTENER}[admin]\nbind = \"{tcp}\"\n")),
    ] {
        let directory = Directory::new("check-taken");
        let file =
            directory.write("sipway.toml", format!("[ledger]\ndirectory = \"ledger\"\n{section}{OPEN}"));
        let ended = check(&file, &[]).await;
        // Everybody may register where others reach it: that is another finding.
        assert_eq!(ended.code, Some(2), "{section}: {}", ended.err);
        let elsewhere = check(&file, &["--offline"]).await;
        assert_eq!(elsewhere.code, Some(0), "it may be for another machine: {}", elsewhere.err);
        let me = format!("(process {})", std::process::id());
        let said = ended.err.lines().find(|line| line.starts_with(&format!("error: {who} cannot have")));
        assert!(said.is_some_and(|line| line.contains(&me)), "{section}: {}", ended.err);
    }
}

/// Whoever checks a configuration while its server runs hears of no error, and the server notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_server_is_no_error_and_is_not_disturbed() {
    let directory = Directory::new("check-running");
    let text = |ws: &str, tcp: &str, udp: &str| {
        let listener = |name: &str, bind: &str| {
            format!("[[listener]]\nname = \"{name}\"\ntransport = \"{name}\"\nbind = \"{bind}\"\n")
        };
        let all = [listener("ws", ws), listener("tcp", tcp), listener("udp", udp)].concat();
        format!("[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n{OPEN}{all}")
    };
    let free = "127.0.0.1:0";
    let mut command = sipway(["run", "--config"]);
    command.arg(directory.write("sipway.toml", text(free, free, free)));
    let mut server = Server::run(command).await;
    let [ws, tcp, udp] = ["ws", "tcp", "udp"].map(|name| server.address(name).to_string());
    let file = directory.write("bound.toml", text(&ws, &tcp, &udp));
    let mut phone = Client::connect(&Target::new(Transport::Udp, udp.parse().unwrap()), &Setup::new("bob"))
        .await
        .unwrap();
    for _ in 0..3 {
        let ended = check(&file, &[]).await;
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
        let running =
            format!("is in use by the server that runs with this ledger (process {})", server.pid());
        assert_eq!(ended.out.matches(&running).count(), 3, "{}", ended.out);
        assert!(ended.out.ends_with(": no errors\n"), "{}", ended.out);
        assert_eq!(phone.register(600).await.unwrap().status, 200);
        assert_eq!(server.connect(Transport::Ws, "ada").await.register(600).await.unwrap().status, 200);
    }
    // The same addresses with another ledger: that would be a second server.
    let other = text(&ws, &tcp, &udp).replace("\"ledger\"", "\"other\"");
    let ended = check(&directory.write("other.toml", other), &[]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.out);
    assert_eq!(
        ended.err.matches(&format!("`sipway` (process {}) has it", server.pid())).count(),
        3,
        "{}",
        ended.err
    );
    // And the same ledger under another name.
    let renamed = format!("node = \"another\"\n{}", text(free, free, free));
    let ended = check(&directory.write("renamed.toml", renamed), &[]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.out);
    assert!(ended.err.contains("is that of node `sipway`, not of `another`"), "{}", ended.err);
    assert!(server.terminate().await.success());
    assert!(!directory.names().contains(&"other".to_owned()), "no ledger was made");
}

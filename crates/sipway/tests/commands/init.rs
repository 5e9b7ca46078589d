//! `sipway init` writes what `sipway check` finds nothing wrong with, once the files are there that it names.

use std::fs;

use crate::directory::Directory;
use crate::process::{Ended, run, sipway};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Writes a configuration into a directory with the files that it names, and checks it.
async fn written(directory: &Directory, name: &str, arguments: &[&str]) -> (String, Ended) {
    let file = directory.at(name);
    let mut init = sipway(["init"]);
    init.args(arguments).arg("--output").arg(&file);
    let ended = run(init).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.err);
    let text = fs::read_to_string(&file).unwrap();
    let check = |file: std::path::PathBuf| async move {
        let mut check = sipway(["check", "--offline"]);
        check.arg(file);
        run(check).await
    };
    let checked = check(file).await;
    assert_eq!(checked.code, Some(0), "{arguments:?}: {}{}\n{text}", checked.out, checked.err);
    assert_eq!(checked.err, "", "no warnings either: {text}");
    // What stands there as the other way is no less right.
    for named in ["fullchain.pem", "privkey.pem", "users.txt", "unregister.secret"] {
        assert_eq!(
            ended.out.contains(named),
            text.contains(&format!("\"{named}\"")),
            "{named}: {}",
            ended.out
        );
    }
    (text, ended)
}

fn directory(name: &str) -> Directory {
    let directory = Directory::new(name);
    let pair = rcgen::generate_simple_self_signed(["sip.example.com".to_owned()]).unwrap();
    directory.write("fullchain.pem", pair.cert.pem());
    directory.write("privkey.pem", pair.signing_key.serialize_pem());
    directory.write("users.txt", "alice:wonder land\n");
    directory.write("unregister.secret", format!("{SECRET}\n"));
    for private in ["privkey.pem", "users.txt", "unregister.secret"] {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(directory.at(private), fs::Permissions::from_mode(0o600)).unwrap();
    }
    directory
}

/// The values of a key, in the order in which they stand there.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).collect()
}

#[tokio::test]
async fn what_init_writes_is_a_good_configuration_for_every_pbx_and_either_way() {
    let directory = directory("init");
    let backends = [
        ("sip:127.0.0.1:5080", &["wss", "udp", "tcp"][..], "5060"),
        ("sip:127.0.0.1:5080;transport=tcp", &["wss", "tcp"], "5060"),
        ("sip:127.0.0.1:5080;transport=udp", &["wss", "udp"], "5060"),
        ("sips:pbx.example.com", &["wss", "tls"], "5061"),
        ("sip:pbx.example.com", &["wss", "udp", "tcp"], "5060"),
        ("sip:192.0.2.7", &["wss", "udp", "tcp"], "5060"),
        ("sip:[::1]:5080", &["wss", "udp", "tcp"], "5060"),
    ];
    for (number, (backend, transports, port)) in backends.into_iter().enumerate() {
        for (kind, forwarded) in
            [("kamailio", "path"), ("freeswitch", "auto"), ("asterisk", "auto"), ("other", "auto")]
        {
            for way in ["", "local", "forward"] {
                let mut arguments = vec!["--backend", backend, "--kind", kind, "--domain", "Example.com"];
                if !way.is_empty() {
                    arguments.extend(["--register", way]);
                }
                let (text, _) = written(&directory, &format!("{kind}-{number}-{way}.toml"), &arguments).await;
                let quoted: Vec<String> = transports.iter().map(|one| format!("\"{one}\"")).collect();
                assert_eq!(values(&text, "transport"), quoted, "{text}");
                assert_eq!(values(&text, "targets"), [format!("[\"{backend}\"]")]);
                assert_eq!(values(&text, "name"), ["\"pbx\"", "\"example.com\""]);
                assert!(values(&text, "bind")[1].ends_with(&format!(":{port}\"")), "{text}");
                if backend.contains("127.0.0.1") {
                    assert!(
                        text.contains("\nadvertise = \"127.0.0.1\"\n"),
                        "the address that the backend sees: {text}"
                    );
                }
                if backend.contains("[::1]") {
                    assert!(text.contains("bind = \"[::]:5060\"\nadvertise = \"[::1]\"\n"), "{text}");
                }
                // One trunk first; who forwards has a proof that no client can send, or sends nothing.
                let forward = way == "forward";
                assert_eq!(
                    values(&text, "register"),
                    [format!("\"{}\"", if forward { forwarded } else { "local" })]
                );
                assert_eq!(values(&text, "users").len(), usize::from(!forward));
                let proof = forward && kind != "freeswitch";
                assert_eq!(values(&text, "unregister_header").len(), usize::from(proof), "{text}");
                assert_eq!(
                    values(&text, "unregister"),
                    if forward && !proof { vec!["\"never\""] } else { vec![] }
                );
                assert!(text.contains("The cost: "), "{text}");
                let advice = text.to_lowercase();
                assert!(!advice.contains("without a password") || advice.contains("never let"), "{text}");
                assert!(
                    !advice.contains("apply-register-acl")
                        || advice.contains("never as apply-register-acl")
                        || advice.contains("no safe"),
                    "{text}"
                );
            }
        }
    }
}

/// Nobody can have the port of somebody who has it.
#[tokio::test]
async fn no_listener_is_at_the_address_of_a_pbx_on_this_machine_and_check_finds_one_that_is() {
    let directory = directory("init-clash");
    for (number, (backend, port)) in [
        ("sip:127.0.0.1", 5080),
        ("sip:127.0.0.1:5060;transport=tcp", 5080),
        ("sip:127.0.0.9:5060", 5080),
        ("sip:localhost", 5080),
        ("sip:[::1]", 5080),
        ("sips:127.0.0.1", 5081),
        ("sip:127.0.0.1:5061", 5060),
    ]
    .into_iter()
    .enumerate()
    {
        let arguments = ["--backend", backend, "--domain", "example.com"];
        let (text, _) = written(&directory, &format!("{number}.toml"), &arguments).await;
        let sip = &values(&text, "bind")[1..values(&text, "bind").len() - 1];
        assert!(
            !sip.is_empty() && sip.iter().all(|bind| bind.ends_with(&format!(":{port}\""))),
            "{backend}: {text}"
        );
        if port != 5060 {
            let clash = text.replace(&format!(":{port}\""), &format!(":{}\"", port - 20));
            let mut check = sipway(["check", "--offline"]);
            check.arg(directory.write("clash.toml", clash));
            let checked = run(check).await;
            assert_eq!(checked.code, Some(2), "{backend}: {}", checked.err);
            assert!(checked.err.contains("this target is the listener"), "{}", checked.err);
        }
    }
    // An address of this machine that is not loopback: only the machine knows it.
    let own = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    if let Ok(own) = own {
        let backend = format!("sip:{}", own.ip());
        let (text, _) =
            written(&directory, "own.toml", &["--backend", &backend, "--domain", "example.com"]).await;
        assert_eq!(values(&text, "bind")[1], "\"0.0.0.0:5080\"");
        let mut check = sipway(["check", "--offline"]);
        check.arg(directory.write("own-clash.toml", text.replace(":5080\"", ":5060\"")));
        let checked = run(check).await;
        assert_ne!(checked.code, Some(0));
        assert!(checked.err.contains("is an address of this machine"), "{}", checked.err);
    }
}

#[tokio::test]
async fn init_without_a_pbx_writes_a_server_of_its_own() {
    let directory = directory("init-alone");
    for (name, arguments, domain) in [
        ("default.toml", &[][..], "\"example.com\""),
        ("named.toml", &["--domain", "office.example"], "\"office.example\""),
    ] {
        let (text, _) = written(&directory, name, arguments).await;
        assert_eq!(values(&text, "transport"), ["\"wss\"", "\"udp\"", "\"tcp\""]);
        assert_eq!((values(&text, "name"), values(&text, "users")), (vec![domain], vec!["\"users.txt\""]));
        assert!(!text.contains("[[upstream]]") && !text.contains("\nbackend"), "{text}");
    }
    let (file, _) = written(&directory, "again.toml", &[]).await;
    let mut shown = sipway(["init", "--output", "-"]);
    shown.current_dir(directory.at("."));
    let shown = run(shown).await;
    assert_eq!((shown.code, shown.out), (Some(0), file), "the configuration and nothing else");
    assert!(!directory.at("-").exists());
    for (arguments, said) in [
        (&["--kind", "asterisk"][..], "--backend"),
        (&["--backend", "tel:1"], "tel: is no address of a server"),
        (&["--register", "forward"], "--backend"),
        (&["--backend", "10.0.0.5"], "write \"sip:10.0.0.5\""),
        (&["--domain", "sip:example.com"], "not a domain name"),
    ] {
        let mut wrong = sipway(["init"]);
        wrong.args(arguments).arg("--output").arg(directory.at("wrong.toml"));
        let wrong = run(wrong).await;
        assert_eq!(wrong.code, Some(2), "{arguments:?}");
        assert!(wrong.err.contains(said), "{}", wrong.err);
        assert!(!directory.at("wrong.toml").exists());
    }
    let before = fs::read_to_string(directory.at("default.toml")).unwrap();
    let mut again = sipway(["init", "--backend", "sip:10.0.0.5", "--output"]);
    again.arg(directory.at("default.toml"));
    let again = run(again).await;
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("is there already"), "{}", again.err);
    assert_eq!(fs::read_to_string(directory.at("default.toml")).unwrap(), before);
}

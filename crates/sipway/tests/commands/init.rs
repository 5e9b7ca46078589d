//! `sipway init` writes what `sipway check` finds nothing wrong with.

use std::fs;

use crate::directory::Directory;
use crate::process::{run, sipway};

#[tokio::test]
async fn what_init_writes_is_a_good_configuration() {
    let directory = Directory::new("init");
    let pair = rcgen::generate_simple_self_signed(["sip.example.com".to_owned()]).unwrap();
    directory.write("fullchain.pem", pair.cert.pem());
    directory.write("privkey.pem", pair.signing_key.serialize_pem());
    for (kind, backend, register) in [
        ("kamailio", "sip:127.0.0.1:5080", "path"),
        ("freeswitch", "sip:127.0.0.1:5080;transport=tcp", "auto"),
        ("asterisk", "sips:pbx.example.com", "auto"),
        ("other", "sip:127.0.0.1", "auto"),
        ("kamailio", "sip:[::1]:5060", "path"),
        ("freeswitch", "sip:[::1];transport=tcp", "auto"),
    ] {
        let file = directory.at(&format!("{kind}-{}.toml", backend.contains('[')));
        let init = || {
            let mut init =
                sipway(["init", "--backend", backend, "--kind", kind, "--domain", "example.com", "--output"]);
            init.arg(&file);
            init
        };
        let written = run(init()).await;
        assert_eq!(written.code, Some(0), "{}", written.err);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("targets = [\"{backend}\"]\n")), "{text}");
        assert!(text.contains(&format!("\nregister = \"{register}\"\n")), "{text}");
        if backend.contains("127.0.0.1") {
            assert!(text.contains("advertise = \"127.0.0.1\""), "the address that the backend sees: {text}");
        }
        if backend.contains("[::1]") {
            assert!(text.contains("bind = \"[::]:5060\"\nadvertise = \"[::1]\"\n"), "{text}");
        }
        let mut check = sipway(["check", "--offline"]);
        check.arg(&file);
        let checked = run(check).await;
        assert_eq!(checked.code, Some(0), "{}\n{text}", checked.err);
        let again = run(init()).await;
        assert_eq!(again.code, Some(1));
        assert!(again.err.contains("is there already"), "{}", again.err);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let mut wrong = sipway(["init", "--backend", "10.0.0.5", "--output"]);
    wrong.arg(directory.at("wrong.toml"));
    let wrong = run(wrong).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("write \"sip:10.0.0.5\""), "{}", wrong.err);
}

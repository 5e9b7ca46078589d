//! One mistake, one error: its kind, its place, its mend. The rest of the text is right and says nothing.

use std::path::Path;

use config::{Config, Errors, FakeEnvironment, Outside, ProblemKind};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";

fn parse(text: &str) -> Result<Config, Errors> {
    let environment = FakeEnvironment::new()
        .file("cert.pem", CERTIFICATE)
        .file("torn.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n")
        .file("empty.pem", "")
        .file("key.pem", KEY)
        .file("locked.pem", KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"))
        .file("users.txt", "")
        .file("token.secret", "0123456789abcdef0123456789abcdef\n")
        .file("guessed.secret", "swordfish\n")
        .file("login.pem", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n")
        .file("short.secret", "whsec_MDEy")
        .file("unregister.secret", "0123456789abcdef\n")
        .set("UNREGISTER", "0123456789abcdef; and a comment")
        .directory("logs")
        .link("same", "e")
        .set("SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    Config::parse(text, Path::new("sipway.toml"), &environment)
}

/// Expects exactly one error, at the text between « and ».
#[track_caller]
fn one(marked: &str, kind: ProblemKind, mend: Option<&str>) {
    let text = marked.replace(['«', '»'], "");
    let start = marked.find('«').expect("a marked place");
    let end = marked.find('»').expect("a marked place") - '«'.len_utf8();
    let errors = parse(&text).expect_err("a mistake");
    let [problem] = errors.problems() else { panic!("not one error:\n{errors}") };
    assert_eq!((problem.kind(), problem.span(), problem.mend()), (kind, start..end, mend), "{errors}");
    assert_eq!(problem.line(), text[..start].matches('\n').count() + 1);
    assert_eq!(problem.column(), text[..start].chars().rev().take_while(|c| *c != '\n').count() + 1);
}

fn listener(keys: &str) -> String {
    format!("[[listener]]\n{keys}\n[[domain]]\nname = \"a.com\"\nauth = \"open\"\n")
}

fn webhook(keys: &str) -> String {
    format!("[[sink]]\nkind = \"webhook\"\nname = \"crm\"\nurl = \"https://a.com\"\n{keys}\n")
}

use ProblemKind::{
    BadFile, BadValue, BadVariable, Conflict, Duplicate, MissingKey, NotApplicable, OutOfRange, Syntax,
    UnknownKey, WrongType,
};

#[test]
fn keys() {
    one("«leger» = 1", UnknownKey, Some("did you mean `ledger`?"));
    one("[«ledgr»]\ndirectory = \"x\"", UnknownKey, Some("did you mean `ledger`?"));
    one("[log]\n«colour» = true", UnknownKey, Some("known here: level, format"));
    one("[log]\nlevel = \"info\"\n«level» = \"info\"", Duplicate, Some("remove one of the two"));
    one("[log]\n[[«log»]]\n", Duplicate, Some("remove one of the two"));
    one("«[[log]]»\n", WrongType, Some("write it with single brackets: [log]"));
    one("log = «3»", WrongType, Some("write `[log]` on a line of its own, and its keys below"));
    let text = "«[listener]»\ntransport = \"ws\"\nbind = \"127.0.0.1:1\"";
    one(text, WrongType, Some("write it with double brackets: [[listener]]"));
    one("sink = [«1»]", WrongType, Some("write `[[sink]]` on a line of its own, and its keys below"));
}

#[test]
fn values() {
    one("node = «7»", WrongType, None);
    one("node = «\"\"»", BadValue, None);
    one("node = «\"Edge.One\"»", BadValue, Some("write \"edge-one\""));
    one("node = «edge»", Syntax, Some("write \"edge\""));
    one("[log]\nlevel = «\"warning\"»", BadValue, Some("did you mean \"warn\"?"));
    one("[log]\nformat = «false»", WrongType, None);
    one("[keepalive]\nping_after = «25»", BadValue, Some("with its unit it is a string: \"25s\""));
    one("[keepalive]\nping_after = «\"25\"»", BadValue, Some("for seconds write \"25s\""));
    one("[keepalive]\nping_after = «\"25sec\"»", BadValue, Some("write \"25s\""));
    one("[keepalive]\nping_after = «\"2h\"»", OutOfRange, Some("the nearest allowed value is \"1h\""));
    one("[keepalive]\npong_timeout = «[]»", WrongType, None);
    one("[limits]\nmax_flows = «-1»", BadValue, None);
    one("[limits]\nmax_flows = «1.5»", WrongType, None);
    one("[limits]\nmax_flows = «99999999999999999999»", BadValue, None);
    one("[limits]\nmax_flows = «0»", OutOfRange, Some("the nearest allowed value is 1"));
    one("[limits]\nmax_message = «\"64k\"»", BadValue, Some("write \"64KiB\""));
    one("[limits]\nshards = «65»", OutOfRange, Some("the nearest allowed value is 64"));
    one("[limits]\nmax_message = «10»", OutOfRange, Some("the nearest allowed value is \"1KiB\""));
    one("[timers]\ntimer_c = «\"3m\"»", OutOfRange, Some("the nearest allowed value is \"181s\""));
    one("[registrar]\nmin_expires = «\"1500ms\"»", BadValue, None);
    one("[ledger]\ndirectory = «\"\"»", BadValue, None);
    one("[ledger]\nkeep_for = «\"30days\"»", BadValue, Some("write \"30d\""));
    one("[ledger]\nkeep_for = «\"30s\"»", OutOfRange, Some("the nearest allowed value is \"1m\""));
    one("[ledger]\ndrop_unread_of = «[]»", BadValue, Some("leave `drop_unread_of` out to get its default"));
}

#[test]
fn values_that_quarrel() {
    one("[registrar]\nmin_expires = «\"2h\"»", Conflict, None);
    one("[registrar]\ndefault_expires = «\"2h\"»", Conflict, None);
    one("[timers]\nt1 = «\"5s\"»", Conflict, None);
    let mend = Some("set `outbound_queue` to 131072 or more, or lower `max_message`");
    one("[limits]\noutbound_queue = «\"64KiB\"»", Conflict, mend);
    let mend = Some("set `outbound_queue` to 1048576 or more, or lower `max_message`");
    one(&listener("transport = \"tcp\"\nbind = \"127.0.0.1:1\"\nmax_message = «\"1MiB\"»"), Conflict, mend);
    let mend = Some("set `keep_size` to \"128MiB\" or more, or lower `segment_size`");
    one("[ledger]\nkeep_size = «\"64MiB\"»", Conflict, mend);
    // A faulty value starts no quarrel of its own.
    one("[ledger]\nkeep_size = \"64MiB\"\nsegment_size = «\"1MB\"»", BadValue, Some("write \"1MiB\""));
    one("[limits]\nmax_message = \"1MiB\"\noutbound_queue = «\"4MB\"»", BadValue, Some("write \"4MiB\""));
    one("[timers]\nt1 = \"5s\"\nt2 = «6»", BadValue, Some("with its unit it is a string: \"6s\""));
    one(
        "[registrar]\nmin_expires = \"2h\"\nmax_expires = «\"3hours\"»",
        BadValue,
        Some("the units are ms, s, m, h and d; one number, one unit"),
    );
}

#[test]
fn listeners() {
    one("«[[listener]]»\nbind = \"127.0.0.1:1\"", MissingKey, Some("add `transport = \"wss\"`"));
    one("«[[listener]]»\ntransport = \"ws\"", MissingKey, Some("add `bind = \"127.0.0.1:8080\"`"));
    for (bind, mend) in [
        ("127.0.0.1", Some("add it: \"127.0.0.1:8080\"")),
        ("::1", Some("add it: \"[::1]:8080\"")),
        (":5060", Some("for every address of this machine: \"0.0.0.0:5060\" or \"[::]:5060\"")),
        ("localhost:5060", Some("write \"127.0.0.1:5060\"")),
        ("5060", Some("for this machine alone write \"127.0.0.1:5060\"")),
        ("a.com:1", Some("name the address of an interface; what others are told goes to `advertise`")),
        ("127.0.0.1:70000", None),
    ] {
        one(&listener(&format!("transport = \"udp\"\nbind = «\"{bind}\"»")), BadValue, mend);
    }
    let mend = Some("add `advertise = \"sip.example.com\"`, with the name or address that clients use");
    one(&listener("transport = \"udp\"\nbind = «\"[::]:0\"»"), MissingKey, mend);
    let keys = "transport = \"udp\"\nbind = \"0.0.0.0:1\"\nadvertise = «\"0.0.0.0\"»";
    one(&listener(keys), BadValue, None);
    let mend = Some("remove it, or set `transport` to \"ws\" or \"wss\"");
    one(
        &listener("transport = \"tcp\"\nbind = \"127.0.0.1:1\"\n«missing_origin» = \"refuse\""),
        NotApplicable,
        mend,
    );
    let mend = Some("remove it, or set `transport` to \"wss\"");
    one(
        &listener("transport = \"ws\"\nbind = \"127.0.0.1:1\"\n«certificate» = \"cert.pem\""),
        NotApplicable,
        mend,
    );
    let mend = Some("leave `paths` out to get its default");
    one(&listener("transport = \"ws\"\nbind = \"127.0.0.1:1\"\npaths = «[]»"), BadValue, mend);
    let mend = Some("write the values between brackets: [\"…\", \"…\"]");
    one(&listener("transport = \"ws\"\nbind = \"127.0.0.1:1\"\npaths = «\"/\"»"), WrongType, mend);
    let mend = Some("remove one of the two");
    let keys =
        "transport = \"ws\"\nbind = \"127.0.0.1:1\"\norigins = [\"https://a.com\", «\"https://A.com:443\"»]";
    one(&listener(keys), Duplicate, mend);
}

#[test]
fn addresses_that_are_taken() {
    let two = |first: &str, second: &str| {
        let listener = |at: &str| {
            let (transport, bind) = at.split_once(' ').expect("transport and address");
            format!("[[listener]]\ntransport = \"{transport}\"\nbind = {bind}\nadvertise = \"a.com\"\n")
        };
        format!("{}{}[[domain]]\nname = \"a.com\"\nauth = \"open\"\n", listener(first), listener(second))
    };
    let mend = Some("give one of the two another port");
    one(&two("tcp \"127.0.0.1:1\"", "ws «\"127.0.0.1:1\"»"), Duplicate, mend);
    one(&two("udp \"127.0.0.1:1\"", "udp «\"0.0.0.0:1\"»"), Duplicate, mend);
    one(&two("tcp \"[::]:1\"", "ws «\"[::1]:1\"»"), Duplicate, mend);
    one(
        &format!("{}[admin]\nbind = \"127.0.0.1:1\"", two("tcp \"127.0.0.1:2\"", "ws «\"127.0.0.1:1\"»")),
        Duplicate,
        mend,
    );
    for (first, second) in [
        ("udp \"127.0.0.1:1\"", "tcp \"127.0.0.1:1\""),
        ("tcp \"127.0.0.1:0\"", "ws \"127.0.0.1:0\""),
        ("tcp \"127.0.0.1:1\"", "ws \"127.0.0.2:1\""),
        ("tcp \"0.0.0.0:1\"", "ws \"[::1]:1\""),
    ] {
        assert!(parse(&two(first, second)).is_ok(), "{first} beside {second}");
    }
}

#[test]
fn certificates() {
    let tls = |keys: &str| listener(&format!("transport = \"tls\"\nbind = \"127.0.0.1:1\"\n{keys}"));
    let certificate =
        Some("name the PEM file with the certificate and those of its issuers (often fullchain.pem)");
    let key = Some("name the PEM file with the unencrypted key (often privkey.pem)");
    let beside = Some("a relative path starts at the directory of the configuration file");
    one(&tls("certificate = «\"none.pem\"»\nprivate_key = \"key.pem\""), BadFile, beside);
    one(&tls("certificate = «\"empty.pem\"»\nprivate_key = \"key.pem\""), BadFile, certificate);
    one(&tls("certificate = «\"torn.pem\"»\nprivate_key = \"key.pem\""), BadFile, certificate);
    one(&tls("certificate = «\"key.pem\"»\nprivate_key = \"key.pem\""), BadFile, certificate);
    one(&tls("certificate = \"cert.pem\"\nprivate_key = «\"cert.pem\"»"), BadFile, key);
    one(&tls("certificate = \"cert.pem\"\nprivate_key = «\"locked.pem\"»"), BadFile, key);
    let text = "«[[listener]]»\ntransport = \"tls\"\nbind = \"127.0.0.1:1\"\ncertificate = \"cert.pem\"\n";
    one(text, MissingKey, Some("add `private_key = \"privkey.pem\"`"));
}

#[test]
fn upstreams() {
    let behind = |upstream: &str, domain: &str| {
        format!(
            "[[upstream]]\nname = \"pbx\"\n{upstream}\n[[domain]]\nname = \"a.com\"\nbackend = \"pbx\"\n{domain}"
        )
    };
    let target = "targets = [\"sip:10.0.0.5\"]";
    parse(&behind(target, "")).unwrap();
    let missing = "«[[upstream]]»\nname = \"pbx\"";
    one(missing, MissingKey, Some("add `targets = [\"sip:10.0.0.5:5060\"]`"));
    one(
        &behind("targets = [«\"10.0.0.5\"»]", "").replace("backend = \"pbx\"\n", "auth = \"open\"\n"),
        BadValue,
        Some("write \"sip:10.0.0.5\""),
    );
    let of = |targets: &str| format!("[[upstream]]\nname = \"pbx\"\ntargets = [{targets}]\n");
    one(
        &of("«\"sip:10.0.0.5;transport=sctp\"»"),
        BadValue,
        Some("write ;transport=udp, tcp or tls, or nothing"),
    );
    let mend = "write sip:, or leave out `;transport=udp`";
    one(&of("«\"sips:10.0.0.5;transport=udp\"»"), BadValue, Some(mend));
    parse(&of("\"sip:pbx.example.com\"")).unwrap();
    let mend = "add a `[[listener]]` with `transport = \"tls\"`";
    one(&of("«\"sips:pbx.example.com\"»"), BadValue, Some(mend));
    one("[dns]\nservers = [\"10.0.0.1\", «\"ns.example.com\"»]", BadValue, None);
    // The default listeners are all IPv4, and none speaks TLS.
    let mend = "add a `[[listener]]` with `transport = \"udp\"`";
    one(&of("\"sip:10.0.0.5\", «\"sip:[::1]\"»"), BadValue, Some(mend));
    let mend = "add a `[[listener]]` with `transport = \"tls\"`";
    one(&of("«\"sips:10.0.0.5\"»"), BadValue, Some(mend));
    let mend = "write { uri = \"sip:10.0.0.5\", priority = 1, weight = 10 }";
    one(&of("«{ uri = \"sip:10.0.0.5\", wait = 1 }»"), BadValue, Some(mend));
    one(&of("«{ uri = \"sip:10.0.0.5\", weight = 0 }»"), BadValue, None);
    one(&of("«{ weight = 7 }»"), BadValue, None);
    one(&(of("\"sip:10.0.0.5\"") + "listener = «\"ws\"»"), BadValue, Some("name one, or leave it out"));
    // The default listeners are at 127.0.0.1:5060.
    let mend = "name the address of the server behind, or give the listener another port";
    for itself in
        ["sip:127.0.0.1", "sip:127.0.0.1:5060;transport=udp", "sip:127.0.0.1;transport=tcp", "sip:localhost"]
    {
        one(&of(&format!("\"sip:10.0.0.5\", «\"{itself}\"»")), Conflict, Some(mend));
    }
    for other in ["sip:127.0.0.1:5061", "sip:127.0.0.2", "sip:localhost:5080", "sip:127.0.0.1:8080"] {
        parse(&of(&format!("\"{other}\""))).unwrap();
    }
    let all = |transport: &str, target: &str| {
        let keys = format!("transport = \"{transport}\"\nbind = \"0.0.0.0:5060\"\nadvertise = \"10.0.0.1\"");
        format!("{}{}", listener(&keys), of(&format!("«\"{target}\"»")))
    };
    for target in ["sip:127.0.0.1", "sip:127.0.0.9", "sip:localhost", "sip:0.0.0.0"] {
        one(&all("udp", target), Conflict, Some(mend));
    }
    one(&all("tcp", "sip:127.0.0.1;transport=tcp"), Conflict, Some(mend));
    parse(&all("udp", "sip:10.0.0.5").replace(['«', '»'], "")).unwrap();
    let tls = "«[[upstream]]»\nname = \"pbx\"\ntargets = [\"sip:10.0.0.5\"]\nprivate_key = \"key.pem\"";
    one(tls, MissingKey, Some("add `certificate = \"fullchain.pem\"`"));
    let mend = "remove it, or write register = \"local\"";
    one(&behind(target, "«auth» = \"open\""), NotApplicable, Some(mend));
    let mend = "remove it, or name a `backend`";
    one("[[domain]]\nname = \"a.com\"\nauth = \"open\"\n«register» = \"local\"", NotApplicable, Some(mend));
    let local = |keys: &str| behind(target, &format!("register = \"local\"\n{keys}"));
    let (digest, open) = ("users = \"users.txt\"", "auth = \"open\"");
    let names = "outside = [\"ada\", \"bob\"]";
    let users = parse(&local(&format!("{digest}\n{names}"))).unwrap();
    assert_eq!(users.domains[0].outside, Outside::Only(vec!["ada".into(), "bob".into()]));
    assert_eq!(parse(&local(digest)).unwrap().domains[0].outside, Outside::Users);
    assert_eq!(
        parse(&local(open)).unwrap().domains[0].outside,
        Outside::Nobody,
        "never an open relay by default"
    );
    let all = parse(&local(&format!("{open}\noutside = \"everybody\""))).unwrap();
    assert_eq!((&all.domains[0].outside, all.warnings().problems().len()), (&Outside::Everybody, 1));
    let mend = "write auth = \"digest\", or outside = \"nobody\"";
    one(&local(&format!("{open}\noutside = «\"users\"»")), Conflict, Some(mend));
    one(&local(&format!("{digest}\noutside = «\"everybody\"»")), Conflict, Some("write outside = \"users\""));
    one(&local(&format!("{digest}\noutside = «\"user\"»")), BadValue, Some("did you mean \"users\"?"));
    one(&local(&format!("{digest}\noutside = «[\"ada@a.com\"]»")), BadValue, Some("write \"ada\""));
    one(
        &behind(target, "«outside» = \"users\""),
        NotApplicable,
        Some("remove it, or write register = \"local\""),
    );
    let mend = "remove it, or name a `backend`";
    one(&format!("[[domain]]\nname = \"a.com\"\n{digest}\n«outside» = \"users\""), NotApplicable, Some(mend));
    let jwt = "auth = \"jwt\"\nsecret_file = \"token.secret\"";
    let claim = parse(&local(&format!("{jwt}\noutside_claim = \"pstn\""))).unwrap();
    assert_eq!(claim.domains[0].outside, Outside::Claim("pstn".into()));
    let both = format!("{jwt}\noutside = \"users\"\noutside_claim = «\"pstn\"»");
    one(&local(&both), Conflict, Some("remove one of the two"));
    let mend = "remove it, or write auth = \"jwt\"";
    one(&local(&format!("{digest}\n«outside_claim» = \"pstn\"")), NotApplicable, Some(mend));
    let mend = "add an `[[upstream]]` with `name = \"pbx\"`";
    one("[[domain]]\nname = \"a.com\"\nbackend = «\"pbx\"»", BadValue, Some(mend));
}

/// Fields of this name are removed from all that is forwarded: none that SIP needs may be named.
#[test]
fn the_header_of_an_unregister_is_of_ones_own_and_has_a_secret() {
    let with = |keys: &str| format!("[[upstream]]\nname = \"pbx\"\ntargets = [\"sip:10.0.0.5\"]\n{keys}\n");
    let secret = "unregister_secret_file = \"unregister.secret\"";
    let good = parse(&with(&format!("unregister_header = \"X-Sipway-Close\"\n{secret}"))).unwrap();
    let header = good.upstreams[0].unregister_header.as_ref().unwrap();
    assert_eq!((header.name.as_str(), header.secret.expose()), ("X-Sipway-Close", "0123456789abcdef"));
    assert!(!format!("{good:?}").contains("0123456789abcdef"), "the secret is shown nowhere");
    assert_eq!(parse(&with("")).unwrap().upstreams[0].unregister_header, None);
    let mend = "write a name of your own, such as \"X-Sipway-Close\"";
    for name in [
        "Via",
        "via",
        "CONTACT",
        "From",
        "Authorization",
        "Content-Length",
        "v",
        "Z",
        "l",
        "Remote-Party-ID",
        "Session-ID",
        "X Sipway",
        "X-Sipway:",
        "1-Sipway",
        "",
        "X-Sipw\u{e4}y",
        &"X".repeat(65),
    ] {
        one(&with(&format!("unregister_header = «\"{name}\"»\n{secret}")), BadValue, Some(mend));
    }
    let mend = "add `unregister_secret_env = \"SIPWAY_UNREGISTER_SECRET\"` or `unregister_secret_file = \"unregister.secret\"`";
    one(&with("unregister_header = «\"X-Sipway-Close\"»"), MissingKey, Some(mend));
    let mend = "add `unregister_header = \"X-Sipway-Close\"`";
    one(&with("«unregister_secret_file» = \"unregister.secret\""), NotApplicable, Some(mend));
    let never = "unregister = \"never\"\n«unregister_header» = \"X-Sipway-Close\"";
    one(&with(never), NotApplicable, Some("remove one of the two"));
    let header = "unregister_header = \"X-Sipway-Close\"\n";
    let mend = "make one: openssl rand -hex 24";
    one(&with(&format!("{header}unregister_secret_env = «\"UNREGISTER\"»")), BadVariable, Some(mend));
    one(&with(&format!("{header}unregister_secret_file = «\"guessed.secret\"»")), BadFile, Some(mend));
    let errors = parse(&with(&format!("{header}unregister_secret_env = \"UNREGISTER\""))).unwrap_err();
    assert!(!format!("{errors} {errors:?}").contains("0123456789abcdef"), "{errors}");
}

#[test]
fn domains() {
    let users = Some("add `users = \"users.txt\"`, or let everybody in by `auth = \"open\"`");
    one("«[[domain]]»\nname = \"a.com\"", MissingKey, users);
    one("«[[domain]]»\nauth = \"open\"", MissingKey, Some("add `name = \"example.com\"`"));
    one("[[domain]]\nname = «\"sip:a.com\"»\nauth = \"open\"", BadValue, Some("leave `sip:` out"));
    let mend = Some("remove it, or write auth = \"digest\"");
    one("[[domain]]\nname = \"a.com\"\nauth = \"open\"\n«users» = \"users.txt\"", NotApplicable, mend);
    one("[[domain]]\nname = \"a.com\"\nusers = \"users.txt\"\nrealm = «\"a\\\"b\"»", BadValue, None);
    one("[[domain]]\nname = \"a.com\"\nauth = «\"none\"»\nusers = \"users.txt\"", BadValue, None);
    let text =
        "[[domain]]\nname = \"a.com\"\nauth = \"open\"\n[[domain]]\nname = «\"A.com.\"»\nauth = \"open\"";
    one(text, Duplicate, Some("give every domain its own"));
    let ephemeral = |keys: &str| format!("[[domain]]\nname = \"a.com\"\n{keys}");
    parse(&ephemeral("ephemeral_secret_file = \"token.secret\"")).unwrap();
    parse(&ephemeral(
        "users = \"users.txt\"\nephemeral_secret_file = \"token.secret\"\nephemeral_hash = \"SHA-256\"",
    ))
    .unwrap();
    let mend = Some("make one: openssl rand -hex 32");
    one(&ephemeral("ephemeral_secret_file = «\"guessed.secret\"»"), BadFile, mend);
    let mend = Some("remove it, or name a secret");
    one(&ephemeral("users = \"users.txt\"\n«ephemeral_hash» = \"SHA-1\""), NotApplicable, mend);
    let database = |keys: &str| format!("[[domain]]\nname = \"a.com\"\n{keys}");
    let query = "users_query = \"SELECT name, password FROM users\"";
    parse(&database(&format!("users_db = \"users.sqlite\"\n{query}\nusers_refresh = \"1m\""))).unwrap();
    let mend = Some("add `users_query = \"SELECT username AS name, ha1 AS md5 FROM subscriber\"`");
    one("«[[domain]]»\nname = \"a.com\"\nusers_db = \"users.sqlite\"", MissingKey, mend);
    let both = format!("users = «\"users.txt\"»\nusers_db = \"users.sqlite\"\n{query}");
    one(&database(&both), Conflict, Some("remove `users` or `users_db`"));
    let mend = Some("remove it, or name `users_db`");
    one(&database("users = \"users.txt\"\n«users_refresh» = \"5s\""), NotApplicable, mend);
    // Without a domain a server that others reach would let everybody in.
    let mend = Some("add a `[[domain]]` with `name = \"example.com\"` and `users = \"users.txt\"`");
    one("[[listener]]\ntransport = \"udp\"\nbind = «\"192.0.2.1:5060\"»\n", MissingKey, mend);
}

#[test]
fn certificates_of_clients() {
    let tls = |keys: &str, auth: &str| {
        format!(
            "[[listener]]\ntransport = \"tls\"\nbind = \"127.0.0.1:5061\"\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"\n\
             {keys}\n[[domain]]\nname = \"a.com\"\nauth = {auth}\n"
        )
    };
    let both = "client_ca = \"cert.pem\"\nclient_certificate = \"optional\"\nclient_identity = \"cn\"";
    parse(&tls(both, "\"certificate\"")).unwrap();
    let mend = Some("name a `client_ca` in a `wss` or `tls` listener");
    one(&tls("", "«\"certificate\"»"), Conflict, mend);
    let mend = Some("name the PEM file with the certificate and those of its issuers (often fullchain.pem)");
    one(&tls("client_ca = «\"key.pem\"»", "\"open\""), BadFile, mend);
    one(
        &tls("«client_identity» = \"cn\"", "\"open\""),
        NotApplicable,
        Some("remove it, or name `client_ca`"),
    );
    one(&tls("client_ca = \"cert.pem\"\nclient_identity = «\"dns\"»", "\"open\""), BadValue, None);
    let udp = "transport = \"udp\"\nbind = \"127.0.0.1:5060\"\n«client_ca» = \"cert.pem\"";
    one(&listener(udp), NotApplicable, Some("remove it, or set `transport` to \"tls\""));
    let keys = format!("{}users = \"users.txt\"", tls(both, "\"certificate\""));
    one(&keys.replace("users =", "«users» ="), NotApplicable, Some("remove it, or write auth = \"digest\""));
}

#[test]
fn tokens() {
    let jwt = |keys: &str| format!("[[domain]]\nname = \"a.com\"\nauth = \"jwt\"\n{keys}");
    parse(&jwt("keys = \"login.pem\"\nissuer = \"login\"\naudience = \"sipway\"\nclaim = \"user\"")).unwrap();
    parse(&jwt("secret_file = \"token.secret\"\nleeway = \"0s\"\ntoken_query = \"t\"\ntoken_cookie = \"t\""))
        .unwrap();
    let mend = Some(
        "add `keys = \"login.pem\"` (a public key or a JWKS), or `secret_env = \"SIPWAY_TOKEN_SECRET\"` for HS256",
    );
    one("«[[domain]]»\nname = \"a.com\"\nauth = \"jwt\"", MissingKey, mend);
    parse(&jwt("keys_url = \"https://login.a.com/jwks\"\nkeys_refresh = \"1h\"")).unwrap();
    parse(&jwt("keys_url = \"http://127.0.0.1:8000/jwks\"")).unwrap();
    one(&jwt("keys_url = «\"http://login.a.com/jwks\"»"), BadValue, Some("write https://"));
    one(&jwt("keys_url = «\"login.a.com/jwks\"»"), BadValue, Some("write \"https://login.a.com/jwks\""));
    let url = "keys_url = \"https://login.a.com/jwks\"";
    one(&jwt(&format!("{url}\nkeys = «\"login.pem\"»")), Conflict, Some("remove `keys` or `keys_url`"));
    let mend = Some("remove `keys_url`, or `secret_env` and `secret_file`");
    one(&jwt("secret_file = \"token.secret\"\nkeys_url = «\"https://login.a.com/jwks\"»"), Conflict, mend);
    one(
        &jwt(&format!("{url}\nkeys_refresh = «\"1s\"»")),
        OutOfRange,
        Some("the nearest allowed value is \"10s\""),
    );
    one(&jwt("keys = \"login.pem\"\nkeys_refresh = «\"1h\"»"), NotApplicable, Some("remove it"));
    let mend = Some("a relative path starts at the directory of the configuration file");
    one(&jwt("keys = «\"nowhere.pem\"»"), BadFile, mend);
    let mend = Some("remove `keys`, or `secret_env` and `secret_file`");
    one(&jwt("keys = «\"login.pem\"»\nsecret_file = \"token.secret\""), Conflict, mend);
    let mend = Some("make one: openssl rand -hex 32");
    one(&jwt("secret_file = «\"guessed.secret\"»"), BadFile, mend);
    let mend = Some("set it where the server is started, or name a file with `secret_file`");
    one(&jwt("secret_env = «\"NOWHERE\"»"), BadVariable, mend);
    let mend = Some("remove one of the two");
    one(&jwt("secret_env = \"SECRET\"\nsecret_file = «\"token.secret\"»"), Conflict, mend);
    one(&jwt("keys = \"login.pem\"\ntoken_query = «\"a=b\"»"), BadValue, None);
    one(&jwt("keys = \"login.pem\"\ntoken_cookie = «\"\"»"), BadValue, None);
    let mend = Some("with its unit it is a string: \"30s\"");
    one(&jwt("keys = \"login.pem\"\nleeway = «30»"), BadValue, mend);
    one(&jwt("keys = \"login.pem\"\n«isuer» = \"login\""), UnknownKey, Some("did you mean `issuer`?"));
    let mend = Some("remove it, or write auth = \"digest\"");
    one(&jwt("keys = \"login.pem\"\n«users» = \"users.txt\""), NotApplicable, mend);
    let mend = Some("remove it, or write auth = \"jwt\"");
    one("[[domain]]\nname = \"a.com\"\nusers = \"users.txt\"\n«issuer» = \"login\"", NotApplicable, mend);
}

#[test]
fn sinks() {
    one("«[[sink]]»\nkind = \"file\"\npath = \"a\"", MissingKey, Some("add `name = \"crm\"`"));
    one("«[[sink]]»\nkind = \"file\"\nname = \"a\"", MissingKey, Some("add `path = \"events.jsonl\"`"));
    let text = "[[sink]]\nkind = \"file\"\nname = \"a\"\npath = \"x\"\n«url» = \"https://a.com\"";
    one(text, NotApplicable, Some("remove it, or write kind = \"redis\", \"webhook\" or \"postgres\""));
    let text = "[[sink]]\nkind = \"file\"\nname = \"a\"\npath = \"x\"\n[[sink]]\nkind = \"file\"\nname = \"b\"\npath = «\"./x\"»";
    one(text, Duplicate, None);
    let text = "[[sink]]\nkind = \"file\"\nname = \"a\"\npath = \"x\"\n[[sink]]\nkind = \"file\"\nname = «\"a\"»\npath = \"y\"";
    one(text, Duplicate, Some("give every sink its own"));
    let mend = Some("leave it out: a secret stands in a variable or a file of its own");
    one(
        "[[sink]]\nkind = \"webhook\"\nname = \"a\"\nsecret_env = \"SECRET\"\nurl = «\"https://u:p@a.com\"»",
        BadValue,
        mend,
    );
    let mend = Some("remove it, or write mode = \"batched\"");
    one(&webhook("secret_env = \"SECRET\"\n«batch_max» = 5"), NotApplicable, mend);
    let text = "[[sink]]\nkind = \"file\"\nname = \"a\"\npath = \"x\"\ntypes = [«\"flow\"»]";
    let mend = "the types are ";
    let errors = parse(&text.replace(['«', '»'], "")).unwrap_err();
    assert!(errors.problems()[0].mend().is_some_and(|shown| shown.starts_with(mend)), "{errors}");

    let nats = "[[sink]]\nkind = \"nats\"\nname = \"bus\"\nservers = [\"nats://127.0.0.1\"]\n";
    one(
        "«[[sink]]»\nkind = \"nats\"\nname = \"bus\"",
        MissingKey,
        Some("add `servers = [\"nats://127.0.0.1:4222\"]`"),
    );
    one(
        &format!("{nats}user = «\"me\"»"),
        MissingKey,
        Some("add `password_env = \"SIPWAY_SINK_PASSWORD\"` or `password_file = \"nats.password\"`"),
    );
    one(
        &format!("{nats}creds_file = «\"x\"»\nuser = \"me\""),
        Conflict,
        Some("remove either this, or the user and the password"),
    );
    one(&format!("{nats}subject = «\"sipway.>\"»"), BadValue, Some("write \"sipway\""));
    let redis = "[[sink]]\nkind = \"redis\"\nname = \"bus\"\n";
    one(
        &format!("{redis}url = «\"redis://:secret@127.0.0.1\"»"),
        BadValue,
        Some("leave it out: a secret stands in a variable or a file of its own"),
    );
    one(
        &format!("{redis}url = \"redis://127.0.0.1\"\nkey = «\"\"»"),
        BadValue,
        Some("leave it out to get its default"),
    );
    one(
        &format!("{redis}url = \"redis://127.0.0.1\"\n«stream» = \"x\""),
        NotApplicable,
        Some("remove it, or write kind = \"nats\""),
    );
}

/// A rotating sink moves and in the end removes whatever stands under the names of its old files.
#[test]
fn no_sink_writes_where_another_moves_its_old_files() {
    let rotating = |path: &str| {
        format!("[[sink]]\nkind = \"file\"\nname = \"a\"\npath = {path}\nrotate_size = \"1MiB\"\nkeep = 3\n")
    };
    let plain = |path: &str| format!("[[sink]]\nkind = \"file\"\nname = \"b\"\npath = {path}\n");
    one(&(rotating("\"e\"") + &plain("«\"e.3\"»")), Duplicate, None);
    one(&(plain("\"e.1\"") + &rotating("«\"e\"»")), Duplicate, None);
    parse(&(rotating("\"e\"") + &plain("\"e.4\""))).expect("not a name that is used");
}

#[test]
fn no_sink_writes_over_what_is_there_for_another_purpose() {
    let sink =
        |name: &str, path: &str| format!("[[sink]]\nkind = \"file\"\nname = \"{name}\"\npath = {path}\n");
    one(&(sink("a", "\"e\"") + &sink("b", "«\"same\"»")), Duplicate, None);
    one(&sink("a", "«\"logs\"»"), BadFile, Some("name a file in it"));
    one(&sink("a", "«\"sipway-ledger/e\"»"), BadFile, Some("choose a file elsewhere"));
    one(
        &format!("[ledger]\ndirectory = \"./l\"\n{}", sink("a", "«\"l/e\"»")),
        BadFile,
        Some("choose a file elsewhere"),
    );
    one(&sink("a", "«\"./sipway.toml\"»"), BadFile, Some("choose another file"));
}

#[test]
fn limits_of_a_flow() {
    one("[limits]\nidle = «\"never\"»", BadValue, None);
    let nearest = Some("the nearest allowed value is \"365d\"");
    one("[limits]\nlifetime = «\"366d\"»", OutOfRange, nearest);
    one("[limits]\nmessage_rate = «0»", OutOfRange, Some("the nearest allowed value is 1"));
    let udp = "[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n";
    one(&format!("{udp}«idle» = \"1h\""), NotApplicable, Some("remove it"));
    one("[registrar]\nreplaced_flow = «\"clsoe\"»", BadValue, Some("did you mean \"close\"?"));
    let domain = "[[domain]]\nname = \"example.com\"\nauth = \"open\"\n";
    one(&format!("{domain}redirects = «\"folow\"»"), BadValue, Some("did you mean \"follow\"?"));
    one("[registrar]\ngruu = «\"pubic\"»", BadValue, Some("did you mean \"public\"?"));
}

#[test]
fn what_users_may_take() {
    one("[defence]\nuser_calls = «0»", OutOfRange, Some("the nearest allowed value is 1"));
    for user in ["trunk", "@example.com", "trunk@", "trunk@ex ample"] {
        one(&format!("[defence]\nexempt_users = [«\"{user}\"»]"), BadValue, None);
    }
    let text = "[defence]\nuser_calls = 5\nuser_failures = \"off\"\nexempt_users = [\"Trunk@Example.COM\"]";
    let defence = parse(text).unwrap().defence;
    assert_eq!(defence.user_limits.calls.map(u32::from), Some(5));
    assert_eq!(
        (defence.user_limits.failures, defence.user_limits.connections.map(u32::from)),
        (None, Some(1000))
    );
    assert!(defence.exempt_users.iter().eq(["Trunk@example.com"]));
    assert_eq!(parse("[defence]\nuser_connections = \"off\"").unwrap().defence.user_limits.connections, None);
}

#[test]
fn secrets() {
    let make = Some("make one: echo \"whsec_$(openssl rand -base64 32)\"");
    let either = Some("add `secret_env = \"SIPWAY_WEBHOOK_SECRET\"` or `secret_file = \"webhook.secret\"`");
    let unset = Some("set it where the server is started, or name a file with `secret_file`");
    one(&webhook("").replace("[[sink]]", "«[[sink]]»"), MissingKey, either);
    one(&webhook("secret_env = «\"UNSET\"»"), BadVariable, unset);
    one(&webhook("secret_file = «\"short.secret\"»"), BadFile, make);
    one(&webhook("secret_env = «\"not a name\"»"), BadValue, Some("such as \"SIPWAY_WEBHOOK_SECRET\""));
    one(
        &webhook("secret_env = \"SECRET\"\nsecret_file = «\"short.secret\"»"),
        Conflict,
        Some("remove one of the two"),
    );
    let text = webhook("secret_env = \"whsec_MDEyMzQ1\"");
    let errors = parse(&text).unwrap_err();
    assert_eq!(errors.problems()[0].kind(), BadValue);
    assert!(!errors.problems()[0].title().contains("MDEy"));
}

#[test]
fn a_syntax_error_hides_only_what_it_casts_doubt_on() {
    // The torn header takes its keys with it: `port` may be none of `log`, and `transport` may not be
    // missing.
    let text = "[[listener]]\nbind = 12 13\n[log\nport = 2\n[limits]\nmax_flows = \"many\"\n";
    let errors = parse(text).unwrap_err();
    let kinds: Vec<ProblemKind> = errors.problems().iter().map(|problem| problem.kind()).collect();
    assert_eq!(kinds, [Syntax, Syntax, WrongType], "{errors}");
}

#[test]
fn proxies() {
    let ws = "transport = \"ws\"\nbind = \"127.0.0.1:1\"\n";
    let wrong = |keys: &str, kind, mend| one(&listener(&format!("{ws}{keys}")), kind, mend);
    let by = "client_address = \"proxy-protocol\"\n";
    wrong("client_address = «\"proxy_protocol\"»", BadValue, Some("did you mean \"proxy-protocol\"?"));
    wrong(
        &format!("{by}trusted_proxies = «[]»"),
        BadValue,
        Some("leave `trusted_proxies` out to get its default"),
    );
    wrong(&format!("{by}trusted_proxies = [«\"10.0.0.1/8\"»]"), BadValue, Some("write \"10.0.0.0/8\""));
    wrong(&format!("{by}trusted_proxies = [«\"proxy.local\"»]"), BadValue, None);
    wrong(&format!("{by}trusted_proxies = [«\"10.0.0.0/40\"»]"), BadValue, None);
    wrong(
        "«trusted_proxies» = [\"10.0.0.1\"]",
        NotApplicable,
        Some("remove it, or say with `client_address` how proxies tell"),
    );
    let text = format!("«[[listener]]»\n{ws}{by}[[domain]]\nname = \"a.com\"\nauth = \"open\"\n");
    one(&text, MissingKey, Some("add `trusted_proxies = [\"10.0.0.10\"]`"));
    let tcp = "transport = \"tcp\"\nbind = \"127.0.0.1:1\"\nclient_address = «\"forwarded\"»\ntrusted_proxies = [\"::1\"]";
    one(&listener(tcp), NotApplicable, Some("set it to \"proxy-protocol\""));
    let udp = "transport = \"udp\"\nbind = \"127.0.0.1:1\"\n«client_address» = \"proxy-protocol\"";
    one(&listener(udp), NotApplicable, Some("remove it"));
}

#[test]
fn a_server_has_at_most_64_listeners() {
    let listener = |port| format!("[[listener]]\ntransport = \"tcp\"\nbind = \"127.0.0.1:{port}\"\n");
    let most: String = (0..64).map(|index| listener(7000 + index)).collect();
    assert_eq!(parse(&most).unwrap().listeners.len(), config::Listener::MOST);
    let errors = parse(&format!("{most}{}", listener(8000))).unwrap_err();
    let [problem] = errors.problems() else { panic!("not one error:\n{errors}") };
    assert_eq!((problem.kind(), problem.line()), (OutOfRange, 64 * 3 + 1), "{errors}");
}

//! What is said of certificates that run out: by `sipway check`, in the log, and on the metrics page.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::directory::Directory;
use crate::operator::get;
use crate::process::{PATIENCE, Server, run, sipway};

const DAY: u64 = 24 * 60 * 60;

/// Writes a certificate, signed by itself, that expires so many days from now; gives when, in seconds.
fn write(directory: &Directory, days: u64) -> u64 {
    let (epoch, now) = (date_time_ymd(1970, 1, 1), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    // An hour more, which is no day.
    let until = now.as_secs() + days * DAY + 3600;
    let mut params = CertificateParams::new(vec!["sip.example.com".to_owned()]).unwrap();
    params.not_before = epoch;
    params.not_after = epoch + Duration::from_secs(until);
    let key = KeyPair::generate().unwrap();
    directory.write("chain.pem", params.self_signed(&key).unwrap().pem());
    directory.write("key.pem", key.serialize_pem());
    until
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_runs_out_is_told_of() {
    let directory = Directory::new("certificates");
    let text = |name: &str| {
        format!(
            "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n[admin]\nbind = \"127.0.0.1:0\"\n\
             [[domain]]\nname = \"localhost\"\nauth = \"open\"\n\
             [[listener]]\nname = \"wss\"\ntransport = \"wss\"\nbind = \"127.0.0.1:0\"\nadvertise = \"{name}\"\n\
             certificate = \"chain.pem\"\nprivate_key = \"key.pem\"\n"
        )
    };
    let file = directory.write("sipway.toml", text("sip.example.com"));
    let check = || {
        let mut check = sipway(["check", "--offline"]);
        check.arg(&file);
        run(check)
    };
    write(&directory, 20);
    let checked = check().await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(!checked.err.contains("its certificate"), "{}", checked.err);
    directory.write("sipway.toml", text("sip.example.net"));
    let checked = check().await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(
        checked.err.contains("warning: listener `wss`: its certificate is not for `sip.example.net`"),
        "{}",
        checked.err
    );
    directory.write("sipway.toml", text("sip.example.com"));
    let other = KeyPair::generate().unwrap();
    directory.write("key.pem", other.serialize_pem());
    let checked = check().await;
    assert_eq!(checked.code, Some(2));
    assert!(checked.err.contains("error: listener `wss`: "), "{}", checked.err);
    assert!(checked.err.contains(": 1 error\n") && !checked.out.contains("no errors"), "{}", checked.err);
    let first = write(&directory, 10);
    let checked = check().await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(
        checked.err.contains("warning: listener `wss`: its certificate expires in 10 days, at "),
        "{}",
        checked.err
    );

    let mut command = sipway(["run", "--config"]);
    command.arg(&file);
    let mut server = Server::run(command).await;
    let admin = server.address("admin");
    let shown =
        |at: u64| format!("\nsipway_certificate_expires_timestamp_seconds{{listener=\"wss\"}} {at}\n");
    assert!(get(admin, "/metrics").await.body.contains(&shown(first)));
    let second = write(&directory, 5);
    server.signal("HUP").await;
    let taken_over = async {
        while !get(admin, "/metrics").await.body.contains(&shown(second)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_over).await.expect("the newer certificate is not shown");
    let words = server.terminate_and_read().await;
    for days in [10, 5] {
        let warning = format!("its certificate expires in {days} days");
        assert!(words.lines().any(|line| line.contains("WARN") && line.contains(&warning)), "{words}");
    }
}

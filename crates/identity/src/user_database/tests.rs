use sip_auth::{Credentials, Secret, Username};

use super::*;

/// A database that goes with its test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sipway-users-{}-{name}.sqlite", std::process::id()));
        let _ = fs::remove_file(&path);
        Self(path)
    }

    fn run(&self, sql: &str) {
        Connection::open(&self.0).unwrap().execute_batch(sql).unwrap();
    }

    fn read(&self, query: &str) -> Result<UserTable, String> {
        let from = UserQuery { path: self.0.clone(), query: query.into(), every: Duration::from_secs(1) };
        read(&from, "realm", &UserNames::new(["realm"])).map_err(|error| error.to_string())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn users_have_a_password_or_hashes() {
    let place = Place::new("columns");
    let (md5, sha256) = ("0".repeat(32), "1".repeat(64));
    place.run(&format!(
        "CREATE TABLE u(name TEXT, password TEXT, md5 TEXT, sha256 TEXT);
         INSERT INTO u VALUES ('ada', 'wonder', NULL, NULL), ('bob', NULL, '{md5}', '{sha256}'), ('eve', '', '{md5}', NULL);"
    ));
    let table = place.read("SELECT * FROM u").unwrap();
    assert_eq!(table.len(), 3);
    assert!(
        matches!(table.lookup(Username::plain("ada"), "realm"), Some(Secret::Password(word)) if word == "wonder")
    );
    for (name, has_sha256) in [("bob", true), ("eve", false)] {
        let Some(Secret::Hashed(set)) = table.lookup(Username::plain(name), "realm") else {
            panic!("{name}")
        };
        assert_eq!(
            (set.get(Algorithm::Md5).is_some(), set.get(Algorithm::Sha256).is_some()),
            (true, has_sha256)
        );
    }
    assert!(table.lookup(Username::plain("nobody"), "realm").is_none());
    assert_eq!(place.read("SELECT name AS name, password FROM u WHERE name = 'ada'").unwrap().len(), 1);
}

#[test]
fn what_is_wrong_is_told_without_a_password() {
    let place = Place::new("wrong");
    place.run("CREATE TABLE u(name TEXT, password TEXT, md5 TEXT); INSERT INTO u VALUES ('ada', 'wonder', 'wonder');");
    for (query, why) in [
        ("SELECT password FROM u", "no column `name`"),
        ("SELECT name FROM u", "none of the columns"),
        ("SELECT name, md5 FROM u", "row 1: a hash is no such hash"),
        ("SELECT name, NULL AS password FROM u", "row 1: neither a password nor a hash"),
        ("SELECT NULL AS name, password FROM u", "row 1: no name"),
        ("SELECT 'a:b' AS name, password FROM u", "row 1: a name with a colon"),
        ("SELECT 7 AS name, password FROM u", "row 1: a name, password or hash is no text"),
        ("SELECT name, password FROM u UNION ALL SELECT name, password FROM u", "row 2: this user was"),
        ("SELECT name, password FROM elsewhere", "no such table"),
        ("DELETE FROM u RETURNING name, password", "changes the database"),
        ("nonsense", "syntax error"),
    ] {
        let error = place.read(query).unwrap_err();
        assert!(error.contains(why) && !error.contains("wonder"), "{query}: {error}");
    }
    assert_eq!(place.read("SELECT name, password FROM u").unwrap().len(), 1, "nothing was changed");
    fs::write(&place.0, "no database").unwrap();
    assert!(place.read("SELECT name, password FROM u").unwrap_err().contains("not a database"));
    fs::remove_file(&place.0).unwrap();
    assert!(place.read("SELECT name, password FROM u").is_err() && !place.0.exists(), "none is made");
}

#[test]
fn a_change_is_seen_by_whoever_and_however_it_is_made() {
    let (place, other) = (Place::new("change"), Place::new("change-other"));
    for place in [&place, &other] {
        place.run("CREATE TABLE u(name TEXT, password TEXT);");
    }
    let mut watched = Watched::open(&place.0).unwrap();
    assert_eq!(watched.has_changed().unwrap(), Changed::Yes, "the first look");
    assert_eq!(watched.has_changed().unwrap(), Changed::No);
    place.run("INSERT INTO u VALUES ('ada', 'wonder');");
    assert_eq!(watched.has_changed().unwrap(), Changed::Yes);
    assert_eq!(watched.has_changed().unwrap(), Changed::No);
    // Another file in its place, as backups are put back.
    fs::rename(&other.0, &place.0).unwrap();
    assert_eq!(watched.has_changed().unwrap(), Changed::Yes);
    place.run("INSERT INTO u VALUES ('bob', 'builder');");
    assert_eq!(watched.has_changed().unwrap(), Changed::Yes);
    assert_eq!(
        users(&watched.connection, "SELECT * FROM u", "realm", &UserNames::default()).unwrap().len(),
        1
    );
}

//! Users in a database that others change while the server runs.

use std::fs;

use lifecycle::Transport;
use metrics::Count;
use prove::Client;
use rusqlite::Connection;

use crate::{
    test_server::{PATIENCE, TestServer},
    who::client,
};

/// A database that goes with its test.
struct Place(std::path::PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Registers by a connection of its own.
async fn is_let_in(sipway: &TestServer, user: &str, password: &str) -> bool {
    let mut client: Client = client(sipway, Transport::Ws, user, "example.com", Some(password)).await;
    client.register(600).await.is_ok_and(|answer| answer.status == 200)
}

async fn until(sipway: &TestServer, user: &str, password: &str, let_in: bool) {
    let begun = std::time::Instant::now();
    while is_let_in(sipway, user, password).await != let_in {
        assert!(begun.elapsed() < PATIENCE, "{user}:{password} let in: not {let_in}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_change_with_their_database_and_stay_while_it_cannot_be_read() {
    let place = Place(std::env::temp_dir().join(format!("sipway-database-{}.sqlite", std::process::id())));
    let _ = fs::remove_file(&place.0);
    let sql = Connection::open(&place.0).unwrap();
    sql.execute_batch(
        "CREATE TABLE users(name TEXT, password TEXT); INSERT INTO users VALUES ('ada', 'wonder');",
    )
    .unwrap();
    let sipway = TestServer::new(
        "database",
        &format!(
            "[[domain]]\nname = \"example.com\"\nusers_db = \"{}\"\nusers_query = \"SELECT name, password FROM users\"\n\
             users_refresh = \"1s\"\n",
            place.0.display()
        ),
    );
    assert!(is_let_in(&sipway, "ada", "wonder").await && !is_let_in(&sipway, "bob", "builder").await);
    sql.execute_batch("UPDATE users SET password = 'land'; INSERT INTO users VALUES ('bob', 'builder');")
        .unwrap();
    until(&sipway, "bob", "builder", true).await;
    assert!(is_let_in(&sipway, "ada", "land").await && !is_let_in(&sipway, "ada", "wonder").await);
    // Somebody is at work on it.
    sql.execute_batch("ALTER TABLE users RENAME TO people;").unwrap();
    sipway.until("noticed", |handle| handle.metrics().get(Count::UsersUnread) > 0).await;
    assert!(is_let_in(&sipway, "ada", "land").await && is_let_in(&sipway, "bob", "builder").await);
    sql.execute_batch("DELETE FROM people WHERE name = 'bob'; ALTER TABLE people RENAME TO users;").unwrap();
    until(&sipway, "bob", "builder", false).await;
    assert!(is_let_in(&sipway, "ada", "land").await);
    sipway.end().await;
}

use super::*;
use crate::client_side::Client;
use crate::key::ServerKey;
use crate::server_side::Server;
use std::mem::size_of;

/// Two words.
type Message = Box<[u64]>;

#[test]
fn a_transaction_is_small() {
    assert!(size_of::<Server<u64, Message>>() <= 80, "{}", size_of::<Server<u64, Message>>());
    assert!(size_of::<Client<u64, Message>>() <= 80, "{}", size_of::<Client<u64, Message>>());
    assert!(size_of::<(ServerKey, ServerId)>() <= 24);
}

#[test]
fn tokens_fit_whatever_is_asked_for() {
    let settings = Settings { max_server: u32::MAX, max_client: u32::MAX, ..Settings::default() };
    let table: Transactions<(), (), ()> = Transactions::new(settings, Instant::now());
    assert_eq!((table.settings().max_server, table.settings().max_client), (MOST, MOST));
}

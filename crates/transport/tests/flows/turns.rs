//! Whose turn it is when many have something to say at once.

use crate::{
    client::{Client, text_frame},
    handler::{HandshakeSlot, on_a_shard},
};

/// Unauthenticated clients that send as much as they can.
const MANY: usize = 20;

/// Messages of each.
const FLOOD: usize = 600;

/// Of 100 bytes and more: so few of them are in three turns.
const FEW: usize = 60;

/// Puts bytes into the kernel's hands, and lets nobody do anything meanwhile.
fn put(client: &Client<tokio::net::TcpStream>, bytes: &[u8]) {
    assert_eq!(client.stream.try_write(bytes).unwrap(), bytes.len());
}

#[test]
fn a_registered_client_is_read_after_one_unauthenticated_client_however_many_there_are() {
    on_a_shard(async {
        let place = HandshakeSlot::ws();
        let known = Client::open(&place).await;
        place.handler.knows_nobody.set(true);
        let mut unauthenticated_clients = Vec::new();
        for _ in 0..MANY {
            unauthenticated_clients.push(Client::open(&place).await);
        }
        let newcomer = Client::open(&place).await;
        let noise = text_frame(&"noise".repeat(20));
        // They have had their first words.
        let first_words = 50;
        for unauthenticated in &unauthenticated_clients {
            put(unauthenticated, &noise.repeat(first_words));
        }
        place.handler.messages(MANY * first_words).await;
        let flood = noise.repeat(FLOOD);
        for unauthenticated in &unauthenticated_clients {
            put(unauthenticated, &flood);
        }
        put(&known, &text_frame("known"));
        put(&newcomer, &text_frame("newcomer"));
        let all = place.handler.messages(MANY * (first_words + FLOOD) + 2).await;
        for who in ["known", "newcomer"] {
            let place = all.iter().position(|message| message == who.as_bytes()).unwrap();
            let before = place - MANY * first_words;
            assert!(before < FEW, "{who} is heard after {before}");
        }
    });
}

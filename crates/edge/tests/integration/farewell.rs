//! The server ends while users are registered at a registrar behind it: that hears of each of them.

use lifecycle::Transport;
use tokio::net::UdpSocket;

use crate::{
    backend::{behind, registered},
    server_behind::{ServerBehind, Then},
};

const USERS: usize = 100;

async fn all_are_taken_back(name: &str, registrar: &ServerBehind, uri: String) {
    let sipway = behind(name, &format!("\"{uri}\""), "");
    let mut clients = Vec::new();
    for user in 0..USERS {
        clients.push(registered(&sipway, Transport::Ws, &format!("user{user}")).await);
    }
    assert_eq!(sipway.handle.bindings().0, USERS);
    sipway.end().await;
    let taken_back = |request: &String| request.starts_with("REGISTER ") && request.contains(";expires=0");
    assert_eq!(
        registrar.came().requests.iter().filter(|request| taken_back(request)).count(),
        USERS,
        "{name}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_the_registrar_behind_hears_of_every_user_over_udp() {
    let registrar = ServerBehind::udp(UdpSocket::bind("127.0.0.1:0").await.unwrap(), 200).await;
    all_are_taken_back("farewell-udp", &registrar, format!("sip:{}", registrar.address)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_the_registrar_behind_hears_of_every_user_over_tcp() {
    let registrar = ServerBehind::tcp(200, Then::Stays).await;
    all_are_taken_back("farewell-tcp", &registrar, format!("sip:{};transport=tcp", registrar.address)).await;
}

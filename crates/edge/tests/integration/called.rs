//! Whom a call is for that a server behind makes to a Contact.

use lifecycle::{EventKind, Transport};
use sip_message::{HeaderId, Message, NameAddr};

use crate::{
    test_server::PATIENCE,
    told::{self, Pbx},
    who::{client, request},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_a_server_behind_is_recorded_as_one_to_the_user() {
    for how in ["path", "contact-rewrite"] {
        let pbx = Pbx::new().await;
        let domain = format!(
            "unregister = \"never\"\n[[domain]]\nname = \"example.com\"\nbackend = \"pbx\"\nregister = \"{how}\"\n"
        );
        let sipway = told::sipway(&format!("called-{how}"), &pbx, &domain);
        let mut ada = client(&sipway, Transport::Ws, "ada", "example.com", None).await;
        let (registered, seen) = tokio::join!(ada.register(600), pbx.next());
        assert_eq!(registered.unwrap().status, 200);
        let seen = Message::parse(seen.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let contact = NameAddr::parse(seen.value(HeaderId::Contact).unwrap()).unwrap();
        let contact = text(contact.uri_bytes());
        let route = seen.value(HeaderId::Path).map(|path| format!("Route: {}\r\n", text(path)));
        let to = format!("<{contact}>");
        let asked = request("INVITE", &contact, "<sip:100@pbx.example>", &to, &route.unwrap_or_default());
        let inside = sipway.handle.listeners().iter().find(|bound| bound.name == "inside").unwrap().local;
        let answer = tokio::select! {
            answer = pbx.ask(inside, &asked) => answer,
            ended = ada.serve_for(PATIENCE) => panic!("{ended:?}"),
        };
        assert!(answer.starts_with("SIP/2.0 486 "), "{answer}");
        let ended = || sipway.events().into_iter().find(|(kind, _)| *kind == EventKind::CallEnded);
        sipway.until("ended", |_| ended().is_some()).await;
        let ended: serde_json::Value = serde_json::from_str(&ended().unwrap().1).unwrap();
        assert_eq!(ended["data"]["callee"]["aor"], "ada@example.com", "{how}: {ended}");
        drop(ada);
        sipway.end().await;
    }
}

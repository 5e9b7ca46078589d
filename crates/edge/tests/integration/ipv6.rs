//! Servers behind that are spoken to by IPv6, for users who come by IPv4.

use lifecycle::Transport;
use sip_message::Message;

use crate::{
    backend::{call, is, next, registered},
    kamailio::{DOMAIN, Kamailio, Path},
    outgoing::behind,
    reconnected::{self, BOB, Pbx, Who, ok},
    test_server::TestServer,
};

fn listener(transport: &str) -> String {
    format!("[[listener]]\nname = \"six\"\ntransport = \"{transport}\"\nbind = \"[::1]:0\"\n")
}

/// A registrar, over UDP: by a Path with brackets in it, or by Contacts with brackets in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_behind_by_ipv6() {
    for (register, path) in [("path", Path::Known), ("contact-rewrite", Path::Ignored)] {
        let Some(pbx) = Kamailio::run_by_ipv6(&format!("six-{register}"), path).await else {
            // A machine without IPv6.
            return;
        };
        let text = format!(
            "{}[[listener]]\ntransport = \"udp\"\nbind = \"127.0.0.1:0\"\n[[upstream]]\nname = \"pbx\"\n\
             targets = [\"sip:{}\"]\nprobe = \"1s\"\n[[domain]]\nname = \"{DOMAIN}\"\nbackend = \"pbx\"\nregister = \"{register}\"\n",
            listener("udp"),
            pbx.address
        );
        let sipway = TestServer::new(&format!("six-{register}"), &text);
        let mut ada = registered(&sipway, Transport::Ws, "ada").await;
        let mut bob = registered(&sipway, Transport::Tcp, "bob").await;
        let contacts = pbx.contacts("ada").await;
        let six = sipway.handle.listeners().iter().find(|bound| bound.name == "six").unwrap().local;
        let ours = contacts.contains(&format!("@{six};transport=udp"));
        assert_eq!(ours, path == Path::Ignored, "{contacts}");
        call((&mut ada, "ada"), (&mut bob, "bob")).await;
        call((&mut bob, "bob"), (&mut ada, "ada")).await;
        sipway.until("probed", |handle| handle.upstreams()[0].health == edge::Health::Up).await;
        drop(ada);
        pbx.until_contacts("ada", "unregistered", str::is_empty).await;
        sipway.end().await;
    }
}

/// Over TCP, with either side hanging up along routes with brackets in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_a_server_behind_by_ipv6() {
    for by in [Who::User, Who::Pbx] {
        let Some(pbx) = Pbx::at("::1").await else { return };
        let target = format!("\"sip:{};transport=tcp\"", pbx.address());
        let sipway = TestServer::new("six-call", &format!("{}{}", listener("tcp"), behind(&target, "")));
        let mut bob = sipway.registered("bob").await;
        bob.set_answering(prove::Answering::KeepsSilent);
        let (mut line, users, pbxs) = reconnected::call(&sipway, &pbx, &mut bob, Who::User).await;
        let six = sipway.handle.listeners().iter().find(|bound| bound.name == "six").unwrap().local;
        let invite = String::from_utf8_lossy(&pbxs.seen).into_owned();
        assert!(invite.contains(&format!("\r\nVia: SIP/2.0/TCP {six};branch=")), "{invite}");
        assert!(invite.contains(&format!("@{six};transport=tcp;lr>\r\n")), "{invite}");
        let answered = |message: &Message<'_>| message.status().is_some_and(|status| status >= 200);
        let status = match by {
            Who::User => {
                bob.send(&users.request("BYE", 2)).unwrap();
                let bye = line.next("BYE", is("BYE")).await;
                line.send(&ok(&Message::parse(&bye).unwrap(), "<sip:x>")).await;
                next(&mut bob, "answer", answered).await.message().status()
            }
            Who::Pbx => {
                line.send(&pbx.signed(pbxs.request("BYE", 2))).await;
                let bye = next(&mut bob, "BYE", is("BYE")).await;
                bob.send(&ok(&bye.message(), BOB)).unwrap();
                Message::parse(&line.next("answer", answered).await).unwrap().status()
            }
        };
        assert_eq!(status, Some(200), "{by:?}");
        sipway.end().await;
    }
}

//! The work of a proxy on one INVITE from a browser, shared by the benchmark, the example and the allocation
//! count.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use sip_message::{Message, Rewrite};

/// 20 header fields, as a browser's INVITE has them.
pub(crate) const INVITE: &[u8] = b"INVITE sip:bob@example.com SIP/2.0\r\n\
Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bKnashds8\r\n\
Max-Forwards: 70\r\n\
Route: <sip:edge1.example.com;transport=wss;lr>\r\n\
Route: <sip:proxy.example.com;lr>\r\n\
To: <sip:bob@example.com>\r\n\
From: \"Alice\" <sip:alice@example.com>;tag=r8dkn3qh7s\r\n\
Call-ID: 7vq1d4tn9e2kqk3ai1qe\r\n\
CSeq: 4711 INVITE\r\n\
Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws;ob>\r\n\
Proxy-Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"WScZ31knGbRr9l\", uri=\"sip:bob@example.com\", response=\"3f1c\"\r\n\
Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
Supported: timer,ice,replaces,outbound\r\n\
Session-Expires: 90\r\n\
Min-SE: 90\r\n\
P-Preferred-Identity: <sip:alice@example.com>\r\n\
User-Agent: JsSIP 3.13.8\r\n\
X-Trace-Id: 0af7651916cd43dd8448eb211c80319c\r\n\
Accept: application/sdp\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 199\r\n\
\r\n\
v=0\r\n\
o=- 4962303333179871722 1 IN IP4 0.0.0.0\r\n\
s=-\r\n\
t=0 0\r\n\
a=group:BUNDLE 0\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
c=IN IP4 0.0.0.0\r\n\
a=ice-ufrag:7sFv\r\n\
a=setup:actpass\r\n\
a=mid:0\r\n\
a=rtpmap:111 opus/48000/2\r\n";

/// Indexes the message, reads what routing needs, and writes it as it goes to the next hop.
pub(crate) fn forward(bytes: &[u8], out: &mut Vec<u8>) {
    let message = Message::parse(bytes).expect("the message is sound");
    let via = message.via_top().expect("a Via");
    black_box((message.method(), message.request_uri().expect("a URI"), via.branch()));
    black_box((message.from().expect("From").tag(), message.to().expect("To").tag()));
    black_box((message.call_id(), message.cseq().expect("CSeq")));
    let hops = message.max_forwards().expect("a number").unwrap_or(71);
    let mut rewrite = Rewrite::new(&message);
    rewrite.stamp_via(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)), Some(50122));
    rewrite.push_via(b"SIP/2.0/TCP 198.51.100.4:5060;branch=z9hG4bK8f3a1c77d2e94b10;rport");
    rewrite.push_record_route(b"<sip:fhr3Ax9@198.51.100.4;transport=wss;lr;ob>");
    rewrite.push_record_route(b"<sip:198.51.100.4;transport=tcp;lr>");
    rewrite.set_max_forwards(hops - 1);
    rewrite.pop_route();
    rewrite.set_request_uri(b"sip:bob@192.0.2.44:5060;transport=tcp");
    out.clear();
    rewrite.write(out).expect("sound edits");
}

//! The connection handler of a shard: what the transport asks it, from the first byte of a connection to the
//! last.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use defence::Offence;
use lifecycle::{Cause, Ending};
use sip_message::{FrameError, Leniencies, Leniency};
use tokio::{io::AsyncWriteExt as _, task::spawn_local};
use transport::{
    ConnectionHandler, Link, Listener, Opening, PlainHttp, Refused, UnopenedCause, VerifiedClient, upgrade,
};

use super::Shard;
use metrics::Count;
use state::clock;
use upstream::{FlowNumber, Hop};

use crate::{
    admission_control::AdmittedClient,
    flow::Flow,
    routing::environment::{MessageSource, ProxyEnvironment},
};

/// How long an answer to plain HTTP may take to write.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Answers plain HTTP where there are no pages: load balancers and people look at what a port says.
async fn say_no_pages(PlainHttp { mut stream, head, .. }: PlainHttp) {
    const HEAD: &[u8] =
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
        Content-Type: text/plain\r\nContent-Length: 49\r\n\r\n";
    const BODY: &[u8] = b"This port speaks SIP over WebSocket (RFC 7118).\r\n";
    // RFC 9110 §9.3.2
    let body = if head.trim_ascii_start().starts_with(b"HEAD ") { b"" } else { BODY };
    // A peer that does not read it is not waited for.
    let _ = tokio::time::timeout(ANSWER_WITHIN, async {
        stream.write_all(&[HEAD, body].concat()).await?;
        stream.shutdown().await
    })
    .await;
}

impl ConnectionHandler for Shard {
    type Flow = Flow;
    type Admission = AdmittedClient;

    fn identify_certificate(
        self: &Rc<Self>,
        certificate: &[u8],
        listener: &Listener,
    ) -> Option<VerifiedClient> {
        let rule = self.shared.listeners.get(usize::from(listener.number))?.client_identity()?;
        let at = clock::now();
        let vouched = identity::verified_by_certificate(certificate, rule, &self.shared.domains, at);
        self.shared.metrics.add(match vouched {
            Some(_) => Count::CertificatesAccepted,
            None => Count::CertificatesOfNobody,
        });
        vouched
    }

    fn admit(self: &Rc<Self>, client: IpAddr) -> Option<AdmittedClient> {
        let admission = &self.shared.admission;
        if self.shared.upstreams.has(client) {
            Some(admission.admit_uncounted())
        } else {
            admission.admit(client)
        }
    }

    fn authorize(
        self: &Rc<Self>,
        request: &upgrade::Request<'_>,
        admitted: Option<&AdmittedClient>,
    ) -> Result<Option<VerifiedClient>, upgrade::Refusal> {
        let vouched = self.shared.domains.admit(request, clock::now());
        if let Ok(Some(_)) = &vouched {
            self.shared.metrics.add(Count::TokensAccepted);
        }
        vouched.map_err(|(refusal, offence)| {
            self.shared.metrics.add(Count::TokensRefused);
            tracing::debug!(why = refusal.message(), "a WebSocket is refused for its token");
            if let (Some(admitted), Some(offence)) = (admitted, offence) {
                admitted.offends(offence);
            }
            refusal
        })
    }

    async fn open(
        self: &Rc<Self>,
        opening: Opening,
        admitted: Option<AdmittedClient>,
        link: Rc<Link>,
    ) -> Result<Flow, Refused> {
        Flow::open(self, opening, admitted, link).await
    }

    fn flow_number(flow: &Flow) -> u64 {
        flow.number.count()
    }

    fn message(self: &Rc<Self>, flow: &Flow, message: &[u8]) {
        self.receive(flow.hop, message);
    }

    fn on_leniencies(self: &Rc<Self>, what: Leniencies) {
        // All the others are seen in the message itself.
        if what.contains(Leniency::NoContentLength) {
            let mut only = Leniencies::NONE;
            only.insert(Leniency::NoContentLength);
            self.shared.metrics.forgive(only);
        }
    }

    fn close(self: &Rc<Self>, flow: Flow, ending: Ending) {
        if let Cause::ProtocolError | Cause::InvalidPayload | Cause::MessageTooBig = ending.cause {
            self.offends(Hop::Flow(flow.number), Offence::Malformed);
        }
        flow.close(&ending);
    }

    fn serves_pages(self: &Rc<Self>) -> bool {
        self.shared.pages().is_some()
    }

    fn http(self: &Rc<Self>, request: PlainHttp) {
        match self.shared.pages() {
            Some(pages) => {
                self.shared.audit.hand_over(&request.stream);
                pages(request);
            }
            None => drop(spawn_local(say_no_pages(request))),
        }
    }

    fn on_unopened(
        self: &Rc<Self>,
        remote: SocketAddr,
        why: UnopenedCause,
        admitted: Option<&AdmittedClient>,
    ) {
        let offence = match why {
            // Of wrong tokens is told where they are judged; 429 is what those get who are turned away.
            UnopenedCause::HandshakeRefused(401 | 429 | 500..) => None,
            UnopenedCause::HandshakeRefused(_) => Some(Offence::Handshake),
            UnopenedCause::NotSip | UnopenedCause::NotTls => Some(Offence::Malformed),
            // Networks and browsers do all of this, too.
            UnopenedCause::HandshakeTimeout
            | UnopenedCause::LeftEarly
            | UnopenedCause::TlsFailed
            | UnopenedCause::CrowdedOut
            | UnopenedCause::NotByProxy
            | UnopenedCause::TurnedAway
            | UnopenedCause::NoRoom => None,
        };
        if let (Some(admitted), Some(offence)) = (admitted, offence) {
            admitted.offends(offence);
        }
        tracing::debug!(%remote, %why, "a connection ended before it was a flow");
        self.shared.metrics.add(match why {
            UnopenedCause::HandshakeTimeout => Count::HandshakeTimeouts,
            UnopenedCause::LeftEarly => Count::LeftEarly,
            UnopenedCause::TlsFailed => Count::TlsFailures,
            UnopenedCause::NotTls => {
                self.shared.metrics.add(Count::NotTls);
                Count::TlsFailures
            }
            UnopenedCause::CrowdedOut => Count::CrowdedOut,
            // Counted where it was decided.
            UnopenedCause::HandshakeRefused(429 | 503)
            | UnopenedCause::NoRoom
            | UnopenedCause::TurnedAway => return,
            UnopenedCause::HandshakeRefused(_) => Count::HandshakesRefused,
            UnopenedCause::NotByProxy => Count::NotByProxy,
            UnopenedCause::NotSip => Count::NotSip,
        });
    }

    fn answer_unframed(self: &Rc<Self>, bytes: &[u8], error: FrameError) -> Option<Vec<u8>> {
        let error = error.as_parse_error()?;
        self.shared.metrics.add(Count::MessagesUnparsed);
        let hop = Hop::Flow(FlowNumber(u64::MAX));
        let environment = ProxyEnvironment::new(self, MessageSource::Nobody, Instant::now());
        self.proxy.borrow_mut().answer_to_damaged(&environment, hop, bytes, error)
    }
}

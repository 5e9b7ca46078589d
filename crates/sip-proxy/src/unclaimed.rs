//! What a success causes when no sender waits for it: the sender has gone, or has another answer already. It
//! is undone, as far as SIP has a request for that. A REGISTER is for the environment to undo
//! ([`Observer::on_registered`](crate::Observer::on_registered)).

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::Instant,
};

use sip_message::{Contact, HeaderId, Message, Method, Rewrite, request::InDialog};
use sip_transaction::{ClientId, ServerId};

use crate::{
    Dialog, Environment, Notice, Proxy,
    branch::BEGINS_HERE,
    context::{AnswerProgress, CallerPresence, Context, DialogOwner, Invite},
    forward::OUR_ROUTES,
    proxy::CALLER_GONE,
};

/// Dialogs that one INVITE may make at one place. More 2xx are dropped.
pub(crate) const MOST_DIALOGS: usize = 16;

/// What our BYE is ahead of the INVITE in CSeq. The caller that has gone may have sent requests in the early
/// dialog, such as PRACK, and a number that was used is refused (RFC 3261 §12.2.2). One that leaves some out
/// is not.
const AHEAD: u32 = 100;

/// Whether a REGISTER, SUBSCRIBE, REFER or PUBLISH leaves something behind where it succeeds. Nothing else of
/// a request other than INVITE outlasts its answer.
fn leaves_something(method: Option<Method<'_>>) -> bool {
    matches!(method, Some(Method::Register | Method::Subscribe | Method::Refer | Method::Publish))
}

impl<H> Context<H> {
    /// Whether its answer is waited for although nobody is there to hear it.
    fn is_to_be_undone(&self) -> bool {
        let request = self.request.as_deref().and_then(|bytes| Message::parse(bytes).ok());
        self.progress == AnswerProgress::Open
            && !self.pending.is_empty()
            && request.is_some_and(|request| leaves_something(request.method()))
    }
}

impl<H: Copy + Ord + std::fmt::Debug> Proxy<H> {
    /// The connection that a request came over has ended: no further targets are tried, an INVITE is
    /// cancelled, and what leaves something behind where it succeeds is waited for.
    pub(crate) fn asker_gone<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        now: Instant,
    ) {
        let Some(context) = self.transactions.server_mut(server) else { return };
        context.asker = CallerPresence::Gone;
        if context.invite == Invite::Yes {
            return self.cancel_all(env, server, &CALLER_GONE, now);
        }
        if context.is_to_be_undone() {
            context.progress = AnswerProgress::Cancelled;
            context.waiting.clear();
        } else if context.progress != AnswerProgress::Cancelled {
            self.transactions.server_transport_error(server);
        }
    }

    /// Whose a dialog is that a 2xx to an INVITE made; none if nobody has been told of it yet.
    pub(crate) fn claim(&self, id: ClientId, response: &Message<'_>) -> Option<DialogOwner> {
        let tag = tag_of(response);
        let mut known = self.transactions.client(id)?.successes.iter();
        known.find(|(known, _)| *known == tag).map(|(_, claim)| *claim)
    }

    /// Notes whose it is.
    pub(crate) fn give(&mut self, id: ClientId, response: &Message<'_>, claim: DialogOwner) {
        if let Some(branch) = self.transactions.client_mut(id) {
            branch.successes.push((tag_of(response), claim));
        }
    }

    /// A 2xx to an INVITE has nobody to go to: it is acknowledged, and what it began is ended (RFC 3261
    /// §13.2.2.4 has the caller do it). A re-INVITE began nothing.
    pub(crate) fn turn_away<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        id: ClientId,
        response: &Message<'_>,
        now: Instant,
    ) {
        let Some(branch) = self.transactions.client(id) else { return };
        let (hop, within) = (branch.hop, branch.dialog == Dialog::Within);
        let known = self.claim(id, response);
        if known == Some(DialogOwner::Asker) || (known.is_none() && branch.successes.len() >= MOST_DIALOGS) {
            return;
        }
        let Some(dialog) = CreatedDialog::read(response, usize::from(branch.recorded)) else {
            return env.notice(Notice::Unwritable);
        };
        // Said again, it has not heard of the ACK.
        let Some(ack) = dialog.request(b"ACK", 0, b"") else { return env.notice(Notice::Unwritable) };
        if let Some(ack) = self.with_via(env, hop, &ack) {
            let _ = env.send(hop, &ack);
        }
        if known.is_none() {
            self.give(id, response, DialogOwner::Nobody);
            let reason = [b"Reason: ", &*CALLER_GONE, b"\r\n"].concat();
            if let Some(bye) = dialog.request(b"BYE", AHEAD, &reason).filter(|_| !within) {
                self.originate_bytes(env, hop, &bye, now);
            }
        }
    }

    /// A request other than INVITE has succeeded after its sender had gone: what it left behind is taken
    /// away again. What it did within a dialog is that dialog's.
    pub(crate) fn undo<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        server: ServerId,
        (response, hop): (&Message<'_>, H),
        now: Instant,
    ) {
        let Some(context) =
            self.transactions.server(server).filter(|context| context.asker == CallerPresence::Gone)
        else {
            return;
        };
        if context.forwarding.dialog == Dialog::Within {
            return;
        }
        let Some(bytes) = context.request.clone() else { return };
        let Some(request) = Self::kept(&bytes) else { return };
        let undo = match request.method() {
            Some(Method::Subscribe | Method::Refer) => unsubscribe(&request, response),
            Some(Method::Publish) => unpublish(&request, response),
            _ => None,
        };
        if let Some(undo) = undo {
            self.originate_bytes(env, hop, &undo, now);
        }
    }

    /// Sends a request of our own whose answer nobody waits for.
    fn originate_bytes<E: Environment<Hop = H>>(
        &mut self,
        env: &mut E,
        hop: H,
        request: &[u8],
        now: Instant,
    ) {
        match Message::parse(request) {
            Ok(request) => self.originate(env, hop, &request, NOBODY, now),
            Err(_) => env.notice(Notice::Unwritable),
        }
    }

    /// An ACK with our Via.
    fn with_via<E: Environment<Hop = H>>(&self, env: &mut E, hop: H, request: &[u8]) -> Option<Vec<u8>> {
        let request = Message::parse(request).ok()?;
        let number = self.branches.number(env.random());
        let (mut via, mut out) = (Vec::new(), Vec::new());
        env.write_via(hop, &mut via);
        self.branches.write(number, BEGINS_HERE, &mut via);
        let mut rewrite = Rewrite::new(&request);
        rewrite.push_via(&via);
        rewrite.write(&mut out).ok().map(|_| out)
    }
}

/// The number of requests of our own whose answer nobody waits for.
const NOBODY: u64 = 0;

fn tag_of(response: &Message<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(response.to().ok().and_then(|to| to.tag()).unwrap_or_default());
    hasher.finish()
}

/// A dialog that a 2xx has made, as the caller would have it.
struct CreatedDialog<'m> {
    target: &'m [u8],
    routes: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
    call_id: &'m [u8],
    cseq: u32,
}

impl<'m> CreatedDialog<'m> {
    /// `recorded` is how many Record-Routes the request was sent with: those are of us and of who came before
    /// us.
    fn read(response: &Message<'m>, recorded: usize) -> Option<Self> {
        let beyond = response.record_routes().count().saturating_sub(recorded);
        let mut beyond: Vec<&[u8]> =
            response.record_routes().take(beyond).map(|(value, _)| value.bytes).collect();
        beyond.reverse();
        Some(Self {
            target: contact(response).unwrap_or(response.to().ok()?.uri_bytes()),
            routes: beyond.join(&b", "[..]),
            from: unfolded(response, HeaderId::From)?,
            to: unfolded(response, HeaderId::To)?,
            call_id: response.call_id()?,
            cseq: response.cseq().ok()?.number,
        })
    }

    fn request(&self, method: &[u8], ahead: u32, more: &[u8]) -> Option<Vec<u8>> {
        let Self { target, routes, from, to, call_id, cseq } = self;
        let cseq = cseq.saturating_add(ahead).min((1 << 31) - 1);
        let mut out = Vec::new();
        InDialog { method, target, routes, from, to, call_id, cseq, more }.write(&mut out)?;
        Some(out)
    }
}

/// The SUBSCRIBE that ends a subscription (RFC 6665 §4.1.2.3), also one that a REFER has made (RFC 3515
/// §2.4.4); none if there is none.
fn unsubscribe(request: &Message<'_>, response: &Message<'_>) -> Option<Vec<u8>> {
    let refer = request.method() == Some(Method::Refer);
    let declined = |message: &Message<'_>| {
        let header = message.first_named(b"Refer-Sub");
        header.is_some_and(|header| header.value.trim_ascii().to_ascii_lowercase().starts_with(b"false"))
    };
    if refer && declined(response) {
        return None;
    }
    let lasts = response.expires().ok().flatten().or(request.expires().ok().flatten());
    if !refer && lasts == Some(0) {
        return None;
    }
    let event = if refer { b"refer".to_vec() } else { value_of(request, b"Event")? };
    let contact = unfolded(request, HeaderId::Contact)?;
    let more = [b"Event: ", &event[..], b"\r\nContact: ", &contact, b"\r\nExpires: 0\r\n"].concat();
    let recorded = request.record_routes().count() + OUR_ROUTES;
    CreatedDialog::read(response, recorded)?.request(b"SUBSCRIBE", 1, &more)
}

/// The PUBLISH that takes back what another has published (RFC 3903 §4.5); none if nothing was.
fn unpublish(request: &Message<'_>, response: &Message<'_>) -> Option<Vec<u8>> {
    let lasts = response.expires().ok().flatten().or(request.expires().ok().flatten());
    if lasts == Some(0) {
        return None;
    }
    let (event, etag) = (value_of(request, b"Event")?, value_of(response, b"SIP-ETag")?);
    let more = [b"Event: ", &event[..], b"\r\nSIP-If-Match: ", &etag, b"\r\nExpires: 0\r\n"].concat();
    let mut out = Vec::new();
    let undo = InDialog {
        method: b"PUBLISH",
        target: request.request_uri_bytes()?,
        routes: b"",
        from: &unfolded(request, HeaderId::From)?,
        to: &unfolded(request, HeaderId::To)?,
        call_id: request.call_id()?,
        cseq: request.cseq().ok()?.number.saturating_add(1).min((1 << 31) - 1),
        more: &more,
    };
    undo.write(&mut out)?;
    Some(out)
}

fn contact<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    match message.contacts().next()?.1.ok()? {
        Contact::Addr(address) => Some(address.uri_bytes()),
        Contact::Star => None,
    }
}

fn unfolded(message: &Message<'_>, id: HeaderId) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    message.first(id)?.unfold_into(&mut value);
    Some(value)
}

fn value_of(message: &Message<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    message.first_named(name)?.unfold_into(&mut value);
    Some(value)
}

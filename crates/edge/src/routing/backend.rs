//! Domains whose users register at an upstream: what becomes of a REGISTER, and of its bindings when their connection ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use config::{Registration, ReplacedFlow, Unregister};
use identity::{DomainRef, Domains};
use lifecycle::FlowId;
use location::{Binding, Register};
use metrics::Count;
use sip_message::{Contact, Host, Message, NameAddr, Uri, write_address_of_record};
use sip_proxy::{Answer, Contacts, Other, Target};
use smallvec::{SmallVec, smallvec};
use state::{Changed, clock};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use upstream::{Ask, FlowNumber, Hop, Number, Unserved, whole_seconds};

use crate::{
    ask::{Answered, ask},
    registrations::{Held, Registering},
    routing::{
        Routing, Targets,
        flow_lookup::FlowLookup,
        flow_token::{Device, Tokens},
        granted::{Granted, granted},
        own_contacts::{Most, Source, left_out},
        register::{Origin, REPLACED},
        rewritten_contact,
        tables::Tables,
        targets,
    },
    shard::Shard,
    shared::Shared,
    strangers::too_many,
};

/// Bindings that may wait to be taken back. Beyond, the registrar keeps them until they expire.
pub(crate) const MOST_WAITING: usize = 65_536;

/// Requests under way at once that take bindings back.
const AT_ONCE: usize = 16;

/// Seconds after which a request may come again for which no server is known; names are looked up as often.
const LOOK_AGAIN: &str = "2";

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// A binding that a registrar still has, and whose connection has ended.
#[derive(Debug)]
pub(crate) struct Orphan {
    registrar: Registrar,
    aor: String,
    /// The Contact value.
    contact: String,
    call_id: String,
    cseq: u32,
    /// Gone when the registrar was told, or will not be.
    _untold: Untold,
}

impl Orphan {
    pub(crate) fn registrar(&self) -> Registrar {
        self.registrar
    }

    pub(crate) fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Whether both were registered with one Call-ID, so that their CSeq numbers tell which is later.
    pub(crate) fn is_of_the_call_of(&self, other: &Self) -> bool {
        self.call_id == other.call_id
    }
}

/// One of those of which a registrar has yet to hear.
#[derive(Clone, Debug, Default)]
pub(crate) struct Untold(Arc<()>);

impl Untold {
    /// How many there are besides this one.
    pub(crate) fn others(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// Where requests for an upstream go.
///
/// # Errors
/// No name of it has ever led to a server, or none of its servers answers probes: 503, with `Retry-After`.
pub(crate) fn towards(
    tables: &Tables<'_>,
    upstream: Number,
    request: &Message<'_>,
) -> Result<Targets, Answer> {
    let length = request.bytes().len();
    let asked = tables.upstreams.get(upstream).map(|upstream| upstream.ways(length));
    let ways = match asked.unwrap_or(Err(Unserved::NotFound)) {
        Ok(ways) => ways,
        Err(Unserved::NotFound) => {
            tables.metrics.add(Count::UpstreamsUnknown);
            return Err(Answer::new(503, "Server Not Found Yet").header("Retry-After", LOOK_AGAIN));
        }
        Err(Unserved::Silent(again)) => {
            tables.metrics.add(Count::UpstreamsSilent);
            let again = whole_seconds(again).to_string();
            return Err(Answer::new(503, "Server Does Not Answer").header("Retry-After", again));
        }
    };
    let Some((&(hop, _), others)) = ways.split_first() else { return Err(Answer::of_status(503)) };
    Ok(smallvec![Target {
        hop,
        request_uri: None,
        routes: SmallVec::new(),
        q: 1000,
        others: others.iter().map(|&(hop, server)| Other::Hop { hop, server }).collect(),
        when_gone: 503,
    }])
}

impl<F: FlowLookup> Routing<'_, F> {
    /// Where a REGISTER goes for users who register at an upstream.
    ///
    /// # Errors
    /// It is for nobody of the domain it is sent to, or its sender may not register that user.
    pub(crate) fn forward_register(
        &self,
        upstream: Number,
        request: &Message<'_>,
        from: Hop,
    ) -> Result<Targets, Answer> {
        let to = request.to().ok().and_then(|to| to.uri().ok());
        let asked = request.request_uri().ok().and_then(|uri| uri.host());
        let home = to.filter(|to| to.is_sip()).and_then(|to| to.host());
        if !home.zip(asked).is_some_and(|(home, asked): (Host<'_>, Host<'_>)| home.same(&asked)) {
            return Err(Answer::new(404, "Not A User Of This Domain"));
        }
        let upstreams = self.tables.upstreams;
        if !upstreams.knows(from) && !registers_itself(request) {
            return Err(Answer::new(403, "Not Your Address"));
        }
        left_out(request, Source::of(self.flows, upstreams, from), Most::One)?;
        towards(&self.tables, upstream, request)
    }
}

/// Whether From names the user that To names. RFC 3261 §10.2 lets another user register somebody, and PBXs choose by From whose rules hold:
/// with the name of a trunk that needs no password, a client could register or unregister anybody.
fn registers_itself(request: &Message<'_>) -> bool {
    let from = request.from().ok().and_then(|from| from.uri().ok()?.address_of_record());
    from.is_some() && from == request.to().ok().and_then(|to| to.uri().ok()?.address_of_record())
}

/// The Contact values of a REGISTER or its answer by their places, with the seconds that each asks for or has, if it says so; without `*`
/// and what is malformed.
pub(crate) fn contact_values<'m>(
    message: &Message<'m>,
) -> impl Iterator<Item = (usize, NameAddr<'m>, Option<u32>)> {
    let overall = message.expires().ok().flatten();
    message.contacts().enumerate().filter_map(move |(at, (_, contact))| match contact {
        Ok(Contact::Addr(address)) => Some((at, address, address.expires().or(overall))),
        Ok(Contact::Star) | Err(_) => None,
    })
}

/// Whether a Contact of a REGISTER is to be removed.
pub(crate) fn is_taken_back(request: &Message<'_>, address: &NameAddr<'_>) -> bool {
    address.expires().or(request.expires().ok().flatten()) == Some(0)
}

/// Appends the Contact values of a REGISTER as its registrar is to see them.
pub(crate) fn write_contacts(shard: &Shard, request: &Message<'_>, from: Hop, out: &mut Vec<u8>) -> Contacts {
    let shared = &*shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request);
    let (Some(registrar), Ok(aor)) = (registrar, sip_registrar::address_of_record(request)) else {
        return Contacts::AsTheyAre;
    };
    if contact_values(request).next().is_none() {
        return Contacts::AsTheyAre;
    }
    let left_out =
        left_out(request, Source::of(shard, &shard.shared.upstreams, from), Most::One).unwrap_or_default();
    if registrar.by != Registration::Path {
        return match rewritten_contact::write_all(
            &shared.tables(),
            registrar,
            (request, &left_out),
            &aor,
            out,
        ) {
            true => Contacts::These,
            false => Contacts::AsTheyAre,
        };
    }
    if !left_out.contains(&true) {
        return Contacts::AsTheyAre;
    }
    for ((value, _), _) in request.contacts().zip(&left_out).filter(|(_, left_out)| !**left_out) {
        if !out.is_empty() {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value.bytes);
    }
    Contacts::These
}

/// A REGISTER is about to be forwarded. What it may leave behind at the registrar is known from here on.
pub(crate) fn registering(shard: &Shard, request: &Message<'_>, from: Hop) -> Option<Registering> {
    let shared = &shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request)?;
    // Where the registrar sees Contacts of ours, what it sends to one waits for the REGISTER that is under way.
    let takes_back = shared.upstreams.get(registrar.upstream)?.unregister == Unregister::AtClose;
    if !takes_back && registrar.by == Registration::Path {
        return None;
    }
    Some(Registering::new(shared, registrar.devices(shard, request, from)))
}

/// What a REGISTER must wait for: an un-REGISTER of ours that is under way for the same registration.
pub(crate) fn held(shard: &Shard, request: &Message<'_>, from: Hop) -> Option<Held> {
    let shared = &*shard.shared;
    let registrar = Registrar::for_request(&shared.domains, request)?;
    shared.registrations.hold(&registrar.devices(shard, request, from))
}

/// What a request must wait for: the REGISTER of the device that it is for, where the device is not registered yet.
pub(crate) fn held_call(shard: &Shard, request: &[u8]) -> Option<Held> {
    let shared = &*shard.shared;
    let mut words = request.split(|byte| *byte == b' ');
    let uri = Uri::parse(words.nth(1)?).ok()?;
    let device = rewritten_contact::read(&shared.tokens, &uri)?;
    if targets::device(&shared.tables(), device, Instant::now()).is_some() {
        return None;
    }
    shared.registrations.hold_call(device)
}

/// The registrar has done what a REGISTER asked for: the same is done here, so that the bindings end with their connection.
pub(crate) fn registered(
    shard: &Shard,
    domain: DomainRef<'_>,
    request: &Message<'_>,
    from: Hop,
    response: &Message<'_>,
    now: Instant,
) {
    let shared = &*shard.shared;
    shared.metrics.add(Count::RegistersAccepted);
    let (Some(registrar), Ok(aor)) = (Registrar::of(domain), sip_registrar::address_of_record(request))
    else {
        return;
    };
    let left_out =
        left_out(request, Source::of(shard, &shard.shared.upstreams, from), Most::One).unwrap_or_default();
    let granted = granted(&shared.tokens, registrar, &aor, (request, &left_out), response);
    let Some(Granted { request: granted, longest }) = granted else { return };
    let Ok(request) = &Message::parse(&granted) else { return };
    let Some(Origin { way, transport, remote, flow }) = Origin::of(shard, from) else {
        return take_back(shared, registrar, request, &aor);
    };
    // What may be registered, and for how long, is the registrar's business; the bound of the whole table holds.
    let policy = sip_registrar::Policy {
        min_expires: 0,
        shorter: sip_registrar::Shorter::Raised,
        max_expires: u32::MAX,
        default_expires: longest,
        max_contacts: u32::MAX,
        gruu: sip_registrar::Gruu::Off,
    };
    let register = Register { request, aor: &aor, way, transport, remote, identity: Some(&aor) };
    let times = (now, clock::micros());
    let mut left = Vec::new();
    let heed = |changed: Changed<'_>| {
        shared.calls_heed(&changed, from);
        if let Changed::Replaced(old, _) = changed {
            left.extend(registrar.left_by(shared, old, (request, response)));
        }
    };
    let done =
        shared.state.register_and_tell(&register, flow.as_deref(), &policy, times, &mut Vec::new(), heed);
    send_all(shared, left);
    match done {
        Ok(flows_left) => {
            if shared.replaced_flow == ReplacedFlow::Close {
                for flow in flows_left {
                    let ending =
                        lifecycle::Ending::of(lifecycle::Cause::Replaced).code(1000).reason(REPLACED);
                    shard.end_flow(FlowNumber(flow.counter), ending);
                }
            }
            // Who takes something back has not said who it is: a registrar may let anybody do that.
            if longest == 0 {
                return;
            }
            shard.proved(from);
            if let Some(number) = shard.flow_of(from) {
                shard.identify(number, &aor);
                // Its registrar has let it in: what it is told is that its connection ends.
                if shard.belongs_to(from, &aor).is_err() {
                    shard.end_flow(number, too_many());
                }
            }
        }
        // Nobody would take it away when its connection ends.
        Err(error) => {
            tracing::debug!(%aor, %error, "a registration at the backend is not kept here");
            take_back(shared, registrar, request, &aor);
        }
    }
}

/// What a REGISTER has bound at its registrar is to be forgotten there.
fn take_back(shared: &Shared, registrar: Registrar, request: &Message<'_>, aor: &str) {
    let cseq = request.cseq().map_or(0, |cseq| cseq.number);
    let call_id = String::from_utf8_lossy(request.call_id().unwrap_or_default()).into_owned();
    for (_, address, lasts) in contact_values(request) {
        if lasts == Some(0) {
            continue;
        }
        let device = registrar.device(&shared.tokens, aor, &address);
        let contact =
            registrar.value(shared, device, address.uri_bytes(), address.instance(), address.reg_id());
        let (aor, call_id, _untold) = (aor.to_owned(), call_id.clone(), shared.untold.clone());
        send(shared, device, Orphan { registrar, aor, contact, call_id, cseq, _untold });
    }
}

/// What a registrar should hear of a flow that is about to close.
pub(crate) fn orphans(shared: &Shared, flow: FlowId) -> Vec<(Device, Orphan)> {
    if shared.upstreams.is_empty() {
        return Vec::new();
    }
    let one = |binding: &Binding<ledger::Reservation>| {
        let (_, host) = binding.aor().rsplit_once('@')?;
        let registrar = Registrar::of(shared.domains.find(&Host::parse(host.as_bytes())?)?)?;
        let device = registrar.device_of(&shared.tokens, binding);
        Some((device, registrar.orphan(shared, device, binding, (binding.instance(), binding.reg_id()))))
    };
    shared.state.location().bindings_of_flow(flow).filter_map(one).collect()
}

/// Has bindings taken back.
pub(crate) fn send_all(shared: &Shared, orphans: Vec<(Device, Orphan)>) {
    for (device, orphan) in orphans {
        send(shared, device, orphan);
    }
}

fn send(shared: &Shared, device: Device, orphan: Orphan) {
    let Some(upstream) = shared.upstreams.get(orphan.registrar.upstream) else { return };
    if upstream.unregister == Unregister::AtClose {
        shared.take_back(device, orphan);
    }
}

impl Shared {
    /// There is no room for an un-REGISTER.
    pub(crate) fn unregister_failed(&self, orphan: &Orphan) {
        self.metrics.add(Count::UnregistersFailed);
        if let Some(upstream) = self.upstreams.get(orphan.registrar.upstream) {
            upstream.unregisters.failed(upstream.name.as_str(), None);
        }
    }
}

/// Where the users of a domain register, and by what it knows them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registrar {
    pub(crate) upstream: Number,
    pub(crate) by: Registration,
}

impl Registrar {
    pub(crate) fn of(domain: DomainRef<'_>) -> Option<Self> {
        Some(Self { upstream: domain.registrar()?, by: domain.registration()? })
    }

    /// The one that a REGISTER is for.
    pub(crate) fn for_request(domains: &Domains, request: &Message<'_>) -> Option<Self> {
        Self::of(domains.find(&request.request_uri().ok()?.host()?)?)
    }

    /// Whose registration a Contact is there. Where the registrar sees Contacts of ours, each device has one.
    pub(crate) fn device(self, tokens: &Tokens, aor: &str, address: &NameAddr<'_>) -> Device {
        self.device_by(tokens, aor, address.instance(), address.reg_id(), address.uri_bytes())
    }

    /// The same of a binding.
    pub(crate) fn device_of<R>(self, tokens: &Tokens, binding: &Binding<R>) -> Device {
        self.device_by(tokens, binding.aor(), binding.instance(), binding.reg_id(), binding.contact())
    }

    fn device_by(
        self,
        tokens: &Tokens,
        aor: &str,
        instance: Option<&[u8]>,
        reg_id: Option<u32>,
        contact: &[u8],
    ) -> Device {
        let key = match (self.by, instance.zip(reg_id)) {
            // It knows flows apart, or else Contacts.
            (Registration::Path, Some((instance, reg_id))) => {
                [b"f", &reg_id.to_be_bytes()[..], instance].concat().into()
            }
            (Registration::Path, None) => rewritten_contact::key_of_uri(contact),
            _ => rewritten_contact::key(instance, contact),
        };
        tokens.device(aor, &key)
    }

    /// The devices that a REGISTER is for.
    fn devices(self, shard: &Shard, request: &Message<'_>, from: Hop) -> SmallVec<[Device; 1]> {
        let Ok(aor) = sip_registrar::address_of_record(request) else { return SmallVec::new() };
        let left_out = left_out(request, Source::of(shard, &shard.shared.upstreams, from), Most::One)
            .unwrap_or_default();
        let forwarded = contact_values(request).filter(|(at, ..)| left_out.get(*at) != Some(&true));
        let mut devices: SmallVec<[Device; 1]> = SmallVec::new();
        for (_, address, _) in forwarded.take(sip_registrar::CONTACT_VALUES) {
            let device = self.device(&shard.shared.tokens, &aor, &address);
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }

    fn orphan(
        self,
        shared: &Shared,
        device: Device,
        binding: &Binding<ledger::Reservation>,
        (instance, reg_id): (Option<&[u8]>, Option<u32>),
    ) -> Orphan {
        Orphan {
            registrar: self,
            aor: binding.aor().to_owned(),
            contact: self.value(shared, device, binding.contact(), instance, reg_id),
            call_id: String::from_utf8_lossy(binding.call_id()).into_owned(),
            cseq: binding.cseq(),
            _untold: shared.untold.clone(),
        }
    }

    /// What the registrar has left of a binding that another of the same user agent has taken the place of here: it may know it by another
    /// name, or know nothing of flows and so have both.
    fn left_by(
        self,
        shared: &Shared,
        old: &Binding<ledger::Reservation>,
        (request, response): (&Message<'_>, &Message<'_>),
    ) -> Option<(Device, Orphan)> {
        if self.by != Registration::Path {
            let device = self.device_of(&shared.tokens, old);
            let still = contact_values(request)
                .any(|(_, new, _)| self.device(&shared.tokens, old.aor(), &new) == device);
            return (!still).then(|| (device, self.orphan(shared, device, old, (old.instance(), None))));
        }
        let uri = Uri::parse(old.contact()).ok()?;
        let names = |(_, address, _): (usize, NameAddr<'_>, Option<u32>)| {
            address.uri().is_ok_and(|named| named.same(&uri))
        };
        if contact_values(request).any(names) || !contact_values(response).any(names) {
            return None;
        }
        let device = shared.tokens.device(old.aor(), &rewritten_contact::key_of_uri(old.contact()));
        Some((device, self.orphan(shared, device, old, (None, None))))
    }

    /// The Contact value that takes a binding back.
    fn value(
        self,
        shared: &Shared,
        device: Device,
        uri: &[u8],
        instance: Option<&[u8]>,
        reg_id: Option<u32>,
    ) -> String {
        let (mut ours, mut reg_id) = (Vec::new(), reg_id);
        if self.by != Registration::Path
            && rewritten_contact::write(&shared.tables(), self.upstream, device, &mut ours)
        {
            // It was not told of it.
            reg_id = None;
        }
        let uri = if ours.is_empty() { uri } else { &ours };
        let mut value = format!("<{}>;expires=0", String::from_utf8_lossy(uri));
        if let Some(instance) = instance {
            value.push_str(&format!(";+sip.instance=\"<{}>\"", String::from_utf8_lossy(instance)));
            if let Some(reg_id) = reg_id {
                value.push_str(&format!(";reg-id={reg_id}"));
            }
        }
        value
    }
}

/// Takes back what connections leave behind at registrars.
pub(crate) async fn run(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Device>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    while let Some(device) = inbox.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        while under_way.try_join_next().is_some() {}
        let Some(orphan) = shared.next_to_take_back(device) else { continue };
        let shared = Arc::clone(&shared);
        under_way.spawn(async move {
            unregister(&shared, &orphan).await;
            drop(orphan);
            shared.taken_back(device);
            drop(slot);
        });
    }
}

/// With the Call-ID of the registration and the next CSeq: should the user agent have come back meanwhile by another way than through
/// here, it has sent the same number or a higher one, and the registrar lets its binding be (RFC 3261 §10.3 step 7).
async fn unregister(shared: &Shared, orphan: &Orphan) {
    let Orphan { registrar, aor, contact, call_id, cseq, _untold } = orphan;
    let Some(upstream) = shared.upstreams.get(registrar.upstream) else { return };
    let host = aor.rsplit_once('@').map_or("", |(_, host)| host);
    let user = uri_of(aor);
    let request = Ask {
        method: "REGISTER",
        uri: format!("sip:{host}"),
        from: Some(user.clone()),
        to: user,
        call_id: Some(call_id),
        cseq: cseq.saturating_add(1),
        headers: &format!("Contact: {contact}\r\n{}", upstream.unregisters.proof()),
    };
    let mut refused = None;
    for hop in upstream.hops(0) {
        match ask(shared, hop, &request, PATIENCE).await {
            None | Some(Answered { status: 503, .. }) => continue,
            Some(answered) => {
                if (200..300).contains(&answered.status) && !is_still_listed(shared, contact, &answered) {
                    return shared.metrics.add(Count::Unregistered);
                }
                refused = Some(answered.status);
                break;
            }
        }
    }
    shared.metrics.add(Count::UnregistersFailed);
    upstream.unregisters.failed(upstream.name.as_str(), refused);
    tracing::debug!(%aor, status = refused, "the registrar did not take a binding back");
}

/// Whether the answer to an un-REGISTER lists the Contact that it was to remove. The registrar has then removed nothing: it
/// keeps the Contact under another URI than the un-REGISTER named. A Contact of ours is known by its token, whatever host
/// and port the registrar has put in.
fn is_still_listed(shared: &Shared, removed: &str, answered: &Answered) -> bool {
    let response = answered.response.as_deref().and_then(|bytes| Message::parse(bytes).ok());
    let (Some(response), Ok(removed)) = (response, NameAddr::parse(removed.as_bytes())) else { return false };
    let Ok(uri) = removed.uri() else { return false };
    let device = rewritten_contact::read(&shared.tokens, &uri);
    contact_values(&response).filter(|(_, _, expires)| *expires != Some(0)).any(|(_, listed, _)| {
        let Ok(listed_uri) = listed.uri() else { return false };
        match device {
            Some(device) => rewritten_contact::read(&shared.tokens, &listed_uri) == Some(device),
            // Other flows of the user agent have the same Contact and stay (RFC 5626).
            None => listed_uri.same(&uri) && listed.reg_id() == removed.reg_id(),
        }
    })
}

/// The URI of an address-of-record, whose user part may need escapes (`#100` is `sip:%23100@…`).
fn uri_of(aor: &str) -> String {
    let mut uri = Vec::with_capacity(aor.len() + 8);
    match write_address_of_record(aor, &mut uri) {
        Some(()) => String::from_utf8_lossy(&uri).into_owned(),
        None => format!("sip:{aor}"),
    }
}

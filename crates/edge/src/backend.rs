//! Domains whose users register at an upstream: what becomes of a REGISTER, and of its bindings when their connection ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use config::{Registration, ReplacedFlow, Unregister};
use lifecycle::FlowId;
use location::{Binding, Register};
use sip_message::{Contact, Host, Message, NameAddr, NameAddrError, Uri, Value, write_address_of_record};
use sip_proxy::{Answer, Other, Target};
use smallvec::{SmallVec, smallvec};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::{
    ask::{Ask, ask},
    calls::hop_of,
    clock, contact,
    domains::DomainRef,
    hop::{FlowNumber, Hop},
    metrics::Count,
    register::{Origin, REPLACED},
    registry::Changed,
    shard::Shard,
    shared::Shared,
    strangers::too_many,
    upstream::{Number, Unserved, whole_seconds},
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
    upstream: Number,
    aor: String,
    /// The Contact value.
    contact: String,
    call_id: String,
    cseq: u32,
    /// Gone when the registrar was told, or will not be.
    _untold: Untold,
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
    shared: &Shared,
    upstream: Number,
    request: &Message<'_>,
) -> Result<SmallVec<[Target<Hop>; 1]>, Answer> {
    let length = request.bytes().len();
    let asked = shared.upstreams.get(upstream).map(|upstream| upstream.ways(length));
    let ways = match asked.unwrap_or(Err(Unserved::NotFound)) {
        Ok(ways) => ways,
        Err(Unserved::NotFound) => {
            shared.metrics.add(Count::UpstreamsUnknown);
            return Err(Answer::new(503, "Server Not Found Yet").header("Retry-After", LOOK_AGAIN));
        }
        Err(Unserved::Silent(again)) => {
            shared.metrics.add(Count::UpstreamsSilent);
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

/// Where a REGISTER goes for users who register at an upstream.
///
/// # Errors
/// It is for nobody of the domain it is sent to.
pub(crate) fn forward_register(
    shared: &Shared,
    upstream: Number,
    request: &Message<'_>,
) -> Result<SmallVec<[Target<Hop>; 1]>, Answer> {
    let to = request.to().ok().and_then(|to| to.uri().ok());
    let asked = request.request_uri().ok().and_then(|uri| uri.host());
    let home = to.filter(|to| to.is_sip()).and_then(|to| to.host());
    if !home.zip(asked).is_some_and(|(home, asked): (Host<'_>, Host<'_>)| home.same(&asked)) {
        return Err(Answer::new(404, "Not A User Of This Domain"));
    }
    towards(shared, upstream, request)
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
    let Some(granted) = granted(shared, request, response) else { return };
    let Ok(aor) = sip_registrar::address_of_record(request) else { return };
    let Some(Origin { way, transport, remote, flow }) = Origin::of(shard, from) else {
        return take_back(shared, domain, request, from, &aor);
    };
    // What may be registered, and for how long, is the registrar's business; the bound of the whole table holds.
    let policy = sip_registrar::Policy {
        min_expires: granted,
        shorter: sip_registrar::Shorter::Raised,
        max_expires: granted,
        default_expires: granted,
        max_contacts: u32::MAX,
        gruu: sip_registrar::Gruu::Off,
    };
    let register = Register { request, aor: &aor, way, transport, remote, identity: Some(&aor) };
    let times = (now, clock::micros());
    let heed = |changed: Changed<'_>| shared.calls_heed(&changed, from);
    match shared.register_and_tell(&register, flow.as_deref(), &policy, times, &mut Vec::new(), heed) {
        Ok(left) => {
            if shared.replaced_flow == ReplacedFlow::Close {
                for flow in left {
                    let ending =
                        lifecycle::Ending::of(lifecycle::Cause::Replaced).code(1000).reason(REPLACED);
                    shard.end_flow(FlowNumber(flow.counter), ending);
                }
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
            take_back(shared, domain, request, from, &aor);
        }
    }
}

/// The longest time that the registrar gives one of the request's contacts; none if it gives none of them any, and the
/// request did not want to take them away.
fn granted(shared: &Shared, request: &Message<'_>, response: &Message<'_>) -> Option<u32> {
    let overall = response.expires().ok().flatten();
    let mut best = None;
    for contact in request.contacts() {
        // `*` takes all away.
        let Some(address) = address(contact) else { return Some(0) };
        let Ok(wanted) = address.uri() else { continue };
        let own = address.expires().or(request.expires().ok().flatten());
        let given = response.contacts().find_map(|listed| {
            let listed = self::address(listed)?;
            let stands_for = contact::original(&shared.tokens, &listed);
            let uri = stands_for.as_ref().map_or_else(|| listed.uri(), |uri| Uri::parse(uri)).ok()?;
            uri.same(&wanted).then(|| listed.expires().or(overall).or(own).unwrap_or(3600))
        });
        let time = if own == Some(0) { Some(0) } else { given };
        best = best.max(time);
    }
    best
}

fn address<'b>((_, contact): (Value<'b>, Result<Contact<'b>, NameAddrError>)) -> Option<NameAddr<'b>> {
    match contact {
        Ok(Contact::Addr(address)) => Some(address),
        Ok(Contact::Star) | Err(_) => None,
    }
}

fn take_back(shared: &Shared, domain: DomainRef<'_>, request: &Message<'_>, from: Hop, aor: &str) {
    let Some(registrar) = Registrar::of(domain) else { return };
    let cseq = request.cseq().map_or(0, |cseq| cseq.number);
    let call_id = String::from_utf8_lossy(request.call_id().unwrap_or_default()).into_owned();
    for contact in request.contacts() {
        let Some(address) = address(contact) else { continue };
        let (aor, call_id) = (aor.to_owned(), call_id.clone());
        let contact =
            registrar.value(shared, from, address.uri_bytes(), address.instance(), address.reg_id());
        let _untold = shared.untold.clone();
        send(shared, Orphan { upstream: registrar.upstream, aor, contact, call_id, cseq, _untold });
    }
}

/// What a registrar should hear of a flow that is about to close.
pub(crate) fn orphans(shared: &Shared, flow: FlowId) -> Vec<Orphan> {
    if shared.upstreams.is_empty() {
        return Vec::new();
    }
    let one = |binding: &Binding<ledger::Reservation>| {
        let (_, host) = binding.aor().rsplit_once('@')?;
        let registrar = Registrar::of(shared.domains.find(&Host::parse(host.as_bytes())?)?)?;
        let (uri, instance, reg_id) = (binding.contact(), binding.instance(), binding.reg_id());
        Some(Orphan {
            upstream: registrar.upstream,
            aor: binding.aor().to_owned(),
            contact: registrar.value(shared, hop_of(binding), uri, instance, reg_id),
            call_id: String::from_utf8_lossy(binding.call_id()).into_owned(),
            cseq: binding.cseq(),
            _untold: shared.untold.clone(),
        })
    };
    shared.location().bindings_of_flow(flow).filter_map(one).collect()
}

/// Has bindings taken back.
pub(crate) fn send_all(shared: &Shared, orphans: Vec<Orphan>) {
    for orphan in orphans {
        send(shared, orphan);
    }
}

fn send(shared: &Shared, orphan: Orphan) {
    let Some(upstream) = shared.upstreams.get(orphan.upstream) else { return };
    if upstream.unregister == Unregister::AtClose && shared.orphans.try_send(orphan).is_err() {
        shared.metrics.add(Count::UnregistersFailed);
        upstream.unregisters.failed(upstream.name.as_str(), None);
    }
}

/// Where the users of a domain register, and by what it knows them.
#[derive(Clone, Copy)]
struct Registrar {
    upstream: Number,
    by: Registration,
}

impl Registrar {
    fn of(domain: DomainRef<'_>) -> Option<Self> {
        Some(Self { upstream: domain.registrar()?, by: domain.registration()? })
    }

    /// The Contact value that takes a binding back.
    fn value(
        self,
        shared: &Shared,
        hop: Hop,
        uri: &[u8],
        instance: Option<&[u8]>,
        reg_id: Option<u32>,
    ) -> String {
        let (mut ours, mut reg_id) = (Vec::new(), reg_id);
        if self.by != Registration::Path && contact::write(shared, self.upstream, hop, uri, &mut ours) {
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
pub(crate) async fn run(shared: Arc<Shared>, mut inbox: mpsc::Receiver<Orphan>) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    while let Some(orphan) = inbox.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        while under_way.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        under_way.spawn(async move {
            unregister(&shared, &orphan).await;
            drop(slot);
        });
    }
}

/// With the Call-ID of the registration and the next CSeq: should the user agent have come back meanwhile, it has sent
/// the same number or a higher one, and the registrar lets its binding be (RFC 3261 §10.3 step 7).
async fn unregister(shared: &Shared, orphan: &Orphan) {
    let Orphan { upstream, aor, contact, call_id, cseq, _untold } = orphan;
    let Some(upstream) = shared.upstreams.get(*upstream) else { return };
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
            Some(200..300) => return shared.metrics.add(Count::Unregistered),
            Some(503) | None => continue,
            status => {
                refused = status;
                break;
            }
        }
    }
    shared.metrics.add(Count::UnregistersFailed);
    upstream.unregisters.failed(upstream.name.as_str(), refused);
    tracing::debug!(%aor, status = refused, "the registrar did not take a binding back");
}

/// The URI of an address-of-record, whose user part may need escapes (`#100` is `sip:%23100@…`).
fn uri_of(aor: &str) -> String {
    let mut uri = Vec::with_capacity(aor.len() + 8);
    match write_address_of_record(aor, &mut uri) {
        Some(()) => String::from_utf8_lossy(&uri).into_owned(),
        None => format!("sip:{aor}"),
    }
}

//! Removes what closed connections leave behind at registrars, by REGISTERs of this server.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use config::{Registration, Unregister};
use lifecycle::FlowId;
use location::Binding;
use metrics::Count;
use sip_message::{Host, Message, NameAddr, Uri, write_address_of_record};
use smallvec::SmallVec;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use upstream::Ask;

use crate::{
    ask::ask,
    inbox::Answered,
    registrations::{Entry, PendingRegistration, PendingUnregister, Unregister as UnregisterState},
    routing::{
        backend::{Registrar, contact_values},
        flow_token::Device,
        rewritten_contact,
    },
    shared::Shared,
};

/// Bindings that may wait to be taken back. Beyond, the registrar keeps them until they expire.
pub(crate) const MOST_WAITING: usize = 65_536;

/// Requests under way at once that take bindings back.
const AT_ONCE: usize = 16;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// The bindings of a REGISTER must be removed at its registrar.
pub(crate) fn take_back(shared: &Shared, registrar: Registrar, request: &Message<'_>, aor: &str) {
    let cseq = request.cseq().map_or(0, |cseq| cseq.number);
    let call_id = String::from_utf8_lossy(request.call_id().unwrap_or_default()).into_owned();
    for (_, address, lasts) in contact_values(request) {
        if lasts == Some(0) {
            continue;
        }
        let device = registrar.device(&shared.flow_tokens, aor, &address);
        let contact =
            registrar.value(shared, device, address.uri_bytes(), address.instance(), address.reg_id());
        let (aor, call_id, _untold) = (aor.to_owned(), call_id.clone(), shared.untold.clone());
        send(shared, device, PendingUnregister { registrar, aor, contact, call_id, cseq, _untold });
    }
}

/// The un-REGISTERs for a flow that is about to close.
pub(crate) fn pending_of_flow(shared: &Shared, flow: FlowId) -> Vec<(Device, PendingUnregister)> {
    if shared.upstreams.is_empty() {
        return Vec::new();
    }
    let one = |binding: &Binding<ledger::Reservation>| {
        let (_, host) = binding.aor().rsplit_once('@')?;
        let registrar = Registrar::of(shared.domains.find(&Host::parse(host.as_bytes())?)?)?;
        let device = registrar.device_of(&shared.flow_tokens, binding);
        Some((device, registrar.pending(shared, device, binding, (binding.instance(), binding.reg_id()))))
    };
    shared.state.location().bindings_of_flow(flow).filter_map(one).collect()
}

/// Has bindings taken back.
pub(crate) fn send_all(shared: &Shared, all: Vec<(Device, PendingUnregister)>) {
    for (device, pending) in all {
        send(shared, device, pending);
    }
}

fn send(shared: &Shared, device: Device, pending: PendingUnregister) {
    let Some(upstream) = shared.upstreams.get(pending.registrar.upstream) else { return };
    if upstream.unregister == Unregister::AtClose {
        shared.take_back(device, pending);
    }
}

impl Shared {
    /// There is no room for an un-REGISTER.
    pub(crate) fn unregister_failed(&self, pending: &PendingUnregister) {
        self.metrics.add(Count::UnregistersFailed);
        if let Some(upstream) = self.upstreams.get(pending.registrar.upstream) {
            upstream.unregisters.failed(upstream.name.as_str(), None);
        }
    }
}

impl Registrar {
    fn pending(
        self,
        shared: &Shared,
        device: Device,
        binding: &Binding<ledger::Reservation>,
        (instance, reg_id): (Option<&[u8]>, Option<u32>),
    ) -> PendingUnregister {
        PendingUnregister {
            registrar: self,
            aor: binding.aor().to_owned(),
            contact: self.value(shared, device, binding.contact(), instance, reg_id),
            call_id: String::from_utf8_lossy(binding.call_id()).into_owned(),
            cseq: binding.cseq(),
            _untold: shared.untold.clone(),
        }
    }

    /// The binding that the registrar still has after another one of the same user agent has replaced it
    /// here. It may know the binding by another name, or know nothing of flows and so have both.
    pub(crate) fn left_by(
        self,
        shared: &Shared,
        old: &Binding<ledger::Reservation>,
        (request, response): (&Message<'_>, &Message<'_>),
    ) -> Option<(Device, PendingUnregister)> {
        if self.by != Registration::Path {
            let device = self.device_of(&shared.flow_tokens, old);
            let still = contact_values(request)
                .any(|(_, new, _)| self.device(&shared.flow_tokens, old.aor(), &new) == device);
            return (!still).then(|| (device, self.pending(shared, device, old, (old.instance(), None))));
        }
        let uri = Uri::parse(old.contact()).ok()?;
        let names = |(_, address, _): (usize, NameAddr<'_>, Option<u32>)| {
            address.uri().is_ok_and(|named| named.same(&uri))
        };
        if contact_values(request).any(names) || !contact_values(response).any(names) {
            return None;
        }
        let device = shared.flow_tokens.device(old.aor(), &rewritten_contact::key_of_uri(old.contact()));
        Some((device, self.pending(shared, device, old, (None, None))))
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
        let Some(pending) = shared.next_to_take_back(device) else { continue };
        let shared = Arc::clone(&shared);
        under_way.spawn(async move {
            unregister(&shared, &pending).await;
            drop(pending);
            shared.taken_back(device);
            drop(slot);
        });
    }
}

/// Sends an un-REGISTER with the Call-ID of the registration and the next CSeq. If the user agent has come
/// back by another way meanwhile, it has sent the same number or a higher one, and the registrar keeps its
/// binding (RFC 3261 §10.3 step 7).
async fn unregister(shared: &Shared, pending: &PendingUnregister) {
    let PendingUnregister { registrar, aor, contact, call_id, cseq, _untold } = pending;
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
    tracing::debug!(%aor, status = refused, "the registrar did not remove a binding");
}

/// Whether the answer to an un-REGISTER lists the Contact that it was to remove. The registrar has then
/// removed nothing: it keeps the Contact under another URI than the un-REGISTER named. A Contact of ours is
/// known by its token, whatever host and port the registrar has put in.
fn is_still_listed(shared: &Shared, removed: &str, answered: &Answered) -> bool {
    let response = answered.response.as_deref().and_then(|bytes| Message::parse(bytes).ok());
    let (Some(response), Ok(removed)) = (response, NameAddr::parse(removed.as_bytes())) else { return false };
    let Ok(uri) = removed.uri() else { return false };
    let device = rewritten_contact::read(&shared.flow_tokens, &uri);
    contact_values(&response).filter(|(_, _, expires)| *expires != Some(0)).any(|(_, listed, _)| {
        let Ok(listed_uri) = listed.uri() else { return false };
        match device {
            Some(device) => rewritten_contact::read(&shared.flow_tokens, &listed_uri) == Some(device),
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

/// A REGISTER that is under way for these devices; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Registering {
    shared: Arc<Shared>,
    devices: SmallVec<[Device; 1]>,
    /// The end of the process waits for it: it may leave something to be taken back.
    _untold: PendingRegistration,
}

impl Registering {
    pub(crate) fn new(shared: &Arc<Shared>, devices: SmallVec<[Device; 1]>) -> Self {
        let mut table = shared.registrations.table();
        for device in &devices {
            table.entry(*device).or_default().registers += 1;
        }
        shared.registrations.registering.fetch_add(devices.len(), Ordering::AcqRel);
        drop(table);
        Self { shared: Arc::clone(shared), devices, _untold: shared.untold.clone() }
    }
}

impl Drop for Registering {
    fn drop(&mut self) {
        let mut table = self.shared.registrations.table();
        for device in &self.devices {
            if let Some(entry) = table.get_mut(device) {
                entry.registers = entry.registers.saturating_sub(1);
                if entry.registers == 0 {
                    for calling in entry.calling.drain(..) {
                        let _ = calling.send(());
                    }
                }
            }
            self.shared.registrations.registering.fetch_sub(1, Ordering::AcqRel);
            self.shared.settle(&mut table, *device);
        }
    }
}

impl Shared {
    /// A binding has ended that a registrar behind us still has: it is taken back, once no REGISTER for it is
    /// under way, unless its device is registered here by another connection then.
    pub(crate) fn take_back(&self, device: Device, pending: PendingUnregister) {
        let mut table = self.registrations.table();
        let entry = table.entry(device).or_default();
        let later =
            |known: &PendingUnregister| known.is_of_the_call_of(&pending) && known.cseq() > pending.cseq();
        if !entry.pending.as_ref().is_some_and(later) {
            entry.pending = Some(pending);
        }
        self.settle(&mut table, device);
    }

    /// Decides what is next for a device, if nothing is under way for it.
    fn settle(&self, table: &mut HashMap<Device, Entry>, device: Device) {
        let Some(entry) = table.get_mut(&device) else { return };
        if entry.registers > 0 || entry.unregister != UnregisterState::None {
            return;
        }
        if let Some(pending) = &entry.pending {
            if self.is_registered(pending, device) {
                self.metrics.add(Count::UnregistersSpared);
            } else if self.pending_unregisters.try_send(device).is_ok() {
                entry.unregister = UnregisterState::Queued;
                return;
            } else {
                self.unregister_failed(pending);
            }
        }
        table.remove(&device);
    }

    fn is_registered(&self, pending: &PendingUnregister, device: Device) -> bool {
        let location = self.state.location();
        let registrar = pending.registrar();
        location
            .bindings_of_number(device.number, Instant::now())
            .any(|binding| registrar.device_of(&self.flow_tokens, binding) == device)
    }

    /// The turn of an un-REGISTER has come: what it is to say, if it is still to be said.
    pub(crate) fn next_to_take_back(&self, device: Device) -> Option<PendingUnregister> {
        let mut table = self.registrations.table();
        let entry = table.get_mut(&device)?;
        entry.unregister = UnregisterState::None;
        if entry.registers > 0 {
            return None;
        }
        let pending = entry.pending.take()?;
        if self.is_registered(&pending, device) {
            self.metrics.add(Count::UnregistersSpared);
            table.remove(&device);
            return None;
        }
        entry.unregister = UnregisterState::Sent;
        self.registrations.sent.fetch_add(1, Ordering::AcqRel);
        Some(pending)
    }

    /// An un-REGISTER has been answered, or will not be.
    pub(crate) fn taken_back(&self, device: Device) {
        let mut table = self.registrations.table();
        self.registrations.sent.fetch_sub(1, Ordering::AcqRel);
        if let Some(entry) = table.get_mut(&device) {
            entry.unregister = UnregisterState::None;
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
        self.settle(&mut table, device);
    }
}

//! Registrations at registrars behind us that something is under way for. For one Contact a REGISTER and an
//! un-REGISTER of ours are never under way together: the registrar might take them in the wrong order, and
//! the Contact of a device is the same over all of its connections, so that neither Call-ID nor CSeq would
//! tell it that the un-REGISTER is late (RFC 3261 §10.3 step 7).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use metrics::Count;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::{
    routing::flow_token::Device,
    shared::Shared,
    unregister::{PendingUnregister, Untold},
};

/// Requests that may wait here at a time; more do not wait.
const MOST_HELD: usize = 1024;

/// What is under way, by the device that the registration is of.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    table: Mutex<HashMap<Device, Entry>>,
    /// Un-REGISTERs that were sent and have no answer.
    sent: AtomicUsize,
    /// Devices with a REGISTER under way, one for each of these.
    registering: AtomicUsize,
    /// Requests that wait for either.
    held: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Entry {
    /// REGISTERs without a final answer.
    registers: u32,
    /// What the registrar is to forget, unless the device comes back.
    pending: Option<PendingUnregister>,
    unregister: Unregister,
    /// REGISTERs that wait for the un-REGISTER.
    waiting: Vec<oneshot::Sender<()>>,
    /// Requests to the device that wait for the REGISTERs.
    calling: Vec<oneshot::Sender<()>>,
}

/// How far an un-REGISTER is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unregister {
    #[default]
    None,
    Queued,
    Sent,
}

impl Registrations {
    fn table(&self) -> MutexGuard<'_, HashMap<Device, Entry>> {
        // Nothing can panic under this lock but a bug of ours; each method leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any un-REGISTER has no answer yet.
    pub(crate) fn any_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire) > 0
    }

    /// What a REGISTER for one of these must wait for, if for anything.
    pub(crate) fn hold(&self, devices: &[Device]) -> Option<Held> {
        let mut table = self.table();
        let entry = devices
            .iter()
            .find(|device| table.get(*device).is_some_and(|entry| entry.unregister == Unregister::Sent))?;
        let (held, done) = self.wait()?;
        table.get_mut(entry)?.waiting.push(done);
        Some(held)
    }

    /// Whether any REGISTER has no final answer yet.
    pub(crate) fn any_registering(&self) -> bool {
        self.registering.load(Ordering::Acquire) > 0
    }

    /// What a request to a device that is not registered must wait for: a REGISTER of the device that is
    /// under way. A registrar may send to a Contact as soon as it has written its 2xx, before that has been
    /// read here.
    pub(crate) fn hold_call(&self, device: Device) -> Option<Held> {
        let mut table = self.table();
        let entry = table.get_mut(&device).filter(|entry| entry.registers > 0)?;
        let (held, done) = self.wait()?;
        entry.calling.push(done);
        Some(held)
    }

    fn wait(&self) -> Option<(Held, oneshot::Sender<()>)> {
        if self.held.fetch_add(1, Ordering::AcqRel) >= MOST_HELD {
            self.held.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let (done, over) = oneshot::channel();
        Some((Held { over, _place: Place(Arc::clone(&self.held)) }, done))
    }
}

/// A request that waits.
pub(crate) struct Held {
    over: oneshot::Receiver<()>,
    _place: Place,
}

impl Held {
    /// Until what it waits for has been answered, or will not be.
    pub(crate) async fn over(self) {
        let _ = self.over.await;
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A REGISTER that is under way for these devices; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Registering {
    shared: Arc<Shared>,
    devices: SmallVec<[Device; 1]>,
    /// The end of the process waits for it: it may leave something to be taken back.
    _untold: Untold,
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
        if entry.registers > 0 || entry.unregister != Unregister::None {
            return;
        }
        if let Some(pending) = &entry.pending {
            if self.is_registered(pending, device) {
                self.metrics.add(Count::UnregistersSpared);
            } else if self.pending_unregisters.try_send(device).is_ok() {
                entry.unregister = Unregister::Queued;
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
        entry.unregister = Unregister::None;
        if entry.registers > 0 {
            return None;
        }
        let pending = entry.pending.take()?;
        if self.is_registered(&pending, device) {
            self.metrics.add(Count::UnregistersSpared);
            table.remove(&device);
            return None;
        }
        entry.unregister = Unregister::Sent;
        self.registrations.sent.fetch_add(1, Ordering::AcqRel);
        Some(pending)
    }

    /// An un-REGISTER has been answered, or will not be.
    pub(crate) fn taken_back(&self, device: Device) {
        let mut table = self.registrations.table();
        self.registrations.sent.fetch_sub(1, Ordering::AcqRel);
        if let Some(entry) = table.get_mut(&device) {
            entry.unregister = Unregister::None;
            for waiting in entry.waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
        self.settle(&mut table, device);
    }
}

//! REGISTERs and un-REGISTERs that are under way at registrars behind. For one Contact, a REGISTER and an
//! un-REGISTER of this server are never under way together: the registrar might process them in the wrong
//! order. A device has the same Contact over all its connections, so neither Call-ID nor CSeq would show the
//! registrar that the un-REGISTER is late (RFC 3261 §10.3 step 7).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::oneshot;

use crate::routing::{backend::Registrar, flow_token::Device};

/// Requests that may wait here at a time; more do not wait.
const MOST_HELD: usize = 1024;

/// Requests that are under way, by device.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    table: Mutex<HashMap<Device, Entry>>,
    /// Un-REGISTERs that were sent and have no answer.
    pub(crate) sent: AtomicUsize,
    /// Devices with a REGISTER under way, one for each of these.
    pub(crate) registering: AtomicUsize,
    /// Requests that wait for either.
    held: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// REGISTERs without a final answer.
    pub(crate) registers: u32,
    /// Bindings to remove at the registrar, unless the device comes back.
    pub(crate) pending: Option<PendingUnregister>,
    pub(crate) unregister: Unregister,
    /// REGISTERs that wait for the un-REGISTER.
    pub(crate) waiting: Vec<oneshot::Sender<()>>,
    /// Requests to the device that wait for the REGISTERs.
    pub(crate) calling: Vec<oneshot::Sender<()>>,
}

/// How far an un-REGISTER is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unregister {
    #[default]
    None,
    Queued,
    Sent,
}

impl Registrations {
    pub(crate) fn table(&self) -> MutexGuard<'_, HashMap<Device, Entry>> {
        // Nothing can panic under this lock but a bug of ours; each method leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any un-REGISTER has no answer yet.
    pub(crate) fn any_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire) > 0
    }

    /// What a REGISTER for one of these must wait for, if for anything.
    pub(crate) fn hold(&self, devices: &[Device]) -> Option<HeldRequest> {
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
    pub(crate) fn hold_call(&self, device: Device) -> Option<HeldRequest> {
        let mut table = self.table();
        let entry = table.get_mut(&device).filter(|entry| entry.registers > 0)?;
        let (held, done) = self.wait()?;
        entry.calling.push(done);
        Some(held)
    }

    fn wait(&self) -> Option<(HeldRequest, oneshot::Sender<()>)> {
        if self.held.fetch_add(1, Ordering::AcqRel) >= MOST_HELD {
            self.held.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let (done, over) = oneshot::channel();
        Some((HeldRequest { over, _place: QueueSlot(Arc::clone(&self.held)) }, done))
    }
}

/// A request that waits.
pub(crate) struct HeldRequest {
    over: oneshot::Receiver<()>,
    _place: QueueSlot,
}

impl HeldRequest {
    /// Until what it waits for has been answered, or will not be.
    pub(crate) async fn over(self) {
        let _ = self.over.await;
    }
}

struct QueueSlot(Arc<AtomicUsize>);

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A binding that a registrar still has, and whose connection has ended.
#[derive(Debug)]
pub(crate) struct PendingUnregister {
    pub(crate) registrar: Registrar,
    pub(crate) aor: String,
    /// The Contact value.
    pub(crate) contact: String,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    /// Gone when the registrar was told, or will not be.
    pub(crate) _untold: PendingRegistration,
}

impl PendingUnregister {
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
pub(crate) struct PendingRegistration(Arc<()>);

impl PendingRegistration {
    /// How many there are besides this one.
    pub(crate) fn others(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

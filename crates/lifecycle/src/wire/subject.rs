//! What an event is about.

use std::borrow::Cow;

use serde::Deserialize;

/// The names that an event's data carries, whatever else it holds: enough to file it. It reads an event of
/// any version, and costs less than the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EventSubject<'a> {
    /// The flow.
    #[serde(borrow)]
    pub flow: Option<Cow<'a, str>>,
    /// The address-of-record.
    #[serde(borrow)]
    pub aor: Option<Cow<'a, str>>,
    /// The contact of a binding.
    #[serde(borrow)]
    pub contact: Option<Cow<'a, str>>,
    /// The call.
    #[serde(borrow)]
    pub call: Option<Cow<'a, str>>,
    /// The call's Call-ID.
    #[serde(borrow)]
    pub call_id: Option<Cow<'a, str>>,
    /// The caller.
    #[serde(borrow)]
    pub caller: Option<Party<'a>>,
    /// The callee.
    #[serde(borrow)]
    pub callee: Option<Party<'a>>,
    /// Addresses-of-record that a closed flow held bindings for: the first few.
    #[serde(borrow)]
    pub bindings: Vec<Cow<'a, str>>,
}

/// The name of one side of a call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Party<'a> {
    /// The address-of-record, or the whole URI where that cannot be told.
    #[serde(borrow)]
    pub aor: Cow<'a, str>,
}

impl<'a> EventSubject<'a> {
    /// Of an event's data; none if that is no JSON object, or a name in it is no text.
    #[must_use]
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// Whether it is an event of this flow.
    #[must_use]
    pub fn is_flow(&self, flow: &str) -> bool {
        self.flow.as_deref() == Some(flow)
    }

    /// Whether it is an event of this call.
    #[must_use]
    pub fn is_call(&self, call: &str) -> bool {
        self.call.as_deref() == Some(call)
    }

    /// Whether it is an event of this address-of-record: of its binding or its presence, or the close of a
    /// flow that names it.
    #[must_use]
    pub fn is_user(&self, aor: &str) -> bool {
        self.aor.as_deref() == Some(aor) || self.bindings.iter().any(|held| held == aor)
    }

    /// Whether this address-of-record is a side of the call.
    #[must_use]
    pub fn has_party(&self, aor: &str) -> bool {
        self.caller.iter().chain(&self.callee).any(|party| party.aor == aor)
    }
}

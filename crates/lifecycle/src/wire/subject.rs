//! What an event is about.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// The names that an event's data carries, whatever else it holds: enough to file it. It reads an event of
/// any version, and costs less than the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EventSubject<'a> {
    /// The flow.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub flow: Option<Cow<'a, str>>,
    /// The address-of-record.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub aor: Option<Cow<'a, str>>,
    /// The contact of a binding.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub contact: Option<Cow<'a, str>>,
    /// The call.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub call: Option<Cow<'a, str>>,
    /// The call's Call-ID.
    #[serde(borrow, deserialize_with = "borrowed")]
    pub call_id: Option<Cow<'a, str>>,
    /// The caller.
    #[serde(borrow)]
    pub caller: Option<Party<'a>>,
    /// The callee.
    #[serde(borrow)]
    pub callee: Option<Party<'a>>,
    /// Addresses-of-record that a closed flow held bindings for: the first few.
    #[serde(borrow, deserialize_with = "all_borrowed")]
    pub bindings: Vec<Cow<'a, str>>,
}

/// The name of one side of a call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Party<'a> {
    /// The address-of-record, or the whole URI where that cannot be told.
    #[serde(borrow)]
    pub aor: Cow<'a, str>,
}

/// Text that is borrowed unless it has escapes. Serde by itself copies a text within anything else.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn borrowed<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    Ok(Option::<Name<'a>>::deserialize(d)?.map(|Name(name)| name))
}

fn all_borrowed<'de: 'a, 'a, D: Deserializer<'de>>(d: D) -> Result<Vec<Cow<'a, str>>, D::Error> {
    Ok(Vec::<Name<'a>>::deserialize(d)?.into_iter().map(|Name(name)| name).collect())
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

/// The text under one key of a record's data, whatever else it holds; none if the data is no JSON object. The
/// fold asks for nothing more of a record that ends something: so it counts an end whose other fields are
/// damaged.
pub(crate) fn text_at<'a>(payload: &'a [u8], key: &str) -> Option<Cow<'a, str>> {
    struct At<'k>(&'k str);

    impl<'de> Visitor<'de> for At<'_> {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut found = None;
            while let Some(Name(name)) = map.next_key()? {
                if name == self.0 {
                    found = map.next_value::<Option<Name<'de>>>()?.map(|Name(text)| text);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    let mut json = serde_json::Deserializer::from_slice(payload);
    let found = json.deserialize_map(At(key)).ok()?;
    json.end().ok()?;
    found
}

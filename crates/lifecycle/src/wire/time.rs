//! Times in events: RFC 3339 in UTC with six digits, in memory microseconds since the Unix epoch.

use std::fmt;

use serde::{Deserialize, Deserializer, Serializer};

/// Microseconds since the Unix epoch as RFC 3339 text in UTC.
pub(crate) struct Rfc3339(pub(crate) u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.6}")
    }
}

/// Microseconds since the Unix epoch as RFC 3339 text in UTC, as events carry it.
#[must_use]
pub fn event_time(micros: u64) -> String {
    Rfc3339(micros).to_string()
}

/// A time before 1970 is the epoch.
fn micros(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_microsecond()).unwrap_or(0)
}

pub(crate) fn serialize<S: Serializer>(micros: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&Rfc3339(*micros))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    jiff::Timestamp::deserialize(d).map(micros)
}

/// The same of a time that may be absent.
pub(crate) mod optional {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(micros: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
        match micros {
            Some(micros) => super::serialize(micros, s),
            None => s.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<jiff::Timestamp>::deserialize(d)?.map(micros))
    }
}

//! Which events someone asks for.

use crate::{EventKind, wire::subject::EventSubject};
use jiff::{SignedDuration, Timestamp};
use memchr::memmem;

/// Which events someone asks for: all that every field allows. The default is all there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these types; empty: of all.
    pub types: Vec<EventKind>,
    /// Of this flow.
    pub flow: Option<String>,
    /// Of this address-of-record: its bindings, and the ends of flows that held one.
    pub aor: Option<String>,
    /// Not older than this, in microseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Older than this, in microseconds since the Unix epoch.
    pub until: Option<u64>,
}

impl EventFilter {
    /// Whether an event is among them. `at` is in microseconds since the Unix epoch.
    #[must_use]
    pub fn takes(&self, kind: EventKind, at: u64, payload: &[u8]) -> bool {
        let in_time = self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until);
        in_time && (self.types.is_empty() || self.types.contains(&kind)) && self.is_about(payload)
    }

    fn is_about(&self, payload: &[u8]) -> bool {
        let may = |wanted: &Option<String>| wanted.as_ref().is_none_or(|text| mentions(payload, text));
        if !may(&self.flow) || !may(&self.aor) {
            return false;
        }
        if self.flow.is_none() && self.aor.is_none() {
            return true;
        }
        let Some(about) = EventSubject::read(payload) else { return false };
        let flow = self.flow.as_ref().is_none_or(|flow| about.is_flow(flow));
        let aor = self.aor.as_ref().is_none_or(|aor| about.is_user(aor));
        flow && aor
    }
}

/// Whether a payload may hold this text as a JSON string: much faster than to read it, and most hold another.
#[must_use]
pub fn mentions(payload: &[u8], text: &str) -> bool {
    let escaped = text.bytes().any(|byte| byte == b'"' || byte == b'\\' || byte.is_ascii_control());
    escaped || memmem::find(payload, text.as_bytes()).is_some()
}

/// A text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time: give one like 2026-01-31T12:00:00Z, or how long ago: 90s, 15m, 2h, 7d")]
pub struct InvalidMoment(String);

/// A time (RFC 3339), or how long before `now`; both in microseconds since the Unix epoch.
///
/// # Errors
/// Any other text.
pub fn moment(text: &str, now: u64) -> Result<u64, InvalidMoment> {
    let wrong = || InvalidMoment(text.to_owned());
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let unit = text.char_indices().next_back().map_or(0, |(at, _)| at);
            let (number, unit) = text.split_at(unit);
            let number: i64 = number.parse().map_err(|_| wrong())?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return Err(wrong()),
            };
            let ago = number.checked_mul(seconds).map(SignedDuration::from_secs).ok_or_else(wrong)?;
            let now = i64::try_from(now).ok().and_then(|now| Timestamp::from_microsecond(now).ok());
            now.and_then(|now| now.checked_sub(ago).ok()).ok_or_else(wrong)?
        }
    };
    Ok(u64::try_from(time.as_microsecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_read() {
        let now = 10_000_000_000_000;
        assert_eq!(moment("1970-01-01T00:00:01Z", now), Ok(1_000_000));
        assert_eq!(moment("1h", now), Ok(now - 3_600_000_000));
        for wrong in ["", "h", "5", "5w", "yesterday", "9999999999999999d", "5é"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_field_of_a_choice_narrows_it() {
        let closed = br#"{"flow":"e.1.f1","bindings":["ada@x","b\"b@x"],"bindings_total":2}"#;
        let takes = |choice: &EventFilter| choice.takes(EventKind::FlowClosed, 100, closed);
        assert!(takes(&EventFilter::default()));
        let text = |text: &str| Some(text.to_owned());
        for (choice, taken) in [
            (EventFilter { types: vec![EventKind::FlowOpened], ..EventFilter::default() }, false),
            (
                EventFilter {
                    types: vec![EventKind::FlowOpened, EventKind::FlowClosed],
                    ..EventFilter::default()
                },
                true,
            ),
            (EventFilter { flow: text("e.1.f1"), ..EventFilter::default() }, true),
            (EventFilter { flow: text("e.1.f"), ..EventFilter::default() }, false),
            (EventFilter { aor: text("ada@x"), ..EventFilter::default() }, true),
            (EventFilter { aor: text("b\"b@x"), ..EventFilter::default() }, true),
            (EventFilter { aor: text("a@x"), ..EventFilter::default() }, false),
            (EventFilter { aor: text("ada@x"), flow: text("e.1.f2"), ..EventFilter::default() }, false),
            (EventFilter { since: Some(100), until: Some(101), ..EventFilter::default() }, true),
            (EventFilter { since: Some(101), ..EventFilter::default() }, false),
            (EventFilter { until: Some(100), ..EventFilter::default() }, false),
        ] {
            assert_eq!(takes(&choice), taken, "{choice:?}");
        }
        let added = br#"{"aor":"ada@x","contact":"sip:ada@x","flow":"e.1.f1"}"#;
        assert!(EventFilter { aor: text("ada@x"), ..EventFilter::default() }.takes(
            EventKind::BindingAdded,
            1,
            added
        ));
    }
}

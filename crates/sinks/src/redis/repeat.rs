//! An event whose place in the stream is passed already.

use delivery::Outgoing;

/// What of an entry tells which event it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Option<String>,
    pub(super) data: Option<String>,
}

/// How an event stands to what is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It is there.
    Same,
    /// Nothing is there any more: it was trimmed, or a consumer removed it.
    Gone,
    /// Something else is there.
    Other,
}

impl Repeat {
    pub(super) fn of(event: &Outgoing, there: Option<Entry>) -> Self {
        match there {
            None => Self::Gone,
            Some(Entry { id: Some(id), data: Some(data) }) if id == event.id && data == event.json => {
                Self::Same
            }
            Some(_) => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Position;
    use lifecycle::EventKind;

    #[test]
    fn the_same_is_told_from_what_only_has_its_id() {
        let event = Outgoing {
            position: Position::new(1, 7),
            kind: EventKind::FlowClosed,
            at: 0,
            id: "edge1.1.7".to_owned(),
            json: "{}".to_owned(),
        };
        let entry =
            |id: &str, data: &str| Some(Entry { id: Some(id.to_owned()), data: Some(data.to_owned()) });
        assert_eq!(Repeat::of(&event, entry("edge1.1.7", "{}")), Repeat::Same);
        assert_eq!(Repeat::of(&event, None), Repeat::Gone);
        for other in [entry("edge1.1.7", "{\"x\":1}"), entry("edge2.1.7", "{}"), Some(Entry::default())] {
            assert_eq!(Repeat::of(&event, other), Repeat::Other);
        }
    }
}

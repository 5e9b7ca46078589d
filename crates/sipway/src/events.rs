//! `sipway events`: the ledger as a stream.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use event_text::describe;
use ledger::{LogReader, Position, ReadError, ReadFrom};
use lifecycle::{EventFilter, EventId, EventKind, FlowId, Node, cloud_event, moment};

use crate::{command::Events, now::now, outcome::Outcome, reverse_reader::id_of, speech::complain};

/// How long one wait for more lasts.
const WAIT: Duration = Duration::from_secs(1);

/// A clock that is set back lets later records look older: as much as this, in microseconds, is allowed for.
const CLOCK_SET_BACK: u64 = 600_000_000;

pub(crate) fn run(events: &Events) -> Outcome {
    let choice = match chosen(events) {
        Ok(choice) => choice,
        Err(why) => return Outcome::Failed(why),
    };
    let (mut reader, node) = match events.place.open() {
        Ok(opened) => opened,
        Err(outcome) => return outcome,
    };
    if let Err(outcome) = begin(events, &choice, &mut reader, &node) {
        return outcome;
    }
    let mut read_any = false;
    loop {
        let block = if events.follow { reader.follow(WAIT) } else { reader.next_block() };
        let mut lines = Vec::new();
        match block {
            Ok(Some(block)) => {
                read_any = true;
                for record in block.records() {
                    let Ok(kind) = EventKind::try_from(record.kind) else { continue };
                    if choice.takes(kind, record.at, record.payload) {
                        let id = id_of(record.position);
                        lines.extend(line(events, &node, id, kind, record.at, record.payload).as_bytes());
                        lines.push(b'\n');
                    }
                }
                let over = |until: u64| {
                    block.records().all(|record| record.at >= until.saturating_add(CLOCK_SET_BACK))
                };
                if choice.until.is_some_and(over) {
                    return Outcome::Done;
                }
            }
            Ok(None) if events.follow => {}
            Ok(None) => return Outcome::Done,
            // Where one began by name, and there is no such place.
            Err(error @ (ReadError::Removed { .. } | ReadError::Ahead { .. }))
                if events.after.is_some() && !read_any =>
            {
                return Outcome::failed(error);
            }
            Err(ReadError::Removed { .. }) => {
                if read_any {
                    complain!(
                        "sipway: retention drops what was to come next; going on with the oldest event there is"
                    );
                }
                reader.seek(ReadFrom::Oldest);
            }
            Err(error) => return Outcome::failed(error),
        }
        match io::stdout().lock().write_all(&lines) {
            Ok(()) => {}
            // `| head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Outcome::Done,
            Err(error) => return Outcome::failed(error),
        }
    }
}

fn chosen(events: &Events) -> Result<EventFilter, String> {
    let now = now();
    let time = |flag: &str, text: &Option<String>| {
        let time = text.as_deref().map(|text| moment(text, now)).transpose();
        time.map_err(|error| format!("--{flag}: {error}"))
    };
    let (since, until) = (time("since", &events.since)?, time("until", &events.until)?);
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err("--since is not before --until, so no event can be between them; swap them".to_owned());
    }
    if let Some(flow) = events.flow.as_deref()
        && FlowId::parse(flow).is_err()
    {
        return Err(format!(
            "--flow: {flow} is no flow id; one looks like edge1.3.f4096, as `sipway flows list` and events show it"
        ));
    }
    Ok(EventFilter {
        types: events.types.clone(),
        flow: events.flow.clone(),
        aor: events.aor.as_deref().map(|aor| sip_message::address_of_record_of(aor).into_owned()),
        since,
        until,
    })
}

/// Goes to where the first event that is wanted may be.
fn begin(events: &Events, choice: &EventFilter, reader: &mut LogReader, node: &Node) -> Result<(), Outcome> {
    if let Some(after) = &events.after {
        let (of, id) = EventId::parse(after).map_err(Outcome::failed)?;
        if of != *node {
            return Err(Outcome::failed(format!(
                "event {after} is of node {of}; this is the ledger of {node}"
            )));
        }
        reader.seek(ReadFrom::After(Position::new(id.incarnation, id.sequence)));
    } else if let Some(since) = choice.since {
        reader.seek_since(since).map_err(Outcome::failed)?;
    } else if let Some(Ok((_, flow))) = choice.flow.as_deref().map(FlowId::parse) {
        // Nothing is said of a flow before the run that it belongs to.
        let segments = reader.segments().map_err(Outcome::failed)?;
        if let Some(run) = segments.into_iter().find(|first| first.incarnation == flow.incarnation) {
            reader.seek(ReadFrom::After(Position::new(run.incarnation, run.seq - 1)));
        }
    }
    Ok(())
}

fn line(events: &Events, node: &Node, id: EventId, kind: EventKind, at: u64, payload: &[u8]) -> String {
    if events.json { cloud_event(node, id, kind, at, payload) } else { describe(node, id, kind, at, payload) }
}

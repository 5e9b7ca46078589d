//! `sipway events`: the ledger as a stream.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lifecycle::{EventId, EventKind, Node, cloud_event};
use sinks::describe;

use crate::{command::Events, outcome::Outcome};

/// How long one wait for more lasts.
const WAIT: Duration = Duration::from_secs(1);

pub(crate) fn run(events: &Events) -> Outcome {
    let since = match events.since.as_deref().map(moment).transpose() {
        Ok(since) => since.unwrap_or(0),
        Err(why) => return Outcome::Failed(why),
    };
    let (mut reader, node) = match events.place.open() {
        Ok(opened) => opened,
        Err(outcome) => return outcome,
    };
    loop {
        let block = if events.follow { reader.follow(WAIT) } else { reader.next_block() };
        let mut lines = Vec::new();
        match block {
            Ok(Some(block)) => {
                for record in block.records().filter(|record| record.at >= since) {
                    let Ok(kind) = EventKind::try_from(record.kind) else { continue };
                    if !wanted(events, kind, record.payload) {
                        continue;
                    }
                    let id =
                        EventId { incarnation: record.position.incarnation, sequence: record.position.seq };
                    lines.extend_from_slice(
                        line(events, &node, id, kind, record.at, record.payload).as_bytes(),
                    );
                    lines.push(b'\n');
                }
            }
            Ok(None) if events.follow => {}
            Ok(None) => return Outcome::Done,
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

fn line(events: &Events, node: &Node, id: EventId, kind: EventKind, at: u64, payload: &[u8]) -> String {
    if events.json { cloud_event(node, id, kind, at, payload) } else { describe(node, id, kind, at, payload) }
}

fn wanted(events: &Events, kind: EventKind, payload: &[u8]) -> bool {
    if !events.types.is_empty() && !events.types.contains(&kind) {
        return false;
    }
    if events.flow.is_none() && events.aor.is_none() {
        return true;
    }
    let Ok(data) = serde_json::from_slice::<serde_json::Value>(payload) else { return false };
    let is =
        |field: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| data[field] == **wanted);
    let held =
        |aor: &String| data["bindings"].as_array().is_some_and(|held| held.iter().any(|one| *one == **aor));
    is("flow", &events.flow) && (is("aor", &events.aor) || events.aor.as_ref().is_some_and(held))
}

/// A time, or how long ago, in microseconds since the Unix epoch.
fn moment(text: &str) -> Result<u64, String> {
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let wrong = || {
                format!(
                    "--since {text}: give a time like 2026-01-31T12:00:00Z, or how long ago: 90s, 15m, 2h, 7d"
                )
            };
            let (number, unit) = text.split_at(text.len() - usize::from(text.is_ascii() && !text.is_empty()));
            let number: i64 = number.parse().map_err(|_| wrong())?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return Err(wrong()),
            };
            let ago = number.checked_mul(seconds).map(SignedDuration::from_secs).ok_or_else(wrong)?;
            Timestamp::now().checked_sub(ago).map_err(|_| wrong())?
        }
    };
    Ok(u64::try_from(time.as_microsecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_read() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(1_000_000));
        let hour_ago = moment("1h").unwrap();
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap();
        assert!((3_599_000_000..=3_601_000_000).contains(&(now - hour_ago)));
        for wrong in ["", "h", "5", "5w", "yesterday", "9999999999999999d", "5é"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}

//! A user's calls: those that go on, and the last one that ended, as far as was read for the rest.

use event_text::{ago, clock, counted, describe};
use lifecycle::OpenCall;

use super::Inquiry;
use crate::reverse_reader::FoundRecord;

/// Calls that go on of which is told, the newest.
const CALLS: usize = 3;

impl Inquiry<'_> {
    /// A sentence for each.
    pub(super) fn calls(
        &self,
        aor: &str,
        mut open: Vec<(Box<str>, OpenCall)>,
        last: Option<&FoundRecord>,
    ) -> Vec<String> {
        open.sort_by_key(|(_, call)| std::cmp::Reverse(call.started_at));
        let more = open.len().saturating_sub(CALLS);
        let mut sentences: Vec<String> =
            open.iter().take(CALLS).map(|(id, call)| self.goes_on(aor, id, call)).collect();
        if more > 0 {
            let go = if more == 1 { "goes" } else { "go" };
            sentences.push(format!("{} of {aor} {go} on.", counted(more as u64, "more call")));
        }
        if let Some(last) = last {
            let line = describe(self.node, last.id, last.kind, last.at, &last.payload);
            // Behind the time of day and the type.
            let words = line.splitn(3, ' ').nth(2).unwrap_or(&line);
            let sentence =
                format!("The last call that ended, {} ({}): {words}", ago(last.at, self.now), clock(last.at));
            sentences.push(self.with_evidence(&sentence, last.id));
        }
        sentences
    }

    fn goes_on(&self, aor: &str, id: &str, call: &OpenCall) -> String {
        let since = call.answered_at.unwrap_or(call.started_at);
        let since = format!("{} ({})", ago(since, self.now), clock(since));
        let (called, other) = if call.caller.aor.as_str() == aor {
            ("calls", &call.callee.aor)
        } else {
            ("is called by", &call.caller.aor)
        };
        match call.answered_at {
            Some(_) => format!("{aor} talks with {other} since {since}, as far as is known: {id}."),
            None => format!("{aor} {called} {other} since {since}, not answered yet: {id}."),
        }
    }
}

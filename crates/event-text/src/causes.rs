//! Why flows, bindings and calls ended, in words: the one table that every reader of events shows.

use std::fmt::Write as _;

use lifecycle::{By, CallBy, CallCause, Cause, Certainty, RemovalCause, Word};

/// What happened to a flow, as a clause that follows "was closed by the client: ".
#[must_use]
pub const fn flow_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::CloseFrame => "the client sent a Close frame",
        Cause::Eof => "the client hung up without a Close frame, as when its process ends",
        Cause::Reset => "the client's host reset the connection",
        Cause::PingTimeout => "nothing came back after a ping",
        Cause::TcpTimeout => "TCP got no acknowledgement and gave up",
        Cause::WriteTimeout => "the client took no byte for the whole write timeout",
        Cause::Unreachable => "the client's host or network became unreachable",
        Cause::ProtocolError => "the client broke the protocol",
        Cause::MessageTooBig => "the client sent a message over the limit",
        Cause::InvalidPayload => "the client sent text that is not UTF-8",
        Cause::TlsError => "TLS failed",
        Cause::SlowReader => "the client read too slowly and its queue was full",
        Cause::RateLimited => "the client sent more than it may",
        Cause::AuthFailed => "the client's credentials were wrong too often",
        Cause::Banned => "the client's address is banned",
        Cause::Idle => "no SIP passed for longer than the idle limit allows",
        Cause::Lifetime => "the connection reached its age limit",
        Cause::TokenExpired => "the credentials that opened the connection ran out",
        Cause::Admin => "an operator closed it",
        Cause::Replaced => "a newer connection of the same client took its place",
        Cause::Drain => "the node is being drained",
        Cause::Shutdown => "the server was told to stop",
        Cause::InternalError => "a fault inside the server",
        Cause::NodeCrash => "the server's process died",
        Cause::NodeLost => "the server's machine was lost",
    }
}

/// The same in two or three words, for "connection lost (…)".
#[must_use]
pub const fn short_flow_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::CloseFrame => "phone closed it",
        Cause::Eof => "browser or process ended",
        Cause::Reset => "connection reset",
        Cause::PingTimeout => "no sign of life",
        Cause::TcpTimeout | Cause::WriteTimeout | Cause::Unreachable => "network gone",
        Cause::ProtocolError => "protocol broken",
        Cause::MessageTooBig => "message too big",
        Cause::InvalidPayload => "text not UTF-8",
        Cause::TlsError => "TLS failed",
        Cause::SlowReader => "read too slowly",
        Cause::RateLimited => "sent too much",
        Cause::AuthFailed => "wrong credentials",
        Cause::Banned => "address banned",
        Cause::Idle => "idle for too long",
        Cause::Lifetime => "age limit reached",
        Cause::TokenExpired => "credentials ran out",
        Cause::Admin => "an operator closed it",
        Cause::Replaced => "newer connection",
        Cause::Drain => "server is being drained",
        Cause::Shutdown => "server stopped",
        Cause::InternalError => "fault in the server",
        Cause::NodeCrash => "server process died",
        Cause::NodeLost => "server machine lost",
    }
}

/// The author of a flow's end, as the verb of a sentence about it.
#[must_use]
pub const fn flow_author(by: By) -> &'static str {
    match by {
        By::Client => "was closed by the client",
        By::Server => "was closed by the server",
        By::Network => "was lost by the network",
        By::Node => "ended with the server",
    }
}

/// How an end is known that was not seen; nothing of one that was.
#[must_use]
pub const fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Observed => "",
        Certainty::JournalReplay => "found in the ledger at the next start",
        Certainty::LeaseExpired => "found by another node",
    }
}

/// Why a binding went, as a clause.
#[must_use]
pub const fn removal_cause(cause: RemovalCause) -> &'static str {
    match cause {
        RemovalCause::FlowClosed => "its connection closed",
        RemovalCause::Unregistered => "the client unregistered",
        RemovalCause::Expired => "the client did not refresh it in time",
        RemovalCause::Replaced => "a newer registration took its place",
        RemovalCause::NodeCrash => "the server's process died",
        RemovalCause::Shutdown => "the server was told to stop",
    }
}

/// What happened to a call, as a clause. `{who}` and `{whose}` stand for the side that ended it. `{detail}`
/// stands for what else is known: a status, a reason.
#[must_use]
pub const fn call_cause(cause: CallCause) -> &'static str {
    match cause {
        CallCause::Hangup => "{who} hung up{detail}",
        CallCause::Cancelled => "{who} gave up before there was an answer{detail}",
        CallCause::Rejected => "{who} refused it{detail}",
        CallCause::NoAnswer => "nobody answered in time{detail}",
        CallCause::Failed => "it could not be put through{detail}",
        CallCause::FlowLost => "{whose} connection was lost{detail} and {who} did not come back in time",
        CallCause::DialogLost => "{whose} phone did not know the call any more{detail}",
        CallCause::Expired => "nothing was heard of it any more{detail}",
        CallCause::Shutdown => "the server was told to stop{detail}",
        CallCause::NodeCrash => "the server's process died{detail}",
    }
}

/// The author of a call's end, if no name is known.
#[must_use]
pub const fn call_author(by: CallBy) -> &'static str {
    match by {
        CallBy::Caller => "the caller",
        CallBy::Callee => "the callee",
        CallBy::Server => "the server",
        CallBy::Node => "the node",
    }
}

/// WebSocket close codes (RFC 6455 §7.4.1, and those registered since) as people say them.
pub const CLOSE_CODES: [(u16, &str); 12] = [
    (1000, "normal"),
    (1001, "going away"),
    (1002, "protocol error"),
    (1003, "unsupported data"),
    (1005, "no code given"),
    (1006, "no Close frame"),
    (1007, "invalid payload"),
    (1008, "policy"),
    (1009, "too big"),
    (1011, "internal error"),
    (1012, "service restart"),
    (1013, "try again later"),
];

/// ` (1001 "going away")`, or nothing: a number with the reason that was given, else with its meaning.
pub(crate) fn in_brackets(number: Option<u16>, reason: Option<&str>, meaning: Option<&str>) -> String {
    match (number, reason, meaning) {
        (None, None, _) => String::new(),
        (None, Some(reason), _) => format!(" (\"{reason}\")"),
        (Some(number), Some(reason), _) => format!(" ({number} \"{reason}\")"),
        (Some(number), None, Some(meaning)) => format!(" ({number}, {meaning})"),
        (Some(number), None, None) => format!(" ({number})"),
    }
}

/// What a close code means.
pub(crate) fn close_code(code: u16) -> Option<&'static str> {
    CLOSE_CODES.iter().find(|(known, _)| *known == code).map(|(_, words)| *words)
}

/// Why a binding went; a word of a newer program as it is.
#[must_use]
pub fn removal_words(cause: &Word<RemovalCause>) -> &str {
    match cause {
        Word::Known(cause) => removal_cause(*cause),
        Word::Unknown(word) => word,
    }
}

/// The tables as a JavaScript module, for pages that show events.
#[must_use]
pub fn javascript() -> String {
    let mut out =
        String::from("// What events mean, in words. The server writes this file from its own tables.\n");
    let causes =
        |words: fn(Cause) -> &'static str| Cause::ALL.iter().map(move |one| (one.as_str(), words(*one)));
    table(&mut out, "FLOW_CAUSE", causes(flow_cause));
    table(&mut out, "SHORT_FLOW_CAUSE", causes(short_flow_cause));
    table(&mut out, "FLOW_AUTHOR", By::ALL.iter().map(|one| (one.as_str(), flow_author(*one))));
    table(&mut out, "CERTAINTY", Certainty::ALL.iter().map(|one| (one.as_str(), certainty(*one))));
    table(&mut out, "REMOVAL_CAUSE", RemovalCause::ALL.iter().map(|one| (one.as_str(), removal_cause(*one))));
    table(&mut out, "CALL_CAUSE", CallCause::ALL.iter().map(|one| (one.as_str(), call_cause(*one))));
    table(&mut out, "CALL_AUTHOR", CallBy::ALL.iter().map(|one| (one.as_str(), call_author(*one))));
    table(&mut out, "CLOSE_CODE", CLOSE_CODES.iter().map(|(code, words)| (code.to_string(), *words)));
    out
}

fn table<K: AsRef<str>>(out: &mut String, name: &str, rows: impl Iterator<Item = (K, &'static str)>) {
    let _ = writeln!(out, "\nexport const {name} = {{");
    for (key, words) in rows {
        // Debug quotes as JavaScript does: the words are ASCII.
        let _ = writeln!(out, "  {}: {words:?},", key.as_ref());
    }
    out.push_str("};\n");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn clauses() -> impl Iterator<Item = &'static str> {
        let flows = Cause::ALL.iter().flat_map(|cause| [flow_cause(*cause), short_flow_cause(*cause)]);
        let removals = RemovalCause::ALL.iter().map(|cause| removal_cause(*cause));
        flows.chain(removals).chain(CallCause::ALL.iter().map(|cause| call_cause(*cause)))
    }

    #[test]
    fn clauses_are_plain_ascii_words_without_a_full_stop() {
        for clause in clauses() {
            assert!(
                clause.is_ascii() && !clause.contains(['_', '"', '\\']) && !clause.ends_with('.'),
                "{clause}"
            );
        }
    }

    #[test]
    fn no_two_causes_of_a_flows_end_read_alike() {
        let clauses: HashSet<_> = Cause::ALL.iter().map(|cause| flow_cause(*cause)).collect();
        assert_eq!(clauses.len(), Cause::ALL.len());
    }

    #[test]
    fn the_module_for_pages_has_every_word() {
        let script = javascript();
        let words = Cause::ALL.iter().map(|cause| (cause.as_str(), flow_cause(*cause)));
        let words =
            words.chain(RemovalCause::ALL.iter().map(|cause| (cause.as_str(), removal_cause(*cause))));
        for (word, clause) in
            words.chain(CallCause::ALL.iter().map(|cause| (cause.as_str(), call_cause(*cause))))
        {
            assert!(script.contains(&format!("\n  {word}: \"{clause}\",\n")), "{word}: {clause}");
        }
        assert!(script.contains("\n  1001: \"going away\",\n"), "{script}");
    }
}

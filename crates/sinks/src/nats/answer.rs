//! What the server says to a message, and what to do then.

use async_nats::client::{PublishError, PublishErrorKind};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, ErrorCode, publish::PublishAck};
use async_nats::{Message, StatusCode};

use delivery::{Failure, FailureKind, causes};

/// An answer to a message.
#[derive(Debug)]
pub(super) enum NatsAnswer {
    /// It is stored.
    Stored(PublishAck),
    /// It is not.
    Refused(jetstream::Error),
    /// No stream takes it.
    Nobody,
    /// Something else was said.
    Unclear,
}

impl NatsAnswer {
    pub(super) fn of(message: &Message) -> Self {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Self::Nobody;
        }
        match serde_json::from_slice::<Response<PublishAck>>(&message.payload) {
            Ok(Response::Ok(ack)) => Self::Stored(ack),
            Ok(Response::Err { error }) => Self::Refused(error),
            Err(_) => Self::Unclear,
        }
    }

    /// Why this does not mean that the message is now stored under this sequence of that stream.
    pub(super) fn failure(self, sequence: u64, stream: &str) -> Option<Failure> {
        let text = match self {
            Self::Stored(ack) if ack.duplicate => format!(
                "stream {stream} says that it took the event before (as message {}), but it is not at its end. If it was \
                 deleted there, it can come again when the stream's duplicate window is over",
                ack.sequence
            ),
            Self::Stored(ack) if ack.sequence != sequence => {
                format!("stream {stream} stored the event as message {}, not {sequence}", ack.sequence)
            }
            Self::Stored(_) => return None,
            Self::Refused(error) => return Some(said(&format!("stream {stream} does not take it"), &error)),
            Self::Nobody => {
                format!("nobody takes it: stream {stream} was deleted, or JetStream switched off")
            }
            Self::Unclear => format!("stream {stream} gave an answer that cannot be read"),
        };
        Some(Failure::new(FailureKind::Transient, text))
    }
}

/// What JetStream said, with the mend where there is one.
pub(super) fn said(what: &str, error: &jetstream::Error) -> Failure {
    let code = error.error_code();
    let nature = match code {
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            FailureKind::Refused
        }
        _ => FailureKind::Transient,
    };
    let text = match mend(code) {
        Some(mend) => format!("{what}: {error}. {mend}"),
        None => format!("{what}: {error}"),
    };
    Failure::new(nature, lifecycle::Text::<300>::new(text).as_str())
}

fn mend(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::JETSTREAM_NOT_ENABLED => "Enable JetStream on the server: `jetstream {}`",
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => "Enable JetStream for this account",
        ErrorCode::STREAM_STORE_FAILED => {
            "If the stream is full: raise its limits, or let it discard old messages"
        }
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => "Raise the stream's `max_msg_size`",
        ErrorCode::STREAM_SUBJECT_OVERLAP => {
            "Another stream takes our subjects: name it with `stream`, or set another `subject`"
        }
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE => {
            "Only this node may write to it: give each node a stream of its own"
        }
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED => {
            "Give JetStream more room: `max_file` on the server, or the limits of this account"
        }
        _ => return None,
    })
}

/// A message that did not go out.
pub(super) fn not_sent(error: &PublishError) -> Failure {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            Failure::new(FailureKind::Refused, format!("{error}. Raise the server's `max_payload`"))
        }
        _ => passing("cannot send", error),
    }
}

/// A failure of the connection, with its causes.
pub(super) fn passing(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(FailureKind::Transient, format!("{what}: {}", causes(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(sequence: u64, duplicate: bool) -> NatsAnswer {
        NatsAnswer::Stored(PublishAck {
            stream: "S".to_owned(),
            sequence,
            duplicate,
            ..PublishAck::default()
        })
    }

    fn refused(code: u64) -> NatsAnswer {
        let json = format!(r#"{{"error":{{"code":503,"err_code":{code},"description":"no"}}}}"#);
        match serde_json::from_str(&json).unwrap() {
            Response::<PublishAck>::Err { error } => NatsAnswer::Refused(error),
            Response::Ok(_) => panic!("an error is none"),
        }
    }

    #[test]
    fn only_what_is_stored_where_it_belongs_is_acknowledged() {
        assert_eq!(ack(7, false).failure(7, "S"), None);
        for said in [ack(8, false), ack(7, true), refused(10071), NatsAnswer::Nobody, NatsAnswer::Unclear] {
            assert_eq!(said.failure(7, "S").unwrap().nature, FailureKind::Transient);
        }
        assert_eq!(refused(10054).failure(7, "S").unwrap().nature, FailureKind::Refused);
    }

    #[test]
    fn what_an_operator_can_mend_is_said() {
        for (code, word) in
            [(10076, "Enable JetStream"), (10077, "full"), (10071, "Only this node"), (10047, "max_file")]
        {
            let text = refused(code).failure(1, "S").unwrap().text;
            assert!(text.contains(word), "{text}");
        }
    }
}

//! The stream that takes a node's events: made if it is not there, used as it is if it is.

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{
    Context, ErrorCode, context::CreateStreamErrorKind, context::GetStreamErrorKind,
};

use super::answer::{passing, said};
use delivery::{Failure, FailureKind};

/// Finds the stream, or makes it; with what it holds now. `subject` is what our subjects begin with.
pub(super) async fn find(context: &Context, name: &str, subject: &str) -> Result<Stream, Failure> {
    let stream = match context.get_stream(name).await {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                make(context, name, subject).await?
            }
            GetStreamErrorKind::JetStream(why) => {
                return Err(said(&format!("cannot use stream {name}"), &why));
            }
            _ => return Err(unanswered(&error)),
        },
    };
    usable(&stream.cached_info().config, subject)
        .map_err(|text| Failure::new(FailureKind::Transient, text))?;
    Ok(stream)
}

async fn make(context: &Context, name: &str, subject: &str) -> Result<Stream, Failure> {
    let config = Config {
        name: name.to_owned(),
        subjects: vec![format!("{subject}.>")],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        // A limit that is set later makes the sink wait; it does not make events vanish unread.
        discard: DiscardPolicy::New,
        num_replicas: 1,
        duplicate_window: std::time::Duration::from_secs(120),
        description: Some("Events of a Sipway node, in order. Only that node may write here.".to_owned()),
        ..Config::default()
    };
    context.create_stream(config).await.map_err(|error| match error.kind() {
        CreateStreamErrorKind::JetStream(why) => said(&format!("cannot make stream {name}"), &why),
        _ => unanswered(&error),
    })
}

/// Nobody answers where JetStream would.
fn unanswered(error: &(dyn std::error::Error + 'static)) -> Failure {
    let failure = passing("JetStream does not answer", error);
    let mend = "Is it enabled on the server (`jetstream {}`) and for this account?";
    Failure { text: format!("{}. {mend}", failure.text), ..failure }
}

/// Says what keeps a stream from taking our events as we need it.
fn usable(config: &Config, subject: &str) -> Result<(), String> {
    let name = &config.name;
    if !config.subjects.iter().any(|filter| covers(filter, subject)) {
        return Err(format!(
            "stream {name} does not take our events: add \"{subject}.>\" to its subjects (they are {}), or set another \
             `stream`",
            config.subjects.join(", ")
        ));
    }
    if config.no_ack {
        return Err(format!("stream {name} acknowledges nothing: clear its `no_ack`"));
    }
    if config.sealed {
        return Err(format!("stream {name} is sealed: set another `stream`"));
    }
    Ok(())
}

/// Whether a filter of a stream takes every subject below this one.
fn covers(filter: &str, subject: &str) -> bool {
    let mut ours = subject.split('.');
    for token in filter.split('.') {
        match (token, ours.next()) {
            (">", _) => return true,
            // `*` stands for one token, and below us there may be more.
            (_, None) => return false,
            (token, Some(own)) if token == "*" || token == own => {}
            _ => return false,
        }
    }
    false
}

/// Whether a message that is there stays there, unless it is removed by hand.
pub(super) fn keeps_everything(config: &Config) -> bool {
    let unlimited = config.max_messages <= 0 && config.max_bytes <= 0 && config.max_messages_per_subject <= 0;
    config.retention == RetentionPolicy::Limits
        && config.max_age.is_zero()
        && (unlimited || config.discard == DiscardPolicy::New)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_filters_take_our_subjects() {
        for filter in ["sipway.edge1.>", "sipway.>", ">", "*.edge1.>", "sipway.*.>"] {
            assert!(covers(filter, "sipway.edge1"), "{filter}");
        }
        for filter in
            ["sipway.edge1", "sipway.edge2.>", "sipway.*", "sipway.edge1.*", "sipway.edge1.flow.>", "other.>"]
        {
            assert!(!covers(filter, "sipway.edge1"), "{filter}");
        }
    }

    #[test]
    fn which_streams_may_drop_what_they_hold() {
        let kept = Config { discard: DiscardPolicy::New, max_messages: 10, ..Config::default() };
        assert!(keeps_everything(&Config::default()) && keeps_everything(&kept));
        for config in [
            Config { max_messages: 10, ..Config::default() },
            Config { max_age: std::time::Duration::from_secs(1), ..kept.clone() },
            Config { retention: RetentionPolicy::WorkQueue, ..Config::default() },
            Config { max_messages_per_subject: 1, ..Config::default() },
        ] {
            assert!(!keeps_everything(&config), "{config:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_stream_is_said_with_the_mend() {
        let config = Config { name: "S".to_owned(), subjects: vec!["a.>".to_owned()], ..Config::default() };
        assert!(usable(&config, "sipway.edge1").unwrap_err().contains("add \"sipway.edge1.>\""));
        assert_eq!(
            usable(&Config { subjects: vec!["sipway.>".to_owned()], ..config.clone() }, "sipway.edge1"),
            Ok(())
        );
        let silent = Config { subjects: vec![">".to_owned()], no_ack: true, ..config };
        assert!(usable(&silent, "sipway.edge1").unwrap_err().contains("no_ack"));
    }
}

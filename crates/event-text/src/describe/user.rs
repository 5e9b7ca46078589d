//! Who is online, in words.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;

use super::{Words, removal_words, span};

pub(super) fn online(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data {
        aor: String,
    }
    let data: Data = serde_json::from_slice(payload)?;
    Ok(data.aor)
}

pub(super) fn offline(payload: &[u8]) -> Words {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        aor: Cow<'a, str>,
        #[serde(default, borrow)]
        last_flow: Option<Cow<'a, str>>,
        #[serde(borrow)]
        cause: Cow<'a, str>,
        duration_ms: u64,
    }
    let data: Data<'_> = serde_json::from_slice(payload)?;
    let mut words = format!("{} after {}, last", data.aor, span(data.duration_ms));
    let _ = match data.last_flow {
        Some(flow) => write!(words, " on {flow}"),
        None => write!(words, " over UDP"),
    };
    let _ = write!(words, ": {}", removal_words(&data.cause));
    Ok(words)
}

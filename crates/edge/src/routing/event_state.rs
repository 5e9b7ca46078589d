//! Event state of users (RFC 3903, RFC 6665): who is asked for it, and the answer if nobody has it.
//!
//! This server keeps no event state, neither presence nor a mailbox. A server behind may keep it, and is then
//! asked instead of the user's devices, which cannot know it. Devices are asked for what only they know.

use sip_message::{HeaderId, Message, Method};
use sip_proxy::Answer;

/// Event packages that user agents answer for: their dialogs (RFC 4235), their conference (RFC 4575), a
/// reference that they follow (RFC 3515), keys that are pressed (RFC 4730), and whether they are free again
/// (RFC 6910).
const OF_USER_AGENTS: [&str; 5] = ["dialog", "conference", "refer", "kpml", "call-completion"];

/// Methods that the server understands or passes on, for `Allow`.
const METHODS: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, INFO, UPDATE, PRACK, SUBSCRIBE, NOTIFY, REFER";

/// The server that has the event state of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// Nobody. Devices are asked for what they know.
    Nobody,
    /// A server behind.
    ServerBehind,
}

/// Whether a request asks for the event state of a user, outside of a dialog.
pub(crate) fn is_asked_for(request: &Message<'_>) -> bool {
    matches!(request.method(), Some(Method::Subscribe | Method::Publish))
        && request.to().is_ok_and(|to| to.tag().is_none())
}

/// The answer to a request for event state if no server behind keeps it. None if the user's devices are to
/// answer.
pub(crate) fn refuse(request: &Message<'_>) -> Option<Answer> {
    if request.method() == Some(Method::Publish) {
        return Some(allowing(Answer::new(405, "Method Not Allowed"), Keeper::Nobody));
    }
    let package = request.value(HeaderId::Event).unwrap_or_default();
    let package = package.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let known = OF_USER_AGENTS.iter().any(|known| known.as_bytes() == package);
    (!known).then(|| Answer::new(489, "Bad Event").header("Allow-Events", OF_USER_AGENTS.join(", ")))
}

/// Adds what may be asked here to an answer (RFC 3261 §11.2). Which events a server behind knows is its own
/// to say.
pub(crate) fn allowing(answer: Answer, keeper: Keeper) -> Answer {
    match keeper {
        Keeper::Nobody => answer.header("Allow", METHODS).header("Allow-Events", OF_USER_AGENTS.join(", ")),
        Keeper::ServerBehind => answer.header("Allow", format!("{METHODS}, PUBLISH")),
    }
}

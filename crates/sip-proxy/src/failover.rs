//! Failover: the next way to the same target when one fails. That is another hop to it (RFC 3263 §4.3), or
//! another flow of the same user agent (RFC 5626 §5.3).

use smallvec::SmallVec;

use crate::{Alternative, SAME_SERVER, Target};

/// How a way failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its hop takes nothing: what was sent has not arrived, as far as can be told.
    Unreachable,
    /// Nothing was heard in time. The peer may have the request all the same.
    NoResponse,
    /// The peer has answered with this final status.
    Answered(u16),
}

/// What a branch has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BranchProgress {
    Nothing,
    /// 100: the peer has the request.
    Trying,
    /// Another provisional response: a phone rings, an announcement plays. The place has had its say.
    Progress,
}

/// The next way to where a target is. A server that has the request is not asked again by another transport:
/// it would begin the same once more, and a phone that declined would ring twice. Another server is asked
/// after 503, silence or a hop that is gone, until one has made progress.
pub(crate) fn next_alternative<H: Copy>(
    target: &Target<H>,
    failure: Failure,
    heard: BranchProgress,
) -> Option<Target<H>> {
    let same = failure == Failure::Unreachable && heard == BranchProgress::Nothing;
    let server = match failure {
        Failure::Unreachable | Failure::Answered(503) => heard < BranchProgress::Progress,
        // RFC 3263 §4.3: a time-out is a failure if there was no response at all.
        Failure::NoResponse => heard == BranchProgress::Nothing,
        Failure::Answered(_) => false,
    };
    let flow = match failure {
        Failure::Unreachable | Failure::NoResponse | Failure::Answered(430) => true,
        // A user agent that rang has had its say.
        Failure::Answered(408) => heard < BranchProgress::Progress,
        Failure::Answered(_) => false,
    };
    let Target { q, when_gone, .. } = *target;
    for (at, other) in target.alternatives.iter().enumerate() {
        let rest = target.alternatives.get(at + 1..).unwrap_or_default();
        match other {
            Alternative::Hop { hop, server: which } => {
                if if *which == SAME_SERVER { same } else { server } {
                    let (request_uri, routes) = (target.request_uri.clone(), target.routes.clone());
                    let alternatives = seen_from(*which, rest, same);
                    return Some(Target { hop: *hop, request_uri, routes, q, alternatives, when_gone });
                }
            }
            Alternative::Flow { hop, request_uri, routes } if flow => {
                let (hop, request_uri, routes) = (*hop, Some(request_uri.clone()), routes.clone());
                return Some(Target { hop, request_uri, routes, q, alternatives: rest.into(), when_gone });
            }
            Alternative::Flow { .. } => return None,
        }
    }
    None
}

/// What is left behind the way that is taken, its server being the one that is asked now. The server before
/// is another one from now on, or has had its turn.
fn seen_from<H: Copy>(
    taken: u8,
    rest: &[Alternative<H>],
    before_is_left: bool,
) -> SmallVec<[Alternative<H>; 0]> {
    // Behind a flow, hops are those of that flow's user agent.
    let own = rest.iter().take_while(|other| matches!(other, Alternative::Hop { .. })).count();
    let (own, flows) = rest.split_at(own);
    let renumbered = own.iter().filter_map(|other| match other {
        Alternative::Hop { server: SAME_SERVER, .. } if taken != SAME_SERVER && !before_is_left => None,
        Alternative::Hop { hop, server } => {
            let server = match *server {
                server if server == taken => SAME_SERVER,
                SAME_SERVER => taken,
                server => server,
            };
            Some(Alternative::Hop { hop: *hop, server })
        }
        Alternative::Flow { .. } => Some(other.clone()),
    });
    renumbered.chain(flows.iter().cloned()).collect()
}
